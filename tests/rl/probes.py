"""Environments whose values are known by hand, and what every learner promises of its types."""

import chex
import jax
import jax.numpy as jnp

from dl_lectures.rl import environments


def probe(observe, reward, length, truncates=False, num_states=2, num_dims=0):
    """Episodes of `length` steps; the state is (position, what was drawn at the reset).

    There are two actions, or, with `num_dims`, as many numbers between -2 and 2.
    """

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

    if num_dims:
        return environments.Environment(reset, step, 0, (-2.0,) * num_dims, (2.0,) * num_dims)
    return environments.Environment(reset, step, num_actions=2)


def one_hot_of_drawn(state):
    return jax.nn.one_hot(state[1], 2)


def one_hot_of_time(state):
    return jax.nn.one_hot(state[0], 2)


def constant(state):
    return jnp.ones(2)


def agrees(state, action):
    """Reward 1 for the action that was drawn, else -1."""
    return jnp.where(state[1] == action, 1.0, -1.0)


def assert_types_are_a_fixed_point(learner, *names):
    """A step changes no shape and no type; its metrics are scalars, these among them."""
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, ())
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert all(m.shape == () and m.dtype == jnp.float32 for m in metrics.values())
    assert {"loss", "episode_return", "env_steps", *names} <= metrics.keys()
    return state


def assert_keys_are_used_once(learner):
    """Returns the state after a step."""
    with jax.debug_key_reuse(True):
        state = jax.jit(learner.init)(jax.random.key(0))
        return jax.jit(learner.step)(state, ())[0]


def assert_one_trace(learner):
    step = jax.jit(chex.assert_max_traces(learner.step, n=1))
    state = learner.init(jax.random.key(0))
    for _ in range(3):
        state, _ = step(state, ())
