"""Environments as pure functions of one episode; `jax.vmap` makes many of them.

The tasks are gymnax's (Lange, 2022, github.com/RobertTLange/gymnax), which are those of Gymnasium,
bsuite (Osband et al., 2020, arXiv:1908.03568) and MinAtar (Young & Tian, 2019, arXiv:1903.03176).
An episode ends in one of two ways, and only the first says anything about values:

- terminated: the task is over, nothing follows, the value of what follows is 0;
- truncated: the time limit was reached, the task would have gone on, so a temporal-difference error
  bootstraps from the observation that was reached.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures import errors
from dl_lectures.learner import Key

Obs = jax.Array
EnvState = Any  # a pytree of arrays

# Its rewards at the goal differ from Gymnasium's, so that a result would not be a result.
_BROKEN = ("MountainCarContinuous-v0",)


class Environment(NamedTuple):
    """One task with finitely many actions, its parameters closed over.

    `step` neither resets nor hides anything: after an end its result is meaningless.
    """

    reset: Callable[[Key], tuple[Obs, EnvState]]  # the key is consumed
    # (key, state, action) -> (obs, state, reward, terminated, truncated); the key is consumed.
    step: Callable[
        [Key, EnvState, jax.Array], tuple[Obs, EnvState, jax.Array, jax.Array, jax.Array]
    ]
    num_actions: int  # A; actions are int32 in 0, ..., A - 1


class Outcome(NamedTuple):
    """What one action led to, and where the next action is taken from."""

    obs: Obs  # the new episode's first observation after an end, else `final_obs`
    state: EnvState  # likewise
    reward: jax.Array  # [] float32
    terminated: jax.Array  # [] bool
    truncated: jax.Array  # [] bool
    final_obs: Obs  # the observation the action led to, also where it was the episode's last


def step_and_reset(
    environment: Environment, key_step: Key, key_reset: Key, state: EnvState, action: jax.Array
) -> Outcome:
    """Takes one action and starts a new episode where the old one ended. The keys are consumed.

    With `key_step, key_reset = jax.random.split(key)` these are the transitions of gymnax 1.0's
    `step` from `key`, whose `final_observation` is our `final_obs`. The reset is computed at every
    step, because under vmap a `lax.cond` would compute it as well; callers that play single
    episodes use `environment.step`.
    """
    final_obs, final_state, reward, terminated, truncated = environment.step(
        key_step, state, action
    )
    first_obs, first_state = environment.reset(key_reset)
    done = terminated | truncated

    def choose(first: jax.Array, final: jax.Array) -> jax.Array:
        return jnp.where(done, first, final)

    obs, state = jax.tree.map(choose, (first_obs, first_state), (final_obs, final_state))
    return Outcome(obs, state, reward, terminated, truncated, final_obs)


@functools.cache
def make(name: str) -> Environment:
    """Returns gymnax's environment of that name.

    Cached: functions are static to `jax.jit`, so a second object would compile everything again.

    Raises:
      UsageError: the name is unknown, its actions are continuous, it is known to be wrong, or its
        data cannot be fetched.
    """
    import gymnax  # takes 3 s, so only where an environment is made
    from gymnax.environments import spaces

    if name in _BROKEN:
        raise errors.UsageError(
            f"--env={name} is refused: its transitions at the goal differ from Gymnasium's; "
            "choose another environment, such as MountainCar-v0."
        )
    if name not in gymnax.registered_envs:
        known = ", ".join(sorted(set(gymnax.registered_envs) - set(_BROKEN)))
        raise errors.UsageError(f"--env={name} is unknown; choose one of {known}.")
    try:
        env, params = gymnax.make(name)
    except OSError as error:  # MNISTBandit-bsuite downloads its images
        raise errors.UsageError(
            f"--env={name} cannot fetch its data ({error}); choose one that needs none, "
            "such as CartPole-v1."
        ) from error
    if not isinstance(env.action_space(params), spaces.Discrete):
        raise errors.UsageError(
            f"--env={name} has continuous actions; choose one with finitely many, "
            "such as CartPole-v1."
        )

    def reset(key: Key) -> tuple[Obs, EnvState]:
        return _strong(env.reset_env(key, params))

    def step(key: Key, state: EnvState, action: jax.Array):
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        truncated = env.is_truncated(state, params)
        return *_strong((obs, state)), jnp.float32(reward), terminated, truncated

    return Environment(reset, step, int(env.action_space(params).n))


def _strong(tree: Any) -> Any:
    """Makes arrays of Python numbers and of weak types, so that a state's types never change."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), tree)
