"""Optimism in the face of uncertainty: pull the arm whose mean could be the greatest (slide 21).

UCB1, UCB-V, KL-UCB, MOSS and Bayes-UCB. Each pulls the arm of the greatest index, an upper bound of
its mean; the first of several. Arms that were never pulled come first, in order. Logarithms are of
t, the pulls so far, unless a docstring says otherwise.

K: arms, N: runs, n: pulls of an arm. Arrays are [K, N].
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dl_lectures.bandits import arms, checks, policies
from dl_lectures.bandits.policies import Averages, Policy

# Two steps of Newton's method from the starts below leave nothing of float32 to gain: the tests
# compare with float64 from n = 1 to 10^6.
_NEWTON_STEPS = 2
_FRACTION_PAIRS = 4  # of the continued fraction of the Beta tail; likewise


def ucb1(c: float = math.sqrt(2)) -> Policy:
    """Index Q + c sqrt(log t / n), for rewards in [0, 1].

    Auer, Cesa-Bianchi & Fischer (2002, doi:10.1023/A:1013689704352), figure 1, has c = sqrt(2). The
    UCB of Sutton & Barto (2018), (2.10), is the same rule, in figure 2.4 with c = 2; their t counts
    also the pull that is being chosen.

    Args:
      c: how much it explores, in units of the reward; at least 0, which is greedy.

    Raises:
      ValueError: a c out of its range.
    """
    checks.at_least("c", c, 0)
    return _averaging(Partial(_select_ucb1, c))


def _select_ucb1(c: float, state: Averages, luck: jax.Array) -> jax.Array:
    del luck
    return unpulled_first(state, state.means + c * jnp.sqrt(_log(state.t)) * _widths(state))


class Moments(NamedTuple):
    """What each arm has paid so far, and how much that varied."""

    averages: Averages
    squares: jax.Array  # [K, N], sum of squared deviations from the average


def ucb_v(zeta: float = 1.2, c: float = 1.0, bound: float = 1.0) -> Policy:
    """Index Q + sqrt(2 V E / n) + 3 c bound E / n with E = zeta log t, V the empirical variance.

    Audibert, Munos & Szepesvari (2009, doi:10.1016/j.tcs.2009.01.016), with the exploration
    function and the zeta of their logarithmic bound. V divides by n; t counts the pull that is
    being chosen.

    Args:
      zeta: of the exploration function, positive; above 1 in their theorems.
      c: positive; 1 in their theorems.
      bound: b, rewards lie in [0, b].

    Raises:
      ValueError: an argument is not positive.
    """
    for name, value in (("zeta", zeta), ("c", c), ("bound", bound)):
        checks.positive(name, value)
    return Policy(
        init=Partial(_init_moments),
        draw=Partial(policies.draw_nothing),
        select=Partial(_select_ucb_v, zeta, 3 * c * bound),
        update=Partial(_update_moments),
    )


def _init_moments(num_arms: int, num_runs: int) -> Moments:
    averages = policies.init_averages(num_arms, num_runs)
    return Moments(averages, jnp.zeros_like(averages.means))


def _select_ucb_v(zeta: float, range_factor: float, state: Moments, luck: jax.Array) -> jax.Array:
    del luck
    averages = state.averages
    per_pull = 1 / jnp.maximum(averages.counts, 1)
    exploration = zeta * _log(averages.t + 1) * per_pull  # E / n
    spread = jnp.sqrt(2 * exploration * state.squares * per_pull)
    return unpulled_first(averages, averages.means + spread + range_factor * exploration)


def _update_moments(state: Moments, arm: jax.Array, reward: jax.Array) -> Moments:
    averages = policies.averaged(state.averages, arm, reward)
    chosen = arms.one_hot(arm, len(averages.counts))
    # Welford (1962): the deviations from the average before and after.
    product = (reward[None] - state.averages.means) * (reward[None] - averages.means)
    return Moments(averages, state.squares + jnp.where(chosen, product, 0.0))


def kl_ucb(
    c: float = 0.0,
    family: Literal["bernoulli", "gaussian", "exponential"] = "bernoulli",
    scale: float = 1.0,
) -> Policy:
    """Index max{q: n KL(Q, q) <= log t + c log log t}.

    Garivier & Cappe (2011, arXiv:1102.2490), algorithm 1. Their theorem has c = 3, and they
    recommend c = 0 in practice. A negative right-hand side, at small t, counts as 0.

    Args:
      c: at least 0.
      family: whose divergence; "bernoulli" is right for all rewards in [0, 1], "exponential" for
        exponentially distributed rewards, "gaussian" for those of known variance,
        where it is `ucb1(sqrt(2) scale)` if c is 0.
      scale: standard deviation of a reward of the Gaussian family, positive.

    Raises:
      ValueError: an argument is out of its range, or a scale given to another family.
    """
    checks.at_least("c", c, 0)
    checks.positive("scale", scale)
    _check_family(family, ("bernoulli", "gaussian", "exponential"), scale)
    upper = {
        "bernoulli": Partial(bernoulli_upper),
        "gaussian": Partial(gaussian_upper, scale),
        "exponential": Partial(exponential_upper),
    }[family]
    return _averaging(Partial(_select_kl_ucb, upper, c))


def _select_kl_ucb(upper: Partial, c: float, state: Averages, luck: jax.Array) -> jax.Array:
    del luck
    log_t = _log(jnp.maximum(state.t, 2))
    level = jnp.maximum(log_t + c * jnp.log(log_t), 0)
    return unpulled_first(state, upper(state.means, level / jnp.maximum(state.counts, 1)))


def bernoulli_upper(means: jax.Array, divergences: jax.Array) -> jax.Array:
    """Returns the greatest q with p log(p / q) + (1 - p) log((1 - p) / (1 - q)) <= divergence.

    Newton's method in u = log((1 - p) / (1 - q)), which has no upper end and in which the
    divergence is convex, and almost linear where it is large: whatever the start, the first step
    ends above the root, and the others come down to it.

    Args:
      means: p, in [0, 1].
      divergences: nats, at least 0, of the same shape.
    """
    p = jnp.clip(means, 1e-12, 1 - 2.0**-24)
    complement = 1 - p
    target = divergences / complement
    # The root's series in sqrt(divergence) to second order.
    u = jnp.sqrt(2 * target * p) + target * (2 - p) / 3
    u = jnp.maximum(u, jnp.finfo(u.dtype).tiny)
    for _ in range(_NEWTON_STEPS):
        shift = -complement * jnp.expm1(-u)  # q - p
        excess = u - p / complement * jnp.log1p(shift / p) - target
        # The derivative of the excess is shift / (complement q).
        u = u - excess * complement * (p + shift) / jnp.maximum(shift, jnp.finfo(u.dtype).tiny)
    return means - (1 - means) * jnp.expm1(-u)


def gaussian_upper(scale: float, means: jax.Array, divergences: jax.Array) -> jax.Array:
    """Returns the greatest q with (p - q)^2 / (2 scale^2) <= divergence.

    Args:
      scale: standard deviation.
      means: p.
      divergences: nats, at least 0.
    """
    return means + scale * jnp.sqrt(2 * divergences)


def exponential_upper(means: jax.Array, divergences: jax.Array) -> jax.Array:
    """Returns the greatest q with p / q - 1 - log(p / q) <= divergence.

    Newton's method in u = log(q / p), in which the divergence is convex.

    Args:
      means: p, positive.
      divergences: nats, at least 0, of the same shape.
    """
    root = jnp.sqrt(2 * divergences)
    # The series to third order is good for small ones, divergence + 1 for great ones.
    u = jnp.minimum(root * (1 + root * (1 / 6 + root / 36)), divergences + 1)
    for _ in range(_NEWTON_STEPS):
        slope = -jnp.expm1(-u)  # 1 - exp(-u)
        excess = (u - slope) - divergences
        u = u - excess / jnp.maximum(slope, jnp.finfo(u.dtype).tiny)
    return means * jnp.exp(u)


def moss(horizon: float) -> Policy:
    """Index Q + sqrt(max(log(horizon / (K n)), 0) / n), for rewards in [0, 1].

    Audibert & Bubeck (2009, "Minimax policies for adversarial and stochastic bandits", COLT):
    within a constant of the least regret in the worst case.

    Args:
      horizon: pulls for which it is set, at least 1.

    Raises:
      ValueError: a horizon below 1.
    """
    checks.at_least("horizon", horizon, 1)
    return _averaging(Partial(_select_moss, float(horizon)))


def _select_moss(horizon: float, state: Averages, luck: jax.Array) -> jax.Array:
    del luck
    return _best_by_moss(1.0, horizon, state)


def moss_anytime(alpha: float = 1.35) -> Policy:
    """MOSS without a horizon: index Q + sqrt((1 + alpha) / 2 max(log(t / (K n)), 0) / n).

    Degenne & Perchet (2016, proceedings.mlr.press/v48/degenne16.html).

    Args:
      alpha: positive; 1.35 is usual.

    Raises:
      ValueError: an alpha that is not positive.
    """
    checks.positive("alpha", alpha)
    return _averaging(Partial(_select_moss_anytime, (1 + alpha) / 2))


def _select_moss_anytime(factor: float, state: Averages, luck: jax.Array) -> jax.Array:
    del luck
    return _best_by_moss(factor, state.t.astype(jnp.float32), state)


def _best_by_moss(factor: float, horizon: float, state: Averages) -> jax.Array:
    counts = jnp.maximum(state.counts, 1)
    level = jnp.log(jnp.maximum(horizon / len(counts) / counts, 1))
    return unpulled_first(state, state.means + jnp.sqrt(factor * level / counts))


def bayes_ucb(
    c: float = 0.0,
    horizon: float | None = None,
    family: Literal["bernoulli", "gaussian"] = "bernoulli",
    scale: float = 1.0,
) -> Policy:
    """Index: the quantile of level 1 - 1 / (t (log horizon)^c) of what is believed of the mean.

    Kaufmann, Cappe & Garivier (2012, proceedings.mlr.press/v22/kaufmann12.html), algorithm 1. Their
    theorem has c = 5, their experiments c = 0. The posterior of Bernoulli arms is Beta from a
    uniform prior; that of Gaussian arms is N(Q, scale^2 / n), from their improper prior. t counts
    the pull that is being chosen. Bernoulli arms need no first pull of each: at first all have the
    same index, and one that nobody pulled keeps a high one.

    Args:
      c: at least 0.
      horizon: above 1; is needed if c is not 0.
      family: of the rewards; "bernoulli" takes rewards between 0 and 1 as fractions of a success.
      scale: standard deviation of a reward of the Gaussian family, positive.

    Raises:
      ValueError: an argument is out of its range or missing, or a scale given to another family.
    """
    checks.at_least("c", c, 0)
    checks.positive("scale", scale)
    _check_family(family, ("bernoulli", "gaussian"), scale)
    if horizon is None:
        if c:
            raise ValueError(f"c = {c} needs a horizon")
        horizon = math.e
    if not 1 < horizon < math.inf:
        raise ValueError(f"horizon must be finite and above 1, not {horizon}")
    offset = c * math.log(math.log(horizon))
    if family == "gaussian":
        return _averaging(Partial(_select_gaussian_quantile, offset, scale))
    return Policy(
        init=Partial(_init_posterior),
        draw=Partial(policies.draw_nothing),
        select=Partial(_select_beta_quantile, offset),
        update=Partial(_update_posterior),
    )


def _select_gaussian_quantile(
    offset: float, scale: float, state: Averages, luck: jax.Array
) -> jax.Array:
    del luck
    quantile = -jax.scipy.special.ndtri(jnp.exp(_log_tail(offset, state.t)))
    return unpulled_first(state, state.means + scale * quantile * _widths(state))


class Posterior(NamedTuple):
    """What is believed of the odds: Beta(a, b)."""

    t: jax.Array  # int32 []
    a: jax.Array  # [K, N], 1 plus rewards
    b: jax.Array  # [K, N], 1 plus what was missing to 1
    log_peaks: jax.Array  # [K, N], `beta_log_peak` of a and b


def _init_posterior(num_arms: int, num_runs: int) -> Posterior:
    ones = jnp.ones((num_arms, num_runs))
    return Posterior(jnp.int32(0), ones, ones, beta_log_peak(ones, ones))


def _select_beta_quantile(offset: float, state: Posterior, luck: jax.Array) -> jax.Array:
    del luck
    # At t = 1 the paper's level is 0; as all arms are equal, that of t = 2 does no harm.
    log_tail = _log_tail(offset, jnp.maximum(state.t, 1))
    return arms.first_best(beta_upper_quantile(log_tail, state.a, state.b, state.log_peaks))


def _update_posterior(state: Posterior, arm: jax.Array, reward: jax.Array) -> Posterior:
    chosen = arms.one_hot(arm, len(state.a))
    a = arms.of_arm(state.a, arm) + reward
    b = arms.of_arm(state.b, arm) + (1 - reward)
    new, old = (a, b, beta_log_peak(a, b)), state[1:]
    return Posterior(
        state.t + 1, *(jnp.where(chosen, x[None], y) for x, y in zip(new, old, strict=True))
    )


def _log_tail(offset: float, t: jax.Array) -> jax.Array:
    """Logarithm of 1 / ((t + 1) (log horizon)^c), and of at most 1 / 2."""
    return jnp.minimum(-_log(t + 1) - offset, -math.log(2))


def beta_upper_quantile(
    log_tail: jax.Array, a: jax.Array, b: jax.Array, log_peaks: jax.Array
) -> jax.Array:
    """Returns x with P(X > x) = exp(log_tail), X of Beta(a, b).

    Newton's method on log P(X > x) in u = log((1 - mean) / (1 - x)), which has no upper end. The
    density of log(1 - X) is log-concave, and so is then its distribution function: whatever the
    start, the first step ends above the root, and the others come down to it.

    Args:
      log_tail: [], at most -log(a + b - 1), which is all that Bayes-UCB asks for: the continued
        fraction has as many terms as that takes.
      a: [K, N], at least 1.
      b: [K, N], at least 1.
      log_peaks: [K, N], `beta_log_peak` of a and b.
    """
    total = a + b
    p, q = a / total, b / total
    u = _quantile_start(log_tail, a, b)
    for _ in range(_NEWTON_STEPS):
        shift = -q * jnp.expm1(-u)  # x - p
        fraction = b * _beta_fraction(b, a, q * jnp.exp(-u))
        log_density = log_peaks + a * jnp.log1p(shift / p) - b * u  # of log(x / (1 - x))
        excess = log_density - jnp.log(fraction) - log_tail
        u = u + excess * (p + shift) / fraction
    return p - q * jnp.expm1(-u)


def beta_log_peak(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns log(p^a q^b / B(a, b)) with p = a / (a + b) and q = 1 - p, for a, b of at least 1.

    By Stirling's formula, in which the terms that grow with a + b have cancelled on paper.
    """
    total = a + b
    stirling = _stirling_error(total) - _stirling_error(a) - _stirling_error(b)
    return 0.5 * jnp.log(a / total * b / (2 * math.pi)) + stirling


