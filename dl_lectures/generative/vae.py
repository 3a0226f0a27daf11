"""The variational auto-encoder of Kingma and Welling (2014), arXiv:1312.6114.

An auto-encoder whose hidden layer is a distribution: the encoder gives the mean and the variance
of q(z|x), z is drawn from it, and the decoder gives p(x|z). Training lowers the negative evidence
lower bound (ELBO), in nats per image,

    -ELBO(x) = E_q[-log p(x|z)] + KL(q(z|x) || p(z)) >= -log p(x),    p(z) = N(0, I),

or the tighter bound of K importance samples of Burda, Grosse and Salakhutdinov (2016),
arXiv:1509.00519.

Pixels are Bernoulli variables by default, and images may be binary or grey. A grey value x in
[0, 1] stands for the probability that the pixel b is 1, and -log p(x|z) for its mean over b, the
cross-entropy, as in the paper. That is a bound, too: of the mean over b of -log p(b), the negative
log-likelihood of images that are binarised anew each time one looks, with less noise than drawing
b. The entropy of b, which no model can predict, is part of it. Pixels can be binarised anew at each
step, too (`pixels="dynamic"`), as Burda et al. do.

P: pixels, L: latent variables, B: images a batch, K: importance samples, N: images.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dl_lectures import layers
from dl_lectures.generative import likelihoods, networks
from dl_lectures.learner import Key, Learner, Metrics

_INITIAL_SCALE = 0.3  # of likelihoods that have one: about that of grey pixels
_ACTIVE_VARIANCE = 0.01  # Burda et al., section 5.2


@dataclasses.dataclass(frozen=True)
class Config:
    """A VAE and its training."""

    network: Annotated[
        Literal["mlp", "conv"], "layers of units; or of filters, of stride 2, on square images"
    ] = "mlp"
    hidden_sizes: Annotated[
        str, "H, units of each hidden layer of encoder and decoder, with commas; empty: linear"
    ] = "400"
    conv_channels: Annotated[int, "filters of the outer convolution; the inner has twice"] = 32
    num_latents: Annotated[int, "L, latent variables z"] = 20
    activation: Annotated[Literal["tanh", "relu"], "of hidden units; the paper's: tanh"] = "tanh"
    pixels: Annotated[
        Literal["binary", "grey", "dynamic"],
        "ink or none, cut at one half; grey values; or drawn anew each step with grey as chance",
    ] = "binary"
    likelihood: Annotated[
        Literal["bernoulli", "gaussian", "discretized_logistic"], "the law of a pixel, given z"
    ] = "bernoulli"
    num_levels: Annotated[int, "grey levels of a pixel, for discretized_logistic"] = 256
    variance: Annotated[float, "of the gaussian likelihood, of all pixels; 0: learned"] = 0.0
    objective: Annotated[Literal["elbo", "iwae"], "the bound that training tightens"] = "elbo"
    num_samples: Annotated[int, "draws of z an image in training"] = 1
    kl_weight: Annotated[float, "weight of the KL term in the loss; 1 gives the ELBO"] = 1.0
    kl_warmup_steps: Annotated[int, "steps in which that weight grows from 0, in a line"] = 0
    free_nats: Annotated[float, "KL of a latent variable below which it costs no less"] = 0.0
    batch_size: Annotated[int, "B, images per update, drawn with replacement"] = 128
    learning_rate: Annotated[float, "step size of Adam, at first"] = 1e-3
    decay_steps: Annotated[
        int, "step at which a cosine has brought the step size to 0; 0: it stays"
    ] = 0
    num_importance_samples: Annotated[int, "K, draws a held-out image in the tighter bound"] = 64

    def __post_init__(self):
        at_least_1 = ("num_latents", "batch_size", "num_importance_samples", "num_samples")
        for name in (*at_least_1, "conv_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("kl_weight", "kl_warmup_steps", "free_nats", "variance", "decay_steps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name} must not be negative, not {getattr(self, name):g}.")
        if not self.learning_rate > 0:
            raise ValueError(f"--learning_rate must be positive, not {self.learning_rate:g}.")
        if self.num_levels < 2:
            raise ValueError(f"--num_levels must be at least 2, not {self.num_levels}.")
        if self.likelihood != "bernoulli" and self.pixels != "grey":
            raise ValueError(
                f"--pixels must be grey with --likelihood={self.likelihood}, not {self.pixels}."
            )
        has_kl = self.kl_weight != 1 or self.kl_warmup_steps or self.free_nats
        if self.objective == "iwae" and has_kl:
            raise ValueError(
                "--objective must be elbo with a --kl_weight, --kl_warmup_steps or --free_nats, "
                "not iwae: its bound has no KL term."
            )
        self.sizes  # noqa: B018  (raises where they are none)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The units of the hidden layers."""
        return layers.sizes_of(self.hidden_sizes) if self.hidden_sizes else ()


