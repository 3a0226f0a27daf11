"""Naive Bayes against scikit-learn's, tables by hand, and what it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import naive_bayes as sklearn_naive_bayes

from dl_lectures.data import tables
from dl_lectures.generative import naive_bayes

KINDS = (naive_bayes.fit_bernoulli, naive_bayes.fit_gaussian)


def small(binary, num_rows=30, num_features=4, num_classes=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_rows, num_features)) + np.arange(num_rows)[:, None] % num_classes
    labels = np.arange(num_rows) % num_classes
    x = (x > 1) if binary else x
    return jnp.asarray(x, jnp.float32), jnp.asarray(labels, jnp.int32), jnp.ones(num_rows)


def test_bernoulli_is_scikit_learn_s():
    table = tables.load("digits")
    fitted = naive_bayes.fit_bernoulli(table.x, table.labels, jnp.ones(len(table.x)), 10)
    peer = sklearn_naive_bayes.BernoulliNB().fit(table.x, table.labels)
    expected = peer.predict_joint_log_proba(table.x)
    np.testing.assert_allclose(naive_bayes.log_joint(fitted, table.x), expected, rtol=1e-4)


def test_gaussian_is_scikit_learn_s():
    table = tables.load("wine")
    x, labels = table.x, table.labels
    fitted = naive_bayes.fit_gaussian(x, labels, jnp.ones(len(x)), 3, shared_variance=False)
    peer = sklearn_naive_bayes.GaussianNB().fit(x.astype(np.float64), labels)
    np.testing.assert_allclose(fitted.variance, peer.var_, rtol=1e-4)
    expected = peer.predict_joint_log_proba(x.astype(np.float64))
    np.testing.assert_allclose(naive_bayes.log_joint(fitted, x), expected, rtol=1e-4)


def test_shared_variance_is_that_within_classes_and_its_boundary_linear():
    x, labels, ones = small(binary=False)
    fitted = naive_bayes.fit_gaussian(x, labels, ones, 3, floor=0.0)
    rows, of = np.asarray(x), np.asarray(labels)
    centered = np.concatenate([rows[of == k] - rows[of == k].mean(0) for k in range(3)])
    expected = np.broadcast_to((centered**2).mean(0), (3, 4))
    np.testing.assert_allclose(fitted.variance, expected, rtol=1e-5)
    # Log odds along a line have no curvature.
    line = jnp.linspace(-3, 3, 7)[:, None] * jnp.array([[1.0, -2.0, 0.5, 1.0]])
    odds = np.diff(naive_bayes.log_joint(fitted, line), axis=1)
    np.testing.assert_allclose(np.diff(odds, 2, axis=0), 0, atol=1e-4)


def test_joint_probabilities_of_all_rows_and_classes_sum_to_one():
    x, labels, ones = small(binary=True)
    fitted = naive_bayes.fit_bernoulli(x, labels, ones, 3, smoothing=0.5)
    every = jnp.array(list(np.ndindex(2, 2, 2, 2)), jnp.float32)
    np.testing.assert_allclose(jnp.exp(naive_bayes.log_joint(fitted, every)).sum(), 1, rtol=1e-5)


@pytest.mark.parametrize("fit", KINDS)
def test_weights_stand_for_repetition_and_0_for_absence(fit):
    x, labels, _ = small(fit is naive_bayes.fit_bernoulli)
    weights = jnp.arange(30) % 4.0  # a row of weight 2 is there twice
    rows = np.repeat(np.arange(30), np.asarray(weights, int))
    expected = fit(x[rows], labels[rows], jnp.ones(len(rows)), 3)
    for a, b in zip(fit(x, labels, weights, 3), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fit", KINDS)
def test_features_and_classes_may_be_permuted(fit):
    x, labels, ones = small(fit is naive_bayes.fit_bernoulli)
    joint = naive_bayes.log_joint(fit(x, labels, ones, 3), x)
    features, classes = jnp.array([2, 0, 3, 1]), jnp.array([1, 2, 0])
    other = fit(x[:, features], classes[labels], ones, 3)
    permuted = naive_bayes.log_joint(other, x[:, features])
    np.testing.assert_allclose(permuted[:, classes], joint, rtol=1e-4)


@pytest.mark.parametrize("fit", KINDS)
def test_a_class_without_rows_is_never_answered(fit):
    x, labels, _ = small(fit is naive_bayes.fit_bernoulli)
    model = fit(x, labels, (labels != 1).astype(jnp.float32), 3)
    joint = np.asarray(naive_bayes.log_joint(model, x))
    assert not np.isnan(joint).any()
    assert (joint[:, 1] == -np.inf).all()
    assert set(np.asarray(naive_bayes.predict(model, x))) <= {0, 2}


@pytest.mark.parametrize("fit", KINDS)
def test_what_is_drawn_has_the_fitted_moments(fit):
    x, labels, ones = small(fit is naive_bayes.fit_bernoulli)
    model = fit(x, labels, ones, 3)
    wanted = jnp.repeat(jnp.arange(3), 4000)
    drawn = np.asarray(naive_bayes.sample(jax.random.key(0), model, wanted)).reshape(3, 4000, 4)
    if fit is naive_bayes.fit_bernoulli:
        assert set(np.unique(drawn)) == {0, 1}
        mean = np.exp(model.log_on)
    else:
        mean = np.asarray(model.mean)
        np.testing.assert_allclose(drawn.var(1), model.variance, rtol=0.15)  # 6.7 errors
    # 12 means, five standard errors each: fails less than once in 100,000 keys.
    assert (np.abs(drawn.mean(1) - mean) < 5 * drawn.std(1) / 4000**0.5).all()
