"""The vectorised n-grams against the formula written over dictionaries, and against an entropy."""

import collections

import numpy as np
import pytest

from dl_lectures.sequences import ngram

V = 6


def draw(seed, length, num_symbols=V):
    """A text in which some symbols are rare and some histories occur once."""
    rng = np.random.default_rng(seed)
    return rng.choice(num_symbols, length, p=np.arange(1, num_symbols + 1) / 21).astype(np.int32)


def histories(symbols, position, order, separator):
    """The histories of 0 ... order - 1 symbols before a position, as tuples, oldest first."""
    past = list(symbols[:position])
    if separator is not None and separator in past:
        past = past[len(past) - past[::-1].index(separator) :]
    past = [separator or 0] * order + past
    return [tuple(past[len(past) - length :]) for length in range(order)]


def witten_bell(train, symbols, order, separator):
    """p_n of each symbol as the formula has it, with dictionaries."""
    followers = collections.defaultdict(collections.Counter)
    for position, w in enumerate(train):
        for h in histories(train, position, order, separator):
            followers[h][w] += 1
    rows = []
    for position, w in enumerate(symbols):
        p, row = 1 / V, []
        for h in histories(symbols, position, order, separator):
            c = followers.get(h, collections.Counter())
            if c:
                p = (c[w] + len(c) * p) / (c.total() + len(c))
            row.append(p)
        rows.append(row)
    return np.log(np.array(rows).T)


@pytest.mark.parametrize("separator", [None, 0, 3])
def test_is_the_formula(separator):
    train, heldout = draw(0, 300), draw(1, 100)
    model = ngram.fit(train, V, order=5, separator=separator)
    np.testing.assert_allclose(
        ngram.log_probabilities(model, heldout),
        witten_bell(train, heldout, 5, separator),
        rtol=1e-12,
    )


def test_an_example_by_hand():
    """Train on 0 1 0 1 0 2, V = 3; score 0 2: p_1(0) = (3 + 3/3) / 9, p_2(2 | 0) below."""
    model = ngram.fit(np.array([0, 1, 0, 1, 0, 2]), 3, order=2)
    p = np.exp(ngram.log_probabilities(model, np.array([0, 2])))
    p_2 = (1 + 3 / 3) / 9
    # After 0 (twice 1, once 2; and before the text's start there is a 0, which 0 follows).
    np.testing.assert_allclose(p[0], [4 / 9, p_2])
    np.testing.assert_allclose(p[1, 1], (1 + 3 * p_2) / (4 + 3))


@pytest.mark.parametrize("history", [[0, 1, 2, 3], [5, 5, 5, 5], [0, 0, 0, 0], [3, 3, 3, 1]])
def test_sums_to_one(history):
    """Over the next symbol, at every order, for histories that were seen and that were not."""
    train = draw(0, 200)
    model = ngram.fit(train[train != 0], V, order=5, separator=3)  # symbol 0 is never seen
    rows = [ngram.log_probabilities(model, np.array([*history, w]))[:, -1] for w in range(V)]
    np.testing.assert_allclose(np.exp(rows).sum(0), np.ones(5), rtol=1e-12)


def test_approaches_the_entropy_of_a_markov_source():
    """The order of the source suffices, one less does not, and more costs little."""
    rng = np.random.default_rng(0)
    transitions = rng.dirichlet(np.full(3, 0.5), size=(3, 3))  # order 2: p(w | two symbols)
    symbols = np.zeros(200_000, np.int64)
    uniforms = rng.random(len(symbols))
    for i in range(2, len(symbols)):
        cumulative = transitions[symbols[i - 2], symbols[i - 1]].cumsum()
        symbols[i] = min(np.searchsorted(cumulative, uniforms[i]), 2)
    train, heldout = np.split(symbols, 2)
    entropy = -np.log(transitions[heldout[:-2], heldout[1:-1], heldout[2:]]).mean()
    model = ngram.fit(train, 3, order=5)
    nll = -ngram.log_probabilities(model, heldout).mean(1)
    assert nll[2] == pytest.approx(entropy, abs=2e-3)
    assert nll[1] > entropy + 0.05
    assert nll[4] == pytest.approx(entropy, abs=2e-2)
