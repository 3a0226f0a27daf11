import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import environments, evaluation


def counting(length, limit=10_000):
    """Terminates after `length` steps; the observation counts them, the reward is the action."""

    def reset(key):
        del key
        return jnp.float32(0.0), jnp.int32(0)

    def step(key, state, action):
        del key
        state = state + 1
        return jnp.float32(state), state, jnp.float32(action), state >= length, state >= limit

    return environments.Environment(reset, step, num_actions=10)


def policy(key, obs):
    del key
    return jnp.int32(obs) + 1


@pytest.mark.parametrize(("length", "limit"), [(3, 99), (99, 3)])
def test_an_episode_stands_still_after_its_end(length, limit):
    played = evaluation.play_episode(jax.random.key(0), counting(length, limit), policy, 5)
    np.testing.assert_array_equal(played.obs, [0, 1, 2, 3, 3, 3])
    np.testing.assert_array_equal(played.states, [0, 1, 2, 3, 3, 3])
    np.testing.assert_array_equal(played.rewards, [1, 2, 3, 0, 0])
    np.testing.assert_array_equal(played.actions[:3], [1, 2, 3])
    assert played.length == 3


def test_an_episode_may_be_cut():
    played = evaluation.play_episode(jax.random.key(0), counting(99), policy, 2)
    assert played.length == 2 and played.obs.shape == (3,)
    np.testing.assert_array_equal(played.rewards, [1, 2])


def test_an_episode_is_what_the_environment_does_by_hand():
    """Step by step, with the keys that the docstrings promise."""
    environment = environments.make("CartPole-v1")
    key = jax.random.key(5)
    dice = evaluation.uniform_policy(2)
    played = jax.jit(evaluation.play_episode, static_argnums=(1, 2, 3))(key, environment, dice, 80)
    key_reset, key_play = jax.random.split(key)
    obs, state = environment.reset(key_reset)
    length = int(played.length)
    step = jax.jit(environment.step)
    for t in range(length):
        np.testing.assert_allclose(played.obs[t], obs, rtol=1e-4, atol=1e-6)
        key_policy, key_step = jax.random.split(jax.random.fold_in(key_play, t))
        action = dice(key_policy, obs)
        assert played.actions[t] == action
        obs, state, _, terminated, truncated = step(key_step, state, action)
        assert bool(terminated | truncated) == (t == length - 1)
    assert 5 < length < 80 and played.rewards.sum() == length
    np.testing.assert_allclose(played.obs[-1], obs, rtol=1e-4, atol=1e-6)
