"""Mixtures against SciPy's densities, and draws against what they are drawn from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from dl_lectures.data import mixtures


def test_ring_and_grid_are_those_of_the_papers():
    ring, grid = mixtures.ring(), mixtures.grid()
    np.testing.assert_allclose(np.linalg.norm(ring.centres, axis=1), 2.0, rtol=1e-6)
    apart = np.linalg.norm(ring.centres - np.roll(ring.centres, 1, axis=0), axis=1)
    np.testing.assert_allclose(apart, 4.0 * np.sin(np.pi / 8), rtol=1e-5)
    assert ring.centres.shape == (8, 2)
    expected = {(a, b) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)}
    assert {tuple(centre) for centre in grid.centres.astype(int)} == expected
    assert (ring.std, grid.std) == (0.02, 0.05)


@pytest.mark.parametrize("name", mixtures.MIXTURES)
def test_density_is_the_mean_of_scipy_s_normals(name):
    mixture = mixtures.MIXTURES[name]()
    x = mixture.centres[:5] + np.random.default_rng(0).normal(size=(5, 2)) * 2 * mixture.std
    each = [stats.multivariate_normal(c, mixture.std**2).pdf(x) for c in mixture.centres]
    expected = np.log(np.mean(each, axis=0))
    np.testing.assert_allclose(mixtures.log_density(mixture, jnp.asarray(x)), expected, atol=1e-3)


def test_density_integrates_to_one():
    mixture = mixtures.ring(num_modes=3, radius=1.0, std=0.3)
    line = jnp.linspace(-3.0, 3.0, 301)
    plane = jnp.stack(jnp.meshgrid(line, line), axis=-1)
    density = np.exp(mixtures.log_density(mixture, plane))
    total = integrate.trapezoid(integrate.trapezoid(density, line), line)
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


@pytest.mark.parametrize("name", mixtures.MIXTURES)
def test_draws_are_as_often_near_each_centre_and_as_far_as_they_shall(name):
    mixture, n = mixtures.MIXTURES[name](), 20_000
    x = np.asarray(mixtures.draw(jax.random.key(0), mixture, n))
    assert (x.shape, x.dtype) == ((n, 2), np.float32)
    distances = np.linalg.norm(x[:, None] - mixture.centres, axis=-1)
    counts = np.bincount(distances.argmin(1), minlength=len(mixture.centres))
    assert stats.chisquare(counts).pvalue > 1e-4
    # The squared distance over the variance is chi-squared with two degrees of freedom.
    squared = (distances.min(1) / mixture.std) ** 2
    assert stats.kstest(squared, "chi2", args=(2,)).pvalue > 1e-4
