"""Ways to choose among machines: the contract, and the policies of Sutton & Barto (slide 21).

A `Policy` plays N runs at once, like a `rewards.Bandit`. Its hyper-parameters are leaves of a
pytree, arguments to `jax.jit`: policies of one kind share one compiled program, so that a sweep
over values compiles once. More policies are in `ucb`, `thompson`, `adversarial`, `changing` and
`linear`.

S&B: Sutton & Barto, Reinforcement Learning (2nd edition, 2018), chapter 2.
K: arms, N: runs, B: steps that are drawn at once, Q: estimated rewards. Arrays are [K, N].
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from dl_lectures.bandits import arms, checks
from dl_lectures.learner import Key

State = Any  # what a policy remembers, leaves [..., N]
Luck = Any  # the dice of a step, leaves [..., N]; from `draw` with B leading


class Policy(NamedTuple):
    """A policy as four pure functions; all are `Partial`, whose arguments are hyper-parameters.

    A policy that uses contexts is shown them by `look` before it selects, and keeps what it needs
    of them in its state.
    """

    init: Partial  # (num_arms, num_runs) -> state
    draw: Partial  # (key, num_steps, num_arms, num_runs) -> luck of B steps; the key is consumed
    select: Partial  # (state, luck of this step) -> arm, int32 [N]
    update: Partial  # (state, arm [N], reward [N]) -> state
    look: Partial | None = None  # (state, contexts [D, K, N]) -> state


class Averages(NamedTuple):
    """What each arm has paid so far."""

    t: jax.Array  # int32 [], pulls so far
    counts: jax.Array  # [K, N], pulls of each arm; float32, exact up to 2^24
    means: jax.Array  # [K, N], Q


class Dice(NamedTuple):
    """What chance decides about a choice."""

    explore: jax.Array  # [N], uniform in [0, 1)
    tie: jax.Array | None  # [N], uniform in [0, 1); None: the first of several best arms


Ties = Literal["random", "first"]


def init_averages(num_arms: int, num_runs: int) -> Averages:
    """Returns the averages of arms that nobody has pulled."""
    return init_estimates(0.0, num_arms, num_runs)


def init_estimates(value: float, num_arms: int, num_runs: int) -> Averages:
    """Returns estimates that begin at a value; an average forgets it at the first pull."""
    zeros = jnp.zeros((num_arms, num_runs))
    return Averages(jnp.int32(0), zeros, zeros + value)


def averaged(state: Averages, arm: jax.Array, reward: jax.Array) -> Averages:
    """Takes a reward into the averages: Q += (R - Q) / n, S&B (2.3)."""
    chosen = arms.one_hot(arm, len(state.counts))
    counts = state.counts + chosen
    steps = (reward[None] - state.means) / jnp.maximum(counts, 1)
    return Averages(state.t + 1, counts, state.means + jnp.where(chosen, steps, 0.0))


def recency_weighted(
    step_size: float, state: Averages, arm: jax.Array, reward: jax.Array
) -> Averages:
    """Takes a reward into estimates that forget: Q += step_size (R - Q), S&B (2.5)."""
    chosen = arms.one_hot(arm, len(state.counts))
    steps = step_size * (reward[None] - state.means)
    return Averages(state.t + 1, state.counts + chosen, state.means + jnp.where(chosen, steps, 0.0))


def draw_nothing(key: Key, num_steps: int, num_arms: int, num_runs: int) -> jax.Array:
    """Returns the luck of a policy that throws no dice, [B, 1]."""
    del key, num_arms, num_runs
    return jnp.zeros((num_steps, 1))


def draw_uniform(key: Key, num_steps: int, num_arms: int, num_runs: int) -> jax.Array:
    """Returns one uniform number a step, [B, N]."""
    del num_arms
    return jax.random.uniform(key, (num_steps, num_runs))


def draw_normals(key: Key, num_steps: int, num_arms: int, num_runs: int) -> jax.Array:
    """Returns a normal number for each arm and step, [B, K, N]."""
    return jax.random.normal(key, (num_steps, num_arms, num_runs))


def draw_dice(key: Key, num_steps: int, num_arms: int, num_runs: int) -> Dice:
    """Returns the dice of B steps, with one for ties."""
    del num_arms
    key_explore, key_tie = jax.random.split(key)
    shape = (num_steps, num_runs)
    return Dice(jax.random.uniform(key_explore, shape), jax.random.uniform(key_tie, shape))


def draw_one_die(key: Key, num_steps: int, num_arms: int, num_runs: int) -> Dice:
    """Returns the dice of B steps of a policy that takes the first of several best arms."""
    return Dice(draw_uniform(key, num_steps, num_arms, num_runs), None)


def explore_or(arm: jax.Array, epsilon: float, uniforms: jax.Array, num_arms: int) -> jax.Array:
    """Returns the arm, int32 [N], or with probability epsilon any of all arms, evenly.

    One number for both questions: given that it is below epsilon, uniform / epsilon is uniform. It
    has 23 bits: an epsilon of K / 10^5 leaves about 80 values an arm, and shares to about 1 %.

    Args:
      arm: int32 [N].
      epsilon: in [0, 1].
      uniforms: [N], in [0, 1).
      num_arms: K.
    """
    shares = uniforms / jnp.maximum(epsilon, jnp.finfo(jnp.float32).tiny)
    return jnp.where(uniforms < epsilon, arms.uniform_arm(shares, num_arms), arm)


def best_arm(values: jax.Array, tie: jax.Array | None) -> jax.Array:
    """Returns each run's arm of the greatest value, int32 [N]; `tie` as in `Dice`."""
    return arms.first_best(values) if tie is None else arms.random_best(values, tie)


