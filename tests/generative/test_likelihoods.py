"""Laws of pixels against optax and SciPy, and whether their masses sum to one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from dl_lectures.generative import likelihoods


def test_cross_entropy_is_optax_s_also_at_extreme_logits():
    logits = jnp.array([[-100.0, -20.0, -0.3, 0.0, 2.0, 100.0]])
    for x in (0.0, 1.0, 0.3):
        x = jnp.full(logits.shape, x)
        expected = optax.sigmoid_binary_cross_entropy(logits, x).sum(-1)
        np.testing.assert_allclose(likelihoods.bernoulli(logits, x), expected, rtol=1e-6)
    gradient = jax.grad(lambda y: likelihoods.bernoulli(y, jnp.ones(6)))(logits[0])
    np.testing.assert_allclose(gradient, jax.nn.sigmoid(logits[0]) - 1.0, atol=1e-6)


def test_cross_entropy_of_grey_is_the_mean_over_its_binarisations():
    x, logits = np.array([0.2, 0.9, 0.5]), jnp.array([1.0, -0.5, 0.3])
    total = 0.0
    for b in np.ndindex(2, 2, 2):
        probability = np.prod(np.where(b, x, 1 - x))
        total += probability * likelihoods.bernoulli(logits, jnp.array(b, jnp.float32))
    np.testing.assert_allclose(likelihoods.bernoulli(logits, jnp.array(x)), total, rtol=1e-5)


def test_gaussian_is_scipy_s():
    rng = np.random.default_rng(0)
    mean, x = rng.standard_normal((2, 3, 4))
    found = likelihoods.gaussian(jnp.array(mean), jnp.log(0.4), jnp.array(x))
    np.testing.assert_allclose(found, -stats.norm.logpdf(x, mean, 0.4).sum(1), rtol=1e-5)


@pytest.mark.parametrize("num_levels", [2, 17, 256])
@pytest.mark.parametrize("scale", [1e-3, 0.05, 3.0])
def test_masses_of_all_levels_sum_to_one(num_levels, scale):
    levels = jnp.arange(num_levels) / (num_levels - 1)
    centres = jnp.array([-0.4, 0.0, 0.37, 1.0, 1.8])
    shape = (len(centres), num_levels, 1)
    nats = likelihoods.discretized_logistic(
        jnp.broadcast_to(centres[:, None, None], shape),
        jnp.log(scale),
        jnp.broadcast_to(levels[None, :, None], shape),
        num_levels,
    )
    assert (nats > -1e-6).all()  # masses, not densities
    np.testing.assert_allclose(np.exp(-np.asarray(nats, np.float64)).sum(1), 1.0, rtol=2e-5)


def test_a_level_has_the_logistic_mass_between_half_way_points():
    centre, scale, num_levels = 0.3, 0.1, 5
    law = stats.logistic(centre, scale)
    edges = np.array([-np.inf, 0.125, 0.375, 0.625, 0.875, np.inf])
    found = likelihoods.discretized_logistic(
        jnp.full((5, 1), centre), jnp.log(scale), jnp.arange(5.0)[:, None] / 4, num_levels
    )
    np.testing.assert_allclose(np.exp(-found), np.diff(law.cdf(edges)), rtol=1e-5)


def test_the_discretized_logistic_has_finite_gradients_far_from_its_centre():
    def nats(centre, log_scale, x):
        return likelihoods.discretized_logistic(centre, log_scale, x, 256)

    for x in (0.0, 128 / 255, 1.0):
        for centre in (-50.0, 0.5, 50.0):
            gradients = jax.grad(nats, argnums=(0, 1))(
                jnp.array([centre]), jnp.float32(-7.0), jnp.array([x])
            )
            assert all(jnp.isfinite(g).all() for g in gradients)
            if abs(centre) == 50.0 and x == 128 / 255:  # pulled back by 1 / scale
                np.testing.assert_allclose(gradients[0], np.sign(centre) * np.exp(7), rtol=1e-4)


def test_binarised_pixels_are_on_as_often_as_they_are_grey():
    n = 100_000
    grey = jnp.array([0.0, 0.003, 0.25, 0.9, 1.0])  # an odd number: half a word is left over
    drawn = likelihoods.binarise(jax.random.key(0), jnp.broadcast_to(grey, (n, 5)))
    assert drawn.dtype == jnp.float32
    assert set(np.unique(drawn)) == {0.0, 1.0}
    share = np.asarray(drawn.mean(0), np.float64)
    assert share[0] == 0.0 and share[-1] == 1.0
    errors = np.sqrt(np.asarray(grey * (1 - grey)) / n)
    assert (np.abs(share - grey) <= 4.5 * errors).all()  # fails once in 50,000 choices of the key
    correlation = np.corrcoef(np.asarray(drawn[:, 2:4]).T)[0, 1]
    assert abs(correlation) < 4.5 / n**0.5  # halves of one word are independent
