"""Worlds against gymnax, by hand, and by walking them."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import environments, grids

WORLDS = {
    "frozen_lake": grids.frozen_lake,
    "cliff": grids.cliff_walk,
    "windy": grids.windy_grid,
    "maze": grids.maze,
}


def shortest(mdp):
    """Steps from the start to an end, by breadth-first search over what is possible."""
    distance = {int(mdp.start.argmax()): 0}
    queue = collections.deque(distance)
    while queue:
        state = queue.popleft()
        if mdp.terminal[state]:
            return distance[state]
        for following in np.flatnonzero((mdp.transitions[state] > 0).any(0)):
            if int(following) not in distance:
                distance[int(following)] = distance[state] + 1
                queue.append(int(following))
    raise AssertionError("no end can be reached")


def test_frozen_lake_is_gymnax_transition_for_transition():
    mdp, num_draws = grids.frozen_lake(), 2_000
    env = environments.make("FrozenLake-misc")
    _, first = env.reset(jax.random.key(0))
    inside = np.flatnonzero(~mdp.terminal)

    @jax.jit
    def play(key, position, action):
        state = first.replace(position=position)
        obs, _, reward, terminated, _ = env.step(key, state, action)
        return obs, reward, terminated

    of_draws = jax.vmap(play, in_axes=(0, None, None))
    of_actions = jax.vmap(of_draws, in_axes=(None, None, 0))
    of_states = jax.vmap(of_actions, in_axes=(None, 0, None))
    keys = jax.random.split(jax.random.key(1), num_draws)
    obs, reward, terminated = of_states(keys, jnp.asarray(inside), jnp.arange(4))
    assert int(first.position) == mdp.start.argmax()
    for i, state in enumerate(inside):
        for action in range(4):
            counts = np.bincount(obs[i, action], minlength=16)
            expected = mdp.transitions[state, action]
            assert set(np.flatnonzero(counts)) == set(np.flatnonzero(expected))
            # 5.7 standard deviations at 1/3: fails less than once in a million runs of all pairs.
            np.testing.assert_allclose(counts / num_draws, expected, atol=0.06)
            reached = np.asarray(obs[i, action])
            np.testing.assert_array_equal(reward[i, action], mdp.rewards[state, action][reached])
            np.testing.assert_array_equal(terminated[i, action], mdp.terminal[reached])


@pytest.mark.parametrize(("name", "steps"), [("cliff", 13), ("windy", 15), ("maze", 10)])
def test_shortest_ways_are_those_of_the_book(name, steps):
    assert shortest(WORLDS[name]()) == steps


def test_the_cliff_leads_back_to_the_start():
    mdp = grids.cliff_walk()
    start, goal = 36, 47
    for state, action, following, reward in (
        (start, grids.RIGHT, start, -100.0),
        (start, grids.LEFT, start, -1.0),
        (25, grids.DOWN, start, -100.0),  # row 2, column 1
        (25, grids.RIGHT, 26, -1.0),
        (35, grids.DOWN, goal, -1.0),
    ):
        assert mdp.transitions[state, action, following] == 1.0
        assert mdp.rewards[state, action, following] == reward
    assert not mdp.terminal[start]
    assert mdp.terminal[goal]


def test_the_wind_blows_upwards_by_the_column_that_is_left():
    mdp = grids.windy_grid()
    for (row, col), action, (new_row, new_col) in (
        ((3, 2), grids.RIGHT, (3, 3)),  # no wind yet
        ((3, 3), grids.RIGHT, (2, 4)),
        ((3, 6), grids.RIGHT, (1, 7)),
        ((1, 6), grids.UP, (0, 6)),  # stopped by the edge
        ((3, 8), grids.DOWN, (3, 8)),
    ):
        assert mdp.transitions[10 * row + col, action, 10 * new_row + new_col] == 1.0


def test_walls_are_not_entered():
    mdp = grids.grid(("S#G",), {"G": 1.0})
    np.testing.assert_array_equal(mdp.transitions[0, :, 0], 1.0)
    assert not mdp.rewards.any()
    np.testing.assert_array_equal(grids.reachable(mdp), [True, False, False])


def test_reachable_by_hand():
    inside = grids.reachable(grids.windy_grid()).reshape(7, 10)
    assert not inside[6, 6]  # the wind of two rows blows away from there
    assert inside[3, 6]
    assert not inside[3, 7]  # the goal
    assert grids.reachable(grids.cliff_walk()).sum() == 37
    starts = grids.exploring_starts(grids.cliff_walk()).start
    np.testing.assert_allclose(starts[:37], 1 / 37)


def test_garnet_is_random_by_its_key_alone():
    mdp = grids.garnet(jax.random.key(3), num_states=7, num_actions=2, branching=3)
    np.testing.assert_array_equal((mdp.transitions > 0).sum(-1), 3)
    np.testing.assert_allclose(mdp.transitions.sum(-1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(mdp.rewards.min(-1), mdp.rewards.max(-1))
    again = grids.garnet(jax.random.key(3), num_states=7, num_actions=2, branching=3)
    other = grids.garnet(jax.random.key(4), num_states=7, num_actions=2, branching=3)
    np.testing.assert_array_equal(mdp.transitions, again.transitions)
    assert (mdp.transitions != other.transitions).any()
    # Chance: each state follows 3/7 of the 2 x 7 x 50 pairs of 50 worlds, within 5 deviations.
    worlds = [grids.garnet(key, 7, 2, 3) for key in jax.random.split(jax.random.key(5), 50)]
    share = np.mean([world.transitions > 0 for world in worlds], axis=(0, 1, 2))
    np.testing.assert_allclose(share, 3 / 7, atol=5 * np.sqrt(3 / 7 * 4 / 7 / 700))


@pytest.mark.parametrize("name", [*WORLDS, "garnet"])
def test_draws_follow_the_probabilities(name):
    """From evenly spaced numbers, each successor as often as its probability, to one draw."""
    mdp = WORLDS[name]() if name in WORLDS else grids.garnet(jax.random.key(0), 6, 2, 4)
    table, num_draws = grids.successors(mdp), 512
    uniforms = jnp.append((jnp.arange(num_draws) + 0.5) / num_draws, jnp.float32(1 - 2**-24))

    @jax.jit
    def counts(state, action):
        following, reward, terminal = jax.vmap(
            lambda u: grids.draw_transition(table, u, state, action)
        )(uniforms)
        np_rewards = jnp.asarray(mdp.rewards, jnp.float32)[state, action, following]
        right = (reward == np_rewards) & (terminal == jnp.asarray(mdp.terminal)[following])
        return jax.nn.one_hot(following[:-1], mdp.num_states).sum(0), following[-1], right.all()

    states, actions = np.divmod(np.arange(mdp.num_states * mdp.num_actions), mdp.num_actions)
    found, at_most, right = jax.vmap(counts)(states, actions)
    expected = mdp.transitions.reshape(-1, mdp.num_states)
    np.testing.assert_allclose(found / num_draws, expected, atol=1.01 / num_draws)
    assert (expected[np.arange(len(expected)), at_most] > 0).all()
    assert right.all()


def test_environment_plays_the_tables():
    mdp = grids.maze()
    environment = grids.environment(mdp, max_episode_steps=3)
    obs, state = environment.reset(jax.random.key(0))
    assert int(obs) == 0
    for time, action in enumerate((grids.DOWN, grids.RIGHT, grids.UP), start=1):
        following = mdp.transitions[int(obs), action].argmax()
        obs, state, reward, terminated, truncated = environment.step(
            jax.random.key(time), state, jnp.int32(action)
        )
        assert int(obs) == following
        assert float(reward) == 0.0
        assert not terminated
        assert bool(truncated) == (time == 3)
    seen, _ = grids.environment(mdp, 3, one_hot=True).reset(jax.random.key(0))
    np.testing.assert_array_equal(seen, np.eye(25)[0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: grids.grid(("S.", "..."), {}), "rows of one length"),
        (lambda: grids.grid(("..",), {}), "exactly one S"),
        (lambda: grids.grid(("S.",), {}, wind=(1,)), "one number a column, 2, not 1"),
        (lambda: grids.grid(("S", "C"), {"C": -1.0}, slip=0.5), "earn not the same"),
        (lambda: grids.garnet(jax.random.key(0), 3, 2, 4), "branching must lie in 1 ... 3"),
        (lambda: grids.environment(grids.maze(), 0), "at least 1, not 0"),
    ],
)
def test_bad_input_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_tables_that_are_no_mdp_are_refused():
    mdp = grids.maze()
    for bad, words in (
        (mdp._replace(transitions=mdp.transitions * 0.5), "transitions must be probabilities"),
        (mdp._replace(start=mdp.start * 2), "start must be probabilities"),
        (mdp._replace(rewards=mdp.rewards + 1.0), "earn nothing"),
        (mdp._replace(terminal=~mdp.terminal), "must lead to itself"),
        (mdp._replace(start=mdp.start[1:]), "must be"),
    ):
        with pytest.raises(ValueError, match=words):
            grids.successors(bad)