class Model(NamedTuple):
    """The two networks, without their parameters, and the law of a pixel."""

    encoder: networks.Encoder | networks.ConvEncoder
    decoder: networks.Decoder | networks.ConvDecoder
    likelihood: str
    num_levels: int
    is_scale_learned: bool


class Params(NamedTuple):
    """What is learned."""

    encoder: Any  # of Model.encoder
    decoder: Any  # of Model.decoder
    log_scale: jax.Array | tuple[()] = ()  # [] of the law of a pixel; bernoulli has none


class Posterior(NamedTuple):
    """q(z|x), a normal distribution with independent components."""

    mean: jax.Array  # [..., L]
    log_variance: jax.Array  # [..., L]


class Terms(NamedTuple):
    """The two terms of -ELBO, in nats per image."""

    reconstruction: jax.Array  # [...], one draw of E_q[-log p(x|z)]
    kl: jax.Array  # [...], KL(q(z|x) || p(z))


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Params
    opt_state: optax.OptState
    key: jax.Array  # [] constant: step t draws from fold_in(key, t)
    t: jax.Array  # [] int32


def model(config: Config, num_pixels: int) -> Model:
    """The networks for images of P = `num_pixels` pixels.

    Raises:
        ValueError: convolutions do not fit the images.
    """
    shared = {"hidden_sizes": config.sizes, "activation": config.activation}
    encoder = functools.partial(networks.Encoder, **shared)
    decoder = functools.partial(networks.Decoder, **shared)
    if config.network == "conv":
        side = math.isqrt(num_pixels)
        if side**2 != num_pixels or side % 4:
            raise ValueError(
                "--network must be mlp for images that are no square of a multiple of 4 pixels, "
                f"not conv: they have {num_pixels}."
            )
        encoder = functools.partial(networks.ConvEncoder, config.conv_channels, **shared)
        decoder = functools.partial(networks.ConvDecoder, config.conv_channels, **shared)
    return Model(
        encoder(num_latents=config.num_latents),
        decoder(num_pixels=num_pixels),
        config.likelihood,
        config.num_levels,
        is_scale_learned=not (config.likelihood == "gaussian" and config.variance),
    )


def init_params(key: Key, net: Model, scale: float = _INITIAL_SCALE) -> Params:
    """Draws parameters; the key is consumed."""
    key_encoder, key_decoder = jax.random.split(key)
    return Params(
        net.encoder.init(key_encoder, jnp.zeros(net.decoder.num_pixels)),
        net.decoder.init(key_decoder, jnp.zeros(net.encoder.num_latents)),
        () if net.likelihood == "bernoulli" else jnp.log(jnp.float32(scale)),
    )


def encode(net: Model, params: Params, x: jax.Array) -> Posterior:
    """q(z|x) for images x, [..., P] in [0, 1]."""
    return Posterior(*net.encoder.apply(params.encoder, x))


