"""Proximal policy optimisation, for finitely many and for continuous actions.

Schulman et al. (2017), arXiv:1707.06347, with the details that implementations agree on (Huang et
al., 2022, "The 37 implementation details of proximal policy optimization", ICLR blog track):
advantages by generalised advantage estimation (Schulman et al., 2016, arXiv:1506.02438) that are
normalised in each minibatch, a clipped value loss, orthogonal initial weights, a clipped gradient,
and running statistics of observations and rewards.

One step of the learner plays T steps in each of N environments and then learns from them: E passes
over this experience, each in M minibatches. So the steps of a run are rollouts.

Where we differ:
- Time limits bootstrap from the observation that was cut off; others take them for deaths.
- Values are computed after a rollout, in one batch, because acting does not need them.
- Experience is shuffled within groups of environments, and a minibatch takes as much from each
  group, so that devices that share the environments need not exchange observations.
- Statistics of observations change between rollouts, so that within one the policy is one.

N: environments, T: steps of a rollout, A: actions, D: numbers of a continuous action, G: groups.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures import layers
from dl_lectures.learner import Data, Key, Learner, Metrics, shard_batch
from dl_lectures.rl import actors as actors_lib
from dl_lectures.rl import distributions, environments, evaluation, networks, returns, settings

_ADAM_EPSILON = 1e-5  # detail 3 of Huang et al.; Adam's own is 1e-8
_MOST_NORMALIZED = 10.0  # observations and rewards are clipped here, in standard deviations
_MOST_GROUPS = 8


@dataclasses.dataclass(frozen=True)
class Config(settings.OnPolicy):
    """Settings of PPO. A step of the learner is a rollout and what is learned from it."""

    num_envs: Annotated[int, "N, environments that run side by side"] = 64
    hidden_sizes: Annotated[str, "units of the hidden layers, separated by commas"] = "64,64"
    activation: Annotated[Literal["tanh", "relu"], "of the hidden layers"] = "tanh"
    shared_torso: Annotated[bool, "policy and value share the hidden layers"] = False
    clip: Annotated[float, "epsilon: a ratio of probabilities gains nothing beyond 1 +- it"] = 0.2
    value_clip: Annotated[float, "how far a value may move in an update; 0: anywhere"] = 0.2
    value_cost: Annotated[float, "weight of the value loss"] = 0.5
    entropy_cost: Annotated[float, "weight of the entropy bonus"] = 0.01
    max_grad_norm: Annotated[float, "the gradient's norm is clipped here; 0: nowhere"] = 0.5
    decay_steps: Annotated[int, "steps of the learner in which the step size changes"] = 100
    normalize_advantages: Annotated[bool, "in each minibatch, to mean 0 and deviation 1"] = True
    normalize_obs: Annotated[bool, "by the mean and deviation of all before"] = False
    normalize_rewards: Annotated[bool, "by the deviation of the discounted return"] = False

    def __post_init__(self):
        super().__post_init__()
        settings.not_negative(self, ("value_clip", "value_cost", "entropy_cost", "max_grad_norm"))
        if not self.clip > 0:
            raise ValueError(f"--clip={self.clip} must be above 0.")
        if self.rows_per_group % self.num_minibatches:
            raise ValueError(
                f"--num_minibatches={self.num_minibatches} must divide the {self.rows_per_group} "
                f"steps of {self.num_envs // self.num_groups} of the {self.num_envs} environments; "
                "change it, --num_steps or --num_envs."
            )
        if self.env_steps_per_update == self.num_minibatches and self.normalize_advantages:
            raise ValueError(
                f"--num_minibatches={self.num_minibatches} leaves one step a minibatch, whose "
                "advantage cannot be normalised; choose fewer or --nonormalize_advantages."
            )

    @property
    def num_groups(self) -> int:
        """G, groups of environments within which experience is shuffled."""
        return math.gcd(self.num_envs, _MOST_GROUPS)

    @property
    def rows_per_group(self) -> int:
        """Steps that one group of environments takes in a rollout."""
        return self.num_envs // self.num_groups * self.num_steps


# Of a batch: parameters, moments and observations [B, ...] to laws [B, ...] and values [B].
Apply = Callable[[Any, Any, jax.Array], tuple[Any, jax.Array]]


class Moments(NamedTuple):
    """Mean and variance of all that was seen."""

    count: jax.Array  # [] float32
    mean: jax.Array  # [...]
    sum_squares: jax.Array  # [...] of the distances from the mean


class Rollout(NamedTuple):
    """What actions led to, leaves [T, N, ...]."""

    obs: jax.Array  # as the environment shows it
    action: jax.Array  # [] int32, or [D] float32 before it is clipped to the environment's range
    log_prob: jax.Array  # [] float32, of the policy that acted
    reward: jax.Array  # [] float32
    terminated: jax.Array  # [] bool
    truncated: jax.Array  # [] bool
    final_obs: jax.Array  # the observation that the action led to, never a reset's


class Experience(NamedTuple):
    """What an action was, and what is to be learned from it."""

    obs: jax.Array
    action: jax.Array
    log_prob: jax.Array  # [] float32, of the policy that acted
    value: jax.Array  # [] float32, of the network that acted
    advantage: jax.Array  # [] float32
    value_target: jax.Array  # [] float32, the lambda-return


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Any
    opt_state: Any
    actors: actors_lib.Actors
    obs_moments: Moments | tuple[()]  # of one observation; nothing where it is not normalised
    discounted: jax.Array | tuple[()]  # [N] sums of rewards; nothing where they are not normalised
    return_moments: Moments | tuple[()]  # of `discounted`, over time and environments
    key: Key  # constant
    t: jax.Array  # [] int32, steps of the learner


def no_moments(like: jax.Array) -> Moments:
    """The moments of nothing, for values of that shape."""
    zeros = jnp.zeros(like.shape)
    return Moments(jnp.float32(0), zeros, zeros)


def add_to_moments(moments: Moments, values: jax.Array) -> Moments:
    """Adds values [K, ...] by the pairwise rule of Chan et al. (1979), which does not cancel."""
    count = jnp.float32(values.shape[0])
    mean = values.mean(0)
    sum_squares = jnp.square(values - mean[None]).sum(0)
    total = moments.count + count
    apart = mean - moments.mean
    return Moments(
        total,
        moments.mean + apart * (count / total),
        moments.sum_squares + sum_squares + apart**2 * (moments.count * count / total),
    )


def deviation(moments: Moments) -> jax.Array:
    """The standard deviation of what was seen; 1 before anything was."""
    variance = moments.sum_squares / jnp.maximum(moments.count, 1.0)
    return jnp.where(moments.count > 0, jnp.sqrt(variance + 1e-8), 1.0)


def normalized(moments: Moments | tuple[()], obs: jax.Array) -> jax.Array:
    """An observation in standard deviations from the mean; itself where there are no moments."""
    if not moments:
        return obs
    z = (obs - moments.mean) / deviation(moments)
    return jnp.clip(z, -_MOST_NORMALIZED, _MOST_NORMALIZED)


def add_rewards(state: State, steps: Rollout, discount: float) -> State:
    """Adds a rollout's rewards, [T, N], to the statistics of discounted sums of rewards."""

    def discounted(before, step):
        reward, ended = step
        now = discount * before + reward
        return jnp.where(ended, 0.0, now), now

    ended = steps.terminated | steps.truncated
    last, sums = jax.lax.scan(discounted, state.discounted, (steps.reward, ended))
    moments = add_to_moments(state.return_moments, sums.ravel())
    return state._replace(discounted=last, return_moments=moments)


