"""Topics against enumeration, formulas written out, and scikit-learn's LDA."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn import decomposition

from dl_lectures.data import documents
from dl_lectures.generative import topics

ALPHA, ETA = 0.3, 0.2
UPDATE_GAMMA = jax.jit(topics.update_gamma)
ELBO = jax.jit(topics.elbo)


@functools.cache
def generated(num_documents=80):
    drawn = documents.draw(jax.random.key(3), num_documents, 3, 20, 40)
    return np.asarray(drawn.words), np.asarray(drawn.counts)  # float32


@functools.cache
def learned(name, num_steps=60):
    """A model's state and its losses [T] on the generated documents."""
    config = topics.Config(num_topics=3, mixture_concentration=0.1, word_concentration=0.05)
    learner = topics.make_lda(config, 80, 20) if name == "lda" else topics.make_mixture(config, 20)

    @jax.jit
    def train(key, counts):
        def body(state, _):
            state, metrics = learner.step(state, counts)
            return state, metrics["loss"]

        return jax.lax.scan(body, learner.init(key), length=num_steps)

    state, losses = jax.vmap(train, in_axes=(0, None))(
        jax.random.split(jax.random.key(0), 6), generated()[1]
    )
    return learner, state, np.asarray(losses)


# What must never happen.


@pytest.mark.parametrize("name", ["mixture", "lda"])
def test_the_objective_never_falls(name):
    _, _, losses = learned(name)
    if name == "lda":  # while gamma starts anew, it may
        losses = losses[:, 2:]
    assert (np.diff(losses, axis=1) <= 1e-5 * np.abs(losses[:, 1:])).all()
    assert (losses[:, 0] - losses[:, -1] > 0.01).all()  # and it rises


# The mixture of unigrams.