def decode(net: Model, params: Params, z: jax.Array) -> jax.Array:
    """What p(x|z) is made of, [..., P], for latents z, [..., L]: logits or centres of pixels.

    Where the decoder gives 0 a pixel is mid-grey, whatever its law. From black, the images' mean
    would first be learned as an offset of z, which then stays far from the prior.
    """
    decoded = net.decoder.apply(params.decoder, z)
    return decoded if net.likelihood == "bernoulli" else decoded + 0.5


def mean_image(net: Model, params: Params, z: jax.Array) -> jax.Array:
    """The mean, or the centre, of p(x|z) of each pixel, [..., P] in [0, 1]."""
    decoded = decode(net, params, z)
    if net.likelihood == "bernoulli":
        return jax.nn.sigmoid(decoded)
    return jnp.clip(decoded, 0.0, 1.0)


def pixel_nats(net: Model, params: Params, decoded: jax.Array, x: jax.Array) -> jax.Array:
    """-log p(x|z) in nats, [...], for images x and what z was decoded to, [..., P]."""
    if net.likelihood == "bernoulli":
        return likelihoods.bernoulli(decoded, x)
    log_scale = params.log_scale
    if not net.is_scale_learned:
        log_scale = jax.lax.stop_gradient(log_scale)
    if net.likelihood == "gaussian":
        return likelihoods.gaussian(decoded, log_scale, x)
    return likelihoods.discretized_logistic(decoded, log_scale, x, net.num_levels)


def sample(key: Key, net: Model, params: Params, num_images: int) -> jax.Array:
    """Draws z from the prior and returns the mean images, [N, P]; the key is consumed."""
    return mean_image(net, params, jax.random.normal(key, (num_images, net.encoder.num_latents)))


def reparameterise(q: Posterior, noise: jax.Array) -> jax.Array:
    """z = mean + sigma * noise, section 2.4: differentiable in q, for standard normal noise.

    Noise may have further axes in front: draws for each q.
    """
    mean, log_variance = (jnp.broadcast_to(leaf, noise.shape) for leaf in q)
    return mean + jnp.exp(0.5 * log_variance) * noise


def kl_of_units(q: Posterior) -> jax.Array:
    """KL(q || N(0, 1)) of each latent variable in nats, [..., L]; appendix B.

    (mean_l^2 + sigma_l^2 - 1 - log sigma_l^2) / 2
    """
    # expm1 keeps the digits of a small divergence: variance - 1 - log variance near variance 1.
    excess = jnp.expm1(q.log_variance) - q.log_variance
    return 0.5 * (jnp.square(q.mean) + excess)


def kl_to_standard_normal(q: Posterior) -> jax.Array:
    """KL(q || N(0, I)) in nats, [...]: the sum over independent components."""
    return kl_of_units(q).sum(-1)


def active_units(q: Posterior) -> jax.Array:
    """How many latent variables heed the image, [], for the q of N images, [N, L].

    Those whose mean has a variance above 0.01 over the images: Burda et al., section 5.2. The
    others have collapsed to the prior.
    """
    return (q.mean.var(axis=0) > _ACTIVE_VARIANCE).sum().astype(jnp.float32)


def reconstruction_nats(
    net: Model, params: Params, x: jax.Array, q: Posterior, noise: jax.Array
) -> jax.Array:
    """-log p(x|z) in nats, [...], at z = mean + sigma * noise; noise [..., L]."""
    decoded = decode(net, params, reparameterise(q, noise))
    return pixel_nats(net, params, decoded, jnp.broadcast_to(x, decoded.shape))


def negative_elbo(net: Model, params: Params, x: jax.Array, noise: jax.Array) -> Terms:
    """The terms of -ELBO, equation 10 with one draw of z; images [..., P], noise [..., L]."""
    q = encode(net, params, x)
    return Terms(reconstruction_nats(net, params, x, q, noise), kl_to_standard_normal(q))