def policy_loss(ratio: jax.Array, advantage: jax.Array, clip: float) -> jax.Array:
    """The clipped surrogate objective, equation 7 of Schulman et al. (2017), as a loss.

        -min(ratio advantage, clipped ratio advantage)

    Args:
      ratio: [...] of the action's probabilities, new policy to old.
      advantage: [...].
      clip: epsilon.
    """
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.minimum(ratio * advantage, clipped * advantage)


def value_loss(value: jax.Array, old: jax.Array, target: jax.Array, clip: float) -> jax.Array:
    """Half of the squared error, [...].

    With `clip` above 0, the larger one of the value's and of the value's that may move from `old`
    by `clip` at most, as in the authors' code.
    """
    loss = jnp.square(value - target)
    if clip:
        near = old + jnp.clip(value - old, -clip, clip)
        loss = jnp.maximum(loss, jnp.square(near - target))
    return 0.5 * loss


def judge(config: Config, apply: Apply, state: State, steps: Rollout) -> Experience:
    """What is to be learned from a rollout, leaves [T, N, ...]."""
    rewards = steps.reward
    if config.normalize_rewards:
        rewards = rewards / deviation(state.return_moments)
        rewards = jnp.clip(rewards, -_MOST_NORMALIZED, _MOST_NORMALIZED)

    def values_of(obs: jax.Array) -> jax.Array:  # in one batch, which acting did not need
        flat = obs.reshape(-1, *obs.shape[2:])
        return apply(state.params, state.obs_moments, flat)[1].reshape(obs.shape[:2])

    values = values_of(steps.obs)
    targets = returns.lambda_returns(
        rewards,
        jnp.where(steps.terminated, 0.0, config.discount),
        values_of(steps.final_obs),
        steps.terminated | steps.truncated,
        config.trace_decay,
    )
    return Experience(steps.obs, steps.action, steps.log_prob, values, targets - values, targets)