def test_em_is_the_average_over_all_assignments():
    """Expected counts by enumeration of which document has which topic."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.5, (4, 3)).astype(np.float32)
    words, weights = rng.dirichlet(np.ones(3), 2), np.array([0.3, 0.7])
    expected_words, expected_weights, evidence = np.zeros((2, 3)), np.zeros(2), 0.0
    for assignment in itertools.product(range(2), repeat=4):
        chosen = list(assignment)
        p = np.prod(weights[chosen]) * np.prod(words[chosen] ** counts)
        evidence += p
        for document, topic in enumerate(chosen):
            expected_words[topic] += p * counts[document]
            expected_weights[topic] += p
    expected_words = expected_words / evidence + 0.1
    model = topics.Mixture(jnp.log(jnp.array(weights)), jnp.log(jnp.array(words)))
    after = topics.expectation_maximisation(model, jnp.array(counts), 0.1)
    np.testing.assert_allclose(jnp.exp(after.log_weights), expected_weights / evidence / 4, 1e-4)
    normalised = expected_words / expected_words.sum(1, keepdims=True)
    np.testing.assert_allclose(jnp.exp(after.log_words), normalised, rtol=1e-4)
    posterior = topics.log_posterior(model, jnp.array(counts), 0.0)
    np.testing.assert_allclose(posterior, np.log(evidence), rtol=1e-5)


def test_one_topic_is_the_pooled_unigram():
    counts = generated()[1]
    config = topics.Config(num_topics=1, word_concentration=0.5)
    pooled = topics.unigram(counts, 0.5)
    learner = topics.make_mixture(config, 20)
    state, _ = learner.step(learner.init(jax.random.key(0)), counts)
    np.testing.assert_allclose(jnp.exp(state.model.log_words[0]), pooled, rtol=1e-5)
    learner = topics.make_lda(config, 80, 20)
    state, _ = learner.step(learner.init(jax.random.key(0)), counts)
    np.testing.assert_allclose(topics.normalise(state.lam)[0], pooled, rtol=1e-4)


def test_a_topic_without_documents_stays_finite():
    counts = generated()[1]
    everything_in_one = jnp.zeros((80, 2)).at[:, 0].set(1.0)
    model = topics.maximise(everything_in_one, counts, 0.1)
    after = topics.expectation_maximisation(model, counts, 0.1)
    assert all(np.isfinite(leaf).all() for leaf in after)


# Latent Dirichlet allocation.


def test_gamma_is_updated_through_phi_written_out():
    rng = np.random.default_rng(1)
    counts = rng.poisson(1.0, (3, 5)).astype(np.float64)
    gamma, lam = rng.gamma(2, size=(3, 2)), rng.gamma(2, size=(2, 5))
    found = UPDATE_GAMMA(gamma, jnp.exp(topics.expected_log(jnp.array(lam))), counts, ALPHA)
    log_theta = special.digamma(gamma) - special.digamma(gamma.sum(1, keepdims=True))
    log_beta = special.digamma(lam) - special.digamma(lam.sum(1, keepdims=True))
    new_gamma, new_lam = np.full((3, 2), ALPHA), np.full((2, 5), ETA)
    for d, w in np.ndindex(3, 5):
        phi = special.softmax(log_theta[d] + log_beta[:, w])
        new_gamma[d] += counts[d, w] * phi
        new_lam[:, w] += counts[d, w] * phi
    np.testing.assert_allclose(found, new_gamma, rtol=1e-4)
    found = topics.update_lambda(jnp.array(gamma), jnp.array(lam), counts, ETA)
    np.testing.assert_allclose(found, new_lam, rtol=1e-4)


def test_elbo_bounds_the_evidence_by_enumeration():
    """Of one document with four words, over all 2^4 topics of its words."""
    tokens = [0, 0, 1, 2]
    counts = jnp.array(np.bincount(tokens, minlength=3)[None], jnp.float32)

    def log_polya(of, prior):  # log of the integral of prod p^of under Dirichlet(prior, ...)
        n = len(of)
        return (
            special.gammaln(n * prior)
            - special.gammaln(n * prior + sum(of))
            + sum(special.gammaln(prior + c) - special.gammaln(prior) for c in of)
        )

    logs = []
    for assignment in itertools.product(range(2), repeat=4):
        table = np.zeros((2, 3))
        np.add.at(table, (list(assignment), tokens), 1)
        logs.append(log_polya(table.sum(1), ALPHA) + sum(log_polya(row, ETA) for row in table))
    evidence = special.logsumexp(logs)
    gamma, lam = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.5, 0.2], [0.3, 0.9, 0.7]])
    for _ in range(30):
        bound = ELBO(gamma, lam, counts, ALPHA, ETA)
        assert bound < evidence
        gamma = UPDATE_GAMMA(gamma, jnp.exp(topics.expected_log(lam)), counts, ALPHA)
        lam = topics.update_lambda(gamma, lam, counts, ETA)
    assert evidence - bound < 3  # phi, theta and beta are taken as independent


def test_elbo_is_the_sum_of_its_expectations():
    """Equation 15 of Blei et al., with the topics' prior, term by term."""
    rng = np.random.default_rng(2)
    counts = rng.poisson(1.0, (3, 5)).astype(np.float64)
    gamma, lam = rng.gamma(2, size=(3, 2)), rng.gamma(2, size=(2, 5))
    log_theta = special.digamma(gamma) - special.digamma(gamma.sum(1, keepdims=True))
    log_beta = special.digamma(lam) - special.digamma(lam.sum(1, keepdims=True))
    expected = sum(stats.dirichlet(row).entropy() for row in (*gamma, *lam))
    for prior, logs in ((ALPHA, log_theta), (ETA, log_beta)):
        n = logs.shape[1]
        normaliser = special.gammaln(n * prior) - n * special.gammaln(prior)
        expected += (normaliser + (prior - 1) * logs.sum(1)).sum()
    for d, w in np.ndindex(3, 5):
        phi = special.softmax(log_theta[d] + log_beta[:, w])
        expected += counts[d, w] * (phi * (log_theta[d] + log_beta[:, w] - np.log(phi))).sum()
    np.testing.assert_allclose(ELBO(gamma, lam, counts, ALPHA, ETA), expected, rtol=1e-4)


def test_divergence_of_dirichlets_equals_quadrature_and_vanishes_at_the_prior():
    q, p = stats.beta(1.7, 0.9), stats.beta(0.4, 0.4)
    expected = integrate.quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), 0, 1)[0]
    np.testing.assert_allclose(topics.dirichlet_kl(jnp.array([1.7, 0.9]), 0.4), expected, 1e-3)
    np.testing.assert_allclose(topics.dirichlet_kl(jnp.full(5, 0.4), 0.4), 0, atol=1e-5)


def peer_lda(num_topics=3, **options):
    return decomposition.LatentDirichletAllocation(
        num_topics,
        doc_topic_prior=0.1,
        topic_word_prior=0.05,
        learning_method="batch",
        mean_change_tol=1e-7,
        max_doc_update_iter=500,
        **options,
    )


def test_scikit_learn_reads_unseen_documents_alike():
    counts = generated()[1]
    peer = peer_lda(max_iter=2, random_state=0).fit(counts[:60].astype(np.float64))
    lam = jnp.asarray(peer.components_)
    found = topics.normalise(topics.fold_in(lam, counts[60:], 0.1, 500))
    np.testing.assert_allclose(found, peer.transform(counts[60:].astype(np.float64)), atol=2e-3)


