"""N environments side by side, each in the middle of an episode, and one action of all of them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.learner import Key
from dl_lectures.rl import environments


class Actors(NamedTuple):
    """N environments in the middle of their episodes."""

    env_state: Any  # leaves [N, ...]
    obs: jax.Array  # [N, ...]
    episode_return: jax.Array  # [N] float32, rewards of the running episode so far
    last_return: jax.Array  # [N] float32, return of the last finished episode; 0 before the first


def reset(key: Key, environment: environments.Environment, num_envs: int) -> Actors:
    """Starts N episodes. The key is consumed."""
    obs, env_state = jax.vmap(environment.reset)(jax.random.split(key, num_envs))
    return Actors(env_state, obs, jnp.zeros(num_envs), jnp.zeros(num_envs))


def act(
    key: Key, environment: environments.Environment, actors: Actors, actions: jax.Array
) -> tuple[Actors, environments.Outcome]:
    """Takes one action in each environment, and starts anew where it ended. The key is consumed.

    Args:
      key: of this step.
      environment: what all of them are.
      actors: before it.
      actions: [N] int32, or [N, D] float32.

    Returns:
      The actors after it and what the actions led to, leaves [N, ...].
    """
    return act_with(jax.random.split(key, (2, actions.shape[0])), environment, actors, actions)


def act_with(
    keys: Key, environment: environments.Environment, actors: Actors, actions: jax.Array
) -> tuple[Actors, environments.Outcome]:
    """Like `act`, with the keys [2, N] of steps and resets; those of many steps cost one call."""
    step = jax.vmap(functools.partial(environments.step_and_reset, environment))
    keys_step, keys_reset = keys
    outcome = step(keys_step, keys_reset, actors.env_state, actions)
    done = outcome.terminated | outcome.truncated
    episode_return = actors.episode_return + outcome.reward
    actors = Actors(
        outcome.state,
        outcome.obs,
        jnp.where(done, 0.0, episode_return),
        jnp.where(done, episode_return, actors.last_return),
    )
    return actors, outcome
