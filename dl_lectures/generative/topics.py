"""Topics as probabilities of words: the mixture of unigrams, and latent Dirichlet allocation.

A mixture of unigrams (Nigam et al., 2000, doi:10.1023/A:1007692713085) is a superposition of
probability densities: each document has one topic k, of weight pi_k, and its words are drawn from
that topic's loaded die beta_k. EM raises its likelihood at every step.

In latent Dirichlet allocation (Blei, Ng and Jordan, 2003, JMLR 3:993) a document mixes topics:
theta ~ Dirichlet(alpha), beta_k ~ Dirichlet(eta), and each word draws a topic from theta first. The
posterior is approached by independent Dirichlets q(theta) = Dir(gamma), q(beta_k) = Dir(lambda_k)
(batch form of Hoffman, Blei and Bach, 2010, "Online learning for latent Dirichlet allocation").
Each update is the best one with the other factors fixed. In the first steps gamma starts anew, all
topics alike, as in the papers: documents that have chosen while the topics are still noise would
keep to it, and end in worse optima. From then on gamma goes on from the step before, and the
evidence lower bound (ELBO) never falls.

Documents are counts of words. D: documents, V: words, K: topics, M: held-out documents.
"""

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln

from dl_lectures.learner import Key, Learner, Metrics

_START_SPREAD = 0.1  # of the logarithm, about 1: how far apart topics begin
_FOLD_IN_UPDATES = 50  # of gamma for documents that were not learned from
_TINY = 1e-30  # keeps 0 counts of words without probability from becoming 0 / 0


