"""Deep Q-learning with replay and a target network, wholly on the device, and its family.

Mnih et al. (2015), doi:10.1038/nature14236. Switches, each by itself or together; double, dueling,
n_step = 3, prioritized, c51 and noisy are Rainbow (Hessel et al., 2018, arXiv:1710.02298):

- double: van Hasselt et al. (2016), arXiv:1509.06461;
- dueling: Wang et al. (2016), arXiv:1511.06581;
- n_step: Sutton (1988), doi:10.1007/BF00115009, without a correction for the older policy;
- prioritized: Schaul et al. (2016), arXiv:1511.05952, proportional;
- distribution: c51, Bellemare et al. (2017), arXiv:1707.06887; qr, Dabney et al. (2018),
  arXiv:1710.10044;
- noisy: Fortunato et al. (2018), arXiv:1706.10295, factorised;
- munchausen: Vieillard et al. (2020), arXiv:2007.14430.

Ablations: replay = False, target_every = 1 and time_limit_is_death. Where we differ from the
papers: Adam instead of RMSProp, N environments side by side, time limits bootstrap, the target
network may be a moving average, noise is in the last two layers alone and each environment's own,
priorities of qr are errors of the mean, and gradients of dueling heads are not scaled down.

One step of the learner is `train_every` steps of each of the N environments and then one update of
the network from one minibatch. A nested scan does that without `lax.cond`, which under vmap over
seeds would compute the update in every environment step.

N: environments, B: batch, A: actions, M: atoms, n: steps of a return.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures import layers
from dl_lectures.learner import Data, Key, Learner, Metrics, shard_batch
from dl_lectures.rl import actors as actors_lib
from dl_lectures.rl import environments, evaluation, networks, replay, settings, td

_LEAST_PRIORITY = 1e-6  # added to an error, so that no row is out of reach


@dataclasses.dataclass(frozen=True)
class Config(settings.Agent):
    """Settings of DQN."""

    env: Annotated[str, "gymnax environment with finitely many actions"] = "CartPole-v1"
    train_every: Annotated[int, "steps of each environment between two updates"] = 1
    layer_norm: Annotated[bool, "layer normalisation of the hidden layers before the head"] = False
    capacity: Annotated[int, "transitions that the replay buffer holds"] = 10_000
    prefill: Annotated[int, "environment steps with random actions before learning"] = 10_000
    replay: Annotated[bool, "learn from the buffer; else from what was just collected"] = True
    batch_size: Annotated[int, "B, transitions a minibatch"] = 128
    double: Annotated[bool, "double Q-learning: the online network chooses the next action"] = False
    dueling: Annotated[bool, "values as the state's value plus the actions' advantages"] = False
    n_step: Annotated[int, "n, rewards before a target bootstraps"] = 1
    prioritized: Annotated[bool, "replay prefers transitions with a large error"] = False
    priority_exponent: Annotated[float, "alpha: priority is the error to this power"] = 0.6
    priority_correction: Annotated[float, "beta at first; 1 after decay_steps updates"] = 0.4
    distribution: Annotated[
        Literal["none", "c51", "qr"], "law of the return: its mean alone, atoms or quantiles"
    ] = "none"
    num_atoms: Annotated[int, "M, atoms of c51 or quantiles of qr"] = 51
    value_min: Annotated[float, "the first atom of c51, a return"] = -10.0
    value_max: Annotated[float, "the last atom of c51, a return"] = 10.0
    noisy: Annotated[bool, "noisy layers explore, instead of epsilon"] = False
    noise_scale: Annotated[float, "sigma_0, noise of a weight at first times sqrt(inputs)"] = 0.5
    munchausen: Annotated[bool, "adds the log-probability of the action to the reward"] = False
    munchausen_scale: Annotated[float, "alpha, its weight"] = 0.9
    munchausen_temperature: Annotated[float, "tau of the softmax policy"] = 0.03
    munchausen_floor: Annotated[float, "l_0, the least that is added"] = -1.0
    time_limit_is_death: Annotated[bool, "nothing follows a time limit (an error)"] = False
    huber_delta: Annotated[
        float, "error from which the loss is linear; 0: squared error (qr: linear everywhere)"
    ] = 0.0
    target_every: Annotated[int, "updates between two moves of the target network"] = 50
    target_rate: Annotated[float, "how far a move goes towards the online network; 1: a copy"] = 1.0
    epsilon_start: Annotated[float, "probability of a random action after the prefill"] = 1.0
    epsilon_end: Annotated[float, "probability of a random action in the end"] = 0.05
    epsilon_steps: Annotated[int, "environment steps over which it falls linearly"] = 50_000

    def __post_init__(self):
        super().__post_init__()
        settings.at_least_one(self, ("train_every", "batch_size", "target_every", "n_step"))
        settings.between_0_and_1(self, ("target_rate", "epsilon_start", "epsilon_end"))
        settings.between_0_and_1(
            self, ("priority_exponent", "priority_correction", "munchausen_scale")
        )
        settings.not_negative(self, ("epsilon_steps", "huber_delta"))
        if not self.num_envs <= self.prefill <= self.capacity:
            raise ValueError(
                f"--prefill={self.prefill} must lie between --num_envs={self.num_envs} and "
                f"--capacity={self.capacity}; change it or raise --capacity."
            )
        if self.capacity >= 2**31:
            raise ValueError(f"--capacity={self.capacity} must be less than 2^31.")
        if self.num_envs * self.train_every > self.capacity:
            raise ValueError(
                f"--capacity={self.capacity} is less than the num_envs * train_every = "
                f"{self.num_envs * self.train_every} transitions of one step; raise it."
            )
        self._check_switches()

    def _check_switches(self):
        if self.distribution == "c51" and not self.value_min < self.value_max:
            raise ValueError(
                f"--value_min={self.value_min} must be less than --value_max={self.value_max}."
            )
        if self.distribution != "none" and self.num_atoms < 2:
            raise ValueError(f"--num_atoms={self.num_atoms} must be at least 2.")
        if self.munchausen and not (self.munchausen_temperature > 0 > self.munchausen_floor):
            raise ValueError(
                f"--munchausen_temperature={self.munchausen_temperature} must be above 0 and "
                f"--munchausen_floor={self.munchausen_floor} below."
            )
        if self.noisy and not self.noise_scale > 0:
            raise ValueError(f"--noise_scale={self.noise_scale} must be above 0.")
        cannot = {
            "--prioritized and --noreplay cannot be combined: there is nothing to prefer": (
                self.prioritized and not self.replay
            ),
            "--munchausen and --double cannot be combined: its target has no maximum": (
                self.munchausen and self.double
            ),
            "--munchausen and --n_step above 1 cannot be combined: it is a reward of one step": (
                self.munchausen and self.n_step > 1
            ),
            "--munchausen and --distribution=c51 cannot be combined: choose qr or none": (
                self.munchausen and self.distribution == "c51"
            ),
        }
        for sentence, is_so in cannot.items():
            if is_so:
                raise ValueError(f"{sentence}.")

    @property
    def env_steps_per_update(self) -> int:
        """Environment steps that one step of the learner adds."""
        return self.num_envs * self.train_every

    @property
    def num_prefill_steps(self) -> int:
        """Random steps of each environment before learning.

        Those that fill the buffer, if there is one, after n - 1 whose returns are under way.
        """
        return self.n_step - 1 + (self.prefill // self.num_envs if self.replay else 0)

    def env_steps(self, t: Any) -> Any:
        """Environment steps taken, the prefill included, after t steps of the learner."""
        return self.num_envs * self.num_prefill_steps + self.env_steps_per_update * t


class Transition(NamedTuple):
    """n steps of one environment."""

    obs: jax.Array
    action: jax.Array  # [] int32, the first
    reward: jax.Array  # [] float32, discounted sum up to an end
    discount: jax.Array  # [] float32; 0 where the episode terminated; a time limit does not end it
    next_obs: jax.Array  # the observation that the last action led to, never a reset's


class Window(NamedTuple):
    """The last n steps of each environment, the oldest first."""

    steps: Transition  # of one step each, leaves [n, N, ...]
    ended: jax.Array  # [n, N] bool


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Any  # the online network
    target_params: Any
    opt_state: Any
    window: Window | tuple[()]  # nothing where n is 1
    buffer: replay.Buffer | replay.Prioritised | tuple[()]  # of Transition; nothing without replay
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


def n_steps(window: Window, steps: Transition, ended: jax.Array) -> tuple[Window, Transition]:
    """Moves a window on by a step, leaves [N, ...]: it, and what begins with its oldest step.

    Every step begins one transition, n - 1 steps late, so that none is lost or told twice.
    """
    window = jax.tree.map(
        lambda old, new: jnp.concatenate([old[1:], new[None]]), window, Window(steps, ended)
    )
    steps = window.steps
    reward, discount, last = jax.vmap(td.n_step, in_axes=1)(
        steps.reward, steps.discount, window.ended
    )
    next_obs = steps.next_obs[last, jnp.arange(last.size)]
    return window, Transition(steps.obs[0], steps.action[0], reward, discount, next_obs)


def empty_memory(config: Config, obs: jax.Array) -> tuple[Any, Any]:
    """A window and a buffer for observations like these, [N, ...]; () for what is not needed."""
    row = Transition(obs[0], jnp.int32(0), jnp.float32(0), jnp.float32(0), obs[0])
    window, buffer = (), ()
    if config.n_step > 1:
        shape = (config.n_step, config.num_envs)
        steps = jax.tree.map(lambda x: jnp.zeros((*shape, *x.shape), x.dtype), row)
        window = Window(steps, jnp.zeros(shape, bool))
    if config.replay:
        buffer = replay.init(row, config.capacity)
        buffer = replay.prioritise(buffer) if config.prioritized else buffer
    return window, buffer


def expected_values(config: Config, outputs: jax.Array) -> jax.Array:
    """The values [..., A] that the network's outputs [..., A] or [..., A, M] stand for."""
    if config.distribution == "c51":
        return jax.nn.softmax(outputs) @ atoms(config)
    return outputs.mean(-1) if config.distribution == "qr" else outputs