def shuffle(key: Key, config: Config) -> jax.Array:
    """The rows of each group that each update learns from, int32 [E M, G, R / M].

    R is `rows_per_group`. A pass takes every row once. The key is consumed.
    """
    shape = (config.num_groups, config.num_epochs, config.rows_per_group)
    # To sort random bits is a permutation; equal ones, a pair in 2^32, keep their order.
    order = shard_batch(jax.random.bits(key, shape)).argsort(-1)
    num_updates = config.num_epochs * config.num_minibatches
    return order.reshape(config.num_groups, num_updates, -1).swapaxes(0, 1)


def minibatch_loss(
    config: Config, apply: Apply, params: Any, obs_moments: Moments | tuple[()], batch: Experience
) -> tuple[jax.Array, Metrics]:
    """Equation 9 of Schulman et al. (2017) as a loss of experience [B, ...], and what it shows."""
    law, value = apply(params, obs_moments, batch.obs)
    log_ratio = jax.vmap(type(law).log_prob)(law, batch.action) - batch.log_prob
    ratio = jnp.exp(log_ratio)
    advantage = batch.advantage
    if config.normalize_advantages:
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    of_policy = policy_loss(ratio, advantage, config.clip).mean()
    of_value = value_loss(value, batch.value, batch.value_target, config.value_clip).mean()
    entropy = jax.vmap(type(law).entropy)(law).mean()
    loss = of_policy + config.value_cost * of_value - config.entropy_cost * entropy
    return loss, {
        "loss": loss,
        "policy_loss": of_policy,
        "value_loss": of_value,
        "entropy_nats": entropy,
        "clipped": (jnp.abs(ratio - 1.0) > config.clip).mean(dtype=jnp.float32),
        # Never negative, unlike the mean of -log_ratio (Schulman, 2020, "Approximating KL").
        "approx_kl_nats": (ratio - 1.0 - log_ratio).mean(),
    }


def to_range(environment: environments.Environment, action: jax.Array) -> jax.Array:
    """What the environment gets: of continuous actions, [-1, 1] clipped and mapped to its range."""
    if environment.num_actions:
        return action
    low, high = jnp.array(environment.low), jnp.array(environment.high)
    share = (jnp.clip(action, -1.0, 1.0) + 1.0) / 2.0
    return low + share * (high - low)


def make_network(config: Config, environment: environments.Environment) -> networks.ActorCritic:
    """The network that a configuration describes: an observation to a law and a value."""
    return networks.ActorCritic(
        layers.sizes_of(config.hidden_sizes),
        num_actions=environment.num_actions,
        num_dims=len(environment.low),
        conv_channels=config.conv_channels,
        activation=config.activation,
        shared=config.shared_torso,
    )


def make_apply(network: networks.ActorCritic) -> Apply:
    """The network of a batch, with observations normalised."""

    def of_one(params: Any, obs_moments: Moments | tuple[()], obs: jax.Array):
        return network.apply(params, normalized(obs_moments, obs))

    return jax.vmap(of_one, in_axes=(None, None, 0))


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """Adam with a clipped gradient and a step size that falls from rollout to rollout."""
    rate = optax.linear_schedule(config.learning_rate, config.learning_rate_end, config.decay_steps)
    updates_per_step = config.num_epochs * config.num_minibatches
    adam = optax.adam(lambda count: rate(count // updates_per_step), eps=_ADAM_EPSILON)
    if config.max_grad_norm:
        adam = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), adam)
    return adam


def greedy(
    config: Config, environment: environments.Environment
) -> Callable[[Any, Moments | tuple[()], jax.Array], jax.Array]:
    """Returns the function from a state's `params` and `obs_moments` and an observation to the
    action without exploration, the most probable one.
    """
    network = make_network(config, environment)

    def act(params: Any, obs_moments: Moments | tuple[()], obs: jax.Array) -> jax.Array:
        law, _ = network.apply(params, normalized(obs_moments, obs))
        return to_range(environment, law.mode())

    return act


