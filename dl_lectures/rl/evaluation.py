"""Returns of whole episodes under a fixed policy."""

from collections.abc import Callable

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
