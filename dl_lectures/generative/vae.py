"""The variational auto-encoder of Kingma and Welling (2014), arXiv:1312.6114.

An auto-encoder whose hidden layer is a distribution: the encoder gives the mean and the variance
of q(z|x), z is drawn from it, and the decoder gives p(x|z). Training lowers the negative evidence
lower bound (ELBO), in nats per image,

    -ELBO(x) = E_q[-log p(x|z)] + KL(q(z|x) || p(z)) >= -log p(x),    p(z) = N(0, I).

Pixels are Bernoulli variables, and images may be binary or grey. A grey value x in [0, 1] stands
for the probability that the pixel b is 1, and -log p(x|z) for its mean over b, the cross-entropy,
as in the paper. That is a bound, too: of the mean over b of -log p(b), the negative log-likelihood
of images that are binarised anew each time one looks, with less noise than drawing b. The entropy
of b, which no model can predict, is part of it.

P: pixels, L: latent variables, B: images a batch, K: importance samples, N: images.
"""

import dataclasses
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures.generative import networks
from dl_lectures.learner import Key, Learner, Metrics


@dataclasses.dataclass(frozen=True)
class Config:
    """A one-hidden-layer VAE and its training."""

    num_hidden: Annotated[int, "H, hidden units of the encoder, and of the decoder"] = 400
    num_latents: Annotated[int, "L, latent variables z"] = 20
    activation: Annotated[Literal["tanh", "relu"], "of hidden units; the paper's: tanh"] = "tanh"
    kl_weight: Annotated[float, "weight of the KL term in the loss; 1 gives the ELBO"] = 1.0
    batch_size: Annotated[int, "B, images per update, drawn with replacement"] = 128
    learning_rate: Annotated[float, "step size of Adam"] = 1e-3
    num_importance_samples: Annotated[int, "K, draws a held-out image in the tighter bound"] = 64

    def __post_init__(self):
        for name in ("num_hidden", "num_latents", "batch_size", "num_importance_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ValueError(f"--learning_rate must be positive, not {self.learning_rate:g}.")
        if self.kl_weight < 0:
            raise ValueError(f"--kl_weight must not be negative, not {self.kl_weight:g}.")


class Model(NamedTuple):
    """The two networks, without their parameters."""

    encoder: networks.Encoder
    decoder: networks.Decoder


class Params(NamedTuple):
    """What is learned."""

    encoder: Any  # of networks.Encoder
    decoder: Any  # of networks.Decoder


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
    """The networks for images of P = `num_pixels` pixels."""
    return Model(
        networks.Encoder(config.num_hidden, config.num_latents, config.activation),
        networks.Decoder(config.num_hidden, num_pixels, config.activation),
    )


def init_params(key: Key, net: Model) -> Params:
    """Draws parameters; the key is consumed."""
    key_encoder, key_decoder = jax.random.split(key)
    return Params(
        net.encoder.init(key_encoder, jnp.zeros(net.decoder.num_pixels)),
        net.decoder.init(key_decoder, jnp.zeros(net.encoder.num_latents)),
    )


def encode(net: Model, params: Params, x: jax.Array) -> Posterior:
    """q(z|x) for images x, [..., P] in [0, 1]."""
    return Posterior(*net.encoder.apply(params.encoder, x))


def decode(net: Model, params: Params, z: jax.Array) -> jax.Array:
    """The logits, [..., P], of the pixels of p(x|z) for latents z, [..., L]."""
    return net.decoder.apply(params.decoder, z)


def sample(key: Key, net: Model, params: Params, num_images: int) -> jax.Array:
    """Draws z from the prior and returns the pixels' probabilities, [N, P]; the key is consumed."""
    z = jax.random.normal(key, (num_images, net.encoder.num_latents))
    return jax.nn.sigmoid(decode(net, params, z))


def reparameterise(q: Posterior, noise: jax.Array) -> jax.Array:
    """z = mean + sigma * noise, section 2.4: differentiable in q, for standard normal noise."""
    return q.mean + jnp.exp(0.5 * q.log_variance) * noise


def kl_to_standard_normal(q: Posterior) -> jax.Array:
    """KL(q || N(0, I)) in nats, [...]; appendix B.

    sum over l of (mean_l^2 + sigma_l^2 - 1 - log sigma_l^2) / 2
    """
    # expm1 keeps the digits of a small divergence: variance - 1 - log variance near variance 1.
    excess = jnp.expm1(q.log_variance) - q.log_variance
    return 0.5 * jnp.sum(jnp.square(q.mean) + excess, axis=-1)


def cross_entropy(logits: jax.Array, x: jax.Array) -> jax.Array:
    """-log p(x|z) in nats, [...], for grey values x and logits, [..., P].

    log(1 + e^logit) - x logit: optax.sigmoid_binary_cross_entropy with one logarithm a pixel, not
    two.
    """
    return (jax.nn.softplus(logits) - x * logits).sum(-1)


def negative_elbo(net: Model, params: Params, x: jax.Array, noise: jax.Array) -> Terms:
    """The terms of -ELBO, equation 10 with one draw of z; images [..., P], noise [..., L]."""
    q = encode(net, params, x)
    logits = decode(net, params, reparameterise(q, noise))
    return Terms(cross_entropy(logits, x), kl_to_standard_normal(q))


def log_weight(
    net: Model, params: Params, x: jax.Array, q: Posterior, noise: jax.Array
) -> jax.Array:
    """log p(x|z) p(z) / q(z|x) at z = mean + sigma * noise, in nats, [...].

    The constants of the two normal densities cancel, and log q(z|x) is
    -(noise^2 + log sigma^2) / 2 beside them.
    """
    z = reparameterise(q, noise)
    log_p_over_q = 0.5 * jnp.sum(jnp.square(noise) + q.log_variance - jnp.square(z), axis=-1)
    return log_p_over_q - cross_entropy(decode(net, params, z), x)


def importance_weighted_nats(
    key: Key, net: Model, params: Params, x: jax.Array, num_samples: int
) -> jax.Array:
    """-log of the mean of K importance weights, in nats, [N]; the key is consumed.

    Its mean is at least -log p(x) and falls with K, from -ELBO at K = 1 towards it: Burda, Grosse
    and Salakhutdinov (2016), arXiv:1509.00519, theorem 1. One draw of z an image is held at a time.

    Args:
        key: for the draws.
        net: the networks.
        params: their parameters.
        x: images, [N, P] in [0, 1].
        num_samples: K.
    """
    q = encode(net, params, x)

    def add(log_sum: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:
        noise = jax.random.normal(jax.random.fold_in(key, k), q.mean.shape)  # [N, L]
        return jnp.logaddexp(log_sum, log_weight(net, params, x, q, noise)), None

    log_sum, _ = jax.lax.scan(add, jnp.full(x.shape[0], -jnp.inf), jnp.arange(num_samples))
    return jnp.log(num_samples) - log_sum


def independent_pixels_nats(train: jax.Array, x: jax.Array) -> jax.Array:
    """Cross-entropy, [N], of images x, [N, P], under pixels that know nothing of each other.

    The baseline of the VAE: a decoder that ignores z. Each pixel's probability is its mean over the
    training images, [M, P], with half an observation of either value added (Krichevsky and
    Trofimov, 1981), so that a pixel that was never seen on may be on.
    """
    probability = (train.sum(0) + 0.5) / (train.shape[0] + 1.0)  # [P]
    logits = jnp.log(probability) - jnp.log1p(-probability)
    return cross_entropy(jnp.broadcast_to(logits, x.shape), x)


def make(config: Config, num_pixels: int) -> Learner:
    """The VAE as a learner on data x, float32 [N, P] in [0, 1], P = `num_pixels`."""
    net = model(config, num_pixels)
    optimizer = optax.adam(config.learning_rate)

    def init(key: Key) -> State:
        key_params, key_run = jax.random.split(key)
        params = init_params(key_params, net)
        return State(params, optimizer.init(params), key_run, jnp.int32(0))

    def loss_fn(params: Params, x: jax.Array, noise: jax.Array) -> tuple[jax.Array, Terms]:
        terms = jax.tree.map(jnp.mean, negative_elbo(net, params, x, noise))
        return terms.reconstruction + config.kl_weight * terms.kl, terms

    def step(state: State, data: jax.Array) -> tuple[State, Metrics]:
        key_batch, key_noise = jax.random.split(jax.random.fold_in(state.key, state.t))
        # One draw of bits where randint takes two; the remainder's bias is below N / 2^32.
        rows = jax.random.bits(key_batch, (config.batch_size,)) % data.shape[0]
        noise = jax.random.normal(key_noise, (config.batch_size, config.num_latents))
        grads, terms = jax.grad(loss_fn, has_aux=True)(state.params, data[rows], noise)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        loss = terms.reconstruction + config.kl_weight * terms.kl
        return State(params, opt_state, state.key, state.t + 1), {"loss": loss, **_named(terms)}

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
            **_named(terms),
        }

    return Learner(init, step, evaluate)


def _named(terms: Terms) -> Metrics:
    return {
        "reconstruction_nats_per_image": terms.reconstruction,
        "kl_nats_per_image": terms.kl,
    }
