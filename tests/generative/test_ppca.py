"""Probabilistic PCA against scikit-learn's, SciPy's normal density and its own moments."""

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA

from dl_lectures.data import images
from dl_lectures.generative import ppca


@pytest.fixture(scope="module")
def digits():
    loaded = images.load("digits")
    return tuple(x.reshape(len(x), -1).astype(np.float64) for x in (loaded.train, loaded.test))


@pytest.mark.parametrize("num_latents", [1, 8, 40])
def test_likelihood_is_scikit_learn_s(digits, num_latents):
    # Its covariance divides by N - 1, which is not the maximum of the likelihood.
    train, test = digits
    theirs = PCA(num_latents, svd_solver="full").fit(train)
    n = len(train)
    params = ppca.fit(train, num_latents)
    np.testing.assert_allclose(theirs.noise_variance_ * (n - 1) / n, params.variance, rtol=1e-9)
    scaled = params._replace(
        loadings=params.loadings * np.sqrt(n / (n - 1)), variance=params.variance * n / (n - 1)
    )
    for x in (train, test):
        np.testing.assert_allclose(
            ppca.log_likelihood(scaled, x), theirs.score_samples(x), rtol=1e-8
        )


def test_likelihood_is_that_of_the_marginal_normal_law(digits):
    params = ppca.fit(digits[0], 5)
    covariance = params.loadings @ params.loadings.T + params.variance * np.eye(64)
    expected = stats.multivariate_normal(params.mean, covariance).logpdf(digits[1])
    np.testing.assert_allclose(ppca.log_likelihood(params, digits[1]), expected, rtol=1e-9)


def test_nothing_nearby_has_a_greater_likelihood(digits):
    train, _ = digits
    best = ppca.fit(train, 3)
    most = ppca.log_likelihood(best, train).mean()
    rng = np.random.default_rng(0)
    for _ in range(20):
        near = ppca.Params(
            best.mean + 0.01 * rng.standard_normal(64),
            best.loadings + 0.01 * rng.standard_normal((64, 3)),
            best.variance * np.exp(0.01 * rng.standard_normal()),
        )
        assert ppca.log_likelihood(near, train).mean() < most


def test_samples_have_the_mean_and_the_covariance_of_the_marginal():
    rng = np.random.default_rng(1)
    params = ppca.Params(np.array([1.0, -2.0, 0.5]), rng.standard_normal((3, 2)), 0.3)
    n = 200_000
    drawn = ppca.sample(jax.random.key(2), params, n)
    covariance = params.loadings @ params.loadings.T + 0.3 * np.eye(3)
    variances = np.diag(covariance)
    # Five standard errors of each entry; of a covariance: (C_ii C_jj + C_ij^2) / n.
    assert (np.abs(drawn.mean(0) - params.mean) < 5 * np.sqrt(variances / n)).all()
    errors = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    assert (np.abs(np.cov(drawn.T) - covariance) < 5 * errors).all()


def test_it_recovers_the_law_that_it_drew_from():
    rng = np.random.default_rng(3)
    truth = ppca.Params(rng.standard_normal(6), 2.0 * rng.standard_normal((6, 2)), 0.5)
    found = ppca.fit(ppca.sample(jax.random.key(4), truth, 100_000), 2)
    expected = truth.loadings @ truth.loadings.T
    np.testing.assert_allclose(found.loadings @ found.loadings.T, expected, atol=0.3)
    np.testing.assert_allclose(found.variance, 0.5, rtol=0.02)


def test_no_room_for_noise_is_an_error(digits):
    with pytest.raises(ValueError, match="--num_latents=64 must be"):
        ppca.fit(digits[0], 64)
    with pytest.raises(ValueError, match="--num_latents=0 must be"):
        ppca.fit(digits[0], 0)
    with pytest.raises(ValueError, match="all that 4 observations differ by"):
        ppca.fit(digits[0][:4], 3)
