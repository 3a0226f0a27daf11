"""Bags of words, against counting by hand."""

import collections
import math

import numpy as np
import pytest

from dl_lectures.sequences import bag_of_words


def test_log_probabilities_add_one_and_sum_to_one():
    log_p = bag_of_words.log_probabilities(np.array([0, 2, 2, 3]), 5)
    np.testing.assert_allclose(log_p, np.log([2 / 9, 1 / 9, 3 / 9, 2 / 9, 1 / 9]))
    assert np.exp(log_p).sum() == pytest.approx(1.0)


def test_counts_are_those_of_a_counter_up_to_the_length():
    rows = np.array([[1, 2, 2, 0], [3, 0, 0, 0], [0, 1, 0, 1]])
    lengths = np.array([3, 2, 4])
    found = bag_of_words.counts(rows, lengths, 4)
    for row, length, counted in zip(rows, lengths, found, strict=True):
        expected = collections.Counter(row[:length].tolist())
        assert counted.tolist() == [expected[code] for code in range(4)]


def test_naive_bayes_tells_texts_of_other_words():
    of_one, of_zero = np.array([1, 1, 1, 2]), np.array([2, 2, 3, 3])
    weights = bag_of_words.naive_bayes_weights(of_one, of_zero, 4)
    assert weights[1] == pytest.approx(math.log(4 / 8) - math.log(1 / 8))
    counts = bag_of_words.counts(np.array([[1, 2], [3, 2]]), np.array([2, 2]), 4)
    log_odds = counts @ weights
    # (4/8 * 2/8) / (1/8 * 3/8) and (1/8 * 2/8) / (3/8 * 3/8), by hand.
    np.testing.assert_allclose(log_odds, np.log([8 / 3, 2 / 9]))
