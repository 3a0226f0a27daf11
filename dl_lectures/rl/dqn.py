"""Deep Q-learning with replay and a target network, wholly on the device.

Mnih et al. (2015), doi:10.1038/nature14236; double Q-learning as a switch, van Hasselt et al.
(2016), arXiv:1509.06461. Where we differ from the paper: Adam instead of RMSProp, N environments
side by side, time limits bootstrap, and the target network may be a moving average.

One step of the learner is `train_every` steps of each of the N environments and then one update of
the network from one minibatch. A nested scan does that without `lax.cond`, which under vmap over
seeds would compute the update in every environment step.

N: environments, B: batch, A: actions.
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures.learner import Data, Key, Learner, Metrics, shard_batch
from dl_lectures.rl import actors as actors_lib
from dl_lectures.rl import environments, evaluation, networks, replay, td


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of DQN. Steps of the environments are counted over all N of them."""

    env: Annotated[str, "gymnax environment with finitely many actions"] = "CartPole-v1"
    num_envs: Annotated[int, "N, environments that run side by side"] = 10
    train_every: Annotated[int, "steps of each environment between two updates"] = 1
    hidden_sizes: Annotated[str, "units of the hidden layers, separated by commas"] = "120,84"
    capacity: Annotated[int, "transitions that the replay buffer holds"] = 10_000
    prefill: Annotated[int, "environment steps with random actions before learning"] = 10_000
    batch_size: Annotated[int, "B, transitions a minibatch"] = 128
    discount: Annotated[float, "gamma, discount factor of a step"] = 0.99
    double: Annotated[bool, "double Q-learning: the online network chooses the next action"] = False
    huber_delta: Annotated[float, "error from which the loss is linear; 0: squared error"] = 0.0
    learning_rate: Annotated[float, "step size of Adam, at first"] = 2.5e-4
    learning_rate_end: Annotated[float, "step size of Adam after decay_steps updates"] = 2.5e-4
    decay_steps: Annotated[int, "updates over which the step size changes linearly"] = 10_000
    target_every: Annotated[int, "updates between two moves of the target network"] = 50
    target_rate: Annotated[float, "how far a move goes towards the online network; 1: a copy"] = 1.0
    epsilon_start: Annotated[float, "probability of a random action after the prefill"] = 1.0
    epsilon_end: Annotated[float, "probability of a random action in the end"] = 0.05
    epsilon_steps: Annotated[int, "environment steps over which it falls linearly"] = 50_000
    num_eval_episodes: Annotated[int, "episodes of one greedy evaluation"] = 32

    def __post_init__(self):
        counts = ("num_envs", "train_every", "batch_size", "decay_steps", "target_every")
        for name in (*counts, "num_eval_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}={getattr(self, name)} must be at least 1.")
        for name in ("discount", "target_rate", "epsilon_start", "epsilon_end"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"--{name}={getattr(self, name)} must lie between 0 and 1.")
        for name in ("huber_delta", "learning_rate", "learning_rate_end", "epsilon_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name}={getattr(self, name)} must not be negative.")
        if not self.num_envs <= self.prefill <= self.capacity:
            raise ValueError(
                f"--prefill={self.prefill} must lie between --num_envs={self.num_envs} and "
                f"--capacity={self.capacity}; change it or raise --capacity."
            )
        if self.num_envs * self.train_every > self.capacity:
            raise ValueError(
                f"--capacity={self.capacity} is less than the num_envs * train_every = "
                f"{self.num_envs * self.train_every} transitions of one step; raise it."
            )
        sizes = [size.strip() for size in self.hidden_sizes.split(",")]
        if not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ValueError(
                f"--hidden_sizes={self.hidden_sizes} must be whole numbers above 0 separated by "
                "commas, such as 120,84."
            )

    @property
    def env_steps_per_update(self) -> int:
        """Environment steps that one step of the learner adds."""
        return self.num_envs * self.train_every

    @property
    def num_prefill_steps(self) -> int:
        """Random steps of each environment before learning."""
        return self.prefill // self.num_envs

    def env_steps(self, t: Any) -> Any:
        """Environment steps taken, the prefill included, after t steps of the learner."""
        return self.num_envs * self.num_prefill_steps + self.env_steps_per_update * t


class Transition(NamedTuple):
    """One step of one environment."""

    obs: jax.Array
    action: jax.Array  # [] int32
    reward: jax.Array  # [] float32
    discount: jax.Array  # [] float32; 0 where the episode terminated; a time limit does not end it
    next_obs: jax.Array  # the observation that the action led to, never a reset's


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Any  # the online network
    target_params: Any
    opt_state: Any
    buffer: replay.Buffer  # of Transition
    actors: actors_lib.Actors
    key: Key  # constant
    t: jax.Array  # [] int32, steps of the learner