def log_weight(
    net: Model, params: Params, x: jax.Array, q: Posterior, noise: jax.Array
) -> jax.Array:
    """log p(x|z) p(z) / q(z|x) at z = mean + sigma * noise, in nats, [...].

    The constants of the two normal densities cancel, and log q(z|x) is
    -(noise^2 + log sigma^2) / 2 beside them.
    """
    z = reparameterise(q, noise)
    log_variance = jnp.broadcast_to(q.log_variance, z.shape)
    log_p_over_q = 0.5 * jnp.sum(jnp.square(noise) + log_variance - jnp.square(z), axis=-1)
    return log_p_over_q - reconstruction_nats(net, params, x, q, noise)


def importance_weighted_nats(
    key: Key, net: Model, params: Params, x: jax.Array, num_samples: int | Sequence[int]
) -> jax.Array:
    """-log of the mean of K importance weights, in nats, [N]; the key is consumed.

    Its mean is at least -log p(x) and falls with K, from -ELBO at K = 1 towards it: Burda et al.,
    theorem 1. One draw of z an image is held at a time.

    Args:
        key: for the draws.
        net: the networks.
        params: their parameters.
        x: images, [N, P] in [0, 1].
        num_samples: K; or several in increasing order, of the first of the same draws each, which
            give [len(K), N].
    """
    q = encode(net, params, x)

    def add(k: jax.Array, log_sum: jax.Array) -> jax.Array:
        noise = jax.random.normal(jax.random.fold_in(key, k), q.mean.shape)  # [N, L]
        return jnp.logaddexp(log_sum, log_weight(net, params, x, q, noise))

    wanted = [num_samples] if isinstance(num_samples, int) else num_samples
    found, done, log_sum = [], 0, jnp.full(x.shape[0], -jnp.inf)
    for k in wanted:
        log_sum = jax.lax.fori_loop(done, k, add, log_sum)
        found.append(math.log(k) - log_sum)
        done = k
    return found[0] if isinstance(num_samples, int) else jnp.stack(found)


def independent_pixels_nats(
    train: jax.Array, x: jax.Array, likelihood: str = "bernoulli", num_levels: int = 2
) -> jax.Array:
    """-log p, [N], of images x, [N, P], under pixels that know nothing of each other.

    The baseline of the VAE: a decoder that ignores z. Each pixel's law is what was counted in the
    training images, [M, P], with half an observation of each value added (Krichevsky and Trofimov,
    1981), so that a pixel that was never seen on may be on; of pixels of several levels each level
    is counted. Normal pixels have a mean each and a common variance.
    """
    if likelihood == "bernoulli":
        probability = (train.sum(0) + 0.5) / (train.shape[0] + 1.0)  # [P]
        logits = jnp.log(probability) - jnp.log1p(-probability)
        return likelihoods.bernoulli(jnp.broadcast_to(logits, x.shape), x)
    if likelihood == "gaussian":
        mean = train.mean(0)[None]
        log_scale = 0.5 * jnp.log(jnp.square(train - mean).mean())
        return likelihoods.gaussian(jnp.broadcast_to(mean, x.shape), log_scale, x)
    levels, wanted = (
        np.rint(np.asarray(y) * (num_levels - 1)).astype(np.int32) for y in (train, x)
    )
    total = np.zeros(len(wanted))
    for of_train, of_x in zip(levels.T, wanted.T, strict=True):  # of one pixel
        counts = np.bincount(of_train, minlength=num_levels) + 0.5
        total -= np.log(counts / counts.sum())[of_x]
    return jnp.asarray(total, jnp.float32)


