"""The problems of memory, against definitions that are read off the sequences by plain loops."""

import jax
import numpy as np
import pytest

from dl_lectures.data import memory_problems
from dl_lectures.data.memory_problems import PROBLEMS

B = 64


def drawn(name, lag, seed=0):
    problem = PROBLEMS[name]
    batch = problem.draw(jax.random.key(seed), lag, B)
    xs, answers = np.asarray(batch.xs), np.asarray(batch.answers)
    assert xs.shape[1:] == (B, problem.num_inputs) and answers.shape[1] == B
    return xs, answers


@pytest.mark.parametrize("lag", [2, 9, 30])
def test_adding_sums_one_marked_number_of_each_half(lag):
    xs, answers = drawn("adding", lag)
    assert xs.shape[0] == lag and answers.shape == (1, B)
    first = set()
    for b in range(B):
        marked = [t for t in range(lag) if xs[t, b, 1] == 1]
        assert len(marked) == 2 and marked[0] < lag // 2 <= marked[1]
        assert xs[:, b, 1].sum() == 2
        np.testing.assert_allclose(answers[0, b], sum(xs[t, b, 0] for t in marked), rtol=1e-6)
        first.add(marked[0])
    assert len(first) == lag // 2 or lag == 30  # every place occurs
    assert xs[..., 0].min() >= 0 and xs[..., 0].max() < 1


def test_temporal_order_names_both_symbols():
    xs, answers = drawn("temporal_order", 40)
    assert (xs.sum(-1) == 1).all()
    symbols = xs.argmax(-1)  # [T, B]
    assert (symbols[0] == 0).all() and (symbols[-1] == 1).all()
    for b in range(B):
        places = [t for t in range(40) if symbols[t, b] >= 6]
        assert len(places) == 2 and 4 <= places[0] < 8 and 20 <= places[1] < 24
        one, two = (symbols[t, b] - 6 for t in places)
        assert answers[0, b] == 2 * one + two
        rest = [symbols[t, b] for t in range(1, 39) if t not in places]
        assert set(rest) <= {2, 3, 4, 5}
    assert set(answers[0]) == {0, 1, 2, 3}


def test_copy_asks_for_the_first_ten_after_the_sign():
    lag = 7
    xs, answers = drawn("copy", lag)
    symbols = xs.argmax(-1)
    assert symbols.shape == answers.shape == (lag + 20, B)
    assert (symbols[:10] < 8).all()
    assert (symbols[10 : lag + 9] == 8).all()  # lag - 1 blanks
    assert (symbols[lag + 9] == 9).all() and (symbols[lag + 10 :] == 8).all()
    np.testing.assert_array_equal(answers[-10:], symbols[:10])
    assert (answers[:-10] == 8).all()


@pytest.mark.parametrize(("name", "lag"), [("adding", 20), ("temporal_order", 20), ("copy", 5)])
def test_chance_is_what_the_best_constant_answer_earns(name, lag):
    """4,096 sequences: the standard errors are below a hundredth of chance."""
    problem = PROBLEMS[name]
    batch = problem.draw(jax.random.key(1), lag, 4_096)
    answers = np.asarray(batch.answers)
    if not problem.num_classes:
        assert ((answers - answers.mean()) ** 2).mean() == pytest.approx(
            problem.chance(lag), rel=0.05
        )
        assert problem.chance_error == problem.chance(lag)
        return
    nats = 0.0  # a constant law of each answer's own: its entropy
    for row in answers:
        shares = np.bincount(row, minlength=problem.num_classes) / len(row)
        nats -= (shares[shares > 0] * np.log(shares[shares > 0])).sum() / len(answers)
    assert nats == pytest.approx(problem.chance(lag), rel=0.01)
    likeliest = [np.bincount(row).max() / len(row) for row in answers[-10:]]
    assert 1 - np.mean(likeliest) == pytest.approx(problem.chance_error, abs=0.02)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_shortest_lag_is_one_that_can_be_drawn(name):
    xs, _ = drawn(name, PROBLEMS[name].shortest)
    assert np.isfinite(xs).all()


def test_keys_matter():
    one, two = (memory_problems.adding(jax.random.key(seed), 10, 4) for seed in (0, 1))
    assert not np.array_equal(one.xs, two.xs)