def explore_only() -> Policy:
    """Chooses evenly at random for ever: the slide's "only explore"."""
    return Policy(
        init=Partial(_init_like),
        draw=Partial(draw_uniform),
        select=Partial(_select_any),
        update=Partial(_update_nothing),
    )


def _init_like(num_arms: int, num_runs: int) -> jax.Array:
    del num_runs
    return jnp.zeros((num_arms, 1))


def _select_any(like: jax.Array, uniforms: jax.Array) -> jax.Array:
    return arms.uniform_arm(uniforms, len(like))


def _update_nothing(like: jax.Array, arm: jax.Array, reward: jax.Array) -> jax.Array:
    del arm, reward
    return like


def epsilon_greedy(
    epsilon: float = 0.1,
    step_size: float | None = None,
    initial_value: float = 0.0,
    ties: Ties = "random",
) -> Policy:
    """Pulls the best arm so far, but any arm with probability epsilon: S&B, section 2.2.

    Args:
      epsilon: how often it explores, in [0, 1]; also the best arm may be drawn.
      step_size: of the estimates, in (0, 1]; None: they are averages.
      initial_value: of the estimates. Averages forget it at an arm's first pull.
      ties: between arms of equal estimates; "first" takes the arm of the lowest number, as many
        programs do: faster, but not the same policy (arms 0.05 ... 0.95 in increasing order cost it
        a fifth more regret).

    Raises:
      ValueError: an argument is out of its range.
    """
    checks.probability("epsilon", epsilon)
    checks.finite("initial_value", initial_value)
    return Policy(
        init=Partial(init_estimates, initial_value),
        draw=Partial(_draw_for(ties)),
        select=Partial(_select_epsilon_greedy, epsilon),
        update=_update_for(step_size),
    )


def greedy() -> Policy:
    """Pulls the best arm so far, always: the slide's "concentrate"."""
    return epsilon_greedy(0.0)


def optimistic(initial_value: float = 5.0, step_size: float = 0.1) -> Policy:
    """Is greedy with estimates that begin too high, so that every arm is tried: S&B, section 2.6.

    Raises:
      ValueError: an argument is out of its range.
    """
    return epsilon_greedy(0.0, step_size, initial_value)


def decaying_epsilon_greedy(c: float, d: float) -> Policy:
    """Explores less and less: epsilon_n = min(1, c K / (d^2 n)) at the n-th pull.

    Auer, Cesa-Bianchi & Fischer (2002, doi:10.1023/A:1013689704352), figure 3.

    Args:
      c: positive; too small a one pays linear regret.
      d: a lower bound on the gap between the best and the second arm, in (0, 1].

    Raises:
      ValueError: an argument is out of its range.
    """
    checks.positive("c", c)
    if not 0 < d <= 1:
        raise ValueError(f"d must lie in (0, 1], not {d}")
    return Policy(
        init=Partial(init_averages),
        draw=Partial(draw_dice),
        select=Partial(_select_decaying, c / d**2),
        update=Partial(averaged),
    )