def loss(
    net: Model, params: Params, x: jax.Array, noise: jax.Array, config: Config, t: jax.Array
) -> tuple[jax.Array, Terms]:
    """The mean loss of a batch, [], and the means of the terms of -ELBO; x [B, P].

    Noise is [B, L], or [K, B, L] for several draws: their -ELBO are averaged, or with the objective
    iwae their weights (Burda et al., equation 8). With free nats a latent variable's mean KL over
    the batch costs that much at least (Kingma et al., 2016, arXiv:1606.04934, equation 15, groups
    of one variable), so that nothing is won by switching it off; and while the weight of the KL
    still grows with the step t (Sonderby et al., 2016, arXiv:1602.02282, section 2.3) latent
    variables find a use before it costs them their life.
    """
    q = encode(net, params, x)
    kls = kl_of_units(q)  # [B, L]
    terms = Terms(reconstruction_nats(net, params, x, q, noise).mean(), kls.sum(-1).mean())
    if config.objective == "iwae":
        noise = jnp.broadcast_to(noise, (config.num_samples, *q.mean.shape))
        weights = log_weight(net, params, x, q, noise)  # [K, B]
        return (math.log(config.num_samples) - jax.nn.logsumexp(weights, axis=0)).mean(), terms
    divergence = terms.kl
    if config.free_nats:
        divergence = jnp.maximum(config.free_nats, kls.mean(0)).sum()
    weight = config.kl_weight
    if config.kl_warmup_steps:
        weight *= jnp.minimum(1.0, t / config.kl_warmup_steps)
    return terms.reconstruction + weight * divergence, terms


def make(config: Config, num_pixels: int) -> Learner:
    """The VAE as a learner on data x, float32 [N, P] in [0, 1], P = `num_pixels`."""
    net = model(config, num_pixels)
    learning_rate = config.learning_rate
    if config.decay_steps:
        learning_rate = optax.cosine_decay_schedule(learning_rate, config.decay_steps)
    optimizer = optax.adam(learning_rate)
    noise_shape = (config.batch_size, config.num_latents)
    if config.num_samples > 1:
        noise_shape = (config.num_samples, *noise_shape)

    def init(key: Key) -> State:
        key_params, key_run = jax.random.split(key)
        params = init_params(key_params, net, math.sqrt(config.variance) or _INITIAL_SCALE)
        return State(params, optimizer.init(params), key_run, jnp.int32(0))

    def step(state: State, data: jax.Array) -> tuple[State, Metrics]:
        keys = jax.random.split(jax.random.fold_in(state.key, state.t), 3)
        key_batch, key_noise, key_pixels = keys
        # One draw of bits where randint takes two; the remainder's bias is below N / 2^32.
        rows = jax.random.bits(key_batch, (config.batch_size,)) % data.shape[0]
        x = data[rows]
        if config.pixels == "dynamic":
            x = likelihoods.binarise(key_pixels, x)
        noise = jax.random.normal(key_noise, noise_shape)

        def of_params(params: Params) -> tuple[jax.Array, Terms]:
            return loss(net, params, x, noise, config, state.t)

        (value, terms), grads = jax.value_and_grad(of_params, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, opt_state, state.key, state.t + 1), {"loss": value, **_named(terms)}

    def evaluate(key: Key, state: State, data: jax.Array) -> Metrics:
        key_elbo, key_weights = jax.random.split(key)
        noise = jax.random.normal(key_elbo, (data.shape[0], config.num_latents))
        terms = jax.tree.map(jnp.mean, negative_elbo(net, state.params, data, noise))
        tighter = importance_weighted_nats(
            key_weights, net, state.params, data, config.num_importance_samples
        )
        return {
            "negative_elbo_nats_per_image": terms.reconstruction + terms.kl,
            "importance_weighted_nats_per_image": tighter.mean(),
            "active_units": active_units(encode(net, state.params, data)),
            **_named(terms),
        }

    return Learner(init, step, evaluate)


def _named(terms: Terms) -> Metrics:
    return {
        "reconstruction_nats_per_image": terms.reconstruction,
        "kl_nats_per_image": terms.kl,
    }
