"""Laws of pixels given what a decoder says of each: negative log-likelihoods in nats an image.

P: pixels.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax


def bernoulli(logits: jax.Array, x: jax.Array) -> jax.Array:
    """The cross-entropy, [...], of grey values x in [0, 1] under logits, [..., P].

    log(1 + e^logit) - x logit: optax.sigmoid_binary_cross_entropy with one logarithm a pixel, not
    two.
    """
    return (jax.nn.softplus(logits) - x * logits).sum(-1)


def gaussian(mean: jax.Array, log_scale: jax.Array, x: jax.Array) -> jax.Array:
    """Of normal pixels with a common standard deviation, [...]; a density, which may exceed 1.

    Args:
        mean: [..., P].
        log_scale: [], the logarithm of the standard deviation.
        x: [..., P].
    """
    squares = jnp.square((x - mean) * jnp.exp(-log_scale)).sum(-1)
    return 0.5 * squares + x.shape[-1] * (log_scale + 0.5 * math.log(2 * math.pi))


def discretized_logistic(
    centre: jax.Array, log_scale: jax.Array, x: jax.Array, num_levels: int
) -> jax.Array:
    """Of pixels on levels, each the mass of a logistic law between half-way points, [...].

    Kingma et al. (2016), arXiv:1606.04934, section 5.2. The tails belong to the two ends, as in
    Salimans et al. (2017), arXiv:1701.05517, equation 2, so that the levels' masses sum to 1.
    With a and b the standardised ends of a level, sigmoid(b) - sigmoid(a) is
    sigmoid(b) sigmoid(-a) (1 - e^(a - b)), which loses no digits.

    Args:
        centre: of the law, [..., P].
        log_scale: [], the logarithm of its scale.
        x: grey values, [..., P], multiples of 1 / (num_levels - 1) in [0, 1].
        num_levels: how many there are.
    """
    half = 0.5 / (num_levels - 1)
    inverse_scale = jnp.exp(-log_scale)
    above = jax.nn.softplus(-(x + half - centre) * inverse_scale)  # -log sigmoid(b)
    below = jax.nn.softplus((x - half - centre) * inverse_scale)  # -log sigmoid(-a)
    inner = jnp.log(-jnp.expm1(-2 * half * inverse_scale))
    is_low, is_high = x < half, x > 1 - half
    mass = jnp.where(is_low, above, jnp.where(is_high, below, above + below - inner))
    return mass.sum(-1)


def binarise(key: jax.Array, x: jax.Array) -> jax.Array:
    """Draws pixels that are 1 with the probability x, [..., P] in [0, 1]; the key is consumed.

    Half of a 32-bit word each, at half the price of a uniform number: the probability is rounded
    up by 2^-16 at most, and 0 and 1 are exact.
    """
    num_pixels = x.shape[-1]
    words = jax.random.bits(key, (*x.shape[:-1], -(-num_pixels // 2)))
    halves = lax.bitcast_convert_type(words, jnp.uint16)  # [..., P / 2, 2]
    halves = halves.reshape(*x.shape[:-1], -1)[..., :num_pixels]
    return (halves.astype(jnp.float32) < x * 2.0**16).astype(jnp.float32)
