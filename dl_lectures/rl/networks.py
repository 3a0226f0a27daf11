"""Networks of one observation, to values of actions or to a policy; batch with vmap."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dl_lectures import convolution
from dl_lectures.learner import Key
from dl_lectures.rl import distributions


def orthogonal(scale: float) -> Callable[..., jax.Array]:
    """Returns the initialiser of kernels whose columns, or rows, are orthogonal: scale * Q.

    Saxe et al. (2014), arXiv:1312.6120. Q is the orthogonal factor of a matrix of normal numbers,
    drawn to it by x (3 - x^T x) / 2 (Newton and Schulz), products alone. The library's own takes a
    QR decomposition, and of those, several on each of two CPU devices were seen to wait for each
    other without end.
    """

    def init(key: Key, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        num_rows, num_columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(num_rows, num_columns), min(num_rows, num_columns))
        x = jax.random.normal(key, tall, dtype)
        x /= jnp.sqrt(jnp.square(x).sum())  # no singular value is above 1
        # The smallest, 1e-5 or so, grows by 1.5 each time until it is near 1, and then fast.
        x = jax.lax.fori_loop(0, 60, lambda _, x: 1.5 * x - 0.5 * x @ (x.T @ x), x)
        return scale * (x if num_rows >= num_columns else x.T).reshape(shape)

    return init


class Torso(nn.Module):
    """Hidden layers: obs [...] -> features [U], U the units of the last one.

    A picture [H, W, C] goes through `conv_channels` filters of 3 x 3 first, where there are any, as
    in Young & Tian (2019), arXiv:1903.03176; all else is flattened.
    """

    hidden_sizes: Sequence[int]
    conv_channels: int = 0  # 0: no convolution
    activation: str = "relu"  # or "tanh"
    layer_norm: bool = False  # of each layer before its activation, Ba et al. (2016)
    initial_scale: float = 0.0  # of orthogonal kernels; 0: the library's own (LeCun normal)

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        """Returns the features; raises ValueError where a convolution gets no picture."""
        activation = {"relu": nn.relu, "tanh": nn.tanh}[self.activation]
        kernel_init = nn.initializers.lecun_normal()
        if self.initial_scale:
            kernel_init = orthogonal(self.initial_scale)
        x = obs.astype(jnp.float32)
        if self.conv_channels:
            if x.ndim != 3:
                raise ValueError(
                    f"--conv_channels={self.conv_channels} needs pictures [H, W, C], and an "
                    f"observation is {list(x.shape)}; set it to 0."
                )
            shape = (3, 3, x.shape[-1], self.conv_channels)
            x = convolution.conv(x, self.param("conv_kernel", kernel_init, shape))
            x += self.param("conv_bias", nn.initializers.zeros, (1, 1, shape[-1]))
            x = activation(self._norm(x))
        x = x.ravel()
        for size in self.hidden_sizes:
            x = activation(self._norm(nn.Dense(size, kernel_init=kernel_init)(x)))
        return x

    def _norm(self, x: jax.Array) -> jax.Array:
        return nn.LayerNorm()(x) if self.layer_norm else x


class ActorCritic(nn.Module):
    """A policy and a value: obs [...] -> the law of the action, and the value [].

    Weights are orthogonal at first, scaled by sqrt(2) in the hidden layers, by 0.01 for the policy,
    so that all actions are about as probable, and by 1 for the value (Huang et al., 2022, "The 37
    implementation details of proximal policy optimization", detail 2).
    """

    hidden_sizes: Sequence[int]
    num_actions: int  # A; 0: actions are continuous,
    num_dims: int = 0  # D numbers each, of a spread that does not depend on the observation
    conv_channels: int = 0
    activation: str = "tanh"  # or "relu"
    shared: bool = False  # one torso for both

    @nn.compact
    def __call__(
        self, obs: jax.Array
    ) -> tuple[distributions.Categorical | distributions.Gaussian, jax.Array]:
        """Returns the law and the value."""

        def torso(name: str) -> Torso:
            return Torso(
                self.hidden_sizes,
                self.conv_channels,
                self.activation,
                initial_scale=2.0**0.5,
                name=name,
            )

        of_policy = of_value = torso("torso")(obs)
        if not self.shared:
            of_value = torso("value_torso")(obs)
        value = nn.Dense(1, kernel_init=orthogonal(1.0), name="value")(of_value)
        size = self.num_actions or self.num_dims
        out = nn.Dense(size, kernel_init=orthogonal(0.01), name="policy")(of_policy)
        if self.num_actions:
            return distributions.Categorical(out), value[0]
        log_std = self.param("log_std", nn.initializers.zeros, (self.num_dims,))
        return distributions.Gaussian(out, log_std), value[0]


class WithHead(nn.Module):
    """A linear layer on the features of a torso: obs [...] -> [Q]."""

    torso: Torso
    size: int  # Q

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        """Returns the outputs."""
        return nn.Dense(self.size)(self.torso(obs))


class NoisyDense(nn.Module):
    """A linear layer whose weights are disturbed by noise of a learned size: x [P] -> [Q].

    Fortunato et al. (2018), arXiv:1706.10295, factorised noise (equations 10 and 11). The disturbed
    weights are never formed: with f = f(noise) of the inputs and g of the outputs,
    (W + S * (f g^T)) x = W x + g * (S (f * x)), so that every row of a batch may have its own.
    """

    size: int  # Q
    scale: float  # sigma_0, 0.5 in the paper

    @nn.compact
    def __call__(self, x: jax.Array, noise: jax.Array | None) -> jax.Array:
        """Returns the layer's output; `noise` is [P + Q] of `draw_noise`, or None for none."""
        spread = x.size**-0.5

        def uniform(key: jax.Array, shape: Sequence[int]) -> jax.Array:
            return jax.random.uniform(key, shape, minval=-spread, maxval=spread)

        learned = nn.initializers.constant(self.scale * spread)
        y = x @ self.param("kernel", uniform, (x.size, self.size))
        y += self.param("bias", uniform, (self.size,))
        kernel_sigma = self.param("kernel_sigma", learned, (x.size, self.size))
        bias_sigma = self.param("bias_sigma", learned, (self.size,))
        if noise is None:
            return y
        of_inputs, of_outputs = noise[: x.size], noise[x.size :]
        return y + of_outputs * ((of_inputs * x) @ kernel_sigma + bias_sigma)


class QNetwork(nn.Module):
    """Values of all actions, or their distributions: obs [...] -> [A], or [A, M] with M atoms.

    What an atom is - a logit or a quantile - is the loss's business. The head is the last hidden
    layer and the output; it is what the switches change.
    """

    hidden_sizes: Sequence[int]
    num_actions: int  # A
    conv_channels: int = 0  # of the torso
    layer_norm: bool = False  # likewise
    num_atoms: int = 0  # M; 0: one value for each action
    dueling: bool = False  # two heads, value and advantage (Wang et al., 2016, arXiv:1511.06581)
    noise_scale: float = 0.0  # sigma_0 of noisy layers in the head; 0: none are noisy

    @nn.compact
    def __call__(self, obs: jax.Array, noise: jax.Array | None = None) -> jax.Array:
        """Returns the values; `noise` is what `draw_noise` gives, or None for the mean weights."""
        torso = Torso(self.hidden_sizes[:-1], self.conv_channels, layer_norm=self.layer_norm)
        x = torso(obs)
        width = max(1, self.num_atoms)
        advantages, noise = self._head(x, self.num_actions * width, noise)
        q = advantages.reshape(self.num_actions, width)
        if self.dueling:
            value, _ = self._head(x, width, noise)
            q = value[None] + q - q.mean(0, keepdims=True)  # equation 9 of Wang et al.
        return q if self.num_atoms else q[:, 0]

    def _head(self, x: jax.Array, size: int, noise: jax.Array | None):
        """A hidden layer and an output: the output, and the noise that is left."""
        hidden, noise = self._layer(x, self.hidden_sizes[-1], noise)
        return self._layer(nn.relu(hidden), size, noise)

    def _layer(self, x: jax.Array, size: int, noise: jax.Array | None):
        if not self.noise_scale:
            return nn.Dense(size)(x), noise
        layer = NoisyDense(size, self.noise_scale)
        if noise is None:
            return layer(x, None), None
        used = x.size + size
        return layer(x, noise[:used]), noise[used:]


def num_noise(params: Any) -> int:
    """How many noise variables a network's noisy layers take in all; 0 without such layers."""
    found = jax.tree_util.tree_leaves_with_path(params)
    return sum(
        sum(leaf.shape)
        for path, leaf in found
        if jax.tree_util.keystr(path).endswith("_sigma']") and leaf.ndim == 2
    )


def draw_noise(key: Key, shape: Sequence[int]) -> jax.Array:
    """Draws f(noise) = sign(noise) sqrt|noise| of standard normal noise. The key is consumed."""
    noise = jax.random.normal(key, shape)
    return jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))
