"""Arrays over arms against NumPy, one run at a time, and where numbers round."""

import jax
import numpy as np
import pytest
from scipy import stats

from dl_lectures.bandits import arms

K, N = 5, 400
ALMOST_ONE = np.float32(1 - 2.0**-24)  # nothing that is drawn comes nearer


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def uniforms(rng):
    values = rng.random(N, np.float32)
    values[:2] = 0, ALMOST_ONE
    return values


def test_of_arm(rng):
    values, arm = (
        rng.normal(size=(K, N)).astype(np.float32),
        rng.integers(K, size=N, dtype=np.int32),
    )
    runs = np.arange(N)
    np.testing.assert_array_equal(arms.one_hot(arm, K), np.eye(K, dtype=bool)[:, arm])
    np.testing.assert_array_equal(arms.of_arm(values, arm), values[arm, runs])
    np.testing.assert_array_equal(arms.of_arm(values[:, :1], arm), values[arm, 0])
    # A masked sum must not multiply: what other arms have is nothing to it.
    values[arm, runs] = 1
    others = np.where(np.eye(K, dtype=bool)[:, arm], values, np.inf).astype(np.float32)
    np.testing.assert_array_equal(arms.of_arm(others, arm), np.ones(N))


def test_best_arms(rng):
    """Few different values, so that most runs have ties."""
    values = rng.integers(-1, 2, size=(K, N)).astype(np.float32)
    values[:, 0] = -np.inf
    first = jax.jit(arms.first_best)(values)
    assert first.dtype == np.int32
    np.testing.assert_array_equal(first, values.argmax(0))
    ties = uniforms(rng)
    tied = [np.flatnonzero(column == column.max()) for column in values.T]
    expected = [which[int(u * len(which))] for which, u in zip(tied, ties, strict=True)]
    chosen = jax.jit(arms.random_best)(values, ties)
    assert chosen.dtype == np.int32
    np.testing.assert_array_equal(chosen, expected)


def test_no_number_is_an_arm_still():
    values = np.float32([[0, np.nan], [np.nan, np.nan], [1, np.nan]])
    np.testing.assert_array_equal(arms.first_best(values), [2, 2])
    np.testing.assert_array_equal(arms.random_best(values, np.float32([0.9, 0.9])), [0, 0])


@pytest.mark.parametrize("num_tied", [2, 3, 7])
def test_ties_are_broken_evenly(num_tied):
    """Chi-square of 10^5 choices; it would fail once in 10^5 runs."""
    rng = np.random.default_rng(num_tied)
    values = np.zeros((num_tied + 2, 100_000), np.float32)
    values[[0, 3]] = -1
    counts = np.bincount(arms.random_best(values, rng.random(100_000, np.float32)))
    which = np.delete(np.arange(num_tied + 2), [0, 3])
    assert counts.sum() == counts[which].sum()
    assert stats.chisquare(counts[which]).pvalue > 1e-5


@pytest.mark.parametrize("num_arms", [2, 3, 10, 1000])
def test_uniform_arm(rng, num_arms):
    values = uniforms(rng)
    found = arms.uniform_arm(values, num_arms)
    expected = np.minimum(np.floor(values * np.float32(num_arms)), num_arms - 1)
    np.testing.assert_array_equal(found, expected)
    assert found[0] == 0 and found[1] == num_arms - 1


def test_sampled_arm(rng):
    laws = rng.dirichlet(np.full(K, 0.5), N).T.astype(np.float32)
    laws[:, 0] = 0, 0, 0.5, 0.5, 0  # a number of 0 must pass over arms without probability
    laws[:, 1] = 0.2 * ALMOST_ONE  # sums to less than 1, by rounding
    laws[:, 2] = 0, 0, 0, 1, 0
    draws = uniforms(rng)
    draws[2] = ALMOST_ONE
    expected = [
        np.searchsorted(np.cumsum(law, dtype=np.float32), u, side="right")
        for law, u in zip(laws.T, draws, strict=True)
    ]
    found = arms.sampled_arm(laws, draws)
    np.testing.assert_array_equal(found, np.minimum(expected, K - 1))
    assert list(found[:3]) == [2, K - 1, 3]