def atoms(config: Config) -> jax.Array:
    """The returns [M] that c51 gives probabilities to."""
    return jnp.linspace(config.value_min, config.value_max, config.num_atoms)


def transition_loss(
    config: Config,
    tm1: jax.Array,
    transition: Transition,
    t_target: jax.Array,
    t_online: jax.Array,
    tm1_target: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The loss of one transition, and its error's size, which is its priority; both [].

    Args:
      config: which loss it is.
      tm1: the online network's outputs at the old observation, [A] or [A, M].
      transition: what happened.
      t_target: the target network's at the new observation.
      t_online: the online network's there; used by double Q-learning alone.
      tm1_target: the target network's at the old observation; used by Munchausen alone.
    """
    _, a_tm1, r_t, discount_t, _ = transition
    soft = (config.munchausen_temperature, config.munchausen_scale, config.munchausen_floor)
    if config.distribution == "none":
        if config.munchausen:
            error = td.munchausen_error(tm1, a_tm1, r_t, discount_t, t_target, tm1_target, *soft)
        else:
            td_error = td.double_q_error if config.double else td.q_learning_error
            error = td_error(tm1, a_tm1, r_t, discount_t, t_target, t_online)
        if config.huber_delta > 0.0:
            return optax.huber_loss(error, delta=config.huber_delta), jnp.abs(error)
        return jnp.square(error), jnp.abs(error)

    a_t = expected_values(config, t_online if config.double else t_target).argmax()
    if config.distribution == "c51":
        target = td.categorical_projection(
            atoms(config), jax.nn.softmax(t_target[a_t]), r_t, discount_t
        )
        loss = td.categorical_loss(tm1[a_tm1], target)
        return loss, loss
    later = t_target[a_t]  # [M]
    if config.munchausen:
        r_t += td.munchausen_bonus(tm1_target.mean(-1), a_tm1, *soft)
        later = td.soft_quantiles(t_target, config.munchausen_temperature)
    targets = r_t + discount_t * later
    error = targets.mean() - tm1[a_tm1].mean()
    return td.quantile_loss(tm1[a_tm1], targets, config.huber_delta), jnp.abs(error)


def make_network(config: Config, num_actions: int) -> networks.QNetwork:
    """The network that a configuration describes."""
    return networks.QNetwork(
        layers.sizes_of(config.hidden_sizes),
        num_actions,
        config.conv_channels,
        config.layer_norm,
        num_atoms=0 if config.distribution == "none" else config.num_atoms,
        dueling=config.dueling,
        noise_scale=config.noise_scale if config.noisy else 0.0,
    )


def action_values(config: Config, num_actions: int) -> Callable[[Any, jax.Array], jax.Array]:
    """Returns the function from parameters and an observation to values [A], without noise."""
    network = make_network(config, num_actions)
    return lambda params, obs: expected_values(config, network.apply(params, obs))


def make(config: Config, environment: environments.Environment | None = None) -> Learner:
    """Returns DQN on `config.env`, or on the given environment.

    Metrics of a step: `loss` of the minibatch; `episode_return`, the mean over the environments of
    each one's last finished episode, with exploration; `epsilon`; `env_steps`, those before
    learning included; `q_value`, the minibatch's mean value of the action taken. Metrics of an
    evaluation: `greedy_return`, the mean of `num_eval_episodes` fresh episodes without exploration.
    """
    if environment is None:
        environment = environments.of_config(config)
    network = make_network(config, environment.num_actions)
    optimizer = optax.adam(
        optax.linear_schedule(config.learning_rate, config.learning_rate_end, config.decay_steps)
    )
    epsilon_fn = optax.linear_schedule(
        config.epsilon_start,
        config.epsilon_end,
        max(1, config.epsilon_steps // config.env_steps_per_update),
    )
    correction_fn = optax.linear_schedule(config.priority_correction, 1.0, config.decay_steps)
    # params, [B, ...], noise [K] of all rows -> [B, A] or [B, A, M]
    outputs = jax.vmap(network.apply, in_axes=(None, 0, None))
    values = action_values(config, environment.num_actions)
    add = replay.add_prioritised if config.prioritized else replay.add

    def draw_noise(key: Key, params: Any, number: int) -> jax.Array | tuple[None, ...]:
        """Noise of all noisy layers, [number, K]; None for each where no layer is noisy."""
        if not config.noisy:
            return (None,) * number
        return networks.draw_noise(key, (number, networks.num_noise(params)))

    def explore(key: Key, params: Any, actors: actors_lib.Actors, window: Any, luck: Any):
        """One step of all environments: actors, window, and transitions [N, ...].

        `luck` is the probability of a random action, or the noise of each environment, [N, K].
        """
        key_policy, key_env = jax.random.split(key)
        obs = actors.obs
        if config.noisy:
            out = jax.vmap(network.apply, in_axes=(None, 0, 0))(params, obs, luck)
            actions = expected_values(config, out).argmax(-1)
        else:
            q = expected_values(config, outputs(params, obs, None))
            actions = epsilon_greedy(key_policy, q, luck)
        actors, outcome = actors_lib.act(key_env, environment, actors, actions)
        ended = outcome.terminated | outcome.truncated
        is_last = ended if config.time_limit_is_death else outcome.terminated
        discounts = jnp.where(is_last, 0.0, config.discount)
        rows = Transition(obs, actions, outcome.reward, discounts, outcome.final_obs)
        if config.n_step > 1:
            window, rows = n_steps(window, rows, ended)
        return actors, window, rows

    def loss_fn(params: Any, target_params: Any, batch: Transition, weights: Any, noise: Any):
        tm1 = outputs(params, batch.obs, noise[0])
        # What a loss does not use is not computed.
        losses, sizes = jax.vmap(functools.partial(transition_loss, config))(
            tm1,
            batch,
            outputs(target_params, batch.next_obs, noise[1]),
            outputs(params, batch.next_obs, noise[2]),
            outputs(target_params, batch.obs, noise[1]),
        )
        q_tm1 = expected_values(config, tm1)
        q_value = jnp.take_along_axis(q_tm1, batch.action[:, None], axis=1).mean()
        return (losses if weights is None else weights * losses).mean(), (q_value, sizes)

    def init(key: Key) -> State:
        key_actors, key_net, key_fill, key_run = jax.random.split(key, 4)
        actors = actors_lib.reset(key_actors, environment, config.num_envs)
        params = network.init(key_net, actors.obs[0])
        window, buffer = empty_memory(config, actors.obs)

        def fill(carry, key):
            actors, window, buffer = carry
            key_explore, key_noise = jax.random.split(key)
            luck = jnp.float32(1.0)
            if config.noisy:
                luck = draw_noise(key_noise, params, config.num_envs)
            actors, window, rows = explore(key_explore, params, actors, window, luck)
            return (actors, window, add(buffer, rows) if buffer else buffer), None

        keys = jax.random.split(key_fill, config.num_prefill_steps)
        begin = config.n_step - 1
        if begin:
            (actors, window, _), _ = jax.lax.scan(fill, (actors, window, ()), keys[:begin])
        if config.replay:
            (actors, window, buffer), _ = jax.lax.scan(fill, (actors, window, buffer), keys[begin:])
        opt_state = optimizer.init(params)
        return State(params, params, opt_state, window, buffer, actors, key_run, jnp.int32(0))

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        del data  # experience is all there is
        key_explore, key_replay, key_noise = jax.random.split(
            jax.random.fold_in(state.key, state.t), 3
        )
        # Of the online network, the target, the online network's choice, and each environment.
        noise = draw_noise(key_noise, state.params, 3 + config.num_envs)
        epsilon = jnp.float32(0.0 if config.noisy else epsilon_fn(state.t))
        luck = noise[3:] if config.noisy else epsilon

        def collect(carry, key):
            actors, window, buffer = carry
            actors, window, rows = explore(key, state.params, actors, window, luck)
            if config.replay:
                return (actors, window, add(buffer, rows)), None
            return (actors, window, buffer), rows

        keys = jax.random.split(key_explore, config.train_every)
        carry = (state.actors, state.window, state.buffer)
        (actors, window, buffer), collected = jax.lax.scan(collect, carry, keys)

        weights = None
        if not config.replay:
            batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), collected)
        elif config.prioritized:
            batch, rows, chances = replay.sample_prioritised(buffer, key_replay, config.batch_size)
            weights = chances ** -correction_fn(state.t)  # the number of rows cancels
            weights /= weights.max()
        else:
            batch = replay.sample(buffer, key_replay, config.batch_size)
        batch = shard_batch(batch)
        (loss, (q_value, sizes)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.target_params, batch, weights, noise
        )
        if config.prioritized:
            priorities = (jnp.maximum(sizes, 0.0) + _LEAST_PRIORITY) ** config.priority_exponent
            buffer = replay.set_priorities(buffer, rows, priorities)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        t = state.t + 1
        # A move by 0 keeps the target, without a cond.
        rate = jnp.where(t % config.target_every == 0, config.target_rate, 0.0)
        target_params = optax.incremental_update(params, state.target_params, rate)
        metrics = {
            "loss": loss,
            "episode_return": actors.last_return.mean(),
            "epsilon": epsilon,
            "env_steps": jnp.float32(config.env_steps(t)),
            "q_value": q_value,
        }
        state = State(params, target_params, opt_state, window, buffer, actors, state.key, t)
        return state, metrics

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del data
        greedy = lambda _, obs: values(state.params, obs).argmax()  # noqa: E731
        returns = evaluation.episode_returns(key, environment, greedy, config.num_eval_episodes)
        return {"greedy_return": returns.mean()}

    return Learner(init, step, evaluate)
