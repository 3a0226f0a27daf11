"""Finite Markov decision processes with their transition probabilities, and grids among them.

Learners only draw from them (`successors`, `draw_transition`, `environment`); planners read the
tables. The grids are those of Sutton & Barto (2018), "Reinforcement Learning", chapters 6 and 8,
and Gymnasium's FrozenLake. Cells are numbered row by row; actions are left, down, right, up.

S: states, A: actions, K: most successors of one state and action.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.learner import Key
from dl_lectures.rl import environments

LEFT, DOWN, RIGHT, UP = range(4)
MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # rows down, columns right

FROZEN_LAKE = ("SFFF", "FHFH", "FFFH", "HFFG")
CLIFF = ("............", "............", "............", "SCCCCCCCCCCG")
WINDY = ("..........", "..........", "..........", "S......G..", *("..........",) * 3)
WIND = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)  # rows upwards, by the column that is left
MAZE = ("S.#.G", "..#..", "..#..", ".....", "#....")


class MDP(NamedTuple):
    """A finite Markov decision process. A terminal state leads to itself and earns nothing."""

    transitions: np.ndarray  # [S, A, S] float64, probabilities; rows sum to 1
    rewards: np.ndarray  # [S, A, S] float64, what a transition earns
    terminal: np.ndarray  # [S] bool; also cells that nobody can enter, such as walls
    start: np.ndarray  # [S] float64, probabilities of the first state

    @property
    def num_states(self) -> int:
        """S."""
        return self.transitions.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.transitions.shape[1]


class Successors(NamedTuple):
    """An MDP as lists of what can follow, from which one draws by one comparison a successor."""

    states: np.ndarray  # [S, A, K] int32; where there are fewer than K, the last one again
    probabilities: np.ndarray  # [S, A, K] float64; 0 for what only fills up
    cumulative: np.ndarray  # [S, A, K] float64, 1 from the last one on
    rewards: np.ndarray  # [S, A, K] float64
    terminal: np.ndarray  # [S] bool
    start_states: np.ndarray  # [K0] int32
    start_cumulative: np.ndarray  # [K0] float64


# Constructors.


def grid(
    cells: Sequence[str],
    rewards: Mapping[str, float],
    slip: float = 0.0,
    wind: Sequence[int] = (),
) -> MDP:
    """An MDP on a rectangle of cells.

    Who would leave the rectangle or enter a wall stays, and enters its own cell again.

    Args:
      cells: rows of S (start), G and H (goal and hole: terminal), C (cliff: back to the start,
        without an end), # (wall); any other letter is floor.
      rewards: of entering, by letter; 0 where it is missing.
      slip: probability that the move goes to one of the two sides instead, half of it each.
      wind: rows that a move is blown upwards, by the column it begins in.

    Raises:
      ValueError: the rows differ in length, there is not exactly one S, another number of winds
        than columns, or a slip makes one transition earn two things.
    """
    num_rows, num_cols = len(cells), len(cells[0]) if cells else 0
    text = "".join(cells)
    if {len(row) for row in cells} != {num_cols} or text.count("S") != 1:
        raise ValueError("cells must be rows of one length with exactly one S among them")
    wind = wind or (0,) * num_cols
    if len(wind) != num_cols:
        raise ValueError(f"wind must have one number a column, {num_cols}, not {len(wind)}")
    start, num_states = text.index("S"), len(text)
    terminal = np.array([letter in "GHC#" for letter in text])
    transitions = np.zeros((num_states, len(MOVES), num_states))
    earned = np.zeros_like(transitions)
    turns = ((0, 1.0 - slip), (-1, slip / 2), (1, slip / 2)) if slip else ((0, 1.0),)
    for state in range(num_states):
        if terminal[state]:
            transitions[state, :, state] = 1.0
            continue
        row, col = divmod(state, num_cols)
        for action in range(len(MOVES)):
            for turn, probability in turns:
                down, right = MOVES[(action + turn) % len(MOVES)]
                new_row = min(max(row + down - wind[col], 0), num_rows - 1)
                new_col = min(max(col + right, 0), num_cols - 1)
                letter = cells[new_row][new_col]
                entered = state if letter == "#" else new_row * num_cols + new_col
                reward = rewards.get(text[state] if letter == "#" else letter, 0.0)
                landed = start if letter == "C" else entered
                if transitions[state, action, landed] and earned[state, action, landed] != reward:
                    raise ValueError(
                        f"two moves lead from cell {state} to {landed} and earn not "
                        "the same: a reward of a transition could not be both"
                    )
                transitions[state, action, landed] += probability
                earned[state, action, landed] = reward
    return MDP(transitions, earned, terminal, np.eye(num_states)[start])


def frozen_lake(slip: float = 2 / 3) -> MDP:
    """Gymnasium's FrozenLake 4 x 4: reward 1 at the goal, nothing in a hole; slips by default."""
    return grid(FROZEN_LAKE, {"G": 1.0}, slip=slip)


