"""PQN: Q-learning in parallel environments, without replay and without a target network.

Gallici et al. (2024), arXiv:2407.04811. What keeps it stable instead of those two is layer
normalisation. One step of the learner plays `num_steps` steps of each environment, computes the
lambda-returns of Peng & Williams (1996), doi:10.1007/BF00114731, from the values of the network as
it is then, and fits the values of the actions taken to them, in minibatches, some epochs long.

Where we differ from the paper's program: time limits bootstrap from the observation that was cut
off, the next values are of the network after the rollout, which is the one that played it, and
no statistics of the observations are kept.

T: steps of a rollout, N: environments, B: rows of a minibatch, A: actions.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures import layers
from dl_lectures.learner import Data, Key, Learner, Metrics, shard_batch
from dl_lectures.rl import actors as actors_lib
from dl_lectures.rl import dqn, environments, evaluation, networks, returns, settings


@dataclasses.dataclass(frozen=True)
class Config(settings.OnPolicy):
    """Settings of PQN. Its Adam is the rectified one (Liu et al., 2020, arXiv:1908.03265)."""

    env: Annotated[str, "gymnax environment with finitely many actions"] = "Breakout-MinAtar"
    num_envs: Annotated[int, "N, environments that run side by side"] = 128
    num_steps: Annotated[int, "T, steps of each environment between two rounds of learning"] = 32
    num_epochs: Annotated[int, "passes over what was collected"] = 2
    num_minibatches: Annotated[int, "updates a pass"] = 32
    hidden_sizes: Annotated[str, "units of the hidden layers, separated by commas"] = "128"
    conv_channels: Annotated[int, "filters of the 3 x 3 convolution before them; 0: none"] = 16
    activation: Annotated[Literal["relu", "tanh"], "of the hidden layers"] = "relu"
    layer_norm: Annotated[bool, "layer normalisation before each activation"] = True
    trace_decay: Annotated[float, "lambda: 0 one step, 1 Monte Carlo"] = 0.65
    learning_rate: Annotated[float, "step size of Adam, at first"] = 5e-4
    decay_steps: Annotated[int, "steps of the learner in which the step size changes"] = 2_442
    max_grad_norm: Annotated[float, "norm to which a gradient is cut"] = 10.0
    epsilon_start: Annotated[float, "probability of a random action at first"] = 1.0
    epsilon_end: Annotated[float, "probability of a random action in the end"] = 0.05
    epsilon_steps: Annotated[int, "environment steps over which it falls linearly"] = 1_000_000

    def __post_init__(self):
        super().__post_init__()
        settings.between_0_and_1(self, ("epsilon_start", "epsilon_end"))
        settings.not_negative(self, ("epsilon_steps",))
        if not self.max_grad_norm > 0:
            raise ValueError(f"--max_grad_norm={self.max_grad_norm} must be above 0.")
        if self.env_steps_per_update % self.num_minibatches:
            raise ValueError(
                f"--num_minibatches={self.num_minibatches} must divide the num_envs * num_steps = "
                f"{self.env_steps_per_update} steps of a rollout; change one of them."
            )


class Rollout(NamedTuple):
    """What was seen and done, leaves [T, N, ...]."""

    obs: jax.Array
    action: jax.Array  # int32
    reward: jax.Array  # float32
    terminated: jax.Array  # bool
    truncated: jax.Array  # bool
    final_obs: jax.Array  # what the action led to, never a reset's


class Batch(NamedTuple):
    """What is learned from, leaves [B, ...]."""

    obs: jax.Array
    action: jax.Array  # int32
    target: jax.Array  # float32


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Any
    opt_state: Any
    actors: actors_lib.Actors
    key: Key  # constant
    t: jax.Array  # [] int32, steps of the learner


def q_lambda_targets(
    rollout: Rollout, next_q: jax.Array, discount: float, trace_decay: float
) -> jax.Array:
    """The targets of the actions taken, [T, N].

    Args:
      rollout: what happened.
      next_q: [T, N, A] values of the observations that the actions led to.
      discount: gamma.
      trace_decay: lambda.
    """
    discounts = jnp.where(rollout.terminated, 0.0, discount)
    ended = rollout.terminated | rollout.truncated
    return returns.lambda_returns(rollout.reward, discounts, next_q.max(-1), ended, trace_decay)


def make_network(config: Config, num_actions: int) -> networks.WithHead:
    """The network that a configuration describes: obs -> values [A]."""
    torso = networks.Torso(
        layers.sizes_of(config.hidden_sizes),
        conv_channels=config.conv_channels,
        activation=config.activation,
        layer_norm=config.layer_norm,
    )
    return networks.WithHead(torso, num_actions)


def greedy(
    config: Config, environment: environments.Environment
) -> Callable[[Any, jax.Array], jax.Array]:
    """The function from parameters and an observation to the action of the largest value."""
    network = make_network(config, environment.num_actions)
    return lambda params, obs: network.apply(params, obs).argmax()


def make(config: Config, environment: environments.Environment | None = None) -> Learner:
    """Returns PQN on `config.env`, or on the given environment.

    Metrics of a step: `loss`, half the mean squared error over all minibatches; `episode_return`,
    the mean over the environments of each one's last finished episode, with exploration; `epsilon`;
    `env_steps`; `q_value`, the mean target. Metrics of an evaluation: `greedy_return`, the mean of
    `num_eval_episodes` fresh episodes without exploration.
    """
    if environment is None:
        environment = environments.of_config(config)
    network = make_network(config, environment.num_actions)
    act = greedy(config, environment)
    values = jax.vmap(network.apply, in_axes=(None, 0))  # params, [B, ...] -> [B, A]
    updates_per_step = config.num_epochs * config.num_minibatches
    schedule = optax.linear_schedule(
        config.learning_rate, config.learning_rate_end, config.decay_steps * updates_per_step
    )
    optimizer = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.radam(schedule))
    epsilon_fn = optax.linear_schedule(
        config.epsilon_start,
        config.epsilon_end,
        max(1, config.epsilon_steps // config.env_steps_per_update),
    )

    def play(params: Any, actors: actors_lib.Actors, keys: Key, epsilon: jax.Array):
        """T steps of all environments with one key each: the actors after them, and a Rollout."""

        def one(actors: actors_lib.Actors, key: Key):
            key_policy, key_env = jax.random.split(key)
            actions = dqn.epsilon_greedy(key_policy, values(params, actors.obs), epsilon)
            after, outcome = actors_lib.act(key_env, environment, actors, actions)
            return after, Rollout(
                actors.obs,
                actions,
                outcome.reward,
                outcome.terminated,
                outcome.truncated,
                outcome.final_obs,
            )

        return jax.lax.scan(one, actors, keys)

    def loss_fn(params: Any, batch: Batch) -> jax.Array:
        q = values(params, batch.obs)
        taken = jnp.take_along_axis(q, batch.action[:, None], axis=1)[:, 0]
        return 0.5 * jnp.square(taken - batch.target).mean()

    def learn(params: Any, opt_state: Any, rows: Batch, key: Key):
        """All epochs over the rows [T * N, ...]: parameters, optimizer's state, losses."""

        def update(carry, batch: Batch):
            params, opt_state = carry
            loss, grads = jax.value_and_grad(loss_fn)(params, shard_batch(batch))
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        def epoch(carry, key: Key):
            order = jax.random.permutation(key, config.env_steps_per_update)
            order = order.reshape(config.num_minibatches, -1)
            return jax.lax.scan(
                lambda carry, chosen: update(carry, jax.tree.map(lambda x: x[chosen], rows)),
                carry,
                order,
            )

        keys = jax.random.split(key, config.num_epochs)
        (params, opt_state), losses = jax.lax.scan(epoch, (params, opt_state), keys)
        return params, opt_state, losses.mean()

    def init(key: Key) -> State:
        key_actors, key_net, key_run = jax.random.split(key, 3)
        actors = actors_lib.reset(key_actors, environment, config.num_envs)
        params = network.init(key_net, actors.obs[0])
        return State(params, optimizer.init(params), actors, key_run, jnp.int32(0))

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        del data  # experience is all there is
        key_play, key_learn = jax.random.split(jax.random.fold_in(state.key, state.t))
        epsilon = jnp.float32(epsilon_fn(state.t))
        keys = jax.random.split(key_play, config.num_steps)
        actors, rollout = play(state.params, state.actors, keys, epsilon)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rollout)
        next_q = values(state.params, flat.final_obs)
        targets = q_lambda_targets(
            rollout,
            next_q.reshape(config.num_steps, config.num_envs, -1),
            config.discount,
            config.trace_decay,
        )
        rows = Batch(flat.obs, flat.action, targets.ravel())
        params, opt_state, loss = learn(state.params, state.opt_state, rows, key_learn)
        t = state.t + 1
        metrics = {
            "loss": loss,
            "episode_return": actors.last_return.mean(),
            "epsilon": epsilon,
            "env_steps": jnp.float32(config.env_steps(t)),
            "q_value": targets.mean(),
        }
        return State(params, opt_state, actors, state.key, t), metrics

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del data
        policy = lambda _, obs: act(state.params, obs)  # noqa: E731
        played = evaluation.episode_returns(key, environment, policy, config.num_eval_episodes)
        return {"greedy_return": played.mean()}

    return Learner(init, step, evaluate)
