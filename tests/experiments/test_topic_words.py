"""The experiment from flags to figure at the smoke preset."""

import dataclasses

import numpy as np
import pytest

from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import common, topic_words


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("smoke")
    preset = topic_words.PRESETS["smoke"]
    options = Options(workdir=str(workdir), preset="smoke", **common.options_of(preset))
    return workdir, common.execute(topic_words, preset.config, options)


def test_smoke_run_writes_results_claims_and_figure(smoke):
    workdir, found = smoke
    assert (workdir / "DONE").exists()
    assert (workdir / "figures" / "topic_words.png").stat().st_size > 10_000
    read = Results.read(workdir)
    assert read.metrics == found.metrics
    assert [claim.id for claim in read.claims] == [
        *("topics_are_found_again", "a_superposition_explains_more", "documents_mix_topics"),
        *("topics_are_subjects", "ball_and_goal", "no_udon"),
    ]
    for name in ("mixture", "lda"):
        assert (read.per_seed(f"{name}/perplexity") < 0.8 * read.extra["unigram_perplexity"]).all()
        words = read.arrays[f"{name}/words"]
        assert words.shape == (2, 4, 60)
        np.testing.assert_allclose(words.sum(-1), 1, rtol=1e-4)
    assert read.extra["unigram_perplexity"] < 60  # a fair die's
    assert (read.per_seed("generated/distance") < 0.3).all()
    assert len(read.extra["drawn"]) == 4
    assert set(read.extra["drawn"][0]) <= set(read.extra["vocabulary"])
    assert "LDA" in topic_words.report(read)


def test_seeds_draw_documents_of_their_own(smoke):
    distances = smoke[1].per_seed("generated/distance")
    assert distances[0] != distances[1]


def test_figure_in_both_languages(smoke, font):
    figure = topic_words.figure(smoke[1])
    words = "".join(text.get_text() for text in figure.findobj(lambda o: hasattr(o, "get_text")))
    assert ("話題" in words) == (font == "with the font")
    assert ("Topic 1" in words) == (font == "without the font")


def test_recovery_matches_whatever_the_order():
    truth = np.random.default_rng(0).dirichlet(np.ones(6), 4)
    order = np.array([2, 0, 3, 1])
    found = topic_words.recovery(truth, truth[order])
    np.testing.assert_array_equal(order[found.order], range(4))
    np.testing.assert_allclose(found.distances, 0, atol=1e-12)
    far = topic_words.recovery(np.eye(4), np.roll(np.eye(4), 4, axis=1) * 0.5 + 0.125)
    np.testing.assert_allclose(far.distances, 0.375)


def test_recovery_is_one_to_one():
    truth = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    twice = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1]])  # one topic twice, the other missing
    found = topic_words.recovery(truth, twice)
    assert sorted(found.order) == [0, 1]
    np.testing.assert_allclose(found.distances.max(), 0.9)


def test_agreement_is_the_share_of_each_topic_s_commonest_label():
    topic = np.array([0, 0, 0, 2, 2])
    assert topic_words.agreement(topic, np.array([1, 1, 0, 0, 0])) == 0.8
    assert topic_words.agreement(np.zeros(5, int), np.array([1, 1, 0, 0, 0])) == 0.6


def test_mentions_of_one_s_own_words_and_of_the_farthest(smoke):
    words = np.array([[[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]])
    found = dataclasses.replace(smoke[1], arrays={"lda/words": words}, extra={"median_length": 3.0})
    top, foreign = topic_words.mentioned(found)
    np.testing.assert_allclose(top, [1 - 0.5**3])
    np.testing.assert_allclose(foreign, [0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_topics", 1), ("num_words", 3)),
        *((f"generated_{name}", 1) for name in ("documents", "topics", "words", "length")),
    ],
)
def test_bad_config_names_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name} must"):
        topic_words.Config(**{name: value})
