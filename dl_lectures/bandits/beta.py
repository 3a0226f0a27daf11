"""Beta variates in bulk: pairs of gammas by Marsaglia & Tsang (2000, doi:10.1145/358407.358414).

A gamma variate of shape s >= 1 is d v with d = s - 1/3 and v = (1 + x / sqrt(9 d))^3, x normal; it
is accepted with probability alpha = exp(x^2 / 2 + d - d v + d log v). `jax.random.beta` does so one
variate at a time. Here most are settled at once by one random word each, and without a logarithm:

- 23 bits of the word make x, the other 9 make w, and u lies in [w, w + 1) / 512;
- with y = x / sqrt(9 d), alpha >= 1 - t for t = 0.75 d y^4 / (1 + min(y, 0)), by the series of
  log(1 + y);
- so w + 1 <= 512 (1 - t) accepts, whatever the remaining bits of u are.

What this does not settle, about one word in a hundred, is decided exactly with more bits of u, one
variate of each run at a time. The law is that of the paper up to the 23 bits of x.

K: variates of a run (its arms), N: runs, B: steps that are drawn at once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dl_lectures.learner import Key


class BetaLuck(NamedTuple):
    """The random numbers of B steps; of one step, without the leading axis."""

    normal: jax.Array  # [B, 2 K, N], x
    spare: jax.Array  # [B, 2 K, N], w in 0 ... 511, float32
    key: jax.Array  # keys [B], of what is decided later
    boost: jax.Array | None  # [B, 2 K, N], exponential; for parameters below 1


def draw_beta(
    key: Key, num_steps: int, num_arms: int, num_runs: int, below_one: bool = False
) -> BetaLuck:
    """Draws the luck of K variates a run and step.

    Args:
      key: is consumed.
      num_steps: B.
      num_arms: K.
      num_runs: N.
      below_one: whether a parameter may be less than 1, which takes more numbers.
    """
    key_words, key_later, key_boost = jax.random.split(key, 3)
    shape = (num_steps, 2 * num_arms, num_runs)
    normal, spare = _normal_and_spare(jax.random.bits(key_words, shape))
    return BetaLuck(
        normal,
        spare,
        jax.random.split(key_later, num_steps),
        jax.random.exponential(key_boost, shape) if below_one else None,
    )


def draw_for(a: float, b: float) -> Partial:
    """Returns the `draw_beta` of parameters that are at least a and b, for `policies.Policy`."""
    return Partial(_draw_beta_below_one if min(a, b) < 1 else draw_beta)


def _draw_beta_below_one(key: Key, num_steps: int, num_arms: int, num_runs: int) -> BetaLuck:
    return draw_beta(key, num_steps, num_arms, num_runs, below_one=True)


def sample_beta(luck: BetaLuck, a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns variates of Beta(a, b), [K, N]; NaN where a parameter is not positive.

    Args:
      luck: of one step, from `draw_beta`.
      a: [K, N], above 10^-30; at least 1 if the luck was drawn without `below_one`. Below about
        0.1 many variates are so near 0 or 1 that float32 takes them for 0 and 1.
      b: [K, N], as a.
    """
    shapes = jnp.concatenate([a, b])
    if luck.boost is None:
        gammas = _gammas(luck, shapes)
    else:  # G(s) = G(s + 1) U^(1 / s); what both gammas share cancels, before it underflows
        is_small = shapes < 1
        log_boost = jnp.where(is_small, -luck.boost / shapes, 0.0)
        shared = jnp.maximum(*jnp.split(log_boost, 2))
        boost = jnp.exp(log_boost - jnp.concatenate([shared, shared]))
        gammas = _gammas(luck, shapes + is_small) * boost
    first, second = jnp.split(gammas, 2)
    return first / jnp.maximum(first + second, jnp.finfo(jnp.float32).tiny)


def _normal_and_spare(words: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits words of 32 bits into a normal number of 23 and a number in 0 ... 511."""
    return jnp.sqrt(2.0) * jax.lax.erf_inv(2 * _uniform(words) - 1), (words & 511).astype(
        jnp.float32
    )


def _gammas(luck: BetaLuck, shapes: jax.Array) -> jax.Array:
    """Gamma variates of the shapes, at least 1, [2 K, N]."""
    d = shapes - 1 / 3
    y = luck.normal * jax.lax.rsqrt(9 * d)
    settled = (y > -1) & (luck.spare + 1 <= 512 * (1 - _doubt(d, y)))
    settled |= ~(d > 0)  # no gamma has such a shape: NaN, instead of trying for ever
    rows = jnp.arange(len(shapes), dtype=jnp.int32)[:, None]

    def first_open(after: jax.Array) -> jax.Array:
        """The first variate after this one, in each run, that is not settled; 2 K if none is."""
        is_open = ~settled & (rows > after[None])
        return jnp.where(is_open, rows, len(rows)).min(0)

    def settle(carry):
        """Decides on one open variate of each run, and tries once more where it is rejected."""
        key, gammas, row, is_tried = carry
        key_next, key_now = jax.random.split(key)
        words = jax.random.bits(key_now, (3, len(row)))
        d_one, normal, spare = (
            jnp.take_along_axis(values, jnp.minimum(row, len(rows) - 1)[None], 0)[0]
            for values in (d, luck.normal, luck.spare)
        )
        is_good = _accepts(d_one, normal, (spare + _uniform(words[0])) / 512) & ~is_tried
        other, _ = _normal_and_spare(words[1])
        is_good_now = is_good | _accepts(d_one, other, _uniform(words[2]))
        gamma = _gamma(d_one, jnp.where(is_good, normal, other))
        found = (rows == row[None]) & is_good_now[None]
        return (
            key_next,
            jnp.where(found, gamma[None], gammas),
            jnp.where(is_good_now, first_open(row), row),
            ~is_good_now,
        )

    row = first_open(jnp.full(shapes.shape[1:], -1, jnp.int32))

    def is_any_open(carry):
        return (carry[2] < len(rows)).any()

    carry = (luck.key, jnp.where(d > 0, d * (1 + y) ** 3, jnp.nan), row, jnp.zeros(row.shape, bool))
    return jax.lax.while_loop(is_any_open, settle, carry)[1]


def _uniform(words: jax.Array) -> jax.Array:
    """Numbers in (0, 1) of 23 bits."""
    return ((words >> 9).astype(jnp.float32) + 0.5) * 2.0**-23


def _gamma(d: jax.Array, normal: jax.Array) -> jax.Array:
    return d * (1 + normal * jax.lax.rsqrt(9 * d)) ** 3


def _doubt(d: jax.Array, y: jax.Array) -> jax.Array:
    """Returns t, not less than 1 - alpha where y > -1."""
    return 0.75 * d * (y * y) * (y * y) / (1 + jnp.minimum(y, 0))


def _accepts(d: jax.Array, normal: jax.Array, u: jax.Array) -> jax.Array:
    """Whether u < alpha; 1 - v and log v are written by y, which is small where d is large."""
    y = normal * jax.lax.rsqrt(9 * d)
    log_alpha = normal * normal / 2 + d * (3 * jnp.log1p(y) - y * (3 + y * (3 + y)))
    return (y > -1) & (jnp.log(u) < log_alpha)
