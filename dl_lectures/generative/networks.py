"""Networks of the generative models, in flax.linen."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dl_lectures import convolution

_DCGAN_SCALE = 0.02  # of weights at first: Radford et al. (2015), section 4


@jax.custom_vjp
def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """x @ w for x [..., D] and w [D, E], with a backward pass that keeps the layout of w.

    The transposed rule of a product that is vmapped over seeds gives the gradient of w as
    [E, D], which the optimizer then reads against its grain; and XLA's CPU product of g with the
    transpose of w is slow. Both cost a fifth of a step of the 784-400-20 VAE.
    """
    return x @ w


def _product_fwd(x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x @ w, (x, w)


def _product_bwd(
    residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, w = residuals
    x_rows, g_rows = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])  # [B, D], [B, E]
    # The barrier keeps XLA from turning w g^T back into g w^T.
    dx = lax.optimization_barrier(_contract(w, g_rows, axis=1)).T  # [B, D]
    return dx.reshape(x.shape), _contract(x_rows, g_rows, axis=0)


def _contract(a: jax.Array, b: jax.Array, axis: int) -> jax.Array:
    """The product of two matrices over the same axis of both."""
    return lax.dot_general(a, b, (((axis,), (axis,)), ((), ())))


product.defvjp(_product_fwd, _product_bwd)


def _dot_general(x: jax.Array, w: jax.Array, dimension_numbers: Any, precision: Any) -> jax.Array:
    """What a linen layer calls, always for x's last axis and w's first."""
    del dimension_numbers, precision
    return product(x, w)


Dense = functools.partial(nn.Dense, dot_general=_dot_general)


class Encoder(nn.Module):
    """Pixels to the mean and the logarithm of the variance of each latent variable."""

    hidden_sizes: tuple[int, ...]  # H of each hidden layer; none: a linear map
    num_latents: int  # L
    activation: str  # a function of flax.linen

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps x, [..., P], to two arrays [..., L]."""
        h = _hidden_layers(x, self.hidden_sizes, self.activation)
        mean = Dense(self.num_latents, name="mean")(h)
        return mean, Dense(self.num_latents, name="log_variance")(h)


class Decoder(nn.Module):
    """Latent variables to one number a pixel: its logit, or the centre of its law."""

    hidden_sizes: tuple[int, ...]  # H of each hidden layer; none: a linear map
    num_pixels: int  # P
    activation: str  # a function of flax.linen

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps z, [..., L], to [..., P]."""
        h = _hidden_layers(z, self.hidden_sizes, self.activation)
        return Dense(self.num_pixels, name="logits")(h)


def _hidden_layers(x: jax.Array, sizes: Sequence[int], activation: str) -> jax.Array:
    for i, size in enumerate(sizes):
        name = f"hidden_{i}" if i else "hidden"
        x = getattr(nn, activation)(Dense(size, name=name)(x))
    return x


class ConvEncoder(nn.Module):
    """As `Encoder`, of square images that two layers of 4 x 4 filters of stride 2 see first."""

    conv_channels: int  # C, filters of the first layer; the second has twice as many
    hidden_sizes: tuple[int, ...]  # H of each hidden layer after them
    num_latents: int  # L
    activation: str  # a function of flax.linen

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps x, [..., P], to two arrays [..., L]."""
        side = math.isqrt(x.shape[-1])
        h = x.reshape(-1, side, side, 1)
        for i, channels in enumerate((self.conv_channels, 2 * self.conv_channels)):
            h = getattr(nn, self.activation)(_halved(self, i, h, size=4, channels=channels))
        h = h.reshape(*x.shape[:-1], -1)
        encoder = Encoder(self.hidden_sizes, self.num_latents, self.activation, name="top")
        return encoder(h)


class ConvDecoder(nn.Module):
    """The mirror image of `ConvEncoder`: as `Decoder`, of square images."""

    conv_channels: int  # C, filters of the last layer but one; the one before has twice as many
    hidden_sizes: tuple[int, ...]  # H of each hidden layer before them
    num_pixels: int  # P
    activation: str  # a function of flax.linen

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps z, [..., L], to [..., P]."""
        side, channels = math.isqrt(self.num_pixels) // 4, 2 * self.conv_channels
        bottom = Decoder(self.hidden_sizes, side**2 * channels, self.activation, name="bottom")
        h = bottom(z).reshape(-1, side, side, channels)
        for i, channels in enumerate((self.conv_channels, 1)):
            h = getattr(nn, self.activation)(h)
            shape = (4, 4, channels, h.shape[-1])
            # Each pixel gets a quarter of the kernel's 4 x 4.
            fan_in = nn.initializers.variance_scaling(4.0, "fan_in", "truncated_normal", 2, 3)
            kernel = self.param(f"conv_{i}", fan_in, shape)
            bias = self.param(f"conv_bias_{i}", nn.initializers.zeros, (channels,))
            h = convolution.conv_transpose(h, kernel, stride=2, padding="SAME")
            h += _expand(bias, h.ndim)
        return h.reshape(*z.shape[:-1], self.num_pixels)


def _halved(net: nn.Module, i: int, h: jax.Array, size: int, channels: int) -> jax.Array:
    """The i-th convolution of a network, with biases: [..., H, W, C] -> [..., H / 2, W / 2, F]."""
    shape = (size, size, h.shape[-1], channels)
    kernel = net.param(f"conv_{i}", nn.initializers.lecun_normal(), shape)
    bias = net.param(f"conv_bias_{i}", nn.initializers.zeros, shape[-1:])
    return convolution.conv(h, kernel, stride=2, padding="SAME") + _expand(bias, h.ndim)


def _expand(bias: jax.Array, num_axes: int) -> jax.Array:
    return bias.reshape((1,) * (num_axes - 1) + bias.shape)


class Perceptron(nn.Module):
    """Hidden layers of ReLUs: either player of a GAN on points, where a label is more input.

    Its layers are plain ones: in so small nets `product` was measured to save nothing, with a
    gradient penalty or without.
    """

    hidden_sizes: tuple[int, ...]  # H of each hidden layer
    num_outputs: int  # E; 0: a single number without an axis of its own

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Maps x, [..., D], and one-hot labels, [..., C] or None, to [..., E], or [...]."""
        h = x if labels is None else jnp.concatenate([x, labels], axis=-1)
        for i, size in enumerate(self.hidden_sizes):
            h = nn.relu(nn.Dense(size, name=f"hidden_{i}")(h))
        y = nn.Dense(self.num_outputs or 1, name="output")(h)
        return y if self.num_outputs else y[..., 0]


