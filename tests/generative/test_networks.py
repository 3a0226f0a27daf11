"""The product with its own backward pass, against the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from dl_lectures.generative import networks


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_product_has_the_gradients_of_the_plain_product(shape):
    key_x, key_w, key_g = jax.random.split(jax.random.key(0), 3)
    x, w = jax.random.normal(key_x, shape), jax.random.normal(key_w, (5, 4))
    value, pull = jax.vjp(networks.product, x, w)
    expected, expected_pull = jax.vjp(jnp.matmul, x, w)
    g = jax.random.normal(key_g, expected.shape)
    np.testing.assert_array_equal(value, expected)
    for found, plain in zip(pull(g), expected_pull(g), strict=True):
        assert found.shape == plain.shape
        np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6)
    check_grads(networks.product, (x, w), order=2, modes=["rev"])


def test_product_over_seeds_has_the_gradients_of_each_seed():
    key_x, key_w = jax.random.split(jax.random.key(1))
    xs, ws = jax.random.normal(key_x, (2, 3, 5)), jax.random.normal(key_w, (2, 5, 4))
    grad = jax.grad(lambda x, w: jnp.sin(networks.product(x, w)).sum(), argnums=(0, 1))
    together = jax.vmap(grad)(xs, ws)
    for s in range(2):
        for found, alone in zip(together, grad(xs[s], ws[s]), strict=True):
            np.testing.assert_allclose(found[s], alone, rtol=1e-5, atol=1e-6)


def test_networks_are_those_of_plain_linen_layers():
    net = networks.Encoder(hidden_sizes=(6,), num_latents=2, activation="tanh")
    x = jax.random.uniform(jax.random.key(2), (3, 4))
    params = net.init(jax.random.key(3), x)
    layers = params["params"]
    h = jnp.tanh(x @ layers["hidden"]["kernel"] + layers["hidden"]["bias"][None])
    for found, name in zip(net.apply(params, x), ("mean", "log_variance"), strict=True):
        expected = h @ layers[name]["kernel"] + layers[name]["bias"][None]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def normalised(x, scale, offset):
    """Batch normalisation in NumPy, with two passes in float64."""
    x = np.asarray(x, np.float64)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return np.float32(
        (x - mean) / np.sqrt(variance + 1e-5) * np.asarray(scale) + np.asarray(offset)
    )


def test_batch_norm_is_that_of_two_passes():
    net = networks.BatchNorm()
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (4, 3, 2, 5))
    params = jax.jit(net.init)(jax.random.key(1), x)
    layer = {"scale": jnp.arange(1.0, 6.0), "offset": jnp.arange(5.0)}
    apply = jax.jit(net.apply)
    found = apply({"params": layer}, x)
    np.testing.assert_allclose(found, normalised(x, *layer.values()), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(apply(params, x).mean((0, 1, 2)), 0.0, atol=1e-5)
    # A channel that says nothing has no variance, and rounding must not make it negative.
    assert np.isfinite(apply(params, jnp.full((2, 3, 3, 5), 1000.1))).all()


def test_generator_is_made_of_laxs_transposed_convolutions():
    net = networks.ConvGenerator(channels=(4, 6), side=12)
    z, labels = jax.random.normal(jax.random.key(2), (5, 7)), jax.nn.one_hot(jnp.arange(5), 3)
    params = jax.jit(net.init)(jax.random.key(3), z, labels)
    layers = params["params"]
    apply = jax.jit(net.apply)
    x = apply(params, z, labels)
    assert x.shape == (5, 12, 12, 1)
    assert np.abs(x).max() < 1.0
    h = jnp.concatenate([z, labels], 1) @ layers["bottom"]["kernel"]
    h = h.reshape(5, 3, 3, 6)
    for i in range(2):
        h = jax.nn.relu(normalised(h, **layers[f"norm_{i}"]))
        h = jax.lax.conv_transpose(h, layers[f"conv_{i}"], (2, 2), "SAME", transpose_kernel=True)
    np.testing.assert_allclose(x, jnp.tanh(h), rtol=1e-4, atol=1e-5)
    assert not np.allclose(x, apply(params, z, jnp.roll(labels, 1, axis=1)), atol=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_discriminator_is_made_of_laxs_convolutions(batch_norm):
    net = networks.ConvDiscriminator(channels=(4, 6), batch_norm=batch_norm)
    x = jax.random.normal(jax.random.key(4), (5, 8, 8, 1))
    labels = jax.nn.one_hot(jnp.arange(5), 3)
    params = jax.jit(net.init)(jax.random.key(5), x, labels)
    layers = params["params"]
    h = x
    for i in range(2):
        h = jax.lax.conv_general_dilated(
            h, layers[f"conv_{i}"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if batch_norm and i:
            h = normalised(h, **layers[f"norm_{i}"])
        h = np.where(h > 0, h, 0.2 * h)
    h = h.reshape(5, -1)
    of_label = np.einsum("bf,bf->b", labels @ layers["of_label"]["kernel"], h)
    plain = (h @ layers["output"]["kernel"])[:, 0]
    np.testing.assert_allclose(
        jax.jit(net.apply)(params, x, labels), plain + of_label, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(jax.jit(net.apply)(params, x), plain, rtol=1e-4, atol=1e-5)


def test_convolutional_networks_are_those_of_jax_s_own_convolutions():
    encoder = networks.ConvEncoder(3, hidden_sizes=(5,), num_latents=2, activation="tanh")
    decoder = networks.ConvDecoder(3, hidden_sizes=(5,), num_pixels=64, activation="tanh")
    x = jax.random.uniform(jax.random.key(4), (2, 64))
    params = encoder.init(jax.random.key(5), x)
    layers = params["params"]
    h = x.reshape(2, 8, 8, 1)
    axes = ("NHWC", "HWIO", "NHWC")
    for i in range(2):
        kernel = layers[f"conv_{i}"]
        h = jnp.tanh(lax.conv_general_dilated(h, kernel, (2, 2), "SAME", dimension_numbers=axes))
    top = networks.Encoder(hidden_sizes=(5,), num_latents=2, activation="tanh")
    expected = top.apply({"params": layers["top"]}, h.reshape(2, -1))
    for found, plain in zip(encoder.apply(params, x), expected, strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)
    z = expected[0]
    params = decoder.init(jax.random.key(6), z)
    layers = params["params"]
    bottom = networks.Decoder(hidden_sizes=(5,), num_pixels=2 * 2 * 6, activation="tanh")
    h = bottom.apply({"params": layers["bottom"]}, z).reshape(2, 2, 2, 6)
    for i in range(2):
        kernel = layers[f"conv_{i}"]
        h = lax.conv_transpose(jnp.tanh(h), kernel, (2, 2), "SAME", transpose_kernel=True)
    found = decoder.apply(params, z)
    np.testing.assert_allclose(found, h.reshape(2, 64), rtol=1e-4, atol=1e-5)
    assert decoder.apply(params, z[0]).shape == (64,)
