"""Coverage of sets of samples made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.data import mixtures
from dl_lectures.generative import modes

SQUARE = mixtures.grid(side=2, spacing=2.0, std=0.1)  # centres at (+-1, +-1)


def found(points):
    return {k: float(v) for k, v in modes.coverage(SQUARE, jnp.array(points)).items()}


def test_nearest_names_mode_and_distance():
    mode, distance = modes.nearest(SQUARE, jnp.array([[-1.0, -0.7], [1.3, 1.4], [0.9, -1.0]]))
    assert [tuple(SQUARE.centres[m]) for m in mode] == [(-1, -1), (1, 1), (1, -1)]
    np.testing.assert_allclose(distance, [0.3, 0.5, 0.1], rtol=1e-5)


def test_every_centre_once_is_perfect():
    assert found(SQUARE.centres) == pytest.approx(
        {"modes": 4, "high_quality": 1.0, "reverse_kl_nats": 0.0}, abs=1e-6
    )


def test_one_point_is_one_good_mode_and_the_most_divergence():
    assert found([[1.0, 1.0]] * 5) == pytest.approx(
        {"modes": 1, "high_quality": 1.0, "reverse_kl_nats": np.log(4)}, abs=1e-6
    )


def test_a_sample_counts_within_three_deviations_and_not_beyond():
    inside, outside = [1.0, 1.29], [-1.0, -1.31]
    assert found([inside, outside]) == pytest.approx(
        {"modes": 1, "high_quality": 0.5, "reverse_kl_nats": np.log(2)}, abs=1e-6
    )


def test_shares_of_modes_make_the_divergence():
    points = [[1.0, 1.0]] * 3 + [[-1.0, 1.0]]
    kl = 0.75 * np.log(0.75 * 4) + 0.25 * np.log(0.25 * 4)
    assert found(points) == pytest.approx(
        {"modes": 2, "high_quality": 1.0, "reverse_kl_nats": kl}, abs=1e-6
    )


@pytest.mark.parametrize("name", mixtures.MIXTURES)
def test_draws_of_the_mixture_cover_it(name):
    mixture, n = mixtures.MIXTURES[name](), 10_000
    coverage = modes.coverage(mixture, mixtures.draw(jax.random.key(1), mixture, n))
    assert coverage["modes"] == len(mixture.centres)
    near = 1.0 - np.exp(-4.5)
    # Four standard errors: fails once in 15,000 choices of the key.
    assert abs(coverage["high_quality"] - near) < 4 * (near * (1 - near) / n) ** 0.5
    assert coverage["reverse_kl_nats"] < 0.01
