"""The generative adversarial network of Goodfellow et al. (2014), arXiv:1406.2661.

A forger and a policeman: the generator G makes samples from noise z ~ N(0, I), the discriminator D
tells them from real ones, and each learns from what the other does. D gives a logit, and calls a
sample real where it is positive. A step is a number of updates of D, then one of G; each player has
its own optimizer. The losses are the logistic game of the paper, saturating or not, least squares
(Mao et al., 2016, arXiv:1611.04076), hinge (Lim and Ye, 2017, arXiv:1705.02894) and Wasserstein's
(Arjovsky et al., 2017, arXiv:1701.07875). What bounds D's slope is a switch of its own and goes
with every loss: the gradient penalty of Gulrajani et al. (2017), arXiv:1704.00028, that of
Mescheder et al. (2018), arXiv:1801.04406, and the spectral normalisation of Miyato et al. (2018),
arXiv:1802.05957.

L: numbers in z, B: samples a batch, N: samples, C: classes, m: samples that D sees at once;
D, F: what goes into a layer and what comes out, where a kernel is meant.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures.learner import Key, Learner, Metrics, shard_batch


@dataclasses.dataclass(frozen=True)
class Config:
    """The game and how its players learn."""

    loss: Annotated[
        Literal["saturating", "non_saturating", "least_squares", "hinge", "wasserstein"],
        "what either player lowers",
    ] = "non_saturating"
    num_latents: Annotated[int, "L, numbers in the noise z that the generator starts from"] = 64
    batch_size: Annotated[int, "B, real and made samples per update, each"] = 64
    num_discriminator_updates: Annotated[int, "updates of the discriminator before each of G"] = 1
    learning_rate: Annotated[float, "step size of Adam"] = 2e-4
    discriminator_learning_rate: Annotated[
        float, "step size of the discriminator's Adam; 0: that of the generator"
    ] = 0.0
    beta1: Annotated[float, "Adam's memory of gradients; 0.5 as in DCGAN"] = 0.5
    beta2: Annotated[float, "Adam's memory of squared gradients"] = 0.999
    gradient_penalty: Annotated[
        float, "weight of (|slope| - 1)^2 between real and made samples; 0: none"
    ] = 0.0
    r1: Annotated[float, "gamma: weight of half the squared slope at real samples; 0: none"] = 0.0
    spectral_norm: Annotated[bool, "divide each kernel of D by its largest singular value"] = False
    ema_decay: Annotated[float, "memory of the generator's moving average; 0: none"] = 0.0
    conditional: Annotated[bool, "both players are told the label of a sample"] = False
    pack: Annotated[int, "m, samples that the discriminator judges together (PacGAN)"] = 1

    def __post_init__(self):
        for name in ("num_latents", "batch_size", "num_discriminator_updates", "pack"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ValueError(f"--learning_rate must be positive, not {self.learning_rate:g}.")
        for name in ("discriminator_learning_rate", "gradient_penalty", "r1"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, not {getattr(self, name):g}.")
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name} must lie in [0, 1), not {getattr(self, name):g}.")
        if self.batch_size % self.pack:
            raise ValueError(
                f"--pack must divide --batch_size={self.batch_size}, not be {self.pack}."
            )
        if self.conditional and self.pack > 1:
            raise ValueError(f"--pack must be 1 where samples have labels, not {self.pack}.")
        if self.loss == "wasserstein" and not (self.gradient_penalty or self.spectral_norm):
            raise ValueError(
                "--loss must be another one than wasserstein, or the critic's slope be bounded by "
                "--gradient_penalty=10 or --spectral_norm, not by nothing."
            )


class Networks(NamedTuple):
    """The two players without their parameters: modules with `init` and `apply` for batches.

    Labels are one-hot, [B, C], or None. A discriminator that judges m samples at once gets
    [B / m, ..., m C'], their last axes joined.
    """

    generator: Any  # (z [B, L], labels) -> samples [B, *shape]
    discriminator: Any  # (samples [B, *shape], labels) -> logits [B]


class Game(NamedTuple):
    """All that is fixed about a game."""

    config: Config
    networks: Networks
    num_classes: int = 0  # C, where samples have labels


class Data(NamedTuple):
    """Real samples. Those in bytes stand for numbers in [-1, 1]."""

    x: jax.Array  # [N, *shape] float32, or uint8
    labels: jax.Array | None = None  # [N] int32 in 0 ... C - 1, where there are any


class Players(NamedTuple):
    """Something that either player has: parameters, or the state of an optimizer."""

    generator: Any
    discriminator: Any


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Players
    opt_state: Players
    average: Any  # the generator's parameters, averaged over the steps
    us: tuple[jax.Array, ...]  # [F] for each kernel of D, where they are normalised
    key: jax.Array  # [] constant: step t draws from fold_in(key, t)
    t: jax.Array  # [] int32


# The losses, of logits of real samples and of made ones, [B] each.


def logistic_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """-E[log D(x)] - E[log(1 - D(G(z)))] in nats, [], with D = sigmoid(logit); equation 1.

    At the best D it is log 4 - 2 JSD(p_data || p_G) (theorem 1).
    """
    return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()


def saturating_generator_loss(fake: jax.Array) -> jax.Array:
    """E[log(1 - D(G(z)))] in nats, []; equation 1. Flat where D is sure of itself."""
    return -jax.nn.softplus(fake).mean()


def non_saturating_generator_loss(fake: jax.Array) -> jax.Array:
    """-E[log D(G(z))] in nats, []; the end of section 3."""
    return jax.nn.softplus(-fake).mean()


def least_squares_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """E[(D(x) - 1)^2] / 2 + E[(D(G(z)) + 1)^2] / 2, []; equation 8 of Mao et al., a = -1, b = 1."""
    return 0.5 * (jnp.square(real - 1.0).mean() + jnp.square(fake + 1.0).mean())


def least_squares_generator_loss(fake: jax.Array) -> jax.Array:
    """E[D(G(z))^2] / 2, []; equation 8 of Mao et al., c = 0: where D cannot tell."""
    return 0.5 * jnp.square(fake).mean()


def hinge_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))], []; Lim and Ye."""
    return jax.nn.relu(1.0 - real).mean() + jax.nn.relu(1.0 + fake).mean()


def wasserstein_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """E[D(G(z))] - E[D(x)], []; equation 2 of Arjovsky et al., where D has slopes up to 1."""
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake: jax.Array) -> jax.Array:
    """-E[D(G(z))], [], of the hinge game, too."""
    return -fake.mean()