def _select_epsilon_greedy(epsilon: float, state: Averages, dice: Dice) -> jax.Array:
    best = best_arm(state.means, dice.tie)
    return explore_or(best, epsilon, dice.explore, len(state.counts))


def _select_decaying(c_over_d2: float, state: Averages, dice: Dice) -> jax.Array:
    epsilon = jnp.minimum(1.0, c_over_d2 * len(state.counts) / (state.t + 1))
    return _select_epsilon_greedy(epsilon, state, dice)


def _draw_for(ties: Ties) -> Any:
    if ties not in ("random", "first"):
        raise ValueError(f"ties must be 'random' or 'first', not {ties!r}")
    return draw_dice if ties == "random" else draw_one_die


def _update_for(step_size: float | None) -> Partial:
    if step_size is None:
        return Partial(averaged)
    if not 0 < step_size <= 1:
        raise ValueError(f"step_size must lie in (0, 1], not {step_size}")
    return Partial(recency_weighted, step_size)


def softmax(temperature: float = 0.1, step_size: float | None = None) -> Policy:
    """Draws arms with probabilities proportional to exp(Q / temperature): Boltzmann exploration.

    S&B (1st edition, 1998), section 2.3.

    Args:
      temperature: positive, in units of the reward.
      step_size: of the estimates, in (0, 1]; None: they are averages.

    Raises:
      ValueError: an argument is out of its range.
    """
    checks.positive("temperature", temperature)
    return Policy(
        init=Partial(init_averages),
        draw=Partial(draw_uniform),
        select=Partial(_select_softmax, temperature),
        update=_update_for(step_size),
    )


def _select_softmax(temperature: float, state: Averages, uniforms: jax.Array) -> jax.Array:
    return arms.sampled_arm(jax.nn.softmax(state.means / temperature, axis=0), uniforms)


class Preferences(NamedTuple):
    """What a gradient bandit has learned."""

    t: jax.Array  # int32 []
    preferences: jax.Array  # [K, N], H
    average: jax.Array  # [N], of all rewards so far


_BASELINES = {"before": (1.0, 0.0), "including": (1.0, 1.0), "none": (0.0, 0.0)}


def gradient(
    step_size: float = 0.1, baseline: Literal["before", "including", "none"] = "before"
) -> Policy:
    """Climbs the gradient of the expected reward over softmax preferences: S&B (2.12).

    Args:
      step_size: positive.
      baseline: the average reward against which rewards are taken: of the steps before this one, 0
        at the first, as S&B's text has it; or including this step's reward, as in S&B's own
        results, which is much better where rewards are far from 0; or none.

    Raises:
      ValueError: an argument is out of its range.
    """
    checks.positive("step_size", step_size)
    if baseline not in _BASELINES:
        raise ValueError(f"baseline must be one of {', '.join(_BASELINES)}, not {baseline!r}")
    return Policy(
        init=Partial(_init_preferences),
        draw=Partial(draw_uniform),
        select=Partial(_select_preferred),
        update=Partial(_update_preferences, step_size, *_BASELINES[baseline]),
    )


def _init_preferences(num_arms: int, num_runs: int) -> Preferences:
    return Preferences(jnp.int32(0), jnp.zeros((num_arms, num_runs)), jnp.zeros(num_runs))


def _select_preferred(state: Preferences, uniforms: jax.Array) -> jax.Array:
    return arms.sampled_arm(jax.nn.softmax(state.preferences, axis=0), uniforms)


def _update_preferences(
    step_size: float,
    use_average: float,
    use_this: float,
    state: Preferences,
    arm: jax.Array,
    reward: jax.Array,
) -> Preferences:
    probabilities = jax.nn.softmax(state.preferences, axis=0)
    chosen = arms.one_hot(arm, len(probabilities))
    average = state.average + (reward - state.average) / (state.t + 1)
    baseline = use_average * jnp.where(use_this, average, state.average)
    advantage = step_size * (reward - baseline)
    preferences = state.preferences + advantage[None] * (chosen - probabilities)
    return Preferences(state.t + 1, preferences, average)


