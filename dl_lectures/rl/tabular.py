"""Control with a table of action values: temporal differences and Monte Carlo, one contract.

Sutton & Barto (2018), "Reinforcement Learning": SARSA (section 6.4), Q-learning (6.5; Watkins &
Dayan, 1992, doi:10.1007/BF00992698), Expected SARSA (6.6; van Seijen et al., 2009,
doi:10.1109/ADPRL.2009.4927542), double Q-learning (6.7; van Hasselt, 2010), n-step SARSA (7.2),
Watkins's Q(lambda) with replacing traces (12.10), on-policy Monte Carlo control, first-visit and
every-visit (5.4). Each is an update of a few lines, tried by all alike: act, look, learn.

Where we differ from the book: equal values are chosen among at random; a time limit is no end, so
that every method goes on from the value of the state it was cut at, Monte Carlo too; with a step
size that falls with the visits, Q(lambda) moves all values by that of the current pair.

One step of the learner is a block of environment steps. Temporal differences learn at each of them,
Monte Carlo at the end of the block, from the episodes that ended in it.

M: tables (2 for double Q-learning, else 1), S: states, A: actions, N: steps of n-step SARSA,
L: environment steps of a block, E: episodes whose returns are kept.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.learner import Data, Key, Learner, Metrics
from dl_lectures.rl import grids, planning, settings

MONTE_CARLO = ("first_visit_mc", "every_visit_mc")
METHODS = (
    *("q_learning", "sarsa", "expected_sarsa", "double_q", "n_step_sarsa", "watkins"),
    *MONTE_CARLO,
)
# Their update needs the next action, so it is chosen before; the others choose after the update.
_DECIDES_FIRST = ("sarsa", "n_step_sarsa", "watkins", *MONTE_CARLO)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a method."""

    method: Annotated[
        Literal[
            "q_learning",
            "sarsa",
            "expected_sarsa",
            "double_q",
            "n_step_sarsa",
            "watkins",
            "first_visit_mc",
            "every_visit_mc",
        ],
        "how it learns",
    ] = "q_learning"
    discount: Annotated[float, "gamma, discount factor of a step"] = 1.0
    learning_rate: Annotated[float, "step size at a pair's first visit"] = 0.5
    learning_rate_power: Annotated[
        float, "the step size at visit n is learning_rate / n^power; 0: constant"
    ] = 0.0
    epsilon_start: Annotated[float, "probability of a random action at first"] = 0.1
    epsilon_end: Annotated[float, "probability of a random action in the end"] = 0.1
    epsilon_steps: Annotated[int, "environment steps over which it changes linearly"] = 0
    n_steps: Annotated[int, "rewards before n-step SARSA bootstraps"] = 4
    trace_decay: Annotated[float, "lambda of Q(lambda)"] = 0.9
    block_steps: Annotated[int, "L, environment steps in a step of the learner"] = 100
    max_episode_steps: Annotated[int, "time limit of an episode"] = 1_000
    num_returns: Annotated[int, "E, first episodes whose returns are kept"] = 0
    seek_optimum: Annotated[
        int, "note when the greedy policy first earns the most, within so many steps; 0: do not"
    ] = 0

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"--method={self.method} must be one of {', '.join(METHODS)}.")
        settings.at_least_one(self, ("n_steps", "block_steps", "max_episode_steps"))
        settings.not_negative(
            self, ("epsilon_steps", "num_returns", "learning_rate_power", "seek_optimum")
        )
        settings.between_0_and_1(
            self, ("discount", "epsilon_start", "epsilon_end", "trace_decay", "learning_rate")
        )
        if self.method in MONTE_CARLO and self.max_episode_steps > self.block_steps:
            raise ValueError(
                f"--block_steps={self.block_steps} must not be less than --max_episode_steps="
                f"{self.max_episode_steps}: {self.method} learns from whole episodes."
            )

    @property
    def num_tables(self) -> int:
        """M."""
        return 2 if self.method == "double_q" else 1

    def epsilon(self, env_steps: jax.Array) -> jax.Array:
        """Probability of a random action after so many environment steps, [] float32."""
        share = jnp.minimum(env_steps / max(1, self.epsilon_steps), 1.0)
        if not self.epsilon_steps:
            return jnp.float32(self.epsilon_end)
        return self.epsilon_start + share * (self.epsilon_end - self.epsilon_start)


