"""Against XLA's own convolution, its gradients included."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

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


def picture_and_kernel(case, seeds=()):
    """Random arrays of a case, and one of the shape of its output."""
    shape, kernel_shape, stride, padding = case
    rng = np.random.default_rng(2)
    x, kernel = (
        jnp.array(rng.normal(size=(*seeds, *s)), jnp.float32) for s in (shape, kernel_shape)
    )
    out = jax.eval_shape(
        lambda x, k: stock(x, k, stride, padding), jnp.zeros(shape), jnp.zeros(kernel_shape)
    )
    return x, kernel, jnp.array(rng.normal(size=(*seeds, *out.shape)), jnp.float32)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_transpose_is_the_adjoint(case):
    _, kernel, y = picture_and_kernel(case)
    stride, padding = case[2:]
    back = convolution.conv_transpose(y, kernel, stride, padding)
    x = jnp.array(np.random.default_rng(3).normal(size=back.shape), jnp.float32)
    out = convolution.conv(x, kernel, stride, padding)
    assert out.shape == y.shape
    np.testing.assert_allclose((out * y).sum(), (x * back).sum(), rtol=1e-4, atol=1e-4)
    # All of it, and its gradients, against autodiff of XLA's convolution.
    adjoint = lambda y, k: jax.vjp(lambda x: stock(x, k, stride, padding), x)[1](y)[0]
    ours = lambda y, k: convolution.conv_transpose(y, k, stride, padding)
    expected, pull_stock = jax.vjp(adjoint, y, kernel)
    value, pull = jax.vjp(ours, y, kernel)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)
    for found, theirs in zip(pull(x), pull_stock(x), strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [(4, 2, "SAME"), (3, 2, "SAME"), (5, 1, "SAME"), (2, 3, "SAME"), (4, 2, "VALID")],
)
def test_the_transpose_is_laxs(window, stride, padding):
    rng = np.random.default_rng(4)
    y = jnp.array(rng.normal(size=(2, 4, 3, 5)), jnp.float32)
    kernel = jnp.array(rng.normal(size=(window, window, 2, 5)), jnp.float32)
    found = convolution.conv_transpose(y, kernel, stride, padding)
    expected = jax.lax.conv_transpose(y, kernel, (stride, stride), padding, transpose_kernel=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    if padding == "SAME":
        assert found.shape == (2, 4 * stride, 3 * stride, 2)


@pytest.mark.parametrize("num_seeds", [1, 3])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_seed_has_its_own_kernel(case, num_seeds):
    """Products of all seeds at once are what each seed's own is, to the second derivative."""
    x, kernel, y = picture_and_kernel(case, seeds=(num_seeds,))

    def slope(x, kernel, y):  # of a conv, a transpose and a kernel's gradient
        f = lambda x, k: jnp.sin(convolution.conv(x, k, *case[2:]) * y).sum()
        return sum(jnp.square(g).sum() for g in jax.grad(f, argnums=(0, 1))(x, kernel))

    gradients = jax.jit(jax.grad(slope, argnums=(0, 1, 2)))
    together = jax.jit(jax.vmap(gradients))(x, kernel, y)
    for seed in range(num_seeds):
        alone = gradients(x[seed], kernel[seed], y[seed])
        for found, expected in zip(together, alone, strict=True):
            np.testing.assert_allclose(
                found[seed], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()
            )


@pytest.mark.parametrize("name", ["4 x 4 by twos", "nothing is square", "rows are left over"])
def test_second_derivatives_are_those_of_finite_differences(name):
    x, kernel, y = picture_and_kernel(CASES[name])
    stride, padding = CASES[name][2:]
    conv = lambda x, k: jnp.tanh(convolution.conv(x, k, stride, padding))
    transpose = lambda y, k: jnp.tanh(convolution.conv_transpose(y, k, stride, padding))
    check_grads(conv, (x, kernel), order=2, modes=["rev"], rtol=0.03, atol=0.03)
    check_grads(transpose, (y, kernel), order=2, modes=["rev"], rtol=0.03, atol=0.03)


def lowered(kernel_axes):
    """The program of a gradient of the squared gradient of a conv and its transpose."""

    def loss(kernel, x):
        out = convolution.conv(x, kernel, 2, "SAME")
        return jnp.square(convolution.conv_transpose(jnp.square(out), kernel, 2, "SAME")).sum()

    def penalty(kernel, x):
        return jnp.square(jax.grad(loss, argnums=1)(kernel, x)).sum()

    kernel, x = jnp.ones((*kernel_axes, 4, 4, 3, 5)), jnp.ones((*kernel_axes, 2, 8, 8, 3))
    gradient = jax.grad(penalty)
    return jax.jit(jax.vmap(gradient) if kernel_axes else gradient).lower(kernel, x).as_text()


@pytest.mark.parametrize("kernel_axes", [(), (2,)])
def test_what_is_left_to_xla_keeps_its_fast_kernel_in_a_scan(kernel_axes):
    """Convolutions as they lie in memory, of one kernel; products of several, one for each seed."""
    text = lowered(kernel_axes)
    assert "dot_general" in text
    left = re.findall(r"stablehlo.convolution.*", text)
    assert bool(left) != bool(kernel_axes)
    for line in left:
        assert "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line
        assert "reverse = [false, false]" in line
        assert "feature_group_count = 1 " in line


def test_a_network_of_one_picture_has_one_product_for_all_examples():
    """Where examples are vmapped the gradient of the kernel is not made for each and summed."""
    x, kernel = jnp.ones((7, 8, 8, 3)), jnp.ones((4, 4, 3, 5))
    loss = lambda k, x: jnp.square(jax.vmap(lambda x: convolution.conv(x, k, 2))(x)).sum()
    text = jax.jit(jax.grad(loss)).lower(kernel, x).as_text()
    assert "tensor<7x48x5xf32>" not in text


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


def test_a_transpose_that_does_not_fit_is_a_sentence():
    kernel = jnp.ones((2, 2, 3, 4))
    with pytest.raises(ValueError, match="do not fit"):
        convolution.conv_transpose(jnp.ones((4, 4, 3)), kernel, 2)
    with pytest.raises(ValueError, match="Nothing is left"):
        convolution.conv_transpose(jnp.ones((1, 1, 4)), kernel, 2, ((1, 1), (1, 1)))
