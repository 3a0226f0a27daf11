"""Whole episodes under a fixed policy: their returns, and every step of one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.learner import Key
from dl_lectures.rl.environments import Environment, Obs

Policy = Callable[[Key, Obs], jax.Array]  # one observation -> one action; the key is consumed


def uniform_policy(num_actions: int) -> Policy:
    """Every action with the same probability, whatever is observed."""
    return lambda key, obs: jax.random.randint(key, (), 0, num_actions)


def episode_returns(
    key: Key, environment: Environment, policy: Policy, num_episodes: int
) -> jax.Array:
    """Plays `num_episodes` episodes side by side to their ends. The key is consumed.

    Every episode counts once, whatever its length: to stop at a number of steps instead would
    count more of the short ones.

    Returns:
      [E] float32, the undiscounted sum of each episode's rewards.
    """
    key_reset, key_play = jax.random.split(key)
    obs, state = jax.vmap(environment.reset)(jax.random.split(key_reset, num_episodes))

    def unfinished(carry) -> jax.Array:
        return carry[3].any()

    def play(carry):
        obs, state, returns, active, t = carry
        key_policy, key_step = jax.random.split(jax.random.fold_in(key_play, t))
        action = jax.vmap(policy)(jax.random.split(key_policy, num_episodes), obs)
        obs, state, reward, terminated, truncated = jax.vmap(environment.step)(
            jax.random.split(key_step, num_episodes), state, action
        )
        returns += jnp.where(active, reward, 0.0)
        return obs, state, returns, active & ~(terminated | truncated), t + 1

    active = jnp.ones(num_episodes, bool)
    carry = (obs, state, jnp.zeros(num_episodes), active, jnp.int32(0))
    return jax.lax.while_loop(unfinished, play, carry)[2]


def random_return(environment: Environment, seed: int, num_episodes: int) -> float:
    """Mean return of many episodes in which every action is a throw of dice."""
    policy = uniform_policy(environment.num_actions)
    play = jax.jit(episode_returns, static_argnums=(1, 2, 3))
    return float(play(jax.random.key(seed), environment, policy, num_episodes).mean())


class Episode(NamedTuple):
    """Every step of one episode, T of them at most; after its end everything stands still."""

    states: Any  # of the environment, leaves [T + 1, ...]
    obs: jax.Array  # [T + 1, ...]
    actions: jax.Array  # [T] or [T, D]
    rewards: jax.Array  # [T] float32, 0 after the end
    length: jax.Array  # [] int32, steps that were taken


def play_episode(key: Key, environment: Environment, policy: Policy, num_steps: int) -> Episode:
    """Plays one episode to its end, or for `num_steps` = T steps. The key is consumed."""
    key_reset, key_play = jax.random.split(key)
    obs, state = environment.reset(key_reset)

    def play(carry, t):
        obs, state, active = carry
        key_policy, key_step = jax.random.split(jax.random.fold_in(key_play, t))
        action = policy(key_policy, obs)
        new_obs, new_state, reward, terminated, truncated = environment.step(
            key_step, state, action
        )
        new_obs, new_state = jax.tree.map(
            lambda new, old: jnp.where(active, new, old), (new_obs, new_state), (obs, state)
        )
        step = (new_state, new_obs, action, jnp.where(active, reward, 0.0), active)
        return (new_obs, new_state, active & ~(terminated | truncated)), step

    steps = jnp.arange(num_steps)
    _, (states, later, actions, rewards, active) = jax.lax.scan(
        play, (obs, state, jnp.bool_(True)), steps
    )
    states, later = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest]), (state, obs), (states, later)
    )
    return Episode(states, later, actions, rewards, active.sum())
