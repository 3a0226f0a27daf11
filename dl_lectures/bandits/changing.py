"""Policies that forget, for odds that change: slide 21, "a change of the odds ruins you".

Discounted and sliding-window UCB, discounted Thompson sampling, and UCB that restarts an arm when a
CUSUM test says that it has changed.

K: arms, N: runs, B: steps that are drawn at once, n: pulls of an arm. Arrays are [K, N].
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dl_lectures.bandits import arms, beta, checks, policies
from dl_lectures.bandits.policies import Policy


class Sums(NamedTuple):
    """What is remembered of the rewards."""

    t: jax.Array  # int32 [], pulls so far
    counts: jax.Array  # [K, N], remembered pulls of each arm
    totals: jax.Array  # [K, N], their rewards


def discounted_ucb(discount: float, xi: float = 0.5, bound: float = 1.0) -> Policy:
    """Index Q + 2 bound sqrt(xi log(sum of all n) / n); sums lose a share of themselves each step.

    Garivier & Moulines (2011, arXiv:0805.3415), D-UCB. Each arm is pulled once, in order; at every
    pull counts and rewards of all arms are multiplied by the discount before it is added. With a
    discount of 1 this is `ucb1(2 bound sqrt(xi))`.

    Args:
      discount: gamma, in (0, 1]; it remembers 1 / (1 - gamma) pulls, so to say.
      xi: positive; their theorem has xi above 1/2.
      bound: B, rewards lie in [0, B].

    Raises:
      ValueError: an argument is out of its range.
    """
    _check_discount(discount)
    checks.positive("xi", xi)
    checks.positive("bound", bound)
    return Policy(
        init=Partial(_init_sums),
        draw=Partial(policies.draw_nothing),
        select=Partial(_select_discounted, 2 * bound * math.sqrt(xi)),
        update=Partial(_update_discounted, discount),
    )


def _init_sums(num_arms: int, num_runs: int) -> Sums:
    zeros = jnp.zeros((num_arms, num_runs))
    return Sums(jnp.int32(0), zeros, zeros)


def _select_discounted(width: float, sums: Sums, luck: jax.Array) -> jax.Array:
    del luck
    log_total = jnp.log(jnp.maximum(sums.counts.sum(0), 1))
    return _best_upper_bound(width, log_total[None], sums)


def _best_upper_bound(width: float, log_total: jax.Array, sums: Sums) -> jax.Array:
    """The first arm of the greatest Q + width sqrt(log_total / n); of n = 0 before all others."""
    # Below the smallest normal number, to which discounts bring a count, the hardware sees 0.
    is_known = sums.counts > jnp.finfo(jnp.float32).tiny
    counts = jnp.where(is_known, sums.counts, 1)
    indices = sums.totals / counts + width * jnp.sqrt(log_total / counts)
    return arms.first_best(jnp.where(is_known, indices, jnp.inf))


def _update_discounted(discount: float, sums: Sums, arm: jax.Array, reward: jax.Array) -> Sums:
    chosen = arms.one_hot(arm, len(sums.counts))
    return Sums(
        sums.t + 1,
        discount * sums.counts + chosen,
        discount * sums.totals + jnp.where(chosen, reward[None], 0.0),
    )


class Window(NamedTuple):
    """Sums over the last pulls, and these pulls in a ring."""

    sums: Sums
    arms: jax.Array  # int32 [L, N]; row t mod L is of pull t
    rewards: jax.Array  # [L, N]
    next_arm: jax.Array  # int32 [N], of the pull that leaves when the next one comes
    next_reward: jax.Array  # [N]


def sliding_window_ucb(
    window: int, xi: float = 0.5, bound: float = 1.0, longest: int | None = None
) -> Policy:
    """Index Q + bound sqrt(xi log(min(t, window)) / n), Q and n over the last pulls alone.

    Garivier & Moulines (2011, arXiv:0805.3415), SW-UCB. An arm that is not in the window comes
    before all others. Until the window is full this is `ucb1(bound sqrt(xi))`. Rewards that leave
    are subtracted from the sums in float32. That is exact for rewards of 0 and 1; in general the
    sums drift by rounding, by about 10^-7 of a sum times the square root of the pulls so far.

    Args:
      window: tau, pulls that are remembered, at least 1, of any arms.
      xi: positive; their theorem has xi above 1/2.
      bound: B, rewards lie in [0, B].
      longest: L, room for pulls, at least `window`; policies of the same L can share a sweep. None:
        the window itself.

    Raises:
      ValueError: an argument is out of its range.
    """
    checks.count("window", window)
    checks.positive("xi", xi)
    checks.positive("bound", bound)
    longest = window if longest is None else longest
    if longest < window:
        raise ValueError(f"longest must be at least the window of {window}, not {longest}")
    return Policy(
        init=Partial(_init_window, np.zeros(int(longest), np.float32)),
        draw=Partial(policies.draw_nothing),
        select=Partial(_select_in_window, int(window), bound * math.sqrt(xi)),
        update=Partial(_update_window, int(window)),
    )


def _init_window(ring: jax.Array, num_arms: int, num_runs: int) -> Window:
    shape = (len(ring), num_runs)
    arm_rows, reward_rows = jnp.zeros(shape, jnp.int32), jnp.zeros(shape)
    sums = _init_sums(num_arms, num_runs)
    return Window(sums, arm_rows, reward_rows, arm_rows[0], reward_rows[0])


def _select_in_window(window: int, width: float, state: Window, luck: jax.Array) -> jax.Array:
    del luck
    num_pulls = jnp.clip(state.sums.t, 1, window).astype(jnp.float32)
    return _best_upper_bound(width, jnp.log(num_pulls), state.sums)


def _update_window(window: int, state: Window, arm: jax.Array, reward: jax.Array) -> Window:
    t, counts, totals = state.sums
    length, num_arms = len(state.arms), len(counts)
    chosen = arms.one_hot(arm, num_arms)
    leaves = arms.one_hot(state.next_arm, num_arms) & (t >= window)
    sums = Sums(
        t + 1,
        counts + chosen - leaves,
        totals
        + jnp.where(chosen, reward[None], 0.0)
        - jnp.where(leaves, state.next_reward[None], 0.0),
    )
    # What leaves next is read now, after the write: were it read before a write, XLA would copy the
    # whole ring in every step.
    row, leaving = t % length, (t + 1 - window) % length
    ring_arms = jax.lax.dynamic_update_index_in_dim(state.arms, arm, row, 0)
    ring_rewards = jax.lax.dynamic_update_index_in_dim(state.rewards, reward, row, 0)
    return Window(
        sums,
        ring_arms,
        ring_rewards,
        jax.lax.dynamic_index_in_dim(ring_arms, leaving, keepdims=False),
        jax.lax.dynamic_index_in_dim(ring_rewards, leaving, keepdims=False),
    )


class Successes(NamedTuple):
    """What is remembered of rewards of 0 or 1."""

    successes: jax.Array  # [K, N], S
    failures: jax.Array  # [K, N], F


def discounted_thompson(discount: float, successes: float = 1.0, failures: float = 1.0) -> Policy:
    """Thompson sampling from Beta(successes + S, failures + F), S and F forgotten step by step.

    Raj & Kalyani (2017, arXiv:1707.09727), algorithm 1 (dTS): in every step S and F of all arms are
    multiplied by the discount, then the reward is added to those of the arm that was pulled. With a
    discount of 1 this is `thompson`; as there, rewards between 0 and 1 count as fractions of a
    success, where the paper rounds them at random.

    Args:
      discount: gamma, in (0, 1].
      successes: a of the prior Beta(a, b), which is never forgotten; positive.
      failures: b of the prior; positive.

    Raises:
      ValueError: an argument is out of its range.
    """
    _check_discount(discount)
    checks.positive("successes", successes)
    checks.positive("failures", failures)
    return Policy(
        init=Partial(_init_successes),
        draw=beta.draw_for(successes, failures),
        select=Partial(_select_beta, successes, failures),
        update=Partial(_update_successes, discount),
    )


def _init_successes(num_arms: int, num_runs: int) -> Successes:
    zeros = jnp.zeros((num_arms, num_runs))
    return Successes(zeros, zeros)


def _select_beta(
    successes: float, failures: float, state: Successes, luck: beta.BetaLuck
) -> jax.Array:
    samples = beta.sample_beta(luck, successes + state.successes, failures + state.failures)
    return arms.first_best(samples)


def _update_successes(
    discount: float, state: Successes, arm: jax.Array, reward: jax.Array
) -> Successes:
    chosen = arms.one_hot(arm, len(state.successes))
    return Successes(
        discount * state.successes + jnp.where(chosen, reward[None], 0.0),
        discount * state.failures + jnp.where(chosen, 1 - reward[None], 0.0),
    )


class Watched(NamedTuple):
    """Each arm since its last restart, and the two tests that watch it."""

    sums: Sums
    baselines: jax.Array  # [K, N], rewards of its first M pulls
    ups: jax.Array  # [K, N], g+, evidence that the mean has risen
    downs: jax.Array  # [K, N], g-, that it has fallen


def cusum_ucb(
    num_baseline: int,
    tolerance: float,
    threshold: float,
    exploration: float,
    xi: float = 1.0,
) -> Policy:
    """UCB that forgets an arm when a two-sided CUSUM test says that its mean has changed.

    Liu, Lee & Shroff (2018, arXiv:1711.03539), algorithms 1 and 2. With probability `exploration`
    any arm is pulled, evenly; else that of the greatest Q + sqrt(xi log(sum of all n) / n), an arm
    without pulls before all others. The test of an arm takes the average u of its first M pulls and
    then sums what lies above u + tolerance, and below u - tolerance:

        g+ = max(0, g+ + reward - u - tolerance),   g- = max(0, g- + u - reward - tolerance)

    It raises an alarm at g+ >= threshold or g- >= threshold, when all that is known of this arm,
    and of no other, is forgotten, the reward of the alarm included.

    Args:
      num_baseline: M, at least 1.
      tolerance: epsilon, at least 0, below the least change that matters.
      threshold: h, positive; about log(horizon / changes) in their theorem, up to a factor.
      exploration: alpha, in [0, 1]; about sqrt(changes / horizon log(horizon / changes)) in theirs.
      xi: positive.

    Raises:
      ValueError: an argument is out of its range.
    """
    checks.at_least("num_baseline", num_baseline, 1)
    checks.at_least("tolerance", tolerance, 0)
    checks.positive("threshold", threshold)
    checks.probability("exploration", exploration)
    checks.positive("xi", xi)
    return Policy(
        init=Partial(_init_watched),
        draw=Partial(policies.draw_uniform),
        select=Partial(_select_watched, exploration, math.sqrt(xi)),
        update=Partial(_update_watched, float(num_baseline), tolerance, threshold),
    )


def _init_watched(num_arms: int, num_runs: int) -> Watched:
    zeros = jnp.zeros((num_arms, num_runs))
    return Watched(_init_sums(num_arms, num_runs), zeros, zeros, zeros)


def _select_watched(
    exploration: float, width: float, state: Watched, uniforms: jax.Array
) -> jax.Array:
    log_total = jnp.log(jnp.maximum(state.sums.counts.sum(0), 1))
    best = _best_upper_bound(width, log_total[None], state.sums)
    return policies.explore_or(best, exploration, uniforms, len(state.ups))


def _update_watched(
    num_baseline: float,
    tolerance: float,
    threshold: float,
    state: Watched,
    arm: jax.Array,
    reward: jax.Array,
) -> Watched:
    chosen = arms.one_hot(arm, len(state.ups))
    rewards = jnp.where(chosen, reward[None], 0.0)
    counts = state.sums.counts + chosen
    is_baseline = counts <= num_baseline
    baselines = state.baselines + jnp.where(is_baseline, rewards, 0.0)
    deviations = rewards - baselines / num_baseline
    is_tested = chosen & ~is_baseline
    ups = state.ups + jnp.where(is_tested, deviations - tolerance, 0.0)
    downs = state.downs + jnp.where(is_tested, -deviations - tolerance, 0.0)
    stays = jnp.maximum(ups, downs) < threshold
    return Watched(
        Sums(
            state.sums.t + 1,
            jnp.where(stays, counts, 0.0),
            jnp.where(stays, state.sums.totals + rewards, 0.0),
        ),
        jnp.where(stays, baselines, 0.0),
        jnp.where(stays, jnp.maximum(ups, 0), 0.0),
        jnp.where(stays, jnp.maximum(downs, 0), 0.0),
    )


def _check_discount(discount: float) -> None:
    if not 0 < discount <= 1:
        raise ValueError(f"discount must lie in (0, 1], not {discount}")
