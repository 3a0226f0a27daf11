"""Explorers with a fixed budget of pulls: how often is the best arm missed? (slide 21)

A&B: Audibert & Bubeck (COLT 2010, hal.science/hal-00654404). Play them by `best_arm.answers`.
K: arms, N: runs side by side, B: steps drawn at once.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dl_lectures.bandits import arms, best_arm, beta, checks, policies
from dl_lectures.bandits.policies import Policy
from dl_lectures.learner import Key

_NEVER = np.iinfo(np.int32).max


class Schedule(NamedTuple):
    """Phases in which the surviving arms are pulled in turn; NumPy, K - 1 phases at most."""

    ends: np.ndarray  # int32 [K - 1], pulls in all at the end of each phase; unused: never
    kept: np.ndarray  # int32 [K - 1], arms that survive it
    num_pulls: int  # of all phases


def _schedule(num_arms: int, phases: Sequence[tuple[int, int]], limit: int) -> Schedule:
    """A schedule of (pulls an arm, arms kept), cut off at `limit` pulls."""
    ends = np.full(num_arms - 1, _NEVER, np.int32)
    kept = np.ones(num_arms - 1, np.int32)
    size, total = num_arms, 0
    for i, (pulls, keep) in enumerate(phases):
        total += size * pulls
        if total >= limit:  # who asks at the limit gets the best of those in play
            return Schedule(ends, kept, min(total, limit))
        ends[i], kept[i], size = total, keep, keep
    return Schedule(ends, kept, total)


def uniform_schedule(num_arms: int, budget: int) -> Schedule:
    """Pulls each arm floor(budget / K) times.

    Raises:
      ValueError: fewer than two arms, or a budget below one pull of each.
    """
    _check_budget(num_arms, budget, num_arms, "uniform")
    return _schedule(num_arms, [(budget // num_arms, 1)], budget)


def slide_schedule(
    num_arms: int, pulls: int = 5, keep: float = 0.5, budget: int | None = None
) -> Schedule:
    """Pulls each arm `pulls` times, keeps the best share `keep`, and repeats: slide 21.

    Until one arm is left, or the budget ends: then the best of those still in play is the answer,
    some of them with one pull more than others. What is left of the budget is not spent.

    Args:
      num_arms: K.
      pulls: of each arm in a round.
      keep: share of the arms that survive a round, rounded up, but one arm goes at least.
      budget: pulls in all; None: as many as it takes.

    Raises:
      ValueError: an argument is out of its range, or the budget is below one pull of each arm.
    """
    checks.num_arms(num_arms)
    checks.at_least("pulls", pulls, 1)
    if not 0 < keep < 1:
        raise ValueError(f"keep must lie between 0 and 1, not {keep}")
    if budget is not None:
        _check_budget(num_arms, budget, num_arms, "slide_halving")
    size, phases = num_arms, []
    while size > 1:
        size = min(math.ceil(keep * size), size - 1)
        phases.append((int(pulls), size))
    return _schedule(num_arms, phases, _NEVER if budget is None else budget)


def slide_pulls(num_arms: int, budget: int, keep: float = 0.5) -> int:
    """The most pulls a round with which the slide's rule ends within the budget.

    Raises:
      ValueError: an argument is out of its range, or the budget is too small for one pull a round.
    """
    least = slide_schedule(num_arms, 1, keep).num_pulls
    _check_budget(num_arms, budget, least, "the slide's rule down to one arm")
    return budget // least


def halving_schedule(num_arms: int, budget: int) -> Schedule:
    """Sequential halving: Karnin, Koren & Somekh (2013), proceedings.mlr.press/v28/karnin13.html.

    ceil(log2 K) rounds of equal budget; the better half, rounded up, survives. Few pulls are left
    over by rounding down, and not spent. Unlike in their proof, averages are over all pulls so far.

    Raises:
      ValueError: fewer than two arms, or a budget below one pull of each arm in the first round.
    """
    checks.num_arms(num_arms)
    num_rounds = math.ceil(math.log2(num_arms))
    _check_budget(num_arms, budget, num_arms * num_rounds, "sequential halving")
    size, phases = num_arms, []
    for _ in range(num_rounds):
        keep = math.ceil(size / 2)
        phases.append((budget // (size * num_rounds), keep))
        size = keep
    return _schedule(num_arms, phases, budget)


def rejects_schedule(num_arms: int, budget: int) -> Schedule:
    """Successive rejects: A&B, figure 3. One arm goes after each of K - 1 phases.

    By the end of phase k an arm in play has n_k = ceil((n - K) / (logbar(K) (K + 1 - k))) pulls,
    logbar(K) = 1/2 + sum_{i=2..K} 1/i.

    Raises:
      ValueError: fewer than two arms, or a budget below K + 1.
    """
    _check_budget(num_arms, budget, num_arms + 1, "successive rejects")
    log_bar = 0.5 + sum(1 / i for i in range(2, num_arms + 1))
    phases, before = [], 0
    for k in range(1, num_arms):
        pulls = math.ceil((budget - num_arms) / (log_bar * (num_arms + 1 - k)))
        phases.append((pulls - before, num_arms - k))
        before = pulls
    return _schedule(num_arms, phases, budget)


class Survivors(NamedTuple):
    """What is known of the arms, and which are in play."""

    totals: best_arm.Totals
    active: jax.Array  # bool [K, N]


def eliminate(schedule: Schedule) -> best_arm.Explorer:
    """Pulls and drops arms by a schedule; schedules of as many arms share a compiled program."""
    ends, kept = schedule.ends, schedule.kept
    return best_arm.Explorer(
        init=Partial(_init_survivors),
        draw=Partial(_draw_keys),
        select=Partial(_select_survivor, ends, kept),
        update=Partial(_update_survivors),
        recommend=Partial(_recommend_survivor),
        num_pulls=schedule.num_pulls,
    )


def uniform(num_arms: int, budget: int) -> best_arm.Explorer:
    """`eliminate` by `uniform_schedule`."""
    return eliminate(uniform_schedule(num_arms, budget))


def slide_halving(
    num_arms: int, pulls: int = 5, keep: float = 0.5, budget: int | None = None
) -> best_arm.Explorer:
    """`eliminate` by `slide_schedule`."""
    return eliminate(slide_schedule(num_arms, pulls, keep, budget))


def sequential_halving(num_arms: int, budget: int) -> best_arm.Explorer:
    """`eliminate` by `halving_schedule`."""
    return eliminate(halving_schedule(num_arms, budget))


def successive_rejects(num_arms: int, budget: int) -> best_arm.Explorer:
    """`eliminate` by `rejects_schedule`."""
    return eliminate(rejects_schedule(num_arms, budget))


def keep_best(values: jax.Array, active: jax.Array, num_kept: jax.Array, key: Key) -> jax.Array:
    """Returns the active arms of the greatest values, ties broken evenly at random, bool [K, N].

    Args:
      values: [K, N].
      active: bool [K, N].
      num_kept: int32 [], in each run.
      key: is consumed.
    """
    dice = jax.random.uniform(key, values.shape)
    index = jnp.arange(len(values), dtype=jnp.int32)
    is_before = (index[None] < index[:, None])[:, :, None]  # settles dice that are equal, too
    is_better = (values[None] > values[:, None]) | (
        (values[None] == values[:, None])
        & ((dice[None] > dice[:, None]) | ((dice[None] == dice[:, None]) & is_before))
    )
    num_better = (is_better & active[None]).sum(1, dtype=jnp.int32)
    return active & (num_better < num_kept)


def _init_survivors(num_arms: int, num_runs: int) -> Survivors:
    return Survivors(best_arm.init_totals(num_arms, num_runs), jnp.ones((num_arms, num_runs), bool))


def _draw_keys(key: Key, num_steps: int, num_arms: int, num_runs: int) -> jax.Array:
    """One key a step, [B]: only the few steps at which a phase ends throw dice."""
    del num_arms, num_runs
    return jax.random.split(key, num_steps)


def _select_survivor(
    ends: jax.Array, kept: jax.Array, state: Survivors, key: Key
) -> tuple[Survivors, jax.Array]:
    totals = state.totals
    is_end = totals.t == ends  # of several phases, where one has no pulls
    num_kept = jnp.where(is_end, kept, len(totals.means)).min()
    active = jax.lax.cond(
        is_end.any(),
        lambda: keep_best(totals.means, state.active, num_kept, key),
        lambda: state.active,
    )
    arm = arms.first_best(jnp.where(active, -totals.counts, -jnp.inf))
    return Survivors(totals, active), arm


def _update_survivors(state: Survivors, arm: jax.Array, reward: jax.Array) -> Survivors:
    return Survivors(best_arm.totalled(state.totals, arm, reward), state.active)


def _recommend_survivor(state: Survivors, uniforms: jax.Array) -> jax.Array:
    means = jnp.where(state.active, state.totals.means, -jnp.inf)
    return arms.random_best(means, uniforms)


def ucb_e(exploration: float, budget: int) -> best_arm.Explorer:
    """Pulls the arm of the greatest average + sqrt(exploration / pulls): A&B, figure 2.

    Args:
      exploration: a, positive; see `oracle_exploration`.
      budget: n, pulls in all.

    Raises:
      ValueError: an argument is not positive.
    """
    checks.positive("exploration", exploration)
    checks.at_least("budget", budget, 1)
    policy = Policy(
        init=Partial(best_arm.init_totals),
        draw=Partial(policies.draw_uniform),
        select=Partial(_select_ucb_e, float(exploration)),
        update=Partial(best_arm.totalled),
    )
    return best_arm.of_policy(policy, Partial(best_arm.recommend_average), budget)


def oracle_exploration(means: Sequence[float], budget: int) -> float:
    """The a = 25/36 (n - K) / H1 of A&B's theorem 1: who knows it has seen the odds.

    Raises:
      ValueError: a budget of K or fewer pulls; means as in `complexity`.
    """
    _check_budget(len(means), budget, len(means) + 1, "UCB-E")
    return 25 / 36 * (budget - len(means)) / best_arm.complexity(means).h1


def _select_ucb_e(exploration: float, state: best_arm.Totals, ties: jax.Array) -> jax.Array:
    width = jnp.sqrt(exploration / jnp.maximum(state.counts, 1))
    return arms.random_best(jnp.where(state.counts > 0, state.means + width, jnp.inf), ties)


# Top-two Thompson sampling


class TopTwoLuck(NamedTuple):
    """The dice of B steps of top-two Thompson sampling."""

    is_leader: jax.Array  # [B, N], uniform
    tie: jax.Array  # [B, N], uniform
    tries: tuple[Any, ...]  # of each posterior sample: normals [B, K, N], or `beta.BetaLuck`


Posterior = Literal["beta", "normal", "gaussian"]


def top_two_thompson(
    posterior: Posterior = "beta",
    leader: float = 0.5,
    num_tries: int = 2,
    scale: float = 1.0,
) -> best_arm.Explorer:
    """Pulls the best arm of a posterior sample, or the best of another that has another best arm.

    Russo (2016, arXiv:1602.08448), section 3.3. He samples until another arm comes first, which
    takes ever longer as the answer becomes clear. Here it is tried `num_tries` times; then the arm
    j comes that is hardest to tell from the leader i, of the least (m_i - m_j)_+^2 / (v_i + v_j)
    by the posterior's means and variances: where resampling tends to, the rule of Shang et al.
    (2020, arXiv:1910.10945, T3C).

    Args:
      posterior: "beta" for rewards of 0 or 1 and a uniform prior; "normal", normals of the same
        means and variances, eight times faster; "gaussian" for normal rewards and a flat prior.
      leader: beta, how often the first sample's best arm is pulled, between 0 and 1.
      num_tries: of resampling, at least 0; more are another program.
      scale: of normal rewards, positive; of no use to the other posteriors.

    Raises:
      ValueError: an argument is out of its range.
    """
    if posterior not in _POSTERIORS:
        raise ValueError(f"posterior must be one of {', '.join(_POSTERIORS)}, not {posterior!r}")
    if not 0 < leader < 1:
        raise ValueError(f"leader must lie between 0 and 1, not {leader}")
    checks.at_least("num_tries", num_tries, 0)
    checks.positive("scale", scale)
    draw, moments, sample, is_flat = _POSTERIORS[posterior]
    moments = Partial(moments, scale**2) if is_flat else Partial(moments)
    likes = tuple(None for _ in range(num_tries + 1))  # their number is part of the program
    return best_arm.Explorer(
        init=Partial(best_arm.init_totals),
        draw=Partial(_draw_top_two, Partial(draw), likes),
        select=Partial(_select_top_two, moments, Partial(sample), float(leader)),
        update=Partial(best_arm.totalled),
        recommend=Partial(_recommend_moment, moments),
    )


def _draw_top_two(
    draw: Partial, likes: tuple[None, ...], key: Key, num_steps: int, num_arms: int, num_runs: int
) -> TopTwoLuck:
    key_leader, key_tie, *keys_tries = jax.random.split(key, 2 + len(likes))
    shape = (num_steps, num_runs)
    return TopTwoLuck(
        jax.random.uniform(key_leader, shape),
        jax.random.uniform(key_tie, shape),
        tuple(draw(key_try, num_steps, num_arms, num_runs) for key_try in keys_tries),
    )


def _select_top_two(
    moments: Partial, sample: Partial, leader: float, state: best_arm.Totals, luck: TopTwoLuck
) -> tuple[best_arm.Totals, jax.Array]:
    first, *others = luck.tries
    means, variances = moments(state)
    best = arms.first_best(sample(first, state, means, variances))
    is_best = arms.one_hot(best, len(means))
    gaps = jnp.maximum(arms.of_arm(means, best)[None] - means, 0)
    cost = gaps**2 / (arms.of_arm(variances, best)[None] + variances)
    challenger = arms.random_best(jnp.where(is_best, -jnp.inf, -cost), luck.tie)
    for again in reversed(others):
        other = arms.first_best(sample(again, state, means, variances))
        challenger = jnp.where(other == best, challenger, other)
    # An arm that nobody has pulled has no average yet; only the flat prior needs that said.
    arm = jnp.where(luck.is_leader < leader, best, challenger)
    untried = jnp.isinf(variances)
    return state, jnp.where(untried.any(0), arms.first_best(untried.astype(jnp.float32)), arm)


def _recommend_moment(moments: Partial, state: best_arm.Totals, uniforms: jax.Array) -> jax.Array:
    return arms.random_best(moments(state)[0], uniforms)


def _beta_moments(state: best_arm.Totals) -> tuple[jax.Array, jax.Array]:
    means = (state.sums + 1) / (state.counts + 2)
    return means, means * (1 - means) / (state.counts + 3)


def _flat_moments(variance: float, state: best_arm.Totals) -> tuple[jax.Array, jax.Array]:
    return state.means, variance / state.counts


def _sample_normal(
    normals: jax.Array, state: best_arm.Totals, means: jax.Array, variances: jax.Array
) -> jax.Array:
    del state
    return means + jnp.sqrt(variances) * normals


def _sample_beta(
    luck: beta.BetaLuck, state: best_arm.Totals, means: jax.Array, variances: jax.Array
) -> jax.Array:
    del means, variances
    return beta.sample_beta(luck, state.sums + 1, state.counts - state.sums + 1)


# (draw, moments, sample, whether its moments need the rewards' variance)
_POSTERIORS: dict[str, tuple[Callable, Callable, Callable, bool]] = {
    "beta": (beta.draw_beta, _beta_moments, _sample_beta, False),
    "normal": (policies.draw_normals, _beta_moments, _sample_normal, False),
    "gaussian": (policies.draw_normals, _flat_moments, _sample_normal, True),
}


def _check_budget(num_arms: int, budget: int, least: int, name: str) -> None:
    checks.num_arms(num_arms)
    if not isinstance(budget, (int, np.integer)) or budget < least:
        raise ValueError(
            f"budget must be a whole number of at least {least} for {name} with {num_arms} arms, "
            f"not {budget}"
        )