def make(config: Config, environment: environments.Environment | None = None) -> Learner:
    """Returns PPO on `config.env`, or on the given environment.

    Metrics of a step: `loss`, the mean over its updates, and its parts `policy_loss`, `value_loss`
    and `entropy_nats`; `clipped`, the share of ratios that were clipped; `approx_kl_nats`, an
    estimate of the divergence of the old policy from the new; `episode_return`, the mean over the
    environments of each one's last finished episode, with exploration; `env_steps`. Metrics of an
    evaluation: `greedy_return`, the mean of `num_eval_episodes` fresh episodes without exploration.
    """
    if environment is None:
        environment = environments.of_config(config, continuous=None)
    network = make_network(config, environment)
    optimizer = make_optimizer(config)
    apply = make_apply(network)
    in_range = functools.partial(to_range, environment)
    num_envs, num_steps = config.num_envs, config.num_steps

    def init(key: Key) -> State:
        key_actors, key_net, key_run = jax.random.split(key, 3)
        actors = actors_lib.reset(key_actors, environment, num_envs)
        params = network.init(key_net, actors.obs[0])
        return State(
            params,
            optimizer.init(params),
            actors,
            no_moments(actors.obs[0]) if config.normalize_obs else (),
            jnp.zeros(num_envs) if config.normalize_rewards else (),
            no_moments(jnp.float32(0)) if config.normalize_rewards else (),
            key_run,
            jnp.int32(0),
        )

    def play(key: Key, state: State) -> tuple[actors_lib.Actors, Rollout]:
        """T steps of all environments: the actors, and leaves [T, N, ...] of what happened."""
        key_noise, key_env = jax.random.split(key)
        noise = distributions.draw_noise(
            key_noise, (num_envs, num_steps), environment.num_actions, len(environment.low)
        )
        # Keys and noise of a whole rollout cost two calls of the generator.
        keys = jax.random.split(key_env, (num_steps, 2, num_envs))

        def act(actors, x):
            keys, noise = x
            obs = actors.obs
            law, _ = apply(state.params, state.obs_moments, obs)
            actions = jax.vmap(type(law).sample)(law, noise)
            log_probs = jax.vmap(type(law).log_prob)(law, actions)
            actors, outcome = actors_lib.act_with(
                keys, environment, actors, jax.vmap(in_range)(actions)
            )
            ends = (outcome.terminated, outcome.truncated)
            return actors, Rollout(
                obs, actions, log_probs, outcome.reward, *ends, outcome.final_obs
            )

        noise = shard_batch(noise).swapaxes(0, 1)
        return jax.lax.scan(act, shard_batch(state.actors), (keys, noise))

    def learn(key: Key, state: State, experience: Experience) -> tuple[State, Metrics]:
        """E passes over experience [T, N, ...]: the state with other parameters; mean metrics."""
        rows = jax.tree.map(
            lambda x: x.swapaxes(0, 1).reshape(config.num_groups, -1, *x.shape[2:]), experience
        )
        rows = shard_batch(rows)  # [G, R, ...]
        grad_fn = jax.grad(functools.partial(minibatch_loss, config, apply), has_aux=True)

        def update(carry, chosen):  # [G, R / M]
            params, opt_state = carry
            batch = jax.tree.map(lambda x: jax.vmap(lambda x, i: x[i])(x, chosen), rows)
            batch = shard_batch(jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch))
            grads, metrics = grad_fn(params, state.obs_moments, batch)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), metrics

        carry = (state.params, state.opt_state)
        (params, opt_state), metrics = jax.lax.scan(update, carry, shuffle(key, config))
        metrics = {name: values.mean() for name, values in metrics.items()}
        return state._replace(params=params, opt_state=opt_state), metrics

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        del data  # experience is all there is
        key_play, key_learn = jax.random.split(jax.random.fold_in(state.key, state.t))
        actors, steps = play(key_play, state)
        if config.normalize_rewards:  # of which the first rollout's are, too
            state = add_rewards(state, steps, config.discount)
        state, metrics = learn(key_learn, state, judge(config, apply, state, steps))
        if config.normalize_obs:
            seen = steps.obs.reshape(-1, *steps.obs.shape[2:])
            state = state._replace(obs_moments=add_to_moments(state.obs_moments, seen))
        state = state._replace(actors=actors, t=state.t + 1)
        metrics |= {
            "episode_return": actors.last_return.mean(),
            "env_steps": jnp.float32(config.env_steps(state.t)),
        }
        return state, metrics

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del data
        act = greedy(config, environment)
        policy = lambda _, obs: act(state.params, state.obs_moments, obs)  # noqa: E731
        found = evaluation.episode_returns(key, environment, policy, config.num_eval_episodes)
        return {"greedy_return": found.mean()}

    return Learner(init, step, evaluate)