class ConvGenerator(nn.Module):
    """The forger of DCGAN, Radford et al. (2015), arXiv:1511.06434: noise to square grey pictures.

    Transposed convolutions of 4 x 4 filters and stride 2, each but the last followed by batch
    normalisation and a ReLU; the last by tanh. Statistics are always those of the batch at hand, so
    that there is nothing to carry along and an average of parameters needs none of its own; draw
    pictures by the batch.
    """

    channels: tuple[int, ...]  # filters of each layer's smaller picture, from the largest on
    side: int  # H = W of the pictures, 2^len(channels) times that of the first layer
    batch_norm: bool = True

    @nn.compact
    def __call__(self, z: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Maps z, [B, L], and one-hot labels, [B, C] or None, to [B, H, W, 1] in (-1, 1)."""
        side = self.side >> len(self.channels)
        h = z if labels is None else jnp.concatenate([z, labels], axis=-1)
        init = nn.initializers.normal(_DCGAN_SCALE)
        h = Dense(side**2 * self.channels[-1], kernel_init=init, name="bottom")(h)
        h = h.reshape(-1, side, side, self.channels[-1])
        for i, channels in enumerate((*self.channels[-2::-1], 1)):
            if self.batch_norm:
                h = BatchNorm(name=f"norm_{i}")(h)
            h = nn.relu(h)
            kernel = self.param(f"conv_{i}", init, (4, 4, channels, h.shape[-1]))
            h = convolution.conv_transpose(h, kernel, stride=2, padding="SAME")
        return jnp.tanh(h + _expand(self.param("bias", nn.initializers.zeros, (1,)), h.ndim))


class ConvDiscriminator(nn.Module):
    """The policeman of DCGAN: convolutions of 4 x 4 filters and stride 2, and leaky ReLUs.

    A label's picture of features is held against those of the sample: the projection of Miyato and
    Koyama (2018), arXiv:1802.05637, equation 3. With batch normalisation, which is off by default,
    the logit of a sample depends on the batch; penalties on slopes then mean little.
    """

    channels: tuple[int, ...]  # filters of each layer
    batch_norm: bool = False  # of each layer but the first, which would lose how dark a picture is

    @nn.compact
    def __call__(self, x: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Maps x, [B, H, W, 1] in [-1, 1], and one-hot labels, [B, C] or None, to logits [B]."""
        h, init = x, nn.initializers.he_normal()
        if self.batch_norm:
            init = nn.initializers.normal(_DCGAN_SCALE)
        for i, channels in enumerate(self.channels):
            kernel = self.param(f"conv_{i}", init, (4, 4, h.shape[-1], channels))
            h = convolution.conv(h, kernel, stride=2, padding="SAME")
            if self.batch_norm and i:
                h = BatchNorm(name=f"norm_{i}")(h)
            else:
                bias = self.param(f"conv_bias_{i}", nn.initializers.zeros, (channels,))
                h += _expand(bias, h.ndim)
            h = nn.leaky_relu(h, 0.2)
        h = h.reshape(len(h), -1)
        logits = Dense(1, name="output")(h)[..., 0]
        if labels is None:
            return logits
        return logits + (Dense(h.shape[-1], use_bias=False, name="of_label")(labels) * h).sum(-1)


class BatchNorm(nn.Module):
    """Batch normalisation by the statistics of the batch, Ioffe and Szegedy (2015), algorithm 1."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, [..., C], to channels of mean `offset` and standard deviation `scale`."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        offset = self.param("offset", nn.initializers.zeros, x.shape[-1:])
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes, keepdims=True)
        # One pass over x in place of two; x is a product's output, of mean near 0.
        variance = jnp.maximum(jnp.square(x).mean(axes, keepdims=True) - jnp.square(mean), 0.0)
        factor = _expand(scale, x.ndim) * lax.rsqrt(variance + self.epsilon)
        return x * factor + (_expand(offset, x.ndim) - mean * factor)


class Classifier(nn.Module):
    """Images to the logits of their classes and the features that these are made from."""

    conv_channels: int  # filters of the first layer; the second has twice as many
    num_features: int  # F
    num_classes: int  # C

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps x, [..., H, W], to logits [..., C] and features [..., F]."""
        h = x[..., None]
        for i, channels in enumerate((self.conv_channels, 2 * self.conv_channels)):
            h = nn.relu(_halved(self, i, h, size=3, channels=channels))
        h = h.reshape(*x.shape[:-2], -1)
        # Unlike a ReLU, it leaves no unit without a gradient, and so no feature without a variance.
        features = nn.gelu(Dense(self.num_features, name="features")(h))
        return Dense(self.num_classes, name="logits")(features), features