def epsilon_greedy(key: Key, q_values: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Returns actions [N]: uniform with probability epsilon, else the best of values [N, A].

    The key is consumed by one draw: on a CPU every call of the generator costs microseconds.
    """
    num_envs, num_actions = q_values.shape
    explore, choice = jax.random.uniform(key, (2, num_envs))
    random_action = jnp.int32(choice * num_actions)
    return jnp.where(explore < epsilon, random_action, q_values.argmax(-1))


def make(config: Config, environment: environments.Environment | None = None) -> Learner:
    """Returns DQN on `config.env`, or on the given environment.

    Metrics of a step: `loss` of the minibatch; `episode_return`, the mean over the environments of
    each one's last finished episode, with exploration; `epsilon`; `env_steps`, the prefill
    included; `q_value`, the minibatch's mean value of the action taken. Metrics of an evaluation:
    `greedy_return`, the mean of `num_eval_episodes` fresh episodes without exploration.
    """
    if environment is None:
        environment = environments.make(config.env)
    network = networks.MLP(
        tuple(int(size) for size in config.hidden_sizes.split(",")), environment.num_actions
    )
    # One flat vector for Adam: six small arrays take twice as long.
    optimizer = optax.flatten(
        optax.adam(
            optax.linear_schedule(
                config.learning_rate, config.learning_rate_end, config.decay_steps
            )
        )
    )
    epsilon_fn = optax.linear_schedule(
        config.epsilon_start,
        config.epsilon_end,
        max(1, config.epsilon_steps // config.env_steps_per_update),
    )
    td_error = jax.vmap(td.double_q_error if config.double else td.q_learning_error)
    q_values = jax.vmap(network.apply, in_axes=(None, 0))  # params, [N, ...] -> [N, A]

    def explore(key: Key, params: Any, actors: actors_lib.Actors, epsilon: jax.Array):
        """One epsilon-greedy step of all environments: actors and transitions, [N, ...]."""
        key_policy, key_env = jax.random.split(key)
        actions = epsilon_greedy(key_policy, q_values(params, actors.obs), epsilon)
        obs = actors.obs
        actors, outcome = actors_lib.act(key_env, environment, actors, actions)
        discounts = jnp.where(outcome.terminated, 0.0, config.discount)
        return actors, Transition(obs, actions, outcome.reward, discounts, outcome.final_obs)

    def loss_fn(params: Any, target_params: Any, batch: Transition):
        q_tm1 = q_values(params, batch.obs)  # [B, A]
        errors = td_error(
            q_tm1,
            batch.action,
            batch.reward,
            batch.discount,
            q_values(target_params, batch.next_obs),
            q_values(params, batch.next_obs),
        )  # [B]
        if config.huber_delta > 0.0:
            losses = optax.huber_loss(errors, delta=config.huber_delta)
        else:
            losses = jnp.square(errors)
        q_value = jnp.take_along_axis(q_tm1, batch.action[:, None], axis=1).mean()
        return losses.mean(), q_value

    def init(key: Key) -> State:
        key_actors, key_net, key_fill, key_run = jax.random.split(key, 4)
        actors = actors_lib.reset(key_actors, environment, config.num_envs)
        params = network.init(key_net, actors.obs[0])

        def fill(carry, key):
            actors, buffer = carry
            actors, transitions = explore(key, params, actors, jnp.float32(1.0))
            return (actors, replay.add(buffer, transitions)), None

        _, transitions = jax.eval_shape(explore, key_fill, params, actors, jnp.float32(1.0))
        row = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), transitions)
        buffer = replay.init(row, config.capacity)
        keys = jax.random.split(key_fill, config.num_prefill_steps)
        (actors, buffer), _ = jax.lax.scan(fill, (actors, buffer), keys)
        return State(params, params, optimizer.init(params), buffer, actors, key_run, jnp.int32(0))

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        del data  # experience is all there is
        key_explore, key_replay = jax.random.split(jax.random.fold_in(state.key, state.t))
        epsilon = epsilon_fn(state.t)

        def collect(carry, key):
            actors, buffer = carry
            actors, transitions = explore(key, state.params, actors, epsilon)
            return (actors, replay.add(buffer, transitions)), None

        keys = jax.random.split(key_explore, config.train_every)
        (actors, buffer), _ = jax.lax.scan(collect, (state.actors, state.buffer), keys)

        batch = shard_batch(replay.sample(buffer, key_replay, config.batch_size))
        (loss, q_value), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.target_params, batch
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        t = state.t + 1
        # A move by 0 keeps the target, without a cond.
        rate = jnp.where(t % config.target_every == 0, config.target_rate, 0.0)
        target_params = optax.incremental_update(params, state.target_params, rate)
        metrics = {
            "loss": loss,
            "episode_return": actors.last_return.mean(),
            "epsilon": jnp.float32(epsilon),
            "env_steps": jnp.float32(config.env_steps(t)),
            "q_value": q_value,
        }
        return State(params, target_params, opt_state, buffer, actors, state.key, t), metrics

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del data
        greedy = lambda _, obs: network.apply(state.params, obs).argmax()  # noqa: E731
        returns = evaluation.episode_returns(key, environment, greedy, config.num_eval_episodes)
        return {"greedy_return": returns.mean()}

    return Learner(init, step, evaluate)
