"""The language model's experiment from text to figure, small."""

import dataclasses
import json

import numpy as np
import pytest

from dl_lectures.data import text
from dl_lectures.errors import UsageError
from dl_lectures.sequences import ngram
from dl_lectures.training.options import Options
from experiments import common, flags, language_model

SMOKE = language_model.PRESETS["smoke"]


def options(workdir, **changed):
    return Options(workdir=str(workdir), preset="smoke", **(common.options_of(SMOKE) | changed))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "smoke"
    found = common.execute(language_model, SMOKE.config, options(workdir))
    return workdir, found


def test_smoke_preset_learns_more_than_the_alphabet(smoke):
    _, found = smoke
    assert (found.preset, found.num_seeds, found.steps) == ("smoke", 2, 100)
    nats, bits = (
        np.array(found.metrics[name].per_seed) for name in ("nll_nats_per_char", "bits_per_char")
    )
    np.testing.assert_allclose(bits, nats / np.log(2), rtol=1e-5)
    assert nats.max() < found.arrays["ngram_nats_per_char"][0] - 0.1  # a uniform guess has 7.8


def test_baselines_are_those_of_the_same_characters(smoke):
    _, found = smoke
    corpus = text.load("japanese_sentences")
    model = ngram.fit(corpus.train, len(corpus.vocabulary), 5, text.NEWLINE)
    rows = ngram.log_probabilities(model, corpus.heldout)
    assert rows.shape == (5, found.extra["num_heldout_chars"])
    np.testing.assert_allclose(found.arrays["ngram_nats_per_char"], -rows.mean(1))
    np.testing.assert_allclose(
        found.arrays["ngram_nats_per_char"], [5.378, 3.661, 3.369, 3.423, 3.504], atol=1e-3
    )


def test_claims_compare_with_the_best_and_with_the_orderless(smoke):
    _, found = smoke
    beats, informs = found.claims
    nats, ngrams = found.metrics["nll_nats_per_char"].mean, found.arrays["ngram_nats_per_char"]
    assert beats.value == pytest.approx(nats - ngrams[2])
    assert informs.value == pytest.approx(ngrams[0] - nats)
    assert (beats.verdict, beats.threshold, informs.threshold) == ("fails", 0.0, 1.0)


def test_report_and_files(smoke):
    workdir, found = smoke
    said = language_model.report(found)
    for words in ("3-gram (Witten-Bell)", "3.369", "4.861", "LSTM", *found.extra["samples"]):
        assert words in said
    assert len(found.extra["samples"]) == SMOKE.config.num_samples
    assert not any("\n" in sample for sample in found.extra["samples"])
    assert {p.suffix for p in (workdir / "figures").iterdir()} == {".png", ".svg"}
    stored = json.loads((workdir / "results.json").read_text())
    assert stored["extra"]["samples"] == found.extra["samples"]


def test_running_text_from_a_file_continues_the_prompt(tmp_path):
    path = tmp_path / "squares.txt"
    path.write_text("".join(f"the square of {i} is {i * i}.\n" for i in range(200)))
    config = dataclasses.replace(
        SMOKE.config, text=str(path), prompt="the square", num_samples=3, temperature=0.0
    )
    found = language_model.run(config, options(tmp_path / "run", num_seeds=1, steps=4))
    assert found.extra["text"] == "squares.txt"
    assert [len(s) for s in found.extra["samples"]] == 3 * [len("the square") + 100]
    assert all(sample.startswith("the square") for sample in found.extra["samples"])
    assert len(set(found.extra["samples"])) == 1  # at temperature 0


def test_bad_texts_are_usage_errors(tmp_path):
    config = dataclasses.replace(SMOKE.config, text=str(tmp_path / "absent.txt"))
    with pytest.raises(UsageError, match="absent.txt"):
        language_model.run(config, options(tmp_path / "run"))
    path = tmp_path / "short.txt"
    path.write_text("".join(f"a line of number {i}, not long\n" for i in range(100)))
    config = dataclasses.replace(SMOKE.config, text=str(path), num_unroll=5_000)
    with pytest.raises(UsageError, match="--num_unroll=5000"):
        language_model.run(config, options(tmp_path / "run"))


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"top_p": 0.0}, "--top_p"),
        ({"temperature": -1.0}, "--temperature"),
        ({"sample_length": 0}, "--sample_length"),
        ({"num_hidden": 0}, "--num_hidden"),
    ],
)
def test_bad_configurations_name_the_flag(wrong, flag):
    with pytest.raises(ValueError, match=flag):
        language_model.Config(**wrong)


def test_large_texts_have_a_full_preset_of_their_own():
    given = {"preset": "full", "dataset": "tatoeba", "workdir": "w", "dropout_output": 0.2}
    config, options = flags.resolve(language_model, given)
    assert (config.num_hidden, config.dataset, config.dropout_output) == (512, "tatoeba", 0.2)
    assert options.steps == config.decay_steps == 4_000
    small, _ = flags.resolve(language_model, {"preset": "full", "workdir": "w"})
    assert (small.num_hidden, small.dataset) == (256, "japanese_sentences")
    given["preset"] = "smoke"
    assert flags.resolve(language_model, given)[0].num_hidden == 32
