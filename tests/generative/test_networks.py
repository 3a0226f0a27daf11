"""The product with its own backward pass, against the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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
    net = networks.Encoder(num_hidden=6, num_latents=2, activation="tanh")
    x = jax.random.uniform(jax.random.key(2), (3, 4))
    params = net.init(jax.random.key(3), x)
    layers = params["params"]
    h = jnp.tanh(x @ layers["hidden"]["kernel"] + layers["hidden"]["bias"][None])
    for found, name in zip(net.apply(params, x), ("mean", "log_variance"), strict=True):
        expected = h @ layers[name]["kernel"] + layers[name]["bias"][None]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