def cliff_walk() -> MDP:
    """Sutton & Barto's example 6.6: -1 a step; the cliff costs 100 and leads back to the start."""
    return grid(CLIFF, {".": -1.0, "S": -1.0, "G": -1.0, "C": -100.0})


def windy_grid() -> MDP:
    """Sutton & Barto's example 6.5: -1 a step, an upward wind in the middle; at best 15 steps."""
    return grid(WINDY, {".": -1.0, "S": -1.0, "G": -1.0}, wind=WIND)


def maze() -> MDP:
    """A small maze whose only reward is 1 at the goal, 10 steps away."""
    return grid(MAZE, {"G": 1.0})


def garnet(key: Key, num_states: int = 20, num_actions: int = 4, branching: int = 3) -> MDP:
    """A random MDP that goes on for ever ("Garnet"). The key is consumed.

    Archibald, McKinnon & Thomas (1995), doi:10.1057/jors.1995.50: each action leads to `branching`
    states drawn without replacement, with the probabilities between sorted uniform cuts of [0, 1];
    its reward, drawn from a standard normal, is the same whatever follows. Starts anywhere.

    Raises:
      ValueError: more branches than states.
    """
    if not 1 <= branching <= num_states:
        raise ValueError(f"branching must lie in 1 ... {num_states}, not {branching}")
    key_where, key_cuts, key_rewards = jax.random.split(key, 3)
    pairs = (num_states, num_actions)
    # The first places of a random order are a draw without replacement.
    where = jax.random.uniform(key_where, (*pairs, num_states)).argsort(-1)[..., :branching]
    cuts = np.sort(np.asarray(jax.random.uniform(key_cuts, (*pairs, branching - 1)), float))
    shares = np.diff(cuts, axis=-1, prepend=0.0, append=1.0)  # [S, A, branching]
    transitions = np.zeros((*pairs, num_states))
    np.put_along_axis(transitions, np.asarray(where), shares, -1)
    rewards = np.asarray(jax.random.normal(key_rewards, (*pairs, 1)), float)
    return MDP(
        transitions,
        np.broadcast_to(rewards, transitions.shape).copy(),
        np.zeros(num_states, bool),
        np.full(num_states, 1 / num_states),
    )


# What can be reached, and how one draws.


def reachable(mdp: MDP) -> np.ndarray:
    """Which states can be acted in, [S] bool: on a way from the start, and not terminal."""
    edges = (mdp.transitions > 0).any(1)
    found, seen = mdp.start > 0, np.zeros(mdp.num_states, bool)
    while (found != seen).any():
        seen, found = found, found | edges[found].any(0)
    return found & ~mdp.terminal


def exploring_starts(mdp: MDP) -> MDP:
    """The MDP whose episodes begin in any state that can be acted in, all equally likely."""
    states = reachable(mdp)
    return mdp._replace(start=states / states.sum())


