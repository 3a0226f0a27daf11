import numpy as np
import pytest

from dl_lectures.data import text
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results
from experiments import common, flags, lstm_gates


def test_smoke_preset(tmp_path):
    config, options = flags.resolve(lstm_gates, {"preset": "smoke", "workdir": str(tmp_path)})
    found = common.execute(lstm_gates, config, options)
    assert found.arrays["text_half_lives"].shape == (2, 16)
    assert found.arrays["text_drawn_f"].shape == (len(found.extra["sentence"]) + 1, 16)
    assert found.arrays["adding_drawn_i"].shape == (10, 16)
    assert found.arrays["adding_marks"].sum() == 2
    assert found.arrays["text_response"].shape == (65, 16)
    np.testing.assert_allclose(found.arrays["text_response"][0], 1.0, atol=1e-4)
    quantiles = [found.metrics[f"text/half_life_{q}"].mean for q in (10, 50, 90)]
    assert 0 < quantiles[0] < quantiles[1] < quantiles[2]
    assert len(found.claims) == 5
    assert (tmp_path / "figures" / "lstm_gates.png").stat().st_size > 10_000
    assert "half-life of cells" in lstm_gates.report(found)


def results_of(**per_seed):
    metrics = {name.replace("__", "/"): summarise(values) for name, values in per_seed.items()}
    return Results("lstm_gates", (15,), "quick", 0, 2, 100, {}, metrics, extra={"lag": 40})


def test_claims_hold_for_a_good_net_and_fail_for_a_bad_one():
    good = {
        "text__half_life_10": [1.0, 1.0],
        "text__half_life_90": [9.0, 9.1],
        "adding__half_life_longest": [50.0, 51.0],
        "text__forget_gate_at_newline": [0.3, 0.31],
        "text__forget_gate_elsewhere": [0.7, 0.7],
        "text__octaves_off": [0.1, 0.11],
        "adding__octaves_off": [0.1, 0.11],
    }
    verdicts = lambda found: [claim.verdict for claim in lstm_gates.claims(found)]
    assert verdicts(results_of(**good)) == 5 * ["holds"]
    bad = {
        "text__half_life_10": [1.0, 1.0],
        "text__half_life_90": [2.0, 2.1],
        "adding__half_life_longest": [10.0, 11.0],
        "text__forget_gate_at_newline": [0.7, 0.7],
        "text__forget_gate_elsewhere": [0.7, 0.7],
        "text__octaves_off": [2.1, 2.11],
        "adding__octaves_off": [1.1, 1.11],
    }
    assert verdicts(results_of(**bad)) == 5 * ["fails"]


def test_cells_that_outlive_the_observation_are_not_counted():
    """One cell halves in a step but by its gate in four: two octaves; the other never halves."""
    steps = np.arange(9)
    measured = np.stack([0.5**steps, np.ones(9)], axis=1)[None, None]
    predicted = np.stack([0.5 ** (steps / 4), np.ones(9)], axis=1)[None, None]
    f = np.full((1, 5, 2), 0.9)
    found = lstm_gates._summary(f, measured, predicted)
    np.testing.assert_allclose(found["octaves_off"], [2.0])


def test_the_sentence_is_unseen_and_whole():
    corpus = text.load("japanese_sentences")
    sentence = text.decode(lstm_gates._sentence(corpus), corpus.vocabulary)
    heldout = text.decode(corpus.heldout, corpus.vocabulary).split("\n")
    assert sentence in heldout and 20 <= len(sentence) <= 32
    assert sentence not in text.decode(corpus.train, corpus.vocabulary).split("\n")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"text_hidden": 8}, "--text_hidden must be at least 16"),
        ({"lag": 5}, "--lag must be at least 10"),
        ({"text_batch": 0}, "--text_batch"),
        ({"learning_rate": 0.0}, "--learning_rate"),
        ({"text_learning_rate": 0.0}, "--text_learning_rate"),
    ],
)
def test_bad_configurations_name_the_flag(wrong, words):
    with pytest.raises(ValueError, match=words):
        lstm_gates.Config(**wrong)
