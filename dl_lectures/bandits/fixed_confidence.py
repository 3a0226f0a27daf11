"""Explorers that pull until they are sure: how many pulls does that take? (slide 21)

G&K: Garivier & Kaufmann (2016, arXiv:1602.04589). Play them by `best_arm.until_sure`.
K: arms, N: runs side by side, B: steps drawn at once, D: deltas.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dl_lectures.bandits import arms, best_arm, bounds, checks, policies
from dl_lectures.learner import Key


class Pairs(NamedTuple):
    """What LUCB knows."""

    totals: best_arm.Totals
    challenger: jax.Array  # int32 [N], the second arm of the round


def lucb(delta: float, width: Literal["proven", "practical"] = "proven") -> best_arm.Explorer:
    """Pulls the best arm and its strongest rival until their intervals part: LUCB1.

    Kalyanakrishnan et al. (2012, icml.cc/2012/papers/359.pdf), for one best arm, rewards in [0, 1]
    and no tolerance: intervals of +- sqrt(beta / (2 n)).

    Args:
      delta: probability of a wrong answer at most, in (0, 1).
      width: "proven" for the paper's beta = log(5/4 K t^4 / delta), though here t counts all pulls,
        not rounds of two, so that intervals are a little wider; "practical" for the threshold of
        `track_and_stop`, beta = log((log t + 1) / delta), with which nothing is proven.

    Raises:
      ValueError: an argument is out of its range.
    """
    _check_delta(delta)
    if width not in ("proven", "practical"):
        raise ValueError(f"width must be 'proven' or 'practical', not {width!r}")
    is_proven = np.float32(width == "proven")  # a number: both share a program
    return best_arm.Explorer(
        init=Partial(_init_pairs),
        draw=Partial(_draw_two),
        select=Partial(_select_lucb, float(delta), is_proven),
        update=Partial(_update_pairs),
        recommend=Partial(_recommend_pairs),
        is_sure=Partial(_is_lucb_sure, float(delta), is_proven),
    )


def _init_pairs(num_arms: int, num_runs: int) -> Pairs:
    return Pairs(best_arm.init_totals(num_arms, num_runs), jnp.zeros(num_runs, jnp.int32))


def _draw_two(key: Key, num_steps: int, num_arms: int, num_runs: int) -> jax.Array:
    del num_arms
    return jax.random.uniform(key, (num_steps, 2, num_runs))


def _lucb_width(delta: float, is_proven: float, totals: best_arm.Totals) -> jax.Array:
    log_t = jnp.log(jnp.maximum(totals.t, 1))
    proven = math.log(1.25 * len(totals.means)) + 4 * log_t
    log_term = jnp.where(is_proven > 0, proven, jnp.log(log_t + 1)) - jnp.log(delta)
    return jnp.sqrt(log_term / (2 * jnp.maximum(totals.counts, 1)))


def _select_lucb(
    delta: float, is_proven: float, state: Pairs, luck: jax.Array
) -> tuple[Pairs, jax.Array]:
    totals = state.totals
    num_arms = len(totals.means)
    best = arms.random_best(totals.means, luck[0])
    uppers = totals.means + _lucb_width(delta, is_proven, totals)
    rivals = jnp.where(arms.one_hot(best, num_arms), -jnp.inf, uppers)
    is_first = (totals.t - num_arms) % 2 == 0
    challenger = jnp.where(is_first, arms.random_best(rivals, luck[1]), state.challenger)
    arm = jnp.where(is_first, best, state.challenger)
    arm = jnp.where(totals.t < num_arms, totals.t, arm)
    return Pairs(totals, challenger), arm


def _update_pairs(state: Pairs, arm: jax.Array, reward: jax.Array) -> Pairs:
    return Pairs(best_arm.totalled(state.totals, arm, reward), state.challenger)


def _is_lucb_sure(delta: float, is_proven: float, state: Pairs) -> jax.Array:
    totals = state.totals
    num_arms = len(totals.means)
    is_best = arms.one_hot(arms.first_best(totals.means), num_arms)
    width = _lucb_width(delta, is_proven, totals)
    lower = jnp.where(is_best, totals.means - width, -jnp.inf).max(0)
    upper = jnp.where(is_best, -jnp.inf, totals.means + width).max(0)
    at_end = (totals.t >= num_arms) & ((totals.t - num_arms) % 2 == 0)  # of a round
    return ((upper < lower) & at_end)[None]


def _recommend_pairs(state: Pairs, uniforms: jax.Array) -> jax.Array:
    return best_arm.recommend_average(state.totals, uniforms)


Rewards = Literal["bernoulli", "gaussian"]


class Tracked(NamedTuple):
    """What track-and-stop knows."""

    totals: best_arm.Totals
    weights: jax.Array  # [K, N], shares of the pulls that would be best if averages were means
    renewed: jax.Array  # int32 [], pulls at which the weights were computed


def track_and_stop(
    deltas: Sequence[float],
    rewards: Rewards = "bernoulli",
    scale: float = 1.0,
    stale: float = 0.01,
) -> best_arm.Explorer:
    """Pulls in the proportions that tell the arms apart soonest: G&K, D-tracking.

    An arm of fewer than sqrt(t) - K/2 pulls comes first; else the arm that lags most behind t times
    its weight, `optimal_weights` of the averages. It is sure once the generalised likelihood ratio
    of the best arm against every other exceeds log((log t + 1) / delta), their choice in practice,
    for which nothing is proven. What is pulled does not depend on delta: one run serves all.

    G&K compute the weights at every pull; here they are computed anew when the pulls have grown by
    the share `stale`. On their second problem 1 % costs 3 % more pulls at most, and 5 % some 6 %.
    For the weights, an arm that has only won or only lost counts as half a pull off, or divergences
    would be infinite.

    Args:
      deltas: [D], probabilities of a wrong answer at most, in (0, 1).
      rewards: "bernoulli", or "gaussian" of a known scale.
      scale: of Gaussian rewards, positive.
      stale: at least 0; 0 computes the weights at every pull.

    Raises:
      ValueError: an argument is out of its range.
    """
    deltas = _checked_deltas(deltas)
    kl = _divergence(rewards, scale)
    checks.at_least("stale", stale, 0)
    edge = 0.5 if rewards == "bernoulli" else math.inf
    return best_arm.Explorer(
        init=Partial(_init_tracked),
        draw=Partial(policies.draw_uniform),
        select=Partial(_select_tracked, kl, edge, float(stale)),
        update=Partial(_update_tracked),
        recommend=Partial(_recommend_tracked),
        is_sure=Partial(_is_tracked_sure, kl, deltas),
    )


def uniform_until_sure(
    deltas: Sequence[float], rewards: Rewards = "bernoulli", scale: float = 1.0
) -> best_arm.Explorer:
    """Pulls all arms in turn, and stops as `track_and_stop` does: what the choice of arms is worth.

    Arguments and errors are those of `track_and_stop`.
    """
    deltas = _checked_deltas(deltas)
    kl = _divergence(rewards, scale)
    return best_arm.Explorer(
        init=Partial(best_arm.init_totals),
        draw=Partial(policies.draw_uniform),
        select=Partial(_select_in_turn),
        update=Partial(best_arm.totalled),
        recommend=Partial(best_arm.recommend_average),
        is_sure=Partial(_is_average_sure, kl, deltas),
    )


def _divergence(rewards: Rewards, scale: float) -> Partial:
    if rewards not in ("bernoulli", "gaussian"):
        raise ValueError(f"rewards must be 'bernoulli' or 'gaussian', not {rewards!r}")
    checks.positive("scale", scale)
    if rewards == "bernoulli":
        return Partial(quick_bernoulli_kl)
    return Partial(_gaussian_kl, float(scale) ** 2)


def quick_bernoulli_kl(p: jax.Array, q: jax.Array) -> jax.Array:
    """As `bounds.bernoulli_kl` in half as many operations, for use at every pull.

    Its error is a few roundings of |q - p|, not of the divergence: 1e-4 of it at a distance of
    0.001 in float32.

    Args:
      p: means in [0, 1].
      q: means in (0, 1), or equal to p.
    """
    change = q - p
    ones = -p * jnp.log1p(change / jnp.where(p > 0, p, 1))
    zeros = -(1 - p) * jnp.log1p(-change / jnp.where(p < 1, 1 - p, 1))
    return jnp.where(p > 0, ones, 0) + jnp.where(p < 1, zeros, 0)


def _gaussian_kl(variance: float, p: jax.Array, q: jax.Array) -> jax.Array:
    return bounds.gaussian_kl(p, q, variance)


def _init_tracked(num_arms: int, num_runs: int) -> Tracked:
    totals = best_arm.init_totals(num_arms, num_runs)
    return Tracked(totals, jnp.full((num_arms, num_runs), 1 / num_arms), jnp.int32(0))


def _select_tracked(
    kl: Partial, edge: float, stale: float, state: Tracked, ties: jax.Array
) -> tuple[Tracked, jax.Array]:
    totals, _, renewed = state
    t, counts, means = totals.t, totals.counts, totals.means
    num_arms = len(means)

    def renew() -> jax.Array:
        margin = edge / (counts + 1)
        inner = jnp.where(jnp.isfinite(edge), jnp.clip(means, margin, 1 - margin), means)
        return optimal_weights(inner, kl, num_bisections=12, num_newton=2)[0]

    is_due = (t >= num_arms) & (t >= renewed * (1 + stale))
    weights = jax.lax.cond(is_due, renew, lambda: state.weights)
    renewed = jnp.where(is_due, t, renewed)
    # The first pull of each arm comes before all else: G&K's own code does so.
    is_starved = (counts < jnp.sqrt(t) - num_arms / 2) | (counts == 0)
    lag = jnp.where(is_starved.any(0)[None], -counts, t * weights - counts)
    lag = jnp.where(is_starved.any(0)[None] & ~is_starved, -jnp.inf, lag)
    return Tracked(totals, weights, renewed), arms.random_best(lag, ties)


def _update_tracked(state: Tracked, arm: jax.Array, reward: jax.Array) -> Tracked:
    return state._replace(totals=best_arm.totalled(state.totals, arm, reward))


def _recommend_tracked(state: Tracked, uniforms: jax.Array) -> jax.Array:
    return best_arm.recommend_average(state.totals, uniforms)


def _is_tracked_sure(kl: Partial, deltas: jax.Array, state: Tracked) -> jax.Array:
    return _is_average_sure(kl, deltas, state.totals)


def _select_in_turn(state: best_arm.Totals, ties: jax.Array) -> tuple[best_arm.Totals, jax.Array]:
    return state, jnp.full(ties.shape, state.t % len(state.means), jnp.int32)


def _is_average_sure(kl: Partial, deltas: jax.Array, state: best_arm.Totals) -> jax.Array:
    ratio = likelihood_ratio(state.counts, state.means, kl)
    threshold = jnp.log((jnp.log(jnp.maximum(state.t, 1)) + 1) / deltas)  # [D]
    return (ratio[None] > threshold[:, None]) & (state.t >= len(state.means))


def likelihood_ratio(counts: jax.Array, means: jax.Array, kl: bounds.Divergence) -> jax.Array:
    """The evidence that the arm of the greatest average is the best one, in nats, [N].

    G&K (7): the least over the other arms b of n_a kl(m_a, m) + n_b kl(m_b, m), with m the average
    of both arms' rewards together; 0 where the greatest average is not one arm's.

    Args:
      counts: [K, N], pulls; at least one of each arm.
      means: [K, N], averages.
      kl: of the family of rewards.
    """
    best = arms.first_best(means)
    is_best = arms.one_hot(best, len(means))
    n, mean = arms.of_arm(counts, best)[None], arms.of_arm(means, best)[None]
    middle = (n * mean + counts * means) / jnp.maximum(n + counts, 1)
    mean, n = jnp.broadcast_to(mean, means.shape), jnp.broadcast_to(n, means.shape)
    # Rounding must not carry the common average out of [means, mean].
    middle = jnp.clip(middle, means, mean)
    return jnp.where(is_best, jnp.inf, n * kl(mean, middle) + counts * kl(means, middle)).min(0)


# The lower bound


def optimal_weights(
    means: jax.Array,
    kl: bounds.Divergence,
    num_bisections: int = 48,
    num_newton: int = 24,
) -> tuple[jax.Array, jax.Array]:
    """Shares of the pulls with which the best arm is told from the others soonest: G&K, theorem 5.

    The maximum over w of min over b of w_a kl(m_a, m) + w_b kl(m_b, m), m the average of both means
    by their weights. With x_b = w_b / w_a, all of these are one y at the maximum, where

        sum_b kl(m_a, m(x_b)) / kl(m_b, m(x_b)) = 1,    kl(m_a, m(x_b)) + x_b kl(m_b, m(x_b)) = y.

    y is bisected, and each x_b found by Newton's method in u = x / (1 + x), in which y is linear
    for Gaussians, with a bracket around it. One-parameter exponential families by their means.

    Args:
      means: [K, N], of divergences that are finite.
      kl: of the family of rewards.
      num_bisections: of y; 12 are enough to pull by.
      num_newton: steps for each; 2 are enough to pull by, with weights 1e-3 off at most.

    Returns:
      Weights [K, N], of sum 1, and that maximum in nats, [N]: 1 / T*. Where several arms are best,
      there is nothing to be told: they share the pulls, and the maximum is 0.
    """
    best = arms.first_best(means)
    is_best = arms.one_hot(best, len(means))
    top = jnp.broadcast_to(means.max(0)[None], means.shape)
    tied = means == top
    is_unique = tied.sum(0) == 1
    second = jnp.where(is_best, -jnp.inf, means).max(0)[None]
    others = jnp.where(is_best, second, means)  # the best arm's own row is of no meaning below
    far = kl(top, others)
    most = far.min(0)
    tiny = jnp.finfo(means.dtype).tiny
    most_u = 1 - 1e-3  # at the maximum no ratio is above 1, which u near 1 would make

    def at(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """u and the ratio of divergences, [K, N]."""

        def newton(_, carry):
            u, low, high = carry
            from_top, from_other = divergences(u)
            excess = from_top + u / (1 - u) * from_other - y[None]
            high, low = jnp.where(excess > 0, u, high), jnp.where(excess > 0, low, u)
            step = u - excess * (1 - u) ** 2 / jnp.maximum(from_other, tiny)
            # Rounding may carry the last steps a little out of the bracket: no reason to bisect.
            is_out = (step < low - 1e-3) | (step > high + 1e-3)
            return jnp.where(is_out, (low + high) / 2, jnp.clip(step, 0, most_u)), low, high

        u = jnp.clip(y[None] / jnp.maximum(far, tiny), 0, most_u)
        u, _, _ = jax.lax.fori_loop(0, num_newton, newton, (u, jnp.zeros_like(u), jnp.ones_like(u)))
        from_top, from_other = divergences(u)
        return u, from_top / jnp.maximum(from_other, tiny)

    def divergences(u: jax.Array) -> tuple[jax.Array, jax.Array]:
        middle = top + u * (others - top)
        return kl(top, middle), kl(others, middle)

    def bisect(_, bracket):
        low, high = bracket
        y = (low + high) / 2
        is_low = jnp.where(is_best, 0, at(y)[1]).sum(0) < 1
        return jnp.where(is_low, y, low), jnp.where(is_low, high, y)

    low, high = jax.lax.fori_loop(0, num_bisections, bisect, (jnp.zeros_like(most), most))
    y = (low + high) / 2
    u = at(y)[0]
    x = jnp.where(is_best, 1, u / (1 - u))
    weights = jnp.where(is_unique[None], x / x.sum(0)[None], tied / tied.sum(0)[None])
    return weights, jnp.where(is_unique, y / x.sum(0), 0)


def least_pulls(
    means: Sequence[float], delta: float, rewards: Rewards = "bernoulli", scale: float = 1.0
) -> float:
    """The expected pulls below which no one can be: T* kl(delta, 1 - delta), G&K, theorem 1.

    Of everyone whose answer is wrong with probability delta at most on every problem.

    Args:
      means: [K], within (0, 1) if Bernoulli.
      delta: in (0, 1); from 1/2 on the bound says nothing, 0.
      rewards: "bernoulli", or "gaussian" of a known scale.
      scale: of Gaussian rewards, positive.

    Raises:
      ValueError: an argument is out of its range, or two arms are best.
    """
    _check_delta(delta)
    kl = _divergence(rewards, scale)
    best_arm.complexity(means)  # refuses two best arms
    means = np.asarray(means, np.float64)
    if rewards == "bernoulli" and not ((means > 0) & (means < 1)).all():
        raise ValueError(f"means must lie between 0 and 1, not {checks.shown(means)}")
    with jax.enable_x64(True):
        inverse = float(optimal_weights(jnp.asarray(means)[:, None], kl)[1][0])
        needed = float(bounds.bernoulli_kl(jnp.float64(delta), jnp.float64(1 - delta)))
    return needed / inverse if delta < 0.5 else 0.0


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta must lie between 0 and 1, not {delta}")


def _checked_deltas(deltas: Sequence[float]) -> np.ndarray:
    deltas = checks.numbers("deltas", deltas, fewest=1)
    for delta in deltas:
        _check_delta(float(delta))
    return deltas