def explore_then_commit(num_pulls: float) -> Policy:
    """Pulls each arm `num_pulls` times in turn, then the best of them for ever.

    Lattimore & Szepesvari, Bandit Algorithms (2020), algorithm 1. The slide asks how many.

    Raises:
      ValueError: fewer than one pull, or a fraction of one.
    """
    checks.at_least("num_pulls", num_pulls, 1)
    checks.whole("num_pulls", num_pulls)
    return Policy(
        init=Partial(_init_commitment),
        draw=Partial(draw_uniform),
        select=Partial(_select_then_commit, float(num_pulls)),
        update=Partial(_update_commitment, float(num_pulls)),
    )


class Commitment(NamedTuple):
    """What exploring has shown, and the arm that was chosen after it."""

    averages: Averages
    winner: jax.Array  # int32 [N]; of no meaning before the choice


def _init_commitment(num_arms: int, num_runs: int) -> Commitment:
    return Commitment(init_averages(num_arms, num_runs), jnp.zeros(num_runs, jnp.int32))


def _select_then_commit(num_pulls: float, state: Commitment, ties: jax.Array) -> jax.Array:
    t, num_arms = state.averages.t, len(state.averages.counts)
    in_turn = jnp.full(ties.shape, t % num_arms, jnp.int32)
    choice = best_arm(state.averages.means, ties)
    later = jnp.where(t == num_pulls * num_arms, choice, state.winner)
    return jnp.where(t < num_pulls * num_arms, in_turn, later)


def _update_commitment(
    num_pulls: float, state: Commitment, arm: jax.Array, reward: jax.Array
) -> Commitment:
    is_choice = state.averages.t == num_pulls * len(state.averages.counts)
    return Commitment(
        averaged(state.averages, arm, reward), jnp.where(is_choice, arm, state.winner)
    )


class Survivors(NamedTuple):
    """What is known of the arms, and which are still played."""

    averages: Averages
    active: jax.Array  # bool [K, N]


def successive_elimination(horizon: float) -> Policy:
    """Pulls all surviving arms in turn and drops those whose confidence interval lies below.

    Even-Dar, Mannor & Mansour (2006, jmlr.org/papers/v7/evendar06a.html), algorithm 3, for rewards
    in [0, 1]: an arm goes when its average is 2 a_n below the best, a_n = sqrt(log(4 K n^2 / delta)
    / (2 n)), here with delta = 1 / horizon for regret. Their c is 4; their radius has n for 2 n, of
    which Hoeffding's inequality for rewards in [0, 1] has no need.

    Args:
      horizon: T, steps for which it is set; at least 1.

    Raises:
      ValueError: a horizon below 1.
    """
    checks.at_least("horizon", horizon, 1)
    return Policy(
        init=Partial(_init_survivors),
        draw=Partial(draw_nothing),
        select=Partial(_select_survivor),
        update=Partial(_update_survivors, float(horizon)),
    )


def _init_survivors(num_arms: int, num_runs: int) -> Survivors:
    return Survivors(init_averages(num_arms, num_runs), jnp.ones((num_arms, num_runs), bool))


def _select_survivor(state: Survivors, luck: jax.Array) -> jax.Array:
    del luck
    return arms.first_best(jnp.where(state.active, -state.averages.counts, -jnp.inf))


def _update_survivors(
    horizon: float, state: Survivors, arm: jax.Array, reward: jax.Array
) -> Survivors:
    averages = averaged(state.averages, arm, reward)
    counts = jnp.where(state.active, averages.counts, jnp.inf)
    pulls = counts.min(0)  # of every surviving arm, at the end of a round
    is_round = pulls == jnp.where(state.active, averages.counts, 0).max(0)
    num_arms = np.float32(len(counts))
    log_term = jnp.log(4 * num_arms * pulls * pulls * horizon)
    radius = jnp.sqrt(log_term / (2 * jnp.maximum(pulls, 1)))
    means = jnp.where(state.active, averages.means, -jnp.inf)
    stays = means >= means.max(0)[None] - 2 * radius[None]
    active = jnp.where(is_round[None], state.active & stays, state.active)
    return Survivors(averages, active)
