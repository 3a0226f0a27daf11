"""Against XLA's own convolution, its gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures import convolution


def stock(x, kernel, stride, padding):
    return jax.lax.conv_general_dilated(
        x, kernel, stride, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


CASES = {
    "a MinAtar layer": ((3, 10, 10, 4), (3, 3, 4, 5), (1, 1), "VALID"),
    "4 x 4 by twos": ((2, 8, 8, 3), (4, 4, 3, 6), (2, 2), "SAME"),
    "zeros by number": ((2, 8, 8, 3), (4, 4, 3, 6), (2, 2), ((1, 1), (1, 1))),
    "nothing is square": ((2, 9, 7, 2), (2, 3, 2, 4), (3, 2), ((0, 1), (2, 0))),
    "rows are left over": ((1, 10, 9, 1), (3, 3, 1, 1), (4, 5), "VALID"),
    "one by one": ((2, 4, 4, 3), (1, 1, 3, 2), (2, 2), "SAME"),
    "a stride beyond the kernel": ((2, 7, 7, 2), (2, 2, 2, 2), (3, 3), "SAME"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_value_and_gradients_are_those_of_lax(case):
    shape, kernel_shape, stride, padding = case
    rng = np.random.default_rng(0)
    x, kernel = (jnp.array(rng.normal(size=s), jnp.float32) for s in (shape, kernel_shape))
    expected, pull_stock = jax.vjp(lambda x, k: stock(x, k, stride, padding), x, kernel)
    value, pull = jax.vjp(lambda x, k: convolution.conv(x, k, stride, padding), x, kernel)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    cotangent = jnp.array(rng.normal(size=value.shape), jnp.float32)
    for ours, theirs in zip(pull(cotangent), pull_stock(cotangent), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_one_picture_and_two_axes_of_pictures():
    rng = np.random.default_rng(1)
    x = jnp.array(rng.normal(size=(2, 3, 6, 6, 2)), jnp.float32)
    kernel = jnp.array(rng.normal(size=(3, 3, 2, 4)), jnp.float32)
    whole = convolution.conv(x, kernel)
    assert whole.shape == (2, 3, 4, 4, 4)
    np.testing.assert_allclose(whole[1, 2], convolution.conv(x[1, 2], kernel), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        whole, jax.vmap(jax.vmap(lambda x: convolution.conv(x, kernel)))(x), rtol=1e-5, atol=1e-5
    )


def test_patches_by_hand():
    x = jnp.arange(12.0).reshape(3, 4, 1)
    cut = convolution.patches(x, (2, 2), (1, 2), ((0, 0), (0, 0)))
    np.testing.assert_array_equal(
        cut, [[[0, 1, 4, 5], [2, 3, 6, 7]], [[4, 5, 8, 9], [6, 7, 10, 11]]]
    )


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_is_xlas(size, stride):
    stock_pads = jax.lax.padtype_to_pads((size, size), (4, 3), (stride, stride), "SAME")
    assert [*convolution.resolve("SAME", (size, size), (4, 3), (stride, stride))] == stock_pads


def test_no_convolution_is_left():
    """In name: XLA would lose its fast kernel in a scan."""
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((4, 4, 3, 5))
    loss = lambda k, x: jnp.square(convolution.conv(x, k, 2, "SAME")).sum()
    text = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(kernel, x).as_text()
    assert "dot_general" in text
    assert "convolution" not in text


@pytest.mark.parametrize(
    ("x", "kernel", "padding", "said"),
    [
        ((2, 2, 1), (3, 3, 1, 1), "VALID", "smaller than the kernel"),
        ((4, 4, 2), (3, 3, 1, 1), "VALID", "do not fit"),
        ((4, 4, 1), (3, 3, 1, 1), "LEFT", "must be VALID, SAME or"),
    ],
)
def test_what_does_not_fit_is_a_sentence(x, kernel, padding, said):
    with pytest.raises(ValueError, match=said):
        convolution.conv(jnp.ones(x), jnp.ones(kernel), 1, padding)
