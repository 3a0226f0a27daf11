"""Machines with hidden pay-out laws: multi-armed bandits as pure functions (slides 19-21).

A `Bandit` plays N independent runs at once. Its numbers (odds, means, scales) are the leaves of a
pytree, so that `jax.jit` takes them as arguments and another set of odds compiles nothing. What is
random about a pull is drawn in bulk for many steps by `draw`, which leaves `pull` deterministic:
the same luck can be given to any other implementation.

K: arms, N: runs, B: steps that are drawn at once. Arrays are [K, N]; see `arms`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dl_lectures.bandits import arms, checks
from dl_lectures.learner import Key

State = Any  # of the machines, leaves [..., N]
Luck = Any  # what chance decides about a step, leaves [..., N]; from `draw` with B leading


class Bandit(NamedTuple):
    """Machines, as four pure functions; all are `Partial`, whose arguments are the numbers.

    `means` are the expected rewards of this very step: regret is counted against the best of them.
    `context`, where a bandit has one, is what a policy may look at before it selects.
    """

    init: Partial  # (key, num_runs) -> state; the key is consumed
    draw: Partial  # (key, num_steps, num_runs) -> luck, leaves [B, ..., N]; the key is consumed
    means: Partial  # (state, luck of this step) -> [K, N], or [K, 1] if all runs have the same
    pull: Partial  # (state, luck, arm [N]) -> (state of the next step, reward [N])
    context: Partial | None = None  # (state, luck) -> features of each arm, [D, K, N]


def bernoulli(probabilities: Sequence[float]) -> Bandit:
    """Pays 1 with an arm's probability, else 0.

    Args:
      probabilities: [K], in [0, 1].

    Raises:
      ValueError: a probability is none.
    """
    probabilities = checks.numbers("probabilities", probabilities)
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError(f"probabilities must lie in 0 ... 1, not {checks.shown(probabilities)}")
    return Bandit(
        init=Partial(_same_for_all_runs, probabilities),
        draw=Partial(_draw_uniform),
        means=Partial(_state_is_means),
        pull=Partial(_pull_bernoulli),
    )


def bernoulli_prior(num_arms: int, successes: float = 1.0, failures: float = 1.0) -> Bandit:
    """Bernoulli arms whose odds each run draws afresh from Beta(successes, failures).

    The average over runs is the Bayesian value that `bounds` computes exactly.

    Raises:
      ValueError: no two arms, or a count that is not positive.
    """
    checks.num_arms(num_arms)
    for name, value in (("successes", successes), ("failures", failures)):
        checks.positive(name, value)
    prior = np.tile(np.array([successes, failures], np.float32), (num_arms, 1))
    return bernoulli([0.5, 0.5])._replace(init=Partial(_init_beta, prior))


def gaussian(means: Sequence[float], scale: float = 1.0) -> Bandit:
    """Pays normally distributed rewards of these means, [K], and this standard deviation.

    Raises:
      ValueError: means that are no numbers, or a scale that is not positive.
    """
    means = checks.numbers("means", means)
    checks.positive("scale", scale)
    return Bandit(
        init=Partial(_same_for_all_runs, means),
        draw=Partial(_draw_normal),
        means=Partial(_state_is_means),
        pull=Partial(_pull_shifted, scale),
    )


def gaussian_testbed(num_arms: int = 10, mean: float = 0.0) -> Bandit:
    """The 10-armed testbed of Sutton & Barto (2018), section 2.3.

    Each run draws its arms' true values q*(a) from N(mean, 1); a reward is N(q*(a), 1).

    Raises:
      ValueError: no two arms, or a mean that is no number.
    """
    checks.num_arms(num_arms)
    checks.finite("mean", mean)
    centres = np.full(num_arms, mean, np.float32)
    return gaussian([0.0, 0.0])._replace(init=Partial(_init_normal, centres))


def student_t(means: Sequence[float], degrees: float, scale: float = 1.0) -> Bandit:
    """Pays mean + scale * T, T of Student's law with so many degrees of freedom: heavy tails.

    Drawn by Bailey's polar method (1994, doi:10.1090/S0025-5718-1994-1219702-8), exact for every
    number of degrees.

    Raises:
      ValueError: degrees of 1 or less, for which there is no mean, or infinitely many, which
        `gaussian` is; a scale that is not positive.
    """
    means = checks.numbers("means", means)
    checks.positive("scale", scale)
    if not 1 < degrees < math.inf:
        raise ValueError(
            f"degrees must be finite and above 1, where there is a mean; not {degrees}"
        )
    return gaussian(means, scale)._replace(draw=Partial(_draw_student_t, degrees))


def pareto(means: Sequence[float], shape: float) -> Bandit:
    """Pays by Pareto's law, P(reward > x) = (minimum / x)^shape: rare huge rewards.

    Args:
      means: [K], positive; an arm's minimum is mean * (shape - 1) / shape.
      shape: the tail's exponent, above 1; the variance is infinite at 2 or less.

    Raises:
      ValueError: means that are not positive, or a shape of 1 or less, or infinite.
    """
    means = checks.positive_means(means)
    if not 1 < shape < math.inf:
        raise ValueError(f"shape must be finite and above 1, where there is a mean; not {shape}")
    return gaussian(means)._replace(draw=Partial(_draw_pareto, shape), pull=Partial(_pull_scaled))


def exponential(means: Sequence[float]) -> Bandit:
    """Pays exponentially distributed rewards of these means, [K], positive.

    Raises:
      ValueError: means that are not positive.
    """
    means = checks.positive_means(means)
    return gaussian(means)._replace(draw=Partial(_draw_exponential), pull=Partial(_pull_scaled))


def mixture(
    weights: Sequence[Sequence[float]],
    lows: Sequence[Sequence[float]],
    highs: Sequence[Sequence[float]],
) -> Bandit:
    """Pays by a mixture of M uniform laws: bounded, and as far from normal as one likes.

    Args:
      weights: [K, M], of each part; rows sum to 1.
      lows: [K, M], where each part begins.
      highs: [K, M], where it ends; equal to its low for a single value.

    Raises:
      ValueError: no two arms, shapes differ, weights are none, or a part ends before it begins.
    """
    weights, lows, highs = (
        checks.numbers(name, values, ndim=2)
        for name, values in (("weights", weights), ("lows", lows), ("highs", highs))
    )
    if not weights.shape == lows.shape == highs.shape:
        raise ValueError(
            "weights, lows and highs must have one shape [arms, parts], not "
            f"{weights.shape}, {lows.shape} and {highs.shape}"
        )
    checks.num_arms(len(weights))
    if weights.min() < 0 or not np.allclose(weights.sum(1), 1, atol=1e-5):
        raise ValueError(f"each row of weights must sum to 1, not {checks.shown(weights.sum(1))}")
    if (highs < lows).any():
        raise ValueError("highs must not lie below lows")
    means = (weights * (lows + highs) / 2).sum(1)
    return gaussian(means)._replace(
        draw=Partial(_draw_two_uniforms), pull=Partial(_pull_mixture, weights, lows, highs)
    )


def past_payouts(machines: Sequence[Sequence[float]]) -> Bandit:
    """Machines known only by what they paid: a pull pays one of the past rewards, evenly.

    The slide's machines are `past_payouts(SLIDE_MACHINES)`.

    Args:
      machines: K lists of rewards; they may differ in length.

    Raises:
      ValueError: fewer than two machines, one without a reward, or a reward that is no number.
    """
    checks.num_arms(len(machines))
    if not all(np.iterable(machine) and len(machine) for machine in machines):
        raise ValueError("each of machines needs at least one past reward")
    rows = [checks.numbers("machines", machine, fewest=1) for machine in machines]
    table = np.zeros((len(rows), max(map(len, rows))), np.float32)
    for row, machine in zip(table, rows, strict=True):
        row[: len(machine)] = machine
    lengths = np.array([len(machine) for machine in rows], np.float32)
    means = np.array([machine.mean() for machine in rows], np.float32)
    return gaussian(means)._replace(
        draw=Partial(_draw_uniform), pull=Partial(_pull_table, table, lengths)
    )


SLIDE_MACHINES = ((100.0, 20.0, 20.0, 10.0), (50.0, 120.0, 30.0, 100.0, 80.0))


def piecewise(probabilities: Sequence[Sequence[float]], changes: Sequence[int]) -> Bandit:
    """Bernoulli arms whose odds change at given steps, which no policy is told.

    Args:
      probabilities: [M, K], the odds of each period.
      changes: [M - 1], increasing: the steps, counted from 0, that are the first of a new period.

    Raises:
      ValueError: no two arms, numbers that do not fit each other, or odds that are none.
    """
    odds = checks.numbers("probabilities", probabilities, ndim=2)
    if odds.min() < 0 or odds.max() > 1:
        raise ValueError(f"probabilities must lie in 0 ... 1, not {checks.shown(odds)}")
    checks.num_arms(odds.shape[1])
    starts = np.array([0, *changes], np.float64)
    is_whole = np.isfinite(starts).all() and (starts == np.rint(starts)).all()
    if len(starts) != len(odds) or not is_whole or (np.diff(starts) <= 0).any():
        raise ValueError(
            f"changes must be {len(odds) - 1} increasing whole steps above 0, one fewer than the "
            f"periods, not {list(changes)}"
        )
    starts = np.minimum(starts, np.iinfo(np.int32).max).astype(np.int32)
    return Bandit(
        init=Partial(_init_clock),
        draw=Partial(_draw_uniform),
        means=Partial(_means_of_period, odds, starts),
        pull=Partial(_pull_in_time, odds, starts),
    )


def switching(num_arms: int, rate: float) -> Bandit:
    """Bernoulli arms whose odds are all redrawn from U(0, 1), in each step with probability `rate`.

    Raises:
      ValueError: no two arms, or a rate that is no probability.
    """
    checks.num_arms(num_arms)
    checks.probability("rate", rate)
    return Bandit(
        init=Partial(_init_uniform, np.zeros(num_arms, np.float32)),
        draw=Partial(_draw_switching, np.zeros(num_arms, np.float32)),
        means=Partial(_state_is_means),
        pull=Partial(_pull_switching, rate),
    )


def random_walk(num_arms: int = 10, step_scale: float = 0.01, scale: float = 1.0) -> Bandit:
    """The drifting testbed of Sutton & Barto (2018), exercise 2.5.

    All true values start equal, at 0, and take independent normal steps of `step_scale` after every
    pull; a reward is N(q*(a), scale).

    Raises:
      ValueError: no two arms, or a scale that is not positive.
    """
    checks.num_arms(num_arms)
    checks.positive("step_scale", step_scale)
    checks.positive("scale", scale)
    return Bandit(
        init=Partial(_init_zeros, np.zeros(num_arms, np.float32)),
        draw=Partial(_draw_walk, np.zeros(num_arms, np.float32)),
        means=Partial(_state_is_means),
        pull=Partial(_pull_walking, step_scale, scale),
    )


def rotting(means: Sequence[float], exponent: float = 0.5, scale: float = 1.0) -> Bandit:
    """Arms that wear out: after n pulls of an arm its mean is mean * (n + 1)^(-exponent).

    Levine, Crammer & Mannor (2017, arXiv:1702.07274), the parametric case; rewards are normal.

    Raises:
      ValueError: means, an exponent or a scale that is not positive.
    """
    means = checks.positive_means(means)
    checks.positive("exponent", exponent)
    checks.positive("scale", scale)
    return Bandit(
        init=Partial(_init_zeros, means),
        draw=Partial(_draw_normal),
        means=Partial(_rotten_means, means, exponent),
        pull=Partial(_pull_rotting, means, exponent, scale),
    )


def adversarial(rewards: Sequence[Sequence[float]]) -> Bandit:
    """Pays what an adversary has written down beforehand; nothing is random.

    Regret is counted against the best arm of every step. That against the best single arm in
    hindsight, as in the papers on EXP3, is the difference of the totals.

    Args:
      rewards: [T, K]; from step T on they begin again.

    Raises:
      ValueError: no two arms, or rewards that are no numbers.
    """
    rewards = checks.numbers("rewards", rewards, ndim=2)
    checks.num_arms(rewards.shape[1])
    return Bandit(
        init=Partial(_init_clock),
        draw=Partial(_draw_nothing),
        means=Partial(_means_of_step, rewards),
        pull=Partial(_pull_adversarial, rewards),
    )


def contextual_linear(num_arms: int, num_features: int, scale: float = 0.1) -> Bandit:
    """Each step shows features x_a of every arm; the mean reward is x_a . theta (Li et al., 2010).

    Every run draws theta evenly from the unit sphere, every step draws each arm's features from it;
    rewards are normal around their mean. The disjoint model of that paper with one theta for all
    arms: arXiv:1003.0146, section 3.1.

    Raises:
      ValueError: no two arms, no feature, or a scale that is not positive.
    """
    checks.num_arms(num_arms)
    checks.whole("num_features", num_features)
    if num_features < 1:
        raise ValueError(f"num_features must be at least 1, not {num_features}")
    checks.positive("scale", scale)
    like = np.zeros((num_features, num_arms), np.float32)
    return Bandit(
        init=Partial(_init_sphere, like),
        draw=Partial(_draw_contexts, like),
        means=Partial(_linear_means),
        pull=Partial(_pull_linear, scale),
        context=Partial(_contexts),
    )


# init


def _same_for_all_runs(values: jax.Array, key: Key, num_runs: int) -> jax.Array:
    del key, num_runs
    return jnp.asarray(values)[:, None]


def _init_beta(prior: jax.Array, key: Key, num_runs: int) -> jax.Array:
    return jax.random.beta(key, prior[:, :1], prior[:, 1:], (len(prior), num_runs))


def _init_normal(centres: jax.Array, key: Key, num_runs: int) -> jax.Array:
    return jnp.asarray(centres)[:, None] + jax.random.normal(key, (len(centres), num_runs))


def _init_uniform(like: jax.Array, key: Key, num_runs: int) -> jax.Array:
    return jax.random.uniform(key, (len(like), num_runs))


def _init_zeros(like: jax.Array, key: Key, num_runs: int) -> jax.Array:
    del key
    return jnp.zeros((len(like), num_runs))


def _init_clock(key: Key, num_runs: int) -> jax.Array:
    del key, num_runs
    return jnp.int32(0)


def _init_sphere(like: jax.Array, key: Key, num_runs: int) -> jax.Array:
    return _on_sphere(jax.random.normal(key, (len(like), num_runs)))


# draw


def _draw_nothing(key: Key, num_steps: int, num_runs: int) -> jax.Array:
    del key
    return jnp.zeros((num_steps, num_runs))


def _draw_uniform(key: Key, num_steps: int, num_runs: int) -> jax.Array:
    return jax.random.uniform(key, (num_steps, num_runs))


def _draw_two_uniforms(key: Key, num_steps: int, num_runs: int) -> jax.Array:
    return jax.random.uniform(key, (num_steps, 2, num_runs))


def _draw_normal(key: Key, num_steps: int, num_runs: int) -> jax.Array:
    return jax.random.normal(key, (num_steps, num_runs))


def _draw_exponential(key: Key, num_steps: int, num_runs: int) -> jax.Array:
    return jax.random.exponential(key, (num_steps, num_runs))


def _draw_student_t(degrees: float, key: Key, num_steps: int, num_runs: int) -> jax.Array:
    u, v = jnp.moveaxis(jax.random.uniform(key, (num_steps, 2, num_runs)), 1, 0)
    # sqrt(degrees (u^(-2 / degrees) - 1)) cos(2 pi v); 1 - u lies in (0, 1]
    squared = degrees * jnp.expm1(-2 / degrees * jnp.log1p(-u))
    return jnp.sqrt(squared) * jnp.cos(2 * jnp.pi * v)


def _draw_pareto(shape: float, key: Key, num_steps: int, num_runs: int) -> jax.Array:
    """Rewards of mean 1."""
    tails = jnp.exp(jax.random.exponential(key, (num_steps, num_runs)) / shape)
    return tails * (shape - 1) / shape


class Switch(NamedTuple):
    """The luck of machines that may be exchanged."""

    reward: jax.Array  # [N] uniform
    change: jax.Array  # [N] uniform
    odds: jax.Array  # [K, N] of the machines that come


def _draw_switching(like: jax.Array, key: Key, num_steps: int, num_runs: int) -> Switch:
    key_reward, key_change, key_odds = jax.random.split(key, 3)
    return Switch(
        jax.random.uniform(key_reward, (num_steps, num_runs)),
        jax.random.uniform(key_change, (num_steps, num_runs)),
        jax.random.uniform(key_odds, (num_steps, len(like), num_runs)),
    )


class Walk(NamedTuple):
    """The luck of machines whose true values walk."""

    reward: jax.Array  # [N] normal
    steps: jax.Array  # [K, N] normal


def _draw_walk(like: jax.Array, key: Key, num_steps: int, num_runs: int) -> Walk:
    key_reward, key_steps = jax.random.split(key)
    return Walk(
        jax.random.normal(key_reward, (num_steps, num_runs)),
        jax.random.normal(key_steps, (num_steps, len(like), num_runs)),
    )


class Offer(NamedTuple):
    """The luck of machines that show features."""

    reward: jax.Array  # [N] normal
    contexts: jax.Array  # [D, K, N], unit vectors


def _draw_contexts(like: jax.Array, key: Key, num_steps: int, num_runs: int) -> Offer:
    key_reward, key_contexts = jax.random.split(key)
    num_features, num_arms = like.shape
    contexts = jax.random.normal(key_contexts, (num_features, num_steps, num_arms, num_runs))
    return Offer(
        jax.random.normal(key_reward, (num_steps, num_runs)),
        jnp.moveaxis(_on_sphere(contexts), 0, 1),
    )


def _on_sphere(normals: jax.Array) -> jax.Array:
    """Scales vectors, which lie along the first axis, to length 1."""
    return normals / jnp.linalg.norm(normals, axis=0, keepdims=True)


# means


def _state_is_means(state: jax.Array, luck: Luck) -> jax.Array:
    del luck
    return state


def _means_of_period(odds: jax.Array, starts: jax.Array, t: jax.Array, luck: Luck) -> jax.Array:
    del luck
    return jnp.asarray(odds)[(t >= starts).sum() - 1][:, None]


def _means_of_step(rewards: jax.Array, t: jax.Array, luck: Luck) -> jax.Array:
    del luck
    return jnp.asarray(rewards)[t % len(rewards)][:, None]


def _rotten_means(means: jax.Array, exponent: float, counts: jax.Array, luck: Luck) -> jax.Array:
    del luck
    return jnp.asarray(means)[:, None] * jnp.exp(-exponent * jnp.log1p(counts))


def _linear_means(theta: jax.Array, luck: Offer) -> jax.Array:
    return (luck.contexts * theta[:, None]).sum(0)


def _contexts(theta: jax.Array, luck: Offer) -> jax.Array:
    del theta
    return luck.contexts


# pull


def _pull_bernoulli(
    odds: jax.Array, uniforms: jax.Array, arm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return odds, (uniforms < arms.of_arm(odds, arm)).astype(jnp.float32)


def _pull_shifted(
    scale: float, means: jax.Array, noise: jax.Array, arm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return means, arms.of_arm(means, arm) + scale * noise


def _pull_scaled(means: jax.Array, noise: jax.Array, arm: jax.Array) -> tuple[jax.Array, jax.Array]:
    return means, arms.of_arm(means, arm) * noise


def _pull_mixture(
    weights: jax.Array,
    lows: jax.Array,
    highs: jax.Array,
    means: jax.Array,
    uniforms: jax.Array,
    arm: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    which, where = uniforms
    passed = jnp.cumsum(jnp.asarray(weights)[arm], 1) <= which[:, None]  # [N, M]
    part = jnp.minimum(passed.sum(1), weights.shape[1] - 1)
    low, high = jnp.asarray(lows)[arm, part], jnp.asarray(highs)[arm, part]
    return means, low + (high - low) * where


def _pull_table(
    table: jax.Array,
    lengths: jax.Array,
    means: jax.Array,
    uniforms: jax.Array,
    arm: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    length = jnp.asarray(lengths)[arm]
    column = jnp.minimum(uniforms * length, length - 1).astype(jnp.int32)
    return means, jnp.asarray(table)[arm, column]


def _pull_in_time(
    odds: jax.Array, starts: jax.Array, t: jax.Array, uniforms: jax.Array, arm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, reward = _pull_bernoulli(_means_of_period(odds, starts, t, uniforms), uniforms, arm)
    return t + 1, reward


def _pull_switching(
    rate: float, odds: jax.Array, luck: Switch, arm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, reward = _pull_bernoulli(odds, luck.reward, arm)
    return jnp.where(luck.change[None] < rate, luck.odds, odds), reward


def _pull_walking(
    step_scale: float, scale: float, means: jax.Array, luck: Walk, arm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, reward = _pull_shifted(scale, means, luck.reward, arm)
    return means + step_scale * luck.steps, reward


def _pull_rotting(
    means: jax.Array,
    exponent: float,
    scale: float,
    counts: jax.Array,
    noise: jax.Array,
    arm: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    _, reward = _pull_shifted(scale, _rotten_means(means, exponent, counts, noise), noise, arm)
    return counts + arms.one_hot(arm, len(means)), reward


def _pull_adversarial(
    rewards: jax.Array, t: jax.Array, luck: jax.Array, arm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return t + 1, arms.of_arm(_means_of_step(rewards, t, luck), arm)


def _pull_linear(
    scale: float, theta: jax.Array, luck: Offer, arm: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, reward = _pull_shifted(scale, _linear_means(theta, luck), luck.reward, arm)
    return theta, reward
