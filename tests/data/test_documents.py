"""Real documents are counted and split as they say; generated ones follow their topics."""

import jax
import numpy as np
import pytest

from dl_lectures import errors
from dl_lectures.data import documents


@pytest.fixture(scope="module")
def manual():
    return documents.load("scipy", 300)


def test_the_manual_is_counted_and_halved(manual):
    assert len(manual.vocabulary) == 300 == manual.train.shape[1]
    total = manual.train.sum(0)
    in_documents = (manual.train > 0).sum(0)
    assert in_documents.max() <= 0.2 * 1.25 * len(manual.train)  # short ones were counted, too
    assert total[:30].mean() > total[-30:].mean()  # the most frequent first
    assert manual.train.sum(1).min() >= 10
    size = manual.first.sum(1) + manual.second.sum(1)
    np.testing.assert_array_equal(manual.first.sum(1), size // 2)
    assert min(manual.first.min(), manual.second.min()) == 0
    assert {"linalg", "signal", "stats"} <= set(manual.classes)
    assert len(manual.train_labels) == len(manual.train) > 500
    assert len(manual.heldout_labels) == len(manual.first) > 100


def test_words_of_the_manual_lie_where_they_belong(manual):
    for word, part in (("filter", "signal"), ("pdf", "stats"), ("sparse", "sparse")):
        with_word = manual.train[:, manual.vocabulary.index(word)] > 0
        share = np.bincount(manual.train_labels[with_word], minlength=len(manual.classes))
        assert manual.classes[share.argmax()] == part


def test_loading_twice_gives_the_same(manual):
    again = documents.load("scipy", 300)
    for a, b in zip(manual, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_words_too_rare_or_too_frequent_are_left_out():
    texts = [
        "the common " * 6 + "ball goal " * (6 if i % 6 == 0 else 0) + f"rare{'x' * i} " * 6
        for i in range(120)
    ]
    found = documents.make(texts, ["x"] * 120, 99)
    assert set(found.vocabulary) == {"ball", "goal"}
    assert (found.train[:, 0] == found.train[:, 1]).all()  # they come together
    assert set(np.unique(found.train)) == {6.0}  # documents without words are dropped


def test_no_word_to_learn_is_refused():
    with pytest.raises(ValueError, match="no word is in enough documents"):
        documents.make(["all of them say the same"] * 50, ["x"] * 50, 10)
    with pytest.raises(errors.UsageError, match="no documents named 'news'; choose: scipy"):
        documents.load("news", 10)


def test_generated_documents_follow_their_topics():
    drawn = documents.draw(jax.random.key(0), 2000, 3, 12, 40)
    words, counts = np.asarray(drawn.words), np.asarray(drawn.counts)
    np.testing.assert_allclose(words.sum(1), 1, rtol=1e-5)
    assert (counts.sum(1) == 40).all()
    # Few topics a document: the commonest words of most documents are those of one topic.
    share = counts / 40
    distance = np.abs(share[:, None] - words[None]).sum(-1).min(1) / 2
    assert np.median(distance) < 0.3
    # Topics are equally frequent: the mean of all documents is the mean of the topics, within
    # five times the standard error of 2,000 documents.
    error = share.std(0) / np.sqrt(len(share))
    assert (np.abs(share.mean(0) - words.mean(0)) < 5 * error + 1e-4).all()
