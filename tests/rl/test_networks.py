"""The torso against the same layers written out in NumPy."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import networks


def normalise(x, layer):
    """Over the last axis, with the epsilon of flax."""
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * layer["scale"] + layer["bias"]


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_torso_on_a_picture(layer_norm, activation):
    act = {"relu": lambda x: np.maximum(x, 0.0), "tanh": np.tanh}[activation]
    torso = networks.Torso((6, 5), 3, activation=activation, layer_norm=layer_norm)
    obs = jax.random.bernoulli(jax.random.key(0), 0.4, (5, 4, 2))
    drawn = torso.init(jax.random.key(1), obs)
    # Biases and scales start at 0 and 1, which would hide an error.
    params = jax.tree.map(lambda x: x + 0.1, drawn)
    p = jax.tree.map(np.asarray, params["params"])
    x = np.asarray(obs, np.float64)
    convolved = np.zeros((3, 2, 3))
    for row in range(3):
        for column in range(2):
            patch = x[row : row + 3, column : column + 3]
            convolved[row, column] = np.einsum("ijc,ijcf->f", patch, p["conv_kernel"])
    convolved += p["conv_bias"]
    x = act(normalise(convolved, p["LayerNorm_0"]) if layer_norm else convolved).ravel()
    for i in range(2):
        x = x @ p[f"Dense_{i}"]["kernel"] + p[f"Dense_{i}"]["bias"]
        x = act(normalise(x, p[f"LayerNorm_{i + 1}"]) if layer_norm else x)
    np.testing.assert_allclose(torso.apply(params, obs), x, rtol=1e-4, atol=1e-5)


def test_without_a_convolution_everything_is_flattened():
    torso = networks.Torso((7,))
    obs = jax.random.normal(jax.random.key(0), (2, 3, 4))
    params = torso.init(jax.random.key(1), obs)
    assert params["params"]["Dense_0"]["kernel"].shape == (24, 7)
    np.testing.assert_array_equal(torso.apply(params, obs), torso.apply(params, obs.ravel()))


def test_orthogonal_weights_have_their_scale():
    torso = networks.Torso((8,), initial_scale=2.0**0.5)
    kernel = torso.init(jax.random.key(0), jnp.zeros(20))["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(kernel.T @ kernel, 2.0 * np.eye(8), atol=1e-5)


def test_a_head_is_linear_in_the_features():
    network = networks.WithHead(networks.Torso((6,)), 3)
    obs = jnp.arange(4.0)
    params = network.init(jax.random.key(0), obs)
    features = networks.Torso((6,)).apply({"params": params["params"]["torso"]}, obs)
    head = params["params"]["Dense_0"]
    expected = features @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(network.apply(params, obs), expected, rtol=1e-5)


def test_a_convolution_needs_a_picture():
    with pytest.raises(ValueError, match=r"--conv_channels=3 needs pictures \[H, W, C\]"):
        networks.Torso((6,), 3).init(jax.random.key(0), jnp.zeros(4))


@pytest.mark.parametrize("shape", [(64, 64), (400, 64), (4, 64), (64, 1), (3, 3, 4, 16)])
def test_orthogonal_kernels_are_orthogonal(shape):
    """Of 20 draws each, against the identity; entries have the variance of a random rotation's."""
    keys = jax.random.split(jax.random.key(0), 20)
    kernels = jax.vmap(lambda key: networks.orthogonal(2.0)(key, shape))(keys)
    matrices = np.asarray(kernels).reshape(20, -1, shape[-1])
    if matrices.shape[1] < matrices.shape[2]:
        matrices = matrices.swapaxes(1, 2)
    products = matrices.swapaxes(1, 2) @ matrices
    identity = np.eye(products.shape[-1])
    np.testing.assert_allclose(products, np.broadcast_to(4.0 * identity, products.shape), atol=1e-4)
    np.testing.assert_allclose(np.square(matrices).mean(), 4.0 / matrices.shape[1], rtol=1e-4)
    assert abs(matrices.mean()) < 4 * 2.0 / np.sqrt(matrices.size * matrices.shape[1])


def test_many_seeds_on_two_devices_begin():
    """A decomposition in the initial weights was seen to hang here: so with a time limit."""
    source = """
import jax, numpy as np
from dl_lectures.rl import ppo
from dl_lectures.training import devices, trainer
from dl_lectures.training.options import Options
devices.configure(Options(workdir=".", num_devices=2))
mesh = devices.make_mesh(8)
with jax.set_mesh(mesh):
    config = ppo.Config(num_envs=2, num_steps=4, num_minibatches=1)
    init = trainer.make_programs(ppo.make(config), mesh, ()).init
    seeds = jax.device_put(np.arange(8, dtype=np.uint32), devices.over_seeds(mesh))
    jax.block_until_ready(init(seeds))
print("begun")
"""
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.endswith("begun\n"), done.stderr
