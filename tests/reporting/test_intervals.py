"""Intervals against the printed table of Student's t and by how often they cover the truth."""

import numpy as np
import pytest

from dl_lectures.reporting import intervals


def test_interval_agrees_with_the_printed_table_of_students_t():
    # Values 1, 2, 3: mean 2, standard deviation 1; t(0.975, 2) = 4.303 in any table.
    metric = intervals.summarise([1.0, 2.0, 3.0])
    assert metric.mean == 2.0
    np.testing.assert_allclose(metric.ci95, 2.0 + np.array([-1, 1]) * 4.303 / 3**0.5, atol=1e-3)
    assert metric.per_seed == (1.0, 2.0, 3.0)


def test_interval_covers_the_true_mean_in_95_of_100_runs():
    # 4,000 runs: the standard error is 0.0034; four of them on either side fail once in 15,000.
    samples = np.random.default_rng(0).normal(3.0, 2.0, (4000, 5))
    found = [intervals.summarise(sample).ci95 for sample in samples]
    covered = np.mean([low <= 3.0 <= high for low, high in found])
    assert abs(covered - 0.95) < 4 * 0.0035


def test_seeds_that_agree_give_an_interval_of_width_zero():
    assert intervals.summarise(np.full(4, 0.25, np.float32)).ci95 == (0.25, 0.25)


def test_one_seed_gives_no_interval():
    assert intervals.summarise([1.5]) == (1.5, (None, None), (1.5,))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_names_its_seed(bad):
    with pytest.raises(ValueError, match=r"not finite for these seeds: 1\."):
        intervals.summarise([0.0, bad, 2.0])


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], 3.0])
def test_other_shapes_than_one_value_a_seed_are_refused(bad):
    with pytest.raises(ValueError, match="one value a seed"):
        intervals.summarise(bad)


@pytest.mark.parametrize(
    ("num_successes", "num_trials", "expected"),
    [
        (0, 10, (0.0, 0.278)),
        (10, 10, (0.722, 1.0)),
        (1, 2, (0.095, 0.905)),
        (81, 263, (0.255, 0.366)),
    ],
)
def test_wilsons_interval_agrees_with_its_formula_worked_by_hand(
    num_successes, num_trials, expected
):
    """The last is the example of Newcombe (1998), table I."""
    found = intervals.wilson(num_successes, num_trials)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("bad", [(3, 2), (-1, 2), (0, 0)])
def test_a_share_needs_trials(bad):
    with pytest.raises(ValueError, match="some of the trials"):
        intervals.wilson(*bad)
