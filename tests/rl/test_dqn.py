"""Probe environments whose values are known by hand, after those of rejax; then invariances."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import dqn, environments, networks

GAMMA = 0.5
PROBE = dqn.Config(
    num_envs=4,
    hidden_sizes="16",
    capacity=400,
    prefill=100,
    batch_size=32,
    discount=GAMMA,
    learning_rate=1e-2,
    learning_rate_end=1e-3,
    decay_steps=600,
    target_every=10,
    epsilon_steps=400,
    num_eval_episodes=4,
)
NETWORK = networks.MLP((16,), 2)


def probe(observe, reward, length, truncates=False, num_states=2):
    """Episodes of `length` steps; the state is (position, what was drawn at the reset)."""

    def reset(key):
        state = (jnp.int32(0), jax.random.randint(key, (), 0, num_states))
        return observe(state), state

    def step(key, state, action):
        t, drawn = state
        r = jnp.float32(reward(state, action))
        state = (t + 1, drawn)
        end = t + 1 >= length
        never = jnp.bool_(False)
        return observe(state), state, r, never if truncates else end, end if truncates else never

    return environments.Environment(reset, step, num_actions=2)


def one_hot_of_drawn(state):
    return jax.nn.one_hot(state[1], 2)


def one_hot_of_time(state):
    return jax.nn.one_hot(state[0], 2)


def constant(state):
    return jnp.ones(2)


def learned_values(environment, observations, num_seeds=3, **changes):
    """Q [len(observations), A], the median over seeds after 600 updates."""
    learner = dqn.make(dataclasses.replace(PROBE, **changes), environment)

    @jax.jit
    @jax.vmap
    def train(key):
        state = learner.init(key)
        state, _ = jax.lax.scan(lambda s, _: learner.step(s, ()), state, None, length=600)
        return jax.vmap(NETWORK.apply, in_axes=(None, 0))(state.params, jnp.array(observations))

    return np.median(train(jax.random.split(jax.random.key(0), num_seeds)), axis=0)


def test_constant_reward_of_one_step():
    values = learned_values(probe(constant, lambda s, a: 1.0, 1), [[1.0, 1.0]])
    np.testing.assert_allclose(values, [[1.0, 1.0]], atol=0.03)


def test_reward_depends_on_the_observation():
    values = learned_values(probe(one_hot_of_drawn, lambda s, a: 2.0 * s[1] - 1.0, 1), np.eye(2))
    np.testing.assert_allclose(values, [[-1.0, -1.0], [1.0, 1.0]], atol=0.05)


@pytest.mark.parametrize("double", [False, True])
def test_what_comes_later_is_discounted(double):
    """Reward 1 at the second of two steps: its value is 1, and gamma a step before."""
    environment = probe(one_hot_of_time, lambda s, a: s[0] == 1, 2)
    values = learned_values(environment, np.eye(2), double=double)
    np.testing.assert_allclose(values, [[GAMMA, GAMMA], [1.0, 1.0]], atol=0.05)


def test_reward_depends_on_observation_and_action():
    environment = probe(one_hot_of_drawn, lambda s, a: jnp.where(s[1] == a, 1.0, -1.0), 1)
    values = learned_values(environment, np.eye(2))
    np.testing.assert_allclose(values, [[1.0, -1.0], [-1.0, 1.0]], atol=0.05)


@pytest.mark.parametrize(
    ("truncates", "value"),
    [(True, 1 / (1 - GAMMA)), (False, 1.0)],
    ids=["time limit", "termination"],
)
def test_a_time_limit_is_not_an_end(truncates, value):
    """Reward 1 a step without end is worth 1 / (1 - gamma), wherever a time limit cuts."""
    environment = probe(constant, lambda s, a: 1.0, 1, truncates=truncates)
    values = learned_values(environment, [[1.0, 1.0]])
    np.testing.assert_allclose(values, [[value, value]], atol=0.1)


@pytest.fixture(scope="module")
def learner():
    environment = probe(one_hot_of_drawn, lambda s, a: jnp.where(s[1] == a, 1.0, -1.0), 1)
    return dqn.make(PROBE, environment)


def test_learns_and_does_not_without_learning(learner):
    """Median greedy return over 5 seeds; random play earns 0, and so does a rate of zero."""
    environment = probe(one_hot_of_drawn, lambda s, a: jnp.where(s[1] == a, 1.0, -1.0), 1)
    idle = dqn.make(
        dataclasses.replace(PROBE, learning_rate=0.0, learning_rate_end=0.0), environment
    )

    def median_return(learner):
        @jax.jit
        @jax.vmap
        def train(key):
            state = learner.init(key)
            state, _ = jax.lax.scan(lambda s, _: learner.step(s, ()), state, None, length=200)
            return learner.evaluate(jax.random.fold_in(key, 1), state, ())["greedy_return"]

        return np.median(train(jax.random.split(jax.random.key(2), 5)))

    assert median_return(learner) == 1.0
    assert median_return(idle) < 1.0


def test_types_are_a_fixed_point(learner):
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, ())
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert all(m.shape == () and m.dtype == jnp.float32 for m in metrics.values())
    assert {"loss", "episode_return", "epsilon", "env_steps"} <= metrics.keys()


def test_keys_are_used_once():
    learner = dqn.make(PROBE)  # CartPole
    with jax.debug_key_reuse(True):
        state = jax.jit(learner.init)(jax.random.key(0))
        jax.jit(learner.step)(state, ())


def test_one_trace(learner):
    step = jax.jit(chex.assert_max_traces(learner.step, n=1))
    state = learner.init(jax.random.key(0))
    for _ in range(3):
        state, _ = step(state, ())


def test_seeds_differ_in_parameters_exploration_and_batches(learner):
    """The error of a famous DQN: all of its seeds were the same seed."""
    a, b = (learner.init(jax.random.key(seed)) for seed in (0, 1))
    assert all(
        not np.allclose(x, y)
        for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True)
        if x.ndim > 1  # biases start at 0
    )
    assert not np.array_equal(a.buffer.data.action, b.buffer.data.action)
    same_but_key = a._replace(key=b.key)
    losses = [learner.step(state, ())[1]["loss"] for state in (a, same_but_key)]
    assert losses[0] != losses[1]  # other rows were drawn


def test_evaluation_is_a_function_of_its_key(learner):
    state = learner.init(jax.random.key(0))
    evaluate = jax.jit(learner.evaluate)
    first, again = (evaluate(jax.random.key(5), state, ()) for _ in range(2))
    chex.assert_trees_all_equal(first, again)


def test_an_ended_episode_is_stored_with_its_last_observation():
    """Episodes of two steps that show the time: 0 -> 1 -> 2, then a new 0, never 1 -> 0."""
    environment = probe(lambda s: jnp.float32(s[0])[None], lambda s, a: 1.0, 2)
    state = dqn.make(PROBE, environment).init(jax.random.key(0))
    rows = jax.tree.map(lambda x: np.array(x[: state.buffer.size]), state.buffer.data)
    np.testing.assert_array_equal(rows.next_obs, rows.obs + 1)
    np.testing.assert_array_equal(rows.discount, np.where(rows.next_obs[:, 0] == 2, 0.0, GAMMA))
    np.testing.assert_array_equal(state.actors.last_return, 2.0)


@pytest.mark.parametrize(("every", "rate"), [(1, 1.0), (3, 1.0), (1, 0.1)])
def test_target_network_moves_when_it_should(every, rate):
    """every = 1, rate = 1 is learning without a target network."""
    environment = probe(one_hot_of_drawn, lambda s, a: 1.0, 1)
    config = dataclasses.replace(PROBE, target_every=every, target_rate=rate)
    learner = dqn.make(config, environment)
    state, step = learner.init(jax.random.key(0)), jax.jit(learner.step)
    expected = state.target_params
    for t in range(1, 5):
        state, _ = step(state, ())
        if t % every == 0:
            move = lambda new, old: rate * new + (1 - rate) * old
            expected = jax.tree.map(move, state.params, expected)
        chex.assert_trees_all_close(state.target_params, expected, rtol=1e-6, atol=1e-7)


def test_epsilon_greedy_explores_at_its_rate():
    """n = 20,000: 0.15 random, of which half hit the greedy action; 4 sigma is 0.0075."""
    q_values = jnp.tile(jnp.array([0.0, 1.0]), (20_000, 1))
    actions = dqn.epsilon_greedy(jax.random.key(0), q_values, jnp.float32(0.15))
    assert abs((actions == 0).mean() - 0.075) < 0.0075
    assert (dqn.epsilon_greedy(jax.random.key(0), q_values, jnp.float32(0.0)) == 1).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 0}, "--batch_size=0 must be at least 1"),
        ({"prefill": 500}, "--prefill=500 must lie between"),
        ({"hidden_sizes": "a,b"}, "--hidden_sizes=a,b must be whole numbers"),
        ({"hidden_sizes": "16,0"}, "--hidden_sizes=16,0 must be whole numbers above 0"),
        ({"discount": 1.5}, "--discount=1.5 must lie between 0 and 1"),
        ({"learning_rate": -1.0}, "--learning_rate=-1.0 must not be negative"),
        ({"decay_steps": 0}, "--decay_steps=0 must be at least 1"),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(PROBE, **changes)