class Transition(NamedTuple):
    """One environment step and the action after it."""

    state: jax.Array  # [] int32
    action: jax.Array  # [] int32
    reward: jax.Array  # [] float32
    discount: jax.Array  # [] float32; 0 where the episode terminated; a time limit leaves gamma
    next_state: jax.Array  # [] int32, never a reset's
    next_action: jax.Array  # [] int32, meaningful for methods that decide first
    next_policy: jax.Array | None  # [A] float32, probabilities of actions in the next state
    ended: jax.Array  # [] bool, terminated or cut by the time limit
    episode: jax.Array  # [] int32, number of the episode
    is_first: jax.Array  # [] bool, whether the episode had not had the pair; for Monte Carlo


class Learned(NamedTuple):
    """What a method remembers."""

    tables: jax.Array  # [M, S, A] float32
    visits: jax.Array  # [M, S, A] int32, updates of each value
    memory: Any  # traces, the last few steps; what the method needs


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    learned: Learned
    previous: Transition | None  # leaves [L], the last block; Monte Carlo only
    state: jax.Array  # [] int32, where the episode is
    action: jax.Array  # [] int32, what comes next
    time: jax.Array  # [] int32, actions of the running episode
    env_steps: jax.Array  # [] int32
    episodes: jax.Array  # [] int32, finished
    returns: jax.Array | None  # [E] float32, undiscounted, of the first episodes, so far
    first_optimal: jax.Array  # [] int32, environment steps; -1: not yet, or not sought
    learning_rate: jax.Array  # [] float32, constant
    key: Key  # constant
    t: jax.Array  # [] int32, steps of the learner


class Uniforms(NamedTuple):
    """Numbers of [0, 1) that decide an environment step, [] or [L] float32 each."""

    move: jax.Array  # where the action leads
    next: jax.Array  # the action in the state it leads to
    table: jax.Array  # the table that double Q-learning moves
    start: jax.Array  # the state in which a new episode begins
    after: jax.Array  # the action that follows


# (learned, transition, one uniform number, learning rate) -> learned
Update = Callable[[Learned, Transition, jax.Array, jax.Array], Learned]


# Behaviour.


