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
    """One task, its parameters closed over.

    `step` neither resets nor hides anything: after an end its result is meaningless.
    """

    reset: Callable[[Key], tuple[Obs, EnvState]]  # the key is consumed
    # (key, state, action) -> (obs, state, reward, terminated, truncated); the key is consumed.
    step: Callable[
        [Key, EnvState, jax.Array], tuple[Obs, EnvState, jax.Array, jax.Array, jax.Array]
    ]
    num_actions: int  # A; actions are int32 in 0, ..., A - 1. 0: actions are continuous,
    low: tuple[float, ...] = ()  # float32 [D] not below these,
    high: tuple[float, ...] = ()  # nor above these


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
def make(
    name: str,
    *,
    continuous: bool | None = False,
    size: int = 0,
    sticky_actions: float = 0.0,
    max_episode_steps: int = 0,
) -> Environment:
    """Returns gymnax's environment of that name.

    Cached: functions are static to `jax.jit`, so a second object would compile everything again.

    Args:
      name: one of gymnax's.
      continuous: which actions the caller can choose: finitely many (False), continuous ones (True)
        or either (None).
      size: N of DeepSea, which is N x N; 0: its own.
      sticky_actions: see `sticky`.
      max_episode_steps: the time limit; 0: the environment's own.

    Raises:
      UsageError: the name is unknown, its actions are of the other kind, it is known to be wrong,
        or its data cannot be fetched; or it has no size, or no sticky actions.
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
    if size and name != "DeepSea-bsuite":
        raise errors.UsageError(f"--env_size={size}: only DeepSea-bsuite has a size; leave it out.")
    try:
        env, params = gymnax.make(name, **({"size": size} if size else {}))
    except OSError as error:  # MNISTBandit-bsuite downloads its images
        raise errors.UsageError(
            f"--env={name} cannot fetch its data ({error}); choose one that needs none, "
            "such as CartPole-v1."
        ) from error
    space = env.action_space(params)
    is_discrete = isinstance(space, spaces.Discrete)
    if is_discrete and continuous:
        raise errors.UsageError(
            f"--env={name} has finitely many actions; choose one with continuous ones, "
            "such as Pendulum-v1."
        )
    if not is_discrete and continuous is False:
        raise errors.UsageError(
            f"--env={name} has continuous actions; choose one with finitely many, "
            "such as CartPole-v1."
        )
    if sticky_actions and not is_discrete:
        raise errors.UsageError(
            f"--sticky_actions={sticky_actions:g}: actions of {name} are continuous; leave it out."
        )
    if max_episode_steps:
        params = params.replace(max_steps_in_episode=max_episode_steps)
    # A MinAtar picture is zeros and ones, and a replay buffer holds many: a quarter of the bytes.
    obs_type = bool if name.endswith("-MinAtar") else None

    def narrow(obs: Obs) -> Obs:
        return obs.astype(obs_type) if obs_type else obs

    def reset(key: Key) -> tuple[Obs, EnvState]:
        obs, state = _strong(env.reset_env(key, params))
        return narrow(obs), state

    def step(key: Key, state: EnvState, action: jax.Array):
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        truncated = env.is_truncated(state, params)
        obs, state = _strong((obs, state))
        return narrow(obs), state, jnp.float32(reward), terminated, truncated

    if is_discrete:
        environment = Environment(reset, step, int(space.n))
    else:
        low, high = (
            tuple(float(x) for x in jnp.broadcast_to(bound, space.shape))
            for bound in (space.low, space.high)
        )
        environment = Environment(reset, step, num_actions=0, low=low, high=high)
    return sticky(environment, sticky_actions) if sticky_actions else environment


def of_config(config: Any, continuous: bool | None = False) -> Environment:
    """The environment that an agent's configuration names; see `make`."""
    return make(
        config.env,
        continuous=continuous,
        size=config.env_size,
        sticky_actions=config.sticky_actions,
        max_episode_steps=config.max_episode_steps,
    )


def sticky(environment: Environment, probability: float) -> Environment:
    """An environment that sometimes takes the action before instead of the one that was chosen.

    Machado et al. (2018), arXiv:1709.06009, section 5; MinAtar's published scores have probability
    0.1. Before the first action of an episode there is none, which counts as action 0.
    """

    def reset(key: Key) -> tuple[Obs, EnvState]:
        obs, state = environment.reset(key)
        return obs, (state, jnp.int32(0))

    def step(key: Key, state: EnvState, action: jax.Array):
        inner, previous = state
        key_stick, key_step = jax.random.split(key)
        sticks = jax.random.bernoulli(key_stick, probability)
        action = jnp.where(sticks, previous, jnp.int32(action))
        obs, inner, *rest = environment.step(key_step, inner, action)
        return obs, (inner, action), *rest

    return environment._replace(reset=reset, step=step)


def _strong(tree: Any) -> Any:
    """Makes arrays of Python numbers and of weak types, so that a state's types never change."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), tree)