def successors(mdp: MDP) -> Successors:
    """The lists of what can follow.

    Raises:
      ValueError: the tables are no MDP: other shapes, rows that do not sum to 1, or a terminal
        state that can be left or earns something.
    """
    _check(mdp)
    positive = mdp.transitions > 0
    most = int(positive.sum(-1).max())
    # Stable: those with a positive probability, in the order of their numbers, come first.
    order = np.argsort(~positive, axis=-1, kind="stable")[..., :most]  # [S, A, K]
    last = positive.sum(-1, keepdims=True) - 1
    is_real = np.arange(most) <= last
    order = np.where(is_real, order, np.take_along_axis(order, last, -1))
    probabilities = np.where(is_real, np.take_along_axis(mdp.transitions, order, -1), 0.0)
    # Rounding must not leave a gap below 1 that a draw could fall into.
    cumulative = np.where(np.arange(most) >= last, 1.0, probabilities.cumsum(-1))
    starts = np.flatnonzero(mdp.start)
    return Successors(
        order.astype(np.int32),
        probabilities,
        cumulative,
        np.take_along_axis(mdp.rewards, order, -1),
        mdp.terminal,
        starts.astype(np.int32),
        mdp.start[starts].cumsum(),
    )


def _check(mdp: MDP) -> None:
    shape = (mdp.num_states, mdp.num_actions, mdp.num_states)
    shapes = [x.shape for x in mdp]
    if shapes != [shape, shape, shape[:1], shape[:1]]:
        raise ValueError(
            f"the tables of an MDP must be [S, A, S] twice and [S] twice, not {shapes}"
        )
    for name, rows in (("transitions", mdp.transitions), ("start", mdp.start)):
        if (rows < 0).any() or not np.allclose(rows.sum(-1), 1.0):
            raise ValueError(f"{name} must be probabilities that sum to 1")
    ends = np.flatnonzero(mdp.terminal)
    if not (mdp.transitions[ends, :, ends] == 1).all() or mdp.rewards[ends, :, ends].any():
        raise ValueError("a terminal state must lead to itself and earn nothing")


def inverse_cdf(cumulative: jax.Array, uniform: jax.Array) -> jax.Array:
    """The index, [] int32, of what a uniform number of [0, 1) draws from running sums [K]."""
    return (uniform >= cumulative[:-1]).sum(dtype=jnp.int32)


def draw_start(table: Successors, uniform: jax.Array) -> jax.Array:
    """A first state, [] int32, from one uniform number."""
    return jnp.asarray(table.start_states)[inverse_cdf(table.start_cumulative, uniform)]


def draw_transition(
    table: Successors, uniform: jax.Array, state: jax.Array, action: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The next state [], the reward [] and whether it is terminal [], from one uniform number."""
    which = inverse_cdf(jnp.asarray(table.cumulative)[state, action], uniform)
    following = jnp.asarray(table.states)[state, action, which]
    reward = jnp.asarray(table.rewards)[state, action, which]
    return following, reward, jnp.asarray(table.terminal)[following]


class EnvState(NamedTuple):
    """Where an episode is."""

    state: jax.Array  # [] int32
    time: jax.Array  # [] int32, actions so far


def environment(
    mdp: MDP, max_episode_steps: int, one_hot: bool = False
) -> environments.Environment:
    """The MDP as an environment, for learners that do not know its tables.

    Args:
      mdp: what is played.
      max_episode_steps: the time limit.
      one_hot: observe the state as a float32 vector [S] instead of its number, [] int32.

    Raises:
      ValueError: the tables are no MDP, or the limit is below 1.
    """
    if max_episode_steps < 1:
        raise ValueError(f"max_episode_steps must be at least 1, not {max_episode_steps}")
    table, num_states = successors(mdp), mdp.num_states

    def observe(state: jax.Array) -> jax.Array:
        return jax.nn.one_hot(state, num_states) if one_hot else state

    def reset(key: Key):
        state = draw_start(table, jax.random.uniform(key))
        return observe(state), EnvState(state, jnp.int32(0))

    def step(key: Key, env_state: EnvState, action: jax.Array):
        uniform = jax.random.uniform(key)
        state, reward, terminated = draw_transition(table, uniform, env_state.state, action)
        time = env_state.time + 1
        return observe(state), EnvState(state, time), reward, terminated, time >= max_episode_steps

    return environments.Environment(reset, step, mdp.num_actions)