class Losses(NamedTuple):
    """What either player lowers."""

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]  # of logits, real and made
    generator: Callable[[jax.Array], jax.Array]  # of logits of what it made


LOSSES = {
    "saturating": Losses(logistic_discriminator_loss, saturating_generator_loss),
    "non_saturating": Losses(logistic_discriminator_loss, non_saturating_generator_loss),
    "least_squares": Losses(least_squares_discriminator_loss, least_squares_generator_loss),
    "hinge": Losses(hinge_discriminator_loss, wasserstein_generator_loss),
    "wasserstein": Losses(wasserstein_discriminator_loss, wasserstein_generator_loss),
}


# What bounds the discriminator's slope.


def squared_slopes(discriminator: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """The squared length, [B], of the gradient of each logit by its own sample, x [B, *shape].

    Args:
        discriminator: samples [B, *shape] to logits [B], each from its own sample alone.
        x: where.
    """
    gradients = jax.grad(lambda x: discriminator(x).sum())(x)
    return jnp.square(gradients).sum(axis=tuple(range(1, x.ndim)))


def gradient_penalty(
    key: Key, discriminator: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array
) -> jax.Array:
    """E[(|slope| - 1)^2], [], at points drawn between pairs of samples; the key is consumed.

    Equation 3 of Gulrajani et al., without its weight, which is 10 there; samples [B, *shape].
    """
    share = jax.random.uniform(key, (real.shape[0],) + (1,) * (real.ndim - 1))
    squared = squared_slopes(discriminator, share * real + (1.0 - share) * fake)
    # The root has no slope at 0: a discriminator that ignores its input shall have gradient 0.
    is_flat = squared == 0.0
    slopes = jnp.where(is_flat, 0.0, jnp.sqrt(jnp.where(is_flat, 1.0, squared)))
    return jnp.square(slopes - 1.0).mean()


def r1_penalty(discriminator: Callable[[jax.Array], jax.Array], real: jax.Array) -> jax.Array:
    """E[|slope|^2] / 2, [], at real samples, [B, *shape]; equation 9 of Mescheder et al."""
    return 0.5 * squared_slopes(discriminator, real).mean()


def _as_matrix(kernel: jax.Array) -> jax.Array:
    """A kernel [..., F] as [D, F]: of a convolution, all that a patch holds times the filters."""
    return kernel.reshape(-1, kernel.shape[-1])


def _unit(x: jax.Array) -> jax.Array:
    return x / (jnp.linalg.norm(x) + 1e-12)


def power_iteration(kernel: jax.Array, u: jax.Array) -> jax.Array:
    """One round of power iteration for the largest singular value; algorithm 1 of Miyato et al.

    Args:
        kernel: [..., F], taken as [D, F].
        u: [F], of length 1, what the round before found.

    Returns:
        [F], of length 1: K^T K u, scaled, the new guess at the right singular vector.
    """
    matrix = _as_matrix(kernel)
    return _unit(matrix.T @ _unit(matrix @ u))


def spectral_norm(kernel: jax.Array, u: jax.Array) -> jax.Array:
    """v^T K u with v = K u / |K u|, []: the largest singular value, once u has found its vector.

    Its gradient by the kernel is v u^T, since both vectors are held fixed, as in their paper.
    """
    matrix = _as_matrix(kernel)
    v = jax.lax.stop_gradient(_unit(matrix @ u))
    return v @ matrix @ jax.lax.stop_gradient(u)


def kernels_of(params: Any) -> list[jax.Array]:
    """The leaves of two axes or more: what is normalised."""
    return [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]


def init_us(key: Key, params: Any) -> tuple[jax.Array, ...]:
    """Draws a direction, [F] of length 1, for each kernel; the key is consumed."""
    kernels = kernels_of(params)
    keys = jax.random.split(key, len(kernels))
    return tuple(
        _unit(jax.random.normal(key_u, kernel.shape[-1:]))
        for key_u, kernel in zip(keys, kernels, strict=True)
    )


def normalise_kernels(params: Any, us: tuple[jax.Array, ...]) -> Any:
    """The parameters with each kernel divided by its spectral norm; algorithm 1 of Miyato et al.

    Args:
        params: of a network.
        us: [F] for each kernel, in the order of the leaves.
    """
    leaves, tree = jax.tree.flatten(params)
    left = iter(us)
    return tree.unflatten(
        leaf / spectral_norm(leaf, next(left)) if leaf.ndim > 1 else leaf for leaf in leaves
    )


# The players.


def init_players(key: Key, game: Game) -> Players:
    """Draws parameters; the key is consumed."""
    key_generator, key_discriminator = jax.random.split(key)
    pack = game.config.pack
    z = jnp.zeros((pack, game.config.num_latents))
    labels = jnp.zeros((pack, game.num_classes)) if game.config.conditional else None
    generator = game.networks.generator.init(key_generator, z, labels)
    x = packed(game.networks.generator.apply(generator, z, labels), pack)
    discriminator = game.networks.discriminator.init(key_discriminator, x, labels)
    return Players(generator, discriminator)


def generate(
    key: Key, game: Game, generator: Any, num_samples: int, labels: jax.Array | None = None
) -> jax.Array:
    """Makes samples, [N, *shape], from noise; the key is consumed.

    Args:
        key: for z.
        game: what is fixed.
        generator: its parameters, `state.params.generator` or `state.average`.
        num_samples: N.
        labels: one-hot, [N, C], where the game is conditional.
    """
    z = jax.random.normal(key, (num_samples, game.config.num_latents))
    return game.networks.generator.apply(generator, z, labels)


def packed(x: jax.Array, pack: int) -> jax.Array:
    """Samples [B, ..., C'] as packs of m, [B / m, ..., m C'], that D judges as one.

    PacGAN, Lin et al. (2018), arXiv:1712.04086: samples without variety look unlike real
    ones when several are seen at once.
    """
    packs = x.reshape(-1, pack, *x.shape[1:])
    return jnp.concatenate([packs[:, i] for i in range(pack)], axis=-1)


def judge(
    game: Game,
    discriminator: Any,
    us: tuple[jax.Array, ...],
    x: jax.Array,
    labels: jax.Array | None = None,
) -> jax.Array:
    """The logits, [B], of samples, or packs of them.

    Args:
        game: what is fixed.
        discriminator: its parameters, `state.params.discriminator`.
        us: of the state.
        x: [B, *shape], packed.
        labels: one-hot, [B, C], where the game is conditional.
    """
    if game.config.spectral_norm:
        discriminator = normalise_kernels(discriminator, us)
    return game.networks.discriminator.apply(discriminator, x, labels)


def accuracies(loss: str, real: jax.Array, fake: jax.Array) -> Metrics:
    """Shares of samples, [], that the discriminator takes for what they are.

    A critic of Wasserstein's has no logit whose sign means anything; its threshold is half-way
    between the means of both kinds.

    Args:
        loss: the game's.
        real: logits of real samples, [B].
        fake: logits of made ones, [B].
    """
    threshold = 0.5 * (real.mean() + fake.mean()) if loss == "wasserstein" else 0.0
    of_real, of_fake = (real > threshold).mean(), (fake < threshold).mean()
    return {
        "accuracy": 0.5 * (of_real + of_fake),
        "accuracy_real": of_real,
        "accuracy_fake": of_fake,
    }


class Batch(NamedTuple):
    """What one update learns from."""

    x: jax.Array  # [B, *shape] float32
    labels: jax.Array | None  # [B, C] one-hot
    z: jax.Array  # [B, L]


def draw_batch(key: Key, game: Game, data: Data, num_samples: int) -> Batch:
    """Draws real samples with replacement, and noise; the key is consumed.

    Made samples have the labels of the real ones, so that both kinds have them equally often.
    """
    key_rows, key_noise = jax.random.split(key)
    # One draw of bits where randint takes two; the remainder's bias is below N / 2^32.
    rows = jax.random.bits(key_rows, (num_samples,)) % data.x.shape[0]
    x = data.x[rows]
    if x.dtype == jnp.uint8:
        x = x.astype(jnp.float32) / 127.5 - 1.0
    labels = None
    if game.config.conditional:
        labels = jax.nn.one_hot(data.labels[rows], game.num_classes)
    z = jax.random.normal(key_noise, (num_samples, game.config.num_latents))
    return shard_batch(Batch(x, labels, z))


def discriminator_objective(
    discriminator: Any, game: Game, state: State, batch: Batch, key: Key
) -> tuple[jax.Array, Metrics]:
    """What D lowers, [], its penalties included, and what is told of it; the key is consumed.

    Args:
        discriminator: its parameters, by which one differentiates.
        game: what is fixed.
        state: whose generator makes the made samples.
        batch: real samples and noise.
        key: for points between samples.
    """
    config = game.config

    def logits(x: jax.Array) -> jax.Array:
        return judge(game, discriminator, state.us, x, batch.labels)

    fake = game.networks.generator.apply(state.params.generator, batch.z, batch.labels)
    real, fake = packed(batch.x, config.pack), packed(fake, config.pack)
    real_logits, fake_logits = logits(real), logits(fake)
    loss = LOSSES[config.loss].discriminator(real_logits, fake_logits)
    penalty = jnp.float32(0.0)
    if config.gradient_penalty:
        penalty += config.gradient_penalty * gradient_penalty(key, logits, real, fake)
    if config.r1:
        penalty += config.r1 * r1_penalty(logits, real)
    told = {"discriminator_loss": loss, "penalty": penalty}
    return loss + penalty, told | accuracies(config.loss, real_logits, fake_logits)


def generator_objective(
    generator: Any,
    game: Game,
    state: State,
    batch: Batch,
    loss: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """A loss, [], of the logits of what G makes.

    Args:
        generator: its parameters, by which one differentiates.
        game: what is fixed.
        state: whose discriminator judges.
        batch: noise and labels.
        loss: of logits, [B].
    """
    fake = game.networks.generator.apply(generator, batch.z, batch.labels)
    fake = packed(fake, game.config.pack)
    return loss(judge(game, state.params.discriminator, state.us, fake, batch.labels))


def optimizers(config: Config) -> Players:
    """Adam for either player."""
    rates = (config.learning_rate, config.discriminator_learning_rate or config.learning_rate)
    return Players(*(optax.adam(rate, config.beta1, config.beta2) for rate in rates))


def _with_fresh_optimizers(config: Config, params: Players) -> Players:
    return Players(*(o.init(p) for o, p in zip(optimizers(config), params, strict=True)))


def update_discriminator(key: Key, game: Game, state: State, data: Data) -> tuple[State, Metrics]:
    """One update of D alone; the key is consumed."""
    key_batch, key_penalty = jax.random.split(key)
    batch = draw_batch(key_batch, game, data, game.config.batch_size)
    if game.config.spectral_norm:
        kernels = kernels_of(state.params.discriminator)
        state = state._replace(us=tuple(map(power_iteration, kernels, state.us)))
    grads, told = jax.grad(discriminator_objective, has_aux=True)(
        state.params.discriminator, game, state, batch, key_penalty
    )
    updates, opt_state = optimizers(game.config).discriminator.update(
        grads, state.opt_state.discriminator
    )
    params = optax.apply_updates(state.params.discriminator, updates)
    state = state._replace(
        params=state.params._replace(discriminator=params),
        opt_state=state.opt_state._replace(discriminator=opt_state),
    )
    return state, told


def update_generator(
    key: Key, game: Game, state: State, data: Data, loss: Callable[[jax.Array], jax.Array]
) -> tuple[State, jax.Array]:
    """One update of G alone, which lowers a loss of logits, and the loss; the key is consumed."""
    batch = draw_batch(key, game, data, game.config.batch_size)
    value, grads = jax.value_and_grad(generator_objective)(
        state.params.generator, game, state, batch, loss
    )
    updates, opt_state = optimizers(game.config).generator.update(grads, state.opt_state.generator)
    params = optax.apply_updates(state.params.generator, updates)
    state = state._replace(
        params=state.params._replace(generator=params),
        opt_state=state.opt_state._replace(generator=opt_state),
        average=optax.incremental_update(params, state.average, 1.0 - game.config.ema_decay),
    )
    return state, value


def make(config: Config, networks: Networks, num_classes: int = 0) -> Learner:
    """The game as a learner on `Data`.

    Its `evaluate` is `scores` with as many samples as there are real ones; what is to be told of
    the samples themselves comes by `_replace(evaluate=...)`. Its loss is the sum of what both
    players lower, which says nothing of how good the samples are, but is finite while they are.

    Args:
        config: of the game.
        networks: the players.
        num_classes: C, where samples have labels.

    Raises:
        ValueError: labels are to be told, but there are none.
    """
    if config.conditional and num_classes < 1:
        raise ValueError("--conditional must be off, not on: these data have no labels.")
    game = Game(config, networks, num_classes)

    def init(key: Key) -> State:
        key_params, key_us, key_run = jax.random.split(key, 3)
        params = init_players(key_params, game)
        us = init_us(key_us, params.discriminator) if config.spectral_norm else ()
        opt_state = _with_fresh_optimizers(config, params)
        average = jax.tree.map(jnp.copy, params.generator)  # one buffer cannot be donated twice
        return State(params, opt_state, average, us, key_run, jnp.int32(0))

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        key_discriminator, key_generator = jax.random.split(jax.random.fold_in(state.key, state.t))

        def discriminate(state: State, i: jax.Array) -> tuple[State, Metrics]:
            return update_discriminator(jax.random.fold_in(key_discriminator, i), game, state, data)

        state, told = jax.lax.scan(
            discriminate, state, jnp.arange(config.num_discriminator_updates)
        )
        told = {name: values[-1] for name, values in told.items()}
        loss = LOSSES[config.loss].generator
        state, told["generator_loss"] = update_generator(key_generator, game, state, data, loss)
        loss = told["discriminator_loss"] + told["penalty"] + told["generator_loss"]
        return state._replace(t=state.t + 1), {"loss": loss, **told}

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        return scores(key, game, state, data, data.x.shape[0] // config.pack * config.pack)

    return Learner(init, step, evaluate)


def scores(key: Key, game: Game, state: State, data: Data, num_samples: int) -> Metrics:
    """D's loss without penalties, and its accuracy; the key is consumed.

    Args:
        key: for the samples.
        game: what is fixed.
        state: with the players.
        data: real samples, from which it draws with replacement.
        num_samples: N of either kind; m divides it.
    """
    return _scores(game, state, draw_batch(key, game, data, num_samples))


def _scores(game: Game, state: State, batch: Batch) -> Metrics:
    config = game.config
    fake = game.networks.generator.apply(state.params.generator, batch.z, batch.labels)
    real_logits, fake_logits = (
        judge(game, state.params.discriminator, state.us, packed(x, config.pack), batch.labels)
        for x in (batch.x, fake)
    )
    loss = LOSSES[config.loss].discriminator(real_logits, fake_logits)
    return {"discriminator_loss": loss} | accuracies(config.loss, real_logits, fake_logits)


class BestResponses(NamedTuple):
    """The value V(G, D) of the game, minus D's loss without penalties, [] each; D raises it."""

    present: jax.Array  # V(G, D)
    discriminator: jax.Array  # V(G, D'), D' trained against G
    generator: jax.Array  # V(G', D), G' trained against D

    @property
    def gap(self) -> jax.Array:
        """V(G, D') - V(G', D): 0 where neither can gain by itself, an equilibrium."""
        return self.discriminator - self.generator


def best_responses(
    key: Key, game: Game, state: State, data: Data, num_steps: int, num_samples: int
) -> BestResponses:
    """Trains either player alone, from the present, against the other; the key is consumed.

    The duality gap of Grnarova et al. (2019), arXiv:1811.05512, is over the best D' and G'; what
    `num_steps` updates of Adam find, from a fresh state of it, bounds it from below. G' raises the
    mean logit of what it makes: the slopes of the saturating and of the non-saturating loss by a
    logit add up to -1, so that this stalls neither where D is sure nor where it is not. The three
    values are means over the same samples.

    Args:
        key: for the training and for the samples.
        game: what is fixed.
        state: the present.
        data: real samples, held out from the game, and many: D' learns from them and is judged on
            a draw of them.
        num_steps: updates of either player.
        num_samples: that a value is the mean of; m divides it.
    """
    key_discriminator, key_generator, key_value = jax.random.split(key, 3)
    state = state._replace(opt_state=_with_fresh_optimizers(game.config, state.params))

    def discriminate(i: jax.Array, state: State) -> State:
        key_i = jax.random.fold_in(key_discriminator, i)
        return update_discriminator(key_i, game, state, data)[0]

    def forge(i: jax.Array, state: State) -> State:
        key_i = jax.random.fold_in(key_generator, i)
        return update_generator(key_i, game, state, data, wasserstein_generator_loss)[0]

    responses = (
        state,
        jax.lax.fori_loop(0, num_steps, discriminate, state),
        jax.lax.fori_loop(0, num_steps, forge, state),
    )
    players = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *((s.params, s.us) for s in responses)
    )
    batch = draw_batch(key_value, game, data, num_samples)

    def value(params: Players, us: tuple[jax.Array, ...]) -> jax.Array:
        judged = _scores(game, state._replace(params=params, us=us), batch)
        return -judged["discriminator_loss"]

    return BestResponses(*jax.vmap(value)(*players))
