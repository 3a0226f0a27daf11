"""Networks of the generative models, in flax.linen."""

import functools
from typing import Any

import flax.linen as nn
import jax
from jax import lax


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

    num_hidden: int  # H
    num_latents: int  # L
    activation: str  # a function of flax.linen

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps x, [..., P], to two arrays [..., L]."""
        h = getattr(nn, self.activation)(Dense(self.num_hidden, name="hidden")(x))
        mean = Dense(self.num_latents, name="mean")(h)
        return mean, Dense(self.num_latents, name="log_variance")(h)


class Decoder(nn.Module):
    """Latent variables to the logit of each pixel."""

    num_hidden: int  # H
    num_pixels: int  # P
    activation: str  # a function of flax.linen

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Maps z, [..., L], to logits [..., P]."""
        h = getattr(nn, self.activation)(Dense(self.num_hidden, name="hidden")(z))
        return Dense(self.num_pixels, name="logits")(h)