def test_scikit_learn_ends_where_our_step_stays():
    counts = generated()[1]
    peer = peer_lda(max_iter=150, random_state=1).fit(counts.astype(np.float64))
    lam = jnp.asarray(peer.components_, jnp.float32)
    gamma = topics.fold_in(lam, counts, 0.1, 200)
    after = topics.update_lambda(gamma, lam, counts, 0.05)
    np.testing.assert_allclose(topics.normalise(after), topics.normalise(lam), atol=2e-3)
    # Nor is it only because the step hardly moves: from elsewhere it does.
    other = topics.update_lambda(gamma, lam[::-1], counts, 0.05)
    assert np.abs(topics.normalise(other) - topics.normalise(lam[::-1])).max() > 0.02


def test_unseen_words_are_guessed_as_well_as_by_scikit_learn():
    """On the manual, both by document completion, the mean over two starts."""
    loaded = documents.load("scipy", 80)
    config = topics.Config(num_topics=5, mixture_concentration=0.1, word_concentration=0.05)
    learner = topics.make_lda(config, *loaded.train.shape)
    heldout = topics.Completion(jnp.asarray(loaded.first), jnp.asarray(loaded.second))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def ours(key, counts, heldout):
        state = learner.init(key)
        state = jax.lax.fori_loop(0, 20, lambda _, s: learner.step(s, counts)[0], state)
        return learner.evaluate(key, state, heldout)["perplexity"]

    found = ours(jax.random.split(jax.random.key(0), 2), loaded.train, heldout)
    theirs = []
    for seed in range(2):
        peer = decomposition.LatentDirichletAllocation(
            5, doc_topic_prior=0.1, topic_word_prior=0.05, max_iter=20, random_state=seed
        ).fit(loaded.train.astype(np.float64))
        words = peer.components_ / peer.components_.sum(1, keepdims=True)
        of_topics = peer.transform(loaded.first.astype(np.float64))
        theirs.append(float(topics.perplexity(of_topics, words, loaded.second)))
    assert np.mean(found) < 1.05 * np.mean(theirs)
    pooled = topics.unigram(loaded.train, 0.05)
    one = jnp.ones((len(loaded.second), 1))
    assert np.mean(found) < 0.8 * topics.perplexity(one, pooled[None], loaded.second)


# Both.


@pytest.mark.parametrize("name", ["mixture", "lda"])
def test_topics_are_found_again(name):
    _, state, losses = learned(name)
    best = losses[:, -1].argmin()  # of six starts
    words = jnp.exp(state.model.log_words) if name == "mixture" else topics.normalise(state.lam)
    distances = [
        np.abs(generated()[0] - np.asarray(words)[best][list(order)]).sum(1).max() / 2
        for order in itertools.permutations(range(3))
    ]
    assert min(distances) < (0.1 if name == "lda" else 0.3)  # documents do mix topics


@pytest.mark.parametrize("name", ["mixture", "lda"])
def test_unseen_words_are_easier_than_for_one_die_and_half_a_document_is_used(name):
    learner, state, _ = learned(name)
    fresh = jnp.asarray(generated()[1][:40])
    first = jnp.minimum(fresh, jnp.ceil(fresh / 2))
    one = jax.tree.map(lambda leaf: leaf[0], state)
    found = learner.evaluate(jax.random.key(0), one, topics.Completion(first, fresh - first))
    wrong = learner.evaluate(jax.random.key(0), one, topics.Completion(first[::-1], fresh - first))
    assert found["perplexity"] < 0.8 * wrong["perplexity"]


def test_perplexity_of_a_fair_die_is_its_number_of_sides():
    words = jnp.full((2, 6), 1 / 6)
    of_topics = jnp.array([[0.3, 0.7]])
    np.testing.assert_allclose(topics.perplexity(of_topics, words, jnp.ones((1, 6))), 6, rtol=1e-5)


def test_a_mention_is_one_success_or_more():
    words = jnp.array([0.2, 0.8, 0.0])
    expected = [stats.binom.sf(0, 5, p) for p in (0.2, 0.8, 0.0)]
    np.testing.assert_allclose(topics.mentions(words, 5.0), expected, rtol=1e-5)


def test_drawn_words_follow_the_die():
    words = jnp.array([0.8, 0.2, 0.0])
    drawn = np.asarray(topics.sample(jax.random.key(0), words, 5000))
    share = np.bincount(drawn, minlength=3) / 5000
    assert share[2] == 0
    assert abs(share[0] - 0.8) < 4 * math.sqrt(0.16 / 5000)  # fails once in 15,000 keys


@pytest.mark.parametrize("name", ["mixture", "lda"])
def test_types_are_a_fixed_point_of_step(name):
    config = topics.Config(num_topics=2)
    learner = topics.make_lda(config, 7, 5) if name == "lda" else topics.make_mixture(config, 5)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, jnp.ones((7, 5)))
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
    assert metrics["loss"].shape == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_topics", 0), ("num_inner", 0), ("num_fresh", -1)),
        *(("mixture_concentration", 0.0), ("word_concentration", -1.0)),
    ],
)
def test_bad_config_names_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name} must"):
        topics.Config(**{name: value})