def epsilon_greedy(q: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Probabilities [A]: a random action with probability epsilon, else one of the best of q."""
    best = q == q.max()
    return epsilon / q.shape[0] + (1.0 - epsilon) * best / best.sum()


# Updates. Each is one method; `_move` is the step they share.


def _move(
    learned: Learned,
    where: tuple[Any, jax.Array, jax.Array],
    target: jax.Array,
    rate: jax.Array,
    power: float,
    due: jax.Array | bool = True,
) -> Learned:
    """Moves the value at (table, state, action) towards a target, where that is due."""
    visits = learned.visits.at[where].add(jnp.int32(due))
    if power:
        rate = rate * jnp.maximum(visits[where], 1).astype(jnp.float32) ** -power
    change = jnp.where(due, rate * (target - learned.tables[where]), 0.0)
    return learned._replace(tables=learned.tables.at[where].add(change), visits=visits)


def q_learning(config: Config) -> Update:
    """q(s, a) moves towards r + gamma max_b q(s', b), whatever is done next; equation 6.8."""

    def update(learned: Learned, step: Transition, uniform: jax.Array, rate: jax.Array) -> Learned:
        target = step.reward + step.discount * learned.tables[0, step.next_state].max()
        where = (0, step.state, step.action)
        return _move(learned, where, target, rate, config.learning_rate_power)

    return update


def sarsa(config: Config) -> Update:
    """q(s, a) moves towards r + gamma q(s', a'), with the action that is done next; 6.7."""

    def update(learned: Learned, step: Transition, uniform: jax.Array, rate: jax.Array) -> Learned:
        following = learned.tables[0, step.next_state, step.next_action]
        target = step.reward + step.discount * following
        where = (0, step.state, step.action)
        return _move(learned, where, target, rate, config.learning_rate_power)

    return update


def expected_sarsa(config: Config) -> Update:
    """q(s, a) moves towards r + gamma sum_b pi(b | s') q(s', b): no chance in the action; 6.9."""

    def update(learned: Learned, step: Transition, uniform: jax.Array, rate: jax.Array) -> Learned:
        following = (step.next_policy * learned.tables[0, step.next_state]).sum()
        target = step.reward + step.discount * following
        where = (0, step.state, step.action)
        return _move(learned, where, target, rate, config.learning_rate_power)

    return update


def double_q(config: Config) -> Update:
    """A coin says which of two tables chooses the best next action; the other judges it; 6.10.

    It acts by the mean of both.
    """

    def update(learned: Learned, step: Transition, uniform: jax.Array, rate: jax.Array) -> Learned:
        chooser = jnp.int32(uniform < 0.5)
        best = learned.tables[chooser, step.next_state].argmax()
        judged = learned.tables[1 - chooser, step.next_state, best]
        target = step.reward + step.discount * judged
        where = (chooser, step.state, step.action)
        return _move(learned, where, target, rate, config.learning_rate_power)

    return update


class Window(NamedTuple):
    """The last N steps of an episode, the newest last."""

    states: jax.Array  # [N] int32
    actions: jax.Array  # [N] int32
    rewards: jax.Array  # [N] float32
    length: jax.Array  # [] int32, steps in it


def n_step_sarsa(config: Config) -> Update:
    """q moves towards N rewards and then gamma^N q; at an end, the last steps do with fewer; 7.4.

    A value is moved N - 1 steps after its pair was visited, and those left over at the end of an
    episode all at once, in their order.
    """
    n, gamma = config.n_steps, config.discount

    def update(learned: Learned, step: Transition, uniform: jax.Array, rate: jax.Array) -> Learned:
        window = learned.memory
        states, actions, rewards = (
            jnp.concatenate([old[1:], new[None]])
            for old, new in zip(window, (step.state, step.action, step.reward), strict=False)
        )
        length = jnp.minimum(window.length + 1, n)
        earned = jnp.float32(0.0)
        returns = []  # rewards from i on; the newest first
        for i in reversed(range(n)):
            earned = rewards[i] + (0.0 if i == n - 1 else gamma) * earned
            returns.append(earned)
        for i in range(n):
            bootstrap = learned.tables[0, step.next_state, step.next_action]
            ahead = n - 1 - i  # rewards after this one, before the bootstrap
            target = returns[ahead] + gamma**ahead * step.discount * bootstrap
            due = (i >= n - length) & (step.ended | (i == 0))
            where = (0, states[i], actions[i])
            learned = _move(learned, where, target, rate, config.learning_rate_power, due)
        length = jnp.where(step.ended, 0, length)
        return learned._replace(memory=Window(states, actions, rewards, length))

    return update


def watkins(config: Config) -> Update:
    """Q-learning's error moves all pairs of the way, by lambda's powers, until one explores.

    Watkins (1989); section 12.10, with replacing traces.
    """

    def update(learned: Learned, step: Transition, uniform: jax.Array, rate: jax.Array) -> Learned:
        where = (0, step.state, step.action)
        following = learned.tables[0, step.next_state]
        error = step.reward + step.discount * following.max() - learned.tables[where]
        traces = learned.memory.at[where[1:]].set(1.0)  # [S, A]
        visits = learned.visits.at[where].add(1)
        if config.learning_rate_power:
            rate = rate * visits[where].astype(jnp.float32) ** -config.learning_rate_power
        tables = learned.tables + rate * error * traces[None]
        goes_on = (following[step.next_action] == following.max()) & ~step.ended
        traces *= jnp.where(goes_on, config.discount * config.trace_decay, 0.0)
        return Learned(tables, visits, traces)

    return update


def take_note(config: Config) -> Update:
    """Monte Carlo learns nothing during a block: it only notes which pairs were visited."""

    def update(learned: Learned, step: Transition, uniform: jax.Array, rate: jax.Array) -> Learned:
        pair = (step.state, step.action)
        return learned._replace(memory=learned.memory.at[pair].set(step.episode))

    return update


def monte_carlo(
    config: Config, learned: Learned, previous: Transition, block: Transition, rate: jax.Array
) -> Learned:
    """q moves towards the returns of the episodes that ended in a block [L]; section 5.4.

    From the last step back. Such an episode may have begun in the block before, `previous`, but not
    earlier: none is longer than a block. First-visit Monte Carlo takes a pair's first return in an
    episode, every-visit all of them.
    """
    every_visit = config.method == "every_visit_mc"

    def back(carry, step_and_age):
        learned, worth, is_over = carry
        step, is_new = step_and_age
        cut = learned.tables[0, step.next_state, step.next_action]  # only at a time limit
        following = jnp.where(step.ended, cut, worth)
        worth = step.reward + step.discount * following
        is_over = jnp.where(step.ended, is_new, is_over)
        due = is_over & (every_visit | step.is_first)
        where = (0, step.state, step.action)
        learned = _move(learned, where, worth, rate, config.learning_rate_power, due)
        return (learned, worth, is_over), None

    length = block.state.shape[0]
    both = jax.tree.map(lambda *x: jnp.concatenate(x), previous, block)
    is_new = jnp.arange(2 * length) >= length
    carry = (learned, jnp.float32(0.0), jnp.bool_(False))
    return jax.lax.scan(back, carry, (both, is_new), reverse=True)[0][0]


UPDATES = {
    "q_learning": q_learning,
    "sarsa": sarsa,
    "expected_sarsa": expected_sarsa,
    "double_q": double_q,
    "n_step_sarsa": n_step_sarsa,
    "watkins": watkins,
    "first_visit_mc": take_note,
    "every_visit_mc": take_note,
}


def memory_of(config: Config, num_states: int, num_actions: int) -> Any:
    """What a method remembers before the first step."""
    if config.method == "n_step_sarsa":
        numbers = jnp.zeros(config.n_steps, jnp.int32)
        return Window(numbers, numbers, jnp.zeros(config.n_steps), jnp.int32(0))
    if config.method == "watkins":
        return jnp.zeros((num_states, num_actions))
    if config.method in MONTE_CARLO:  # the episode in which a pair was visited last
        return jnp.full((num_states, num_actions), -1, jnp.int32)
    return ()


def no_block(config: Config) -> Transition | None:
    """What Monte Carlo finds before its first block: steps that no episode goes on from."""
    if config.method not in MONTE_CARLO:
        return None
    ints, floats, bools = (
        jnp.zeros(config.block_steps, kind) for kind in (jnp.int32, jnp.float32, bool)
    )
    return Transition(ints, ints, floats, floats, ints, ints, None, ~bools, ints, bools)


# Wiring.


def make(config: Config, mdp: grids.MDP, policy: np.ndarray | None = None) -> Learner:
    """Returns a method that learns to act in `mdp`, or the values of a policy that it is given.

    Metrics of a step: `loss`, the greatest move of a value in it; `reward`, earned in it;
    `finished`, the episodes that ended in it. Metrics of an evaluation, all exact: `greedy_return`,
    what the greedy policy is expected to earn from the start within the time limit, discounted;
    `is_optimal`, whether that is the most, to a thousandth; `value_error`, the greatest error of a
    value that can be reached, relative to the greatest such value, against the best policy's values
    or those of `policy`; with `seek_optimum`, `first_optimal`, the environment steps until the
    greedy policy was the best for the first time, or all of them where it never was.

    Args:
      config: which method, and how.
      mdp: what it acts in; only draws from it are used for learning.
      policy: [S, A] probabilities to act by; None: epsilon-greedy.

    Raises:
      ValueError: the tables are no MDP, or its exact values do not exist.
    """
    table = grids.successors(mdp)
    shape = (mdp.num_states, mdp.num_actions)
    update = UPDATES[config.method](config)
    decides_first, is_monte_carlo = config.method in _DECIDES_FIRST, config.method in MONTE_CARLO
    optimum = planning.value_iteration(mdp, config.discount)
    exact, best_return = optimum.action_values, float(mdp.start @ optimum.values)
    slack = 1e-3 * abs(best_return)
    if policy is not None:
        values = planning.policy_values(mdp, policy, config.discount)
        exact = planning.action_values(mdp, values, config.discount)
    inside = grids.reachable(mdp)
    scale = np.abs(exact[inside]).max()

    def behaviour(tables: jax.Array, state: jax.Array, env_steps: jax.Array) -> jax.Array:
        """Probabilities of actions, [A]."""
        if policy is not None:
            return jnp.asarray(policy, jnp.float32)[state]
        return epsilon_greedy(tables[:, state].mean(0), config.epsilon(env_steps))

    def greedy_return(state: State, horizon: int) -> jax.Array:
        q = state.learned.tables.mean(0)
        best = q == q.max(-1, keepdims=True)
        policy = best / best.sum(-1, keepdims=True)
        return planning.expected_return(table, policy, config.discount, horizon)

    def act(state: State, uniforms: Uniforms) -> tuple[State, Transition]:
        """One environment step."""
        next_state, reward, terminated = grids.draw_transition(
            table, uniforms.move, state.state, state.action
        )
        ended = terminated | (state.time + 1 >= config.max_episode_steps)
        next_policy = behaviour(state.learned.tables, next_state, state.env_steps)
        step = Transition(
            state.state,
            state.action,
            reward,
            jnp.where(terminated, jnp.float32(0.0), jnp.float32(config.discount)),
            next_state,
            grids.inverse_cdf(next_policy.cumsum(), uniforms.next),
            next_policy,
            ended,
            state.episodes,
            is_first=jnp.bool_(True),
        )
        if is_monte_carlo:
            seen_in = state.learned.memory[state.state, state.action]
            step = step._replace(is_first=seen_in != state.episodes)
        learned = update(state.learned, step, uniforms.table, state.learning_rate)
        returns = state.returns
        if config.num_returns:
            returns = returns.at[state.episodes].add(reward, mode="drop")
        state_after = jnp.where(ended, grids.draw_start(table, uniforms.start), next_state)
        policy_after = behaviour(learned.tables, state_after, state.env_steps + 1)
        action_after = grids.inverse_cdf(policy_after.cumsum(), uniforms.after)
        if decides_first:
            action_after = jnp.where(ended, action_after, step.next_action)
        state = state._replace(
            learned=learned,
            state=state_after,
            action=action_after,
            time=jnp.where(ended, 0, state.time + 1),
            env_steps=state.env_steps + 1,
            episodes=state.episodes + ended,
            returns=returns,
        )
        return state, step

    def draw(key: Key) -> Uniforms:
        """The numbers of a block, in bulk; those that decide nothing are not drawn."""
        is_needed = Uniforms(
            move=table.states.shape[-1] > 1,
            next=decides_first,
            table=config.num_tables > 1,
            start=len(table.start_states) > 1,
            after=True,
        )
        keys, shape = jax.random.split(key, len(is_needed)), (config.block_steps,)
        return Uniforms(
            *(
                jax.random.uniform(keys[i], shape) if needed else jnp.zeros(shape)
                for i, needed in enumerate(is_needed)
            )
        )

    def init(key: Key) -> State:
        key_start, key_run = jax.random.split(key)
        u_state, u_action = jax.random.uniform(key_start, (2,))
        tables = jnp.zeros((config.num_tables, *shape))
        state = grids.draw_start(table, u_state)
        first = behaviour(tables, state, jnp.int32(0))
        return State(
            Learned(tables, jnp.zeros_like(tables, jnp.int32), memory_of(config, *shape)),
            no_block(config),
            state,
            grids.inverse_cdf(first.cumsum(), u_action),
            time=jnp.int32(0),
            env_steps=jnp.int32(0),
            episodes=jnp.int32(0),
            returns=jnp.zeros(config.num_returns) if config.num_returns else None,
            first_optimal=jnp.int32(-1),
            learning_rate=jnp.float32(config.learning_rate),
            key=key_run,
            t=jnp.int32(0),
        )

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        del data  # experience is all there is
        before = state
        # The last block stays out of the scan, whose every step would copy it.
        state = state._replace(previous=None)

        def body(state: State, uniforms: Uniforms):
            state, step = act(state, uniforms)
            kept = step._replace(next_policy=None) if is_monte_carlo else None
            return state, (step.reward, kept)

        uniforms = draw(jax.random.fold_in(state.key, state.t))
        state, (rewards, block) = jax.lax.scan(body, state, uniforms)
        if is_monte_carlo:
            learned = monte_carlo(
                config, state.learned, before.previous, block, state.learning_rate
            )
            state = state._replace(learned=learned, previous=block)
        if config.seek_optimum:
            earned = greedy_return(state, config.seek_optimum)
            is_first = (state.first_optimal < 0) & (earned >= best_return - slack)
            state = state._replace(
                first_optimal=jnp.where(is_first, state.env_steps, state.first_optimal)
            )
        metrics = {
            "loss": jnp.abs(state.learned.tables - before.learned.tables).max(),
            "reward": rewards.sum(),
            "finished": jnp.float32(state.episodes - before.episodes),
        }
        return state._replace(t=state.t + 1), metrics

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del key, data
        q = state.learned.tables.mean(0)
        errors = jnp.abs(q - jnp.asarray(exact, jnp.float32)).max(-1)
        earned = greedy_return(state, config.max_episode_steps)
        metrics = {
            "greedy_return": earned,
            "is_optimal": jnp.float32(earned >= best_return - slack),
            "value_error": jnp.where(inside, errors, 0.0).max() / scale,
        }
        if config.seek_optimum:
            unknown = state.first_optimal < 0
            first = jnp.where(unknown, state.env_steps, state.first_optimal)
            metrics["first_optimal"] = jnp.float32(first)
        return metrics

    return Learner(init, step, evaluate)


# Several at once, so that one program trains them.


class Together(NamedTuple):
    """The states of several learners."""

    states: dict[str, State]
    key: Key  # constant
    t: jax.Array  # [] int32


def together(learners: Mapping[str, Learner], same_key: bool = False) -> Learner:
    """Returns the learner that is all of these side by side.

    Each has a key of its own, or, with `same_key`, all have the same: learners of one policy's
    values that decide alike then see the same episodes.

    Metrics are called NAME/METRIC; `loss` is the greatest of theirs. All get the same data.
    """

    def init(key: Key) -> Together:
        key_run, *keys = jax.random.split(key, 1 + len(learners))
        keys = [keys[0]] * len(keys) if same_key else keys
        states = {
            name: learner.init(key_one)
            for (name, learner), key_one in zip(learners.items(), keys, strict=True)
        }
        return Together(states, key_run, jnp.int32(0))

    def step(state: Together, data: Data) -> tuple[Together, Metrics]:
        stepped = {name: learners[name].step(one, data) for name, one in state.states.items()}
        metrics = {
            f"{name}/{metric}": value
            for name, (_, found) in stepped.items()
            for metric, value in found.items()
        }
        metrics["loss"] = jnp.stack([found["loss"] for _, found in stepped.values()]).max()
        states = {name: one for name, (one, _) in stepped.items()}
        return Together(states, state.key, state.t + 1), metrics

    def evaluate(key: Key, state: Together, data: Data) -> Metrics:
        keys = jax.random.split(key, len(learners))
        return {
            f"{name}/{metric}": value
            for (name, one), key_one in zip(state.states.items(), keys, strict=True)
            for metric, value in learners[name].evaluate(key_one, one, data).items()
        }

    return Learner(init, step, evaluate)


def sweep(learner: Learner, rates: Sequence[float]) -> Learner:
    """Returns the learner that is one of `make` at each of several learning rates.

    Metrics are called METRIC@RATE; `loss` is the greatest. The state's leaves have a leading axis
    over rates, except for `key` and `t`, which are its own.
    """

    def names(metrics: Metrics) -> Metrics:
        return {
            f"{name}@{rate:g}": values[i]
            for name, values in metrics.items()
            for i, rate in enumerate(rates)
        }

    def init(key: Key) -> Together:
        key_run, *keys = jax.random.split(key, 1 + len(rates))
        states = jax.vmap(learner.init)(jnp.stack(keys))
        states = states._replace(learning_rate=jnp.array(rates, jnp.float32))
        return Together({"rates": states}, key_run, jnp.int32(0))

    def step(state: Together, data: Data) -> tuple[Together, Metrics]:
        states, metrics = jax.vmap(learner.step, in_axes=(0, None))(state.states["rates"], data)
        named = names(metrics) | {"loss": metrics["loss"].max()}
        return Together({"rates": states}, state.key, state.t + 1), named

    def evaluate(key: Key, state: Together, data: Data) -> Metrics:
        keys = jax.random.split(key, len(rates))
        evaluate_all = jax.vmap(learner.evaluate, in_axes=(0, 0, None))
        return names(evaluate_all(keys, state.states["rates"], data))

    return Learner(init, step, evaluate)