def _stirling_error(a: jax.Array) -> jax.Array:
    """log(Gamma(a)) - ((a - 1/2) log(a) - a + log(2 pi) / 2), from that of a + 1.

    By Stieltjes's continued fraction (1894), with an error below 10^-7 for a of at least 1.
    """
    b = a + 1
    fraction = 1 / 12 / (b + 1 / 30 / (b + 53 / 210 / (b + 195 / 371 / (b + 22999 / 22737 / b))))
    return fraction + ((a + 0.5) * jnp.log1p(1 / a) - 1)


def _quantile_start(log_tail: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """A guess of u: as far from about the median, by divergence, as a normal law would have it."""
    normal = -jax.scipy.special.ndtri(jnp.exp(log_tail))
    total = a + b - 2 / 3
    p, q = (a - 1 / 3) / total, (b - 1 / 3) / total
    target = normal**2 / 2 / (b - 1 / 3)
    u = jnp.sqrt(2 * target * p) + target * (2 - p) / 3  # as in `bernoulli_upper`
    return u + jnp.log(b / (a + b) / q)


def _beta_fraction(a: jax.Array, b: jax.Array, x: jax.Array) -> jax.Array:
    """The continued fraction f in I_x(a, b) = x^a (1 - x)^b / (a B(a, b) f), DLMF (8.17.22)."""
    fraction = jnp.ones_like(x)
    for m in reversed(range(1, _FRACTION_PAIRS + 1)):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        fraction = 1 + odd / (1 + even / fraction)
    return fraction


def unpulled_first(state: Averages, indices: jax.Array) -> jax.Array:
    """Returns the arm of the greatest index, int32 [N], but in the first K pulls each arm once.

    Args:
      state: of an index policy, which pulls every arm as soon as it can.
      indices: [K, N].
    """
    return jnp.where(state.t < len(indices), state.t, arms.first_best(indices))


def _averaging(select: Partial) -> Policy:
    """A policy without dice that remembers averages."""
    return Policy(
        init=Partial(policies.init_averages),
        draw=Partial(policies.draw_nothing),
        select=select,
        update=Partial(policies.averaged),
    )


def _log(t: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(t, 1).astype(jnp.float32))


def _widths(state: Averages) -> jax.Array:
    """1 / sqrt(n); finite also before the first pull, where nobody looks at it."""
    return jax.lax.rsqrt(jnp.maximum(state.counts, 1))


def _check_family(family: str, families: tuple[str, ...], scale: float) -> None:
    if family not in families:
        raise ValueError(f"family must be one of {', '.join(families)}, not {family!r}")
    if family != "gaussian" and scale != 1:
        raise ValueError(f"scale is of the Gaussian family alone; {family!r} has none")
