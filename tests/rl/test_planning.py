"""Planning against all policies one by one, recursion over every way, and published values."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import grids, planning


def tiny():
    return grids.garnet(jax.random.key(1), num_states=4, num_actions=3, branching=2)


def values_by_iteration(mdp, policy, discount):
    """[S] values of a policy [S, A], by playing on and on."""
    values = np.zeros(mdp.num_states)
    for _ in range(400):
        new = np.zeros_like(values)
        for s, a, t in np.ndindex(mdp.transitions.shape):
            new[s] += (
                policy[s, a]
                * mdp.transitions[s, a, t]
                * (mdp.rewards[s, a, t] + discount * values[t])
            )
        values = new
        if np.abs(discount * new).max() == 0.0:
            break
    return values


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_best_of_all_policies(epsilon):
    """Each of the 81 deterministic policies, exploring with probability epsilon."""
    mdp, discount = tiny(), 0.7
    choices = np.array(list(itertools.product(range(3), repeat=4)))  # [81, S]
    policies = (1 - epsilon) * np.eye(3)[choices] + epsilon / 3
    best = np.max([planning.policy_values(mdp, policy, discount) for policy in policies], axis=0)
    found = planning.value_iteration(mdp, discount, epsilon)
    np.testing.assert_allclose(found.values, best, atol=1e-8)
    assert found.num_sweeps > 10


def test_policy_values_are_what_playing_earns():
    mdp = tiny()
    policy = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.6, 0.2, 0.2]])
    found = planning.policy_values(mdp, policy, 0.7)
    np.testing.assert_allclose(found, values_by_iteration(mdp, policy, 0.7), atol=1e-10)


@pytest.mark.parametrize(
    ("make", "discount", "value"),
    [
        (grids.cliff_walk, 1.0, -13.0),  # Sutton & Barto, example 6.6
        (grids.windy_grid, 1.0, -15.0),  # example 6.5
        (grids.maze, 0.9, 0.9**9),
        (grids.frozen_lake, 0.99, 0.5420259),  # Gymnasium's, as widely published
        (grids.frozen_lake, 1.0, 14 / 17),  # the chance to arrive
    ],
)
def test_known_values(make, discount, value):
    mdp = make()
    found = planning.value_iteration(mdp, discount, tolerance=1e-12)
    np.testing.assert_allclose(found.values[mdp.start.argmax()], value, rtol=1e-6)
    policy = planning.greedy(found.action_values)
    if discount < 1:
        np.testing.assert_allclose(
            planning.policy_values(mdp, policy, discount), found.values, atol=1e-8
        )


def test_the_best_policy_that_explores_keeps_away_from_the_cliff():
    mdp = grids.cliff_walk()
    ways = [
        planning.path(mdp, planning.value_iteration(mdp, 1.0, epsilon).action_values, 48)
        for epsilon in (0.0, 0.1)
    ]
    assert [len(way) - 1 for way in ways] == [13, 15]
    assert set(ways[1][2:-2]) == set(range(12, 24))  # one row away from the edge


def test_a_path_that_runs_in_circles_stops():
    q = np.zeros((48, 4))
    q[:, grids.UP] = 1.0
    assert planning.path(grids.cliff_walk(), q, 100) == [36, 24, 12, 0]


def recursive_search(mdp, state, depth, discount):
    """The value of a state and the nodes below and with it, by recursion over every way."""
    if depth == 0 or mdp.terminal[state]:
        return 0.0, 1
    nodes, values = 1, []
    for action in range(mdp.num_actions):
        value = 0.0
        for following in np.flatnonzero(mdp.transitions[state, action]):
            below, more = recursive_search(mdp, following, depth - 1, discount)
            reward = mdp.rewards[state, action, following]
            value += mdp.transitions[state, action, following] * (reward + discount * below)
            nodes += more
        values.append(value)
    return max(values), nodes


@pytest.mark.parametrize("make", [grids.frozen_lake, grids.cliff_walk, tiny])
@pytest.mark.parametrize("depth", [1, 3])
def test_tree_search_walks_every_way(make, depth):
    mdp, state = make(), 2
    found = planning.tree_search(mdp, state, depth, 0.9)
    value, nodes = recursive_search(mdp, state, depth, 0.9)
    np.testing.assert_allclose(found.action_values.max(), value, atol=1e-12)
    assert found.num_nodes == planning.tree_size(mdp, state, depth) == nodes


def test_search_to_the_goal_finds_what_planning_finds():
    mdp = grids.grid(("S..", ".#.", "..G"), {"G": 1.0})
    found = planning.tree_search(mdp, 0, 4, 0.9)
    np.testing.assert_allclose(found.action_values.max(), 0.9**3)
    best = planning.value_iteration(mdp, 0.9)
    np.testing.assert_allclose(best.values[0], 0.9**3)
    # Short of the goal, search sees nothing.
    assert not planning.tree_search(mdp, 0, 3, 0.9).action_values.any()


def test_tree_size_is_exact_where_nobody_could_walk():
    """Of the windy grid's tree, 4 ways from each state that is not the goal."""
    assert planning.tree_size(grids.grid(("S.",), {}), 0, 40) == (4**41 - 1) // 3


def test_expected_return_within_a_time_limit():
    mdp, horizon, discount = grids.frozen_lake(), 7, 0.9
    policy = np.array(jax.random.dirichlet(jax.random.key(0), jnp.ones(4), (16,)), np.float64)
    chances, expected = mdp.start.copy(), 0.0
    for step in range(horizon):
        for s, a, t in np.argwhere(mdp.transitions > 0):
            chance = chances[s] * policy[s, a] * mdp.transitions[s, a, t]
            expected += discount**step * chance * mdp.rewards[s, a, t]
        chances = np.einsum("s,sa,sat->t", chances, policy, mdp.transitions)
    table = grids.successors(mdp)
    found = planning.expected_return(table, jnp.asarray(policy, jnp.float32), discount, horizon)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    long = planning.expected_return(table, jnp.asarray(policy, jnp.float32), discount, 300)
    np.testing.assert_allclose(long, planning.policy_values(mdp, policy, discount)[0], rtol=1e-5)


def test_greedy_shares_between_equals():
    found = planning.greedy(np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]]))
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])


def test_bad_input_is_named():
    cliff = grids.cliff_walk()
    always_up = np.zeros((48, 4))
    always_up[:, grids.UP] = 1.0
    with pytest.raises(ValueError, match="never ends"):
        planning.policy_values(cliff, always_up, 1.0)
    with pytest.raises(ValueError, match="still move"):
        planning.value_iteration(tiny(), 1.0, max_sweeps=50)
    with pytest.raises(ValueError, match="depth of at least 1"):
        planning.tree_search(cliff, 36, 0, 1.0)
    with pytest.raises(ValueError, match="not terminal"):
        planning.tree_search(cliff, 47, 1, 1.0)