@dataclasses.dataclass(frozen=True)
class Config:
    """Both models."""

    num_topics: Annotated[int, "K"] = 12
    mixture_concentration: Annotated[float, "alpha, of a document's topics (LDA)"] = 0.1
    word_concentration: Annotated[float, "eta, of a topic's words; EM adds as many counts"] = 0.01
    num_inner: Annotated[int, "updates of the documents' topics a step (LDA)"] = 10
    num_fresh: Annotated[int, "steps in which documents choose their topics anew (LDA)"] = 20

    def __post_init__(self):
        for name in ("num_topics", "num_inner"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.num_fresh < 0:
            raise ValueError(f"--num_fresh must not be negative, not {self.num_fresh}")
        for name in ("mixture_concentration", "word_concentration"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} must be positive, not {getattr(self, name):g}")


class Completion(NamedTuple):
    """Held-out documents: what is read of each, and what is asked."""

    first: jax.Array  # [M, V]
    second: jax.Array  # [M, V]


# The mixture of unigrams ------------------------------------------------------------------------


class Mixture(NamedTuple):
    """One topic a document."""

    log_weights: jax.Array  # [K]
    log_words: jax.Array  # [K, V]


class MixtureState(NamedTuple):
    """Everything that the future of a run depends on: EM draws nothing."""

    model: Mixture
    t: jax.Array  # [] int32


def log_joint(model: Mixture, counts: jax.Array) -> jax.Array:
    """log p(k, words) of documents [D, V], but for the order of the words, [D, K]."""
    return counts @ model.log_words.T + model.log_weights[None]


def maximise(responsibilities: jax.Array, counts: jax.Array, smoothing: float) -> Mixture:
    """The M step.

    Args:
        responsibilities: p(k | document), [D, K].
        counts: [D, V].
        smoothing: counts that are added to each word of each topic: the mode under a
            Dirichlet(1 + smoothing) prior; 0 gives the greatest likelihood.
    """
    words = responsibilities.T @ counts + smoothing
    weights = responsibilities.sum(0) / counts.shape[0]
    # A topic may lose all its documents: it keeps a weight that rounds to nothing.
    return Mixture(
        jnp.log(jnp.maximum(weights, _TINY)), jnp.log(words) - jnp.log(words.sum(1, keepdims=True))
    )


def log_posterior(model: Mixture, counts: jax.Array, smoothing: float) -> jax.Array:
    """log-likelihood of documents [D, V] and log prior, which EM never lowers, in nats, []."""
    likelihood = jax.nn.logsumexp(log_joint(model, counts), axis=1).sum()
    return likelihood + smoothing * model.log_words.sum()


def expectation_maximisation(model: Mixture, counts: jax.Array, smoothing: float) -> Mixture:
    """One step of EM."""
    return maximise(jax.nn.softmax(log_joint(model, counts)), counts, smoothing)


def make_mixture(config: Config, num_words: int) -> Learner:
    """The mixture as a learner on counts [D, V], V = `num_words`, judged by a `Completion`."""
    smoothing = config.word_concentration

    def init(key: Key) -> MixtureState:
        drawn = _START_SPREAD * jax.random.normal(key, (config.num_topics, num_words))
        log_weights = jnp.full(config.num_topics, -jnp.log(config.num_topics), drawn.dtype)
        return MixtureState(Mixture(log_weights, jax.nn.log_softmax(drawn)), jnp.int32(0))

    def step(state: MixtureState, data: jax.Array) -> tuple[MixtureState, Metrics]:
        model = expectation_maximisation(state.model, data, smoothing)
        loss = -log_posterior(model, data, smoothing) / data.sum()
        return MixtureState(model, state.t + 1), {"loss": loss}

    def evaluate(key: Key, state: MixtureState, data: Completion) -> Metrics:
        del key  # nothing is drawn
        of_topics = jax.nn.softmax(log_joint(state.model, data.first))
        return {"perplexity": perplexity(of_topics, jnp.exp(state.model.log_words), data.second)}

    return Learner(init, step, evaluate)


# Latent Dirichlet allocation --------------------------------------------------------------------


class LdaState(NamedTuple):
    """The posterior's factors."""

    lam: jax.Array  # [K, V] lambda, of each topic's words
    gamma: jax.Array  # [D, K] of each training document's topics
    t: jax.Array  # [] int32


def expected_log(concentration: jax.Array) -> jax.Array:
    """E[log p] under Dirichlet(concentration) along the last axis, [..., N]."""
    return digamma(concentration) - digamma(concentration.sum(-1, keepdims=True))


def dirichlet_kl(concentration: jax.Array, prior: float) -> jax.Array:
    """KL(Dirichlet(concentration) || Dirichlet(prior, ..., prior)) in nats, [...]."""
    n = concentration.shape[-1]
    log_normaliser = gammaln(concentration.sum(-1)) - gammaln(concentration).sum(-1)
    log_normaliser -= gammaln(n * jnp.float32(prior)) - n * gammaln(jnp.float32(prior))
    return log_normaliser + ((concentration - prior) * expected_log(concentration)).sum(-1)


def update_gamma(gamma: jax.Array, exp_log_beta: jax.Array, counts: jax.Array, alpha: float):
    """The best q(theta) with the rest fixed, from phi of the gamma given; [D, K].

    phi_dwk is proportional to exp(E[log theta_dk] + E[log beta_kw]), and is never stored.
    """
    exp_log_theta = jnp.exp(expected_log(gamma))
    ratio = counts / (exp_log_theta @ exp_log_beta + _TINY)
    return alpha + exp_log_theta * (ratio @ exp_log_beta.T)


def update_lambda(gamma: jax.Array, lam: jax.Array, counts: jax.Array, eta: float) -> jax.Array:
    """The best q(beta) with the rest fixed, from phi of gamma and the lambda given; [K, V]."""
    exp_log_theta, exp_log_beta = (jnp.exp(expected_log(x)) for x in (gamma, lam))
    ratio = counts / (exp_log_theta @ exp_log_beta + _TINY)
    return eta + exp_log_beta * (exp_log_theta.T @ ratio)


def elbo(
    gamma: jax.Array, lam: jax.Array, counts: jax.Array, alpha: float, eta: float
) -> jax.Array:
    """The evidence lower bound in nats with the best phi, but for the order of the words, [].

    sum_dw n_dw log sum_k exp(E[log theta_dk] + E[log beta_kw]) - KL(gamma) - KL(lambda)
    """
    # Shifted by the greatest of each document: the sum is then no smaller than float32 can hold.
    log_theta, exp_log_beta = expected_log(gamma), jnp.exp(expected_log(lam))
    shift = log_theta.max(-1, keepdims=True)
    words = jnp.log(jnp.exp(log_theta - shift) @ exp_log_beta + _TINY) + shift
    return (counts * words).sum() - dirichlet_kl(gamma, alpha).sum() - dirichlet_kl(lam, eta).sum()


def undecided(counts: jax.Array, num_topics: int, alpha: float) -> jax.Array:
    """gamma of documents [D, V] whose words are shared equally among K topics, [D, K]."""
    share = counts.sum(1, keepdims=True) / num_topics
    return alpha + jnp.broadcast_to(share, (counts.shape[0], num_topics))


def fold_in(lam: jax.Array, counts: jax.Array, alpha: float, num_updates: int) -> jax.Array:
    """gamma of documents [M, V] that were not learned from, from a uniform start, [M, K]."""
    exp_log_beta = jnp.exp(expected_log(lam))
    start = undecided(counts, lam.shape[0], alpha)
    return jax.lax.fori_loop(
        0, num_updates, lambda _, gamma: update_gamma(gamma, exp_log_beta, counts, alpha), start
    )


def make_lda(config: Config, num_documents: int, num_words: int) -> Learner:
    """LDA as a learner on counts [D, V] of these sizes, judged by a `Completion`."""
    alpha, eta = config.mixture_concentration, config.word_concentration

    def init(key: Key) -> LdaState:
        noise = jax.random.normal(key, (config.num_topics, num_words))
        gamma = jnp.ones((num_documents, config.num_topics))
        return LdaState(jnp.exp(_START_SPREAD * noise), gamma, jnp.int32(0))

    def step(state: LdaState, data: jax.Array) -> tuple[LdaState, Metrics]:
        exp_log_beta = jnp.exp(expected_log(state.lam))
        fresh = undecided(data, config.num_topics, alpha)
        gamma = jax.lax.fori_loop(
            0,
            config.num_inner,
            lambda _, gamma: update_gamma(gamma, exp_log_beta, data, alpha),
            jnp.where(state.t < config.num_fresh, fresh, state.gamma),
        )
        lam = update_lambda(gamma, state.lam, data, eta)
        loss = -elbo(gamma, lam, data, alpha, eta) / data.sum()
        return LdaState(lam, gamma, state.t + 1), {"loss": loss}

    def evaluate(key: Key, state: LdaState, data: Completion) -> Metrics:
        del key  # nothing is drawn
        gamma = fold_in(state.lam, data.first, alpha, _FOLD_IN_UPDATES)
        return {"perplexity": perplexity(normalise(gamma), normalise(state.lam), data.second)}

    return Learner(init, step, evaluate)


# Both -------------------------------------------------------------------------------------------


def normalise(x: jax.Array) -> jax.Array:
    """Rows that sum to 1: the mean of Dirichlet(x), [..., N]."""
    return x / x.sum(-1, keepdims=True)


def unigram(counts: jax.Array, smoothing: float) -> jax.Array:
    """One die for all documents [D, V], with `smoothing` added to each word's count, [V]."""
    return normalise(counts.sum(0) + smoothing)


def perplexity(of_topics: jax.Array, words: jax.Array, counts: jax.Array) -> jax.Array:
    """exp of the mean of -log p(word): the sides of a fair die that would be as hard to guess.

    Args:
        of_topics: each document's probabilities of topics, [M, K].
        words: each topic's probabilities of words, [K, V].
        counts: of the words asked, [M, V].
    """
    log_p = jnp.log(of_topics @ words + _TINY)
    return jnp.exp(-(counts * log_p).sum() / counts.sum())


def mentions(words: jax.Array, length: float) -> jax.Array:
    """The chance that a document of that many words, all drawn from one topic, has the word."""
    return -jnp.expm1(length * jnp.log1p(-words))


def sample(key: Key, words: jax.Array, length: int) -> jax.Array:
    """Rolls a topic's loaded die, [V], `length` times; int32 [length]; the key is consumed."""
    return jax.random.categorical(key, jnp.log(words + _TINY), shape=(length,)).astype(jnp.int32)
