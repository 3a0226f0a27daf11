"""What is best where the MDP is given: dynamic programming, and search of the whole tree.

The reference answers are computed in double precision with NumPy: value iteration, policy
evaluation by a linear system (Sutton & Barto, 2018, chapter 4), and exhaustive search, which walks
every way to a depth without noticing that ways meet.

S: states, A: actions, K: most successors of one state and action.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.rl.grids import MDP, Successors, successors


class Optimum(NamedTuple):
    """What value iteration found."""

    values: np.ndarray  # [S] float64
    action_values: np.ndarray  # [S, A] float64
    num_sweeps: int  # each updates all states


def action_values(mdp: MDP, values: np.ndarray, discount: float) -> np.ndarray:
    """What actions are worth, [S, A], if `values`, [S], are what follows is worth."""
    return (mdp.transitions * (mdp.rewards + discount * values)).sum(-1)


def value_iteration(
    mdp: MDP,
    discount: float,
    epsilon: float = 0.0,
    tolerance: float = 1e-10,
    max_sweeps: int = 100_000,
) -> Optimum:
    """The values of the best policy, or of the best one that explores with probability `epsilon`.

    v(s) = (1 - epsilon) max_a q(s, a) + epsilon mean_a q(s, a), until no value moves by more than
    `tolerance`; equation 4.10 of Sutton & Barto, and section 5.4 for policies that explore.

    Raises:
      ValueError: the values do not settle, as with discount 1 where no policy ends.
    """
    values = np.zeros(mdp.num_states)
    for sweep in range(1, max_sweeps + 1):
        q = action_values(mdp, values, discount)
        new = (1 - epsilon) * q.max(-1) + epsilon * q.mean(-1)
        moved, values = np.abs(new - values).max(), new
        if moved <= tolerance:
            return Optimum(values, action_values(mdp, values, discount), sweep)
    raise ValueError(f"values still move by {moved:g} after {max_sweeps} sweeps at {discount=}")


def policy_values(mdp: MDP, policy: np.ndarray, discount: float) -> np.ndarray:
    """The values [S] of a policy [S, A] (probabilities), by solving v = r + discount P v.

    Raises:
      ValueError: with discount 1 the policy does not reach an end from everywhere.
    """
    inner = np.flatnonzero(~mdp.terminal)
    chain = np.einsum("sa,sat->st", policy, mdp.transitions)[inner]
    rewards = np.einsum("sa,sat,sat->s", policy, mdp.transitions, mdp.rewards)[inner]
    values, matrix = np.zeros(mdp.num_states), np.eye(len(inner)) - discount * chain[:, inner]
    if np.linalg.cond(matrix) > 1e12:
        raise ValueError(f"the policy never ends from some state: no values at {discount=}")
    values[inner] = np.linalg.solve(matrix, rewards)
    return values


def greedy(q: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
    """The policy [S, A] that takes the best of q [S, A]; what is equal is equally likely."""
    best = q >= q.max(-1, keepdims=True) - tolerance
    return best / best.sum(-1, keepdims=True)


def path(mdp: MDP, q: np.ndarray, max_steps: int) -> list[int]:
    """The states that a greedy policy visits from the likeliest start, by the likeliest moves.

    Ends in a terminal state, or where a state would be visited twice, or after `max_steps`.
    """
    states = [int(mdp.start.argmax())]
    while not mdp.terminal[states[-1]] and len(states) <= max_steps:
        following = int(mdp.transitions[states[-1], q[states[-1]].argmax()].argmax())
        if following in states:
            break
        states.append(following)
    return states


def expected_return(
    table: Successors, policy: jax.Array, discount: float, horizon: int
) -> jax.Array:
    """What a policy [S, A] earns from the start in at most `horizon` steps, [] float32, exactly.

    For many policies at once, on the device: a policy that runs in circles has a value, too.
    """
    states, probabilities, rewards = map(jnp.asarray, (*table[:2], table.rewards))
    num_states = states.shape[0]
    weights = probabilities * policy[:, :, None]  # [S, A, K]
    earned = (weights * rewards).sum((1, 2))
    values = jax.lax.fori_loop(
        0,
        horizon,
        lambda _, values: earned + discount * (weights * values[states]).sum((1, 2)),
        jnp.zeros(num_states),
    )
    shares = np.diff(table.start_cumulative, prepend=0.0).astype(np.float32)
    return (values[jnp.asarray(table.start_states)] * shares).sum()


# The tree that a search without memory walks.


class Search(NamedTuple):
    """What exhaustive search found."""

    action_values: np.ndarray  # [A] float64, of the root
    num_nodes: int  # states visited, the root among them, each as often as ways lead there


def tree_search(mdp: MDP, state: int, depth: int, discount: float) -> Search:
    """Walks every way of `depth` steps from a state; what lies deeper counts as 0.

    Ways that have ended are not continued. Memory grows like the tree: see `tree_size` first.

    Raises:
      ValueError: the depth is below 1, or nothing can be done in the state.
    """
    if depth < 1 or mdp.terminal[state]:
        raise ValueError("a search needs a depth of at least 1 and a state that is not terminal")
    table = successors(mdp)
    levels = [np.array([state])]
    for _ in range(depth):
        inner = levels[-1][~mdp.terminal[levels[-1]]]
        levels.append(table.states[inner][table.probabilities[inner] > 0])
    num_nodes = sum(map(len, levels))
    below = np.zeros(len(levels.pop()))
    while levels:
        nodes = levels.pop()
        is_inner = ~mdp.terminal[nodes]
        weights = table.probabilities[nodes[is_inner]]  # [N, A, K]
        values = np.zeros_like(weights)
        values[weights > 0] = below
        q = (weights * (table.rewards[nodes[is_inner]] + discount * values)).sum(-1)
        below = np.zeros(len(nodes))
        below[is_inner] = q.max(-1)
    return Search(q[0], num_nodes)


def tree_size(mdp: MDP, state: int, depth: int) -> int:
    """The nodes that `tree_search` would visit, counted without visiting them; exact."""
    children = (mdp.transitions > 0).sum(1).astype(object)  # [S, S]; Python's integers are exact
    children[mdp.terminal] = 0
    level = np.zeros(mdp.num_states, object)
    level[state] = total = 1
    for _ in range(depth):
        level = level @ children
        total += int(level.sum())
    return total
