"""Probe environments whose values are known by hand; targets by a loop; then invariances."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from probes import one_hot_of_drawn, probe

from dl_lectures.rl import environments, pqn

GAMMA = 0.5
PROBE = pqn.Config(
    num_envs=8,
    num_steps=4,
    num_epochs=2,
    num_minibatches=2,
    hidden_sizes="16",
    conv_channels=0,
    discount=GAMMA,
    learning_rate=3e-2,
    learning_rate_end=1e-3,
    decay_steps=150,
    epsilon_end=0.2,
    epsilon_steps=1_000,
    num_eval_episodes=4,
)


def one_hot_of_time(state):
    return jax.nn.one_hot(state[0], 3)


def right_or_wrong(state, action):
    return jnp.where(state[1] % 2 == action, 1.0, -1.0)


def learned_values(environment, observations, **changes):
    """Q [len(observations), A], the median over 3 seeds after 150 steps of the learner."""
    config = dataclasses.replace(PROBE, **changes)
    learner, network = pqn.make(config, environment), pqn.make_network(config, 2)

    @jax.jit
    @jax.vmap
    def train(key):
        state = learner.init(key)
        state, _ = jax.lax.scan(lambda s, _: learner.step(s, ()), state, None, length=150)
        return jax.vmap(network.apply, in_axes=(None, 0))(state.params, jnp.array(observations))

    return np.median(train(jax.random.split(jax.random.key(0), 3)), axis=0)


def test_reward_depends_on_observation_and_action():
    values = learned_values(probe(one_hot_of_drawn, right_or_wrong, 1), np.eye(2))
    np.testing.assert_allclose(values, [[1.0, -1.0], [-1.0, 1.0]], atol=0.05)


@pytest.mark.parametrize("trace_decay", [0.65, 1.0])
def test_what_comes_later_is_discounted(trace_decay):
    """Reward 1 at the last of three steps: gamma^2, gamma and 1 before it, whatever lambda is.

    Rollouts of 4 steps cut episodes of 3 at every place.
    """
    environment = probe(one_hot_of_time, lambda s, a: s[0] == 2, 3)
    values = learned_values(environment, np.eye(3), trace_decay=trace_decay)
    expected = [[GAMMA**2] * 2, [GAMMA] * 2, [1.0] * 2]
    np.testing.assert_allclose(values, expected, atol=0.05)


def test_the_best_action_is_what_follows():
    """The second of two steps pays 1 for one action alone: the step before is worth gamma.

    Exploration is high, and lambda = 0: the value of what follows is the best one, not the mean.
    """
    environment = probe(one_hot_of_time, lambda s, a: (s[0] == 1) & (a == 1), 2)
    values = learned_values(environment, np.eye(3)[:2], trace_decay=0.0, epsilon_end=1.0)
    np.testing.assert_allclose(values, [[GAMMA] * 2, [0.0, 1.0]], atol=0.05)


@pytest.mark.parametrize(
    ("truncates", "value"),
    [(True, 1 / (1 - GAMMA)), (False, 1.0)],
    ids=["time limit", "termination"],
)
def test_a_time_limit_is_not_an_end(truncates, value):
    """Reward 1 a step without end is worth 1 / (1 - gamma), wherever a time limit cuts."""
    environment = probe(lambda s: jnp.ones(2), lambda s, a: 1.0, 1, truncates=truncates)
    np.testing.assert_allclose(learned_values(environment, [[1.0, 1.0]]), [[value] * 2], atol=0.1)


def test_targets_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    num_steps, num_envs, gamma, decay = 7, 5, 0.9, 0.65
    fate = rng.integers(0, 4, (num_steps, num_envs))  # 0: terminated, 1: truncated, else neither
    rollout = pqn.Rollout(
        obs=(),
        action=(),
        reward=rng.normal(size=fate.shape).astype(np.float32),
        terminated=fate == 0,
        truncated=fate == 1,
        final_obs=(),
    )
    next_q = rng.normal(size=(*fate.shape, 3)).astype(np.float32)
    expected = np.zeros(fate.shape)
    for n in range(num_envs):
        for t in reversed(range(num_steps)):
            follows = next_q[t, n].max()
            if fate[t, n] > 1 and t + 1 < num_steps:
                follows = (1 - decay) * follows + decay * expected[t + 1, n]
            expected[t, n] = rollout.reward[t, n] + (fate[t, n] != 0) * gamma * follows
    targets = pqn.q_lambda_targets(rollout, jnp.array(next_q), gamma, decay)
    np.testing.assert_allclose(targets, expected, rtol=1e-5, atol=1e-6)


def one_hot_of_eight(state):
    return jax.nn.one_hot(state[1], 8)


EIGHT = probe(one_hot_of_eight, right_or_wrong, 1, num_states=8)


@pytest.fixture(scope="module")
def learner():
    learner = pqn.make(PROBE, EIGHT)
    return learner._replace(init=jax.jit(learner.init), step=jax.jit(learner.step))


def test_learns_and_does_not_without_learning():
    """Median greedy return over 5 seeds, in 8 states of which half ask for either action.

    Without learning a network is right everywhere once in 256 times.
    """
    config = dataclasses.replace(PROBE, num_eval_episodes=64)

    def median_return(config):
        learner = pqn.make(config, EIGHT)

        @jax.jit
        @jax.vmap
        def train(key):
            state = learner.init(key)
            state, _ = jax.lax.scan(lambda s, _: learner.step(s, ()), state, None, length=60)
            return learner.evaluate(jax.random.fold_in(key, 1), state, ())["greedy_return"]

        return np.median(train(jax.random.split(jax.random.key(2), 5)))

    assert median_return(config) == 1.0
    assert (
        median_return(dataclasses.replace(config, learning_rate=0.0, learning_rate_end=0.0)) < 0.9
    )


def test_types_are_a_fixed_point(learner):
    probes.assert_types_are_a_fixed_point(learner, "epsilon")


def test_keys_are_used_once_on_pictures():
    """In an environment that draws at every step."""

    def reset(key):
        return jax.random.bernoulli(key, 0.5, (5, 4, 2)), jnp.int32(0)

    def step(key, t, action):
        key_obs, key_end = jax.random.split(key)
        obs = jax.random.bernoulli(key_obs, 0.5, (5, 4, 2))
        ends = jax.random.bernoulli(key_end, 0.5)
        return obs, t + 1, jnp.float32(action), ends, jnp.bool_(False)

    config = dataclasses.replace(PROBE, conv_channels=2)
    learner = pqn.make(config, environments.Environment(reset, step, num_actions=2))
    state = probes.assert_keys_are_used_once(learner)
    assert state.params["params"]["torso"]["conv_kernel"].shape == (3, 3, 2, 2)


def test_one_trace():
    probes.assert_one_trace(pqn.make(PROBE, EIGHT))


def test_seeds_differ_in_parameters_episodes_and_exploration(learner):
    a, b = (learner.init(jax.random.key(seed)) for seed in (0, 1))
    kernels = [state.params["params"]["torso"]["Dense_0"]["kernel"] for state in (a, b)]
    assert not np.allclose(*kernels)
    assert not np.array_equal(a.actors.obs, b.actors.obs)
    losses = [learner.step(state, ())[1]["loss"] for state in (a, a._replace(key=b.key))]
    assert losses[0] != losses[1]


def test_epsilon_falls_linearly_with_environment_steps(learner):
    """32 environment steps a step, 1,000 of them from 1 to 0.2: in 31 steps."""
    state = learner.init(jax.random.key(0))
    for t, expected in ((0, 1.0), (15, 1 - 0.8 * 15 / 31), (31, 0.2), (100, 0.2)):
        _, metrics = learner.step(state._replace(t=jnp.int32(t)), ())
        np.testing.assert_allclose(metrics["epsilon"], expected, rtol=1e-5)
        assert metrics["env_steps"] == 32 * (t + 1)


def test_every_step_is_learned_from_once_an_epoch():
    """Without a step size, the mean loss over the minibatches is that of the whole rollout."""
    environment = probe(one_hot_of_drawn, right_or_wrong, 1)
    losses = []
    for num_minibatches in (1, 8):
        config = dataclasses.replace(
            PROBE, learning_rate=0.0, learning_rate_end=0.0, num_minibatches=num_minibatches
        )
        learner = pqn.make(config, environment)
        state = jax.jit(learner.init)(jax.random.key(0))
        losses.append(jax.jit(learner.step)(state, ())[1]["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_epochs": 0}, "--num_epochs=0 must be at least 1"),
        ({"num_minibatches": 3}, "--num_minibatches=3 must divide"),
        ({"hidden_sizes": "a,b"}, "--hidden_sizes=a,b must be whole numbers"),
        ({"trace_decay": 1.5}, "--trace_decay=1.5 must lie between 0 and 1"),
        ({"learning_rate": -1.0}, "--learning_rate=-1.0 must not be negative"),
        ({"max_grad_norm": 0.0}, "--max_grad_norm=0.0 must be above 0"),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(PROBE, **changes)


def test_a_convolution_needs_pictures():
    config = dataclasses.replace(PROBE, conv_channels=4)
    learner = pqn.make(config, probe(one_hot_of_drawn, right_or_wrong, 1))
    with pytest.raises(ValueError, match="--conv_channels=4 needs pictures"):
        jax.eval_shape(learner.init, jax.random.key(0))
