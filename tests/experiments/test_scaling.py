"""The experiment from flags to figure at the smoke preset, its texts, nets, laws and claims."""

import collections
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.data import text
from dl_lectures.errors import UsageError
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results, read_curves
from dl_lectures.sequences import language_model
from experiments import common, flags, scaling

SMOKE = scaling.PRESETS["smoke"].config


def test_smoke_preset(tmp_path):
    config, options = flags.resolve(scaling, {"preset": "smoke", "workdir": str(tmp_path)})
    found = common.execute(scaling, config, options)
    assert (tmp_path / "figures" / "scaling.png").stat().st_size > 10_000
    assert list(found.extra["runs"]) == ["h8-d9", "h8-d1", "h32-d9", "h32-d1", "layers2"]
    assert found.extra["depths"] == ["h32-d1", "layers2"]
    assert [claim.id for claim in found.claims] == [
        "more_data_lowers_loss",
        "larger_nets_win_with_much_data",
        "larger_nets_need_data",
        "more_compute_lowers_loss",
        "deeper_is_steadily_better",
        "deepest_beats_widest",
    ]
    assert found.extra["laws"] == {}  # four runs fit no law of five parameters
    # The loss that counts is the test's at the step that the other half chose.
    curves = read_curves(tmp_path)
    chosen = curves["h32-d9/eval/selection_nats_per_char"].values.argmin(0)
    np.testing.assert_allclose(
        found.per_seed("h32-d9/nats_per_char"),
        curves["h32-d9/eval/nats_per_char"].values[chosen, [0, 1]],
    )
    np.testing.assert_array_equal(found.per_seed("h32-d9/updates"), (1 + chosen) * 50)
    assert found.metrics["h32-d1/nats_per_char"].mean < np.log(128) - 1  # it has begun to learn
    read = Results.read(tmp_path)
    assert scaling.report(read) == scaling.report(found)
    assert "8,960    2" in scaling.report(read)


@pytest.fixture
def few_resamples(monkeypatch):
    """Claims do not depend on the intervals of laws."""
    monkeypatch.setattr(scaling, "_NUM_RESAMPLES", 3)


# Texts and nets ---------------------------------------------------------------------------------


def test_commonest_characters_keep_a_code_and_the_rest_are_unknown():
    corpus = text.make("x", text.Units([*30 * ["abca"], *25 * ["bcaz"], "q"], is_list=False))
    codes = scaling.commonest(corpus, 4, corpus.train)
    words = text.decode(corpus.train, corpus.vocabulary)
    counts = collections.Counter(words.replace("\n", ""))
    (first, _), (second, _) = counts.most_common(2)
    expected = {"\n": 0, first: 2, second: 3}
    assert [expected.get(c, 1) for c in words] == codes.tolist()
    # With room for all nothing is lost but the order.
    codes = scaling.commonest(corpus, 99, corpus.train)
    assert len(set(codes.tolist())) == len(set(words))


def test_halves_are_whole_units():
    codes = np.array([5, 0, 6, 6, 6, 0, 7, 7, 0, 8, 8, 8, 8, 0])
    left, right = scaling.halves(codes)
    assert left.tolist() == [5, 0, 6, 6, 6, 0] and right.tolist() == codes[6:].tolist()


def test_streams_of_a_repeated_text_read_different_places():
    config = scaling.PRESETS["quick"].config
    data = scaling.load(config)
    model = scaling.net_config(config, scaling.Net(16, 8))
    for divisor in config.parts:
        length = len(data.train) // divisor
        positions = jnp.asarray(np.tile(np.arange(length, dtype=np.int32), divisor))
        chunk = language_model.contiguous_chunk(model, positions, jnp.int32(7), jnp.int32(3))
        starts = np.sort(np.asarray(chunk[:, 0]))
        gaps = np.diff(np.append(starts, starts[0] + length))
        assert gaps.min() > 0.9 * length / config.batch_size > config.num_unroll


def test_a_text_that_is_too_short_is_refused():
    config = dataclasses.replace(SMOKE, divisors="4999,1")
    with pytest.raises(UsageError, match="--divisors"):
        scaling.load(config)


def test_parameters_are_those_of_embedding_lstm_and_softmax():
    v, h, e = 100, 12, 6
    lstm = 4 * h * (e + h) + 4 * h
    expected = v * e + lstm + h * e + v
    assert scaling.count_params(SMOKE, scaling.Net(h, e), v) == expected
    second = 4 * h * (h + h) + 4 * h
    assert scaling.count_params(SMOKE, scaling.Net(h, e, 2), v) == expected + second


def test_deeper_nets_have_the_number_of_weights_next_to_the_wide_one():
    wide = scaling.Net(40, 20)
    target = scaling.count_params(SMOKE, wide, 100)
    counts = {h: scaling.count_params(SMOKE, scaling.Net(h, 20, 3), 100) for h in range(1, 41)}
    nearest = min(counts, key=lambda h: abs(counts[h] - target))
    assert scaling.equal_size(SMOKE, wide, 3, 100) == scaling.Net(nearest, 20, 3)


def test_a_run_ends_after_the_best_evaluation_of_each_seed(tmp_path):
    losses = np.array([[3.0, 3.0], [2.0, 2.5], [2.1, 2.4], [2.2, 2.6], [2.3, 2.7], [2.4, 2.8]])

    def evaluations(indices):
        for i in indices:
            yield {
                "updates": np.array(2 * [50.0 * (i + 1)]),
                "selection_nats_per_char": losses[i],
            }

    until = scaling.past_best(str(tmp_path), patience=2)
    answers = [until(evaluation) for evaluation in evaluations(range(6))]
    assert answers == [False, False, False, False, True, True]  # seed 1 was best at index 2
    # Continued from index 1 with a log that reaches further: the same answers.
    rows = [
        {"step": 50 * (i + 1), "seed": s, "eval/selection_nats_per_char": losses[i, s]}
        for i in range(5)
        for s in range(2)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    until = scaling.past_best(str(tmp_path), patience=2)
    assert [until(evaluation) for evaluation in evaluations(range(1, 6))] == answers[1:]


# Laws -------------------------------------------------------------------------------------------

PARAMS = np.repeat([6e3, 1.5e4, 4e4, 1.4e5], 4)
CHARS = np.tile([5.5e3, 1.65e4, 5e4, 1.5e5], 4)
SIZES, TEXTS = 1_000 * 3 ** np.arange(4), 5_000 * 3 ** np.arange(4)  # of `results_of`


@pytest.mark.parametrize("form", scaling.FORMS)
def test_a_law_is_found_again(form):
    law = scaling.Law(form, floor=1.8, n_c=3e4, a=0.25, d_c=9e4, b=0.35)
    nats = law(PARAMS, CHARS)
    found = scaling.fit(form, PARAMS, CHARS, nats, None)
    np.testing.assert_allclose(found(PARAMS, CHARS), nats, atol=1e-5)
    np.testing.assert_allclose(found[1:], law[1:], rtol=2e-2)
    # A bad start that is near enough finds it, too.
    again = scaling.fit(form, PARAMS, CHARS, nats, law._replace(floor=1.5, b=0.3))
    np.testing.assert_allclose(again[1:], law[1:], rtol=2e-2)
    noise = np.where(np.arange(16) % 3 == 0, 0.05, -0.02)
    worse = scaling.fit(form, PARAMS, CHARS, nats + noise, None)
    assert scaling.r_squared(nats + noise, worse(PARAMS, CHARS)) < 1


def test_formulas_of_the_laws():
    law = scaling.Law("sum", 1.8, 3e4, 0.25, 9e4, 0.35)
    expected = 1.8 + (3e4 / 5e3) ** 0.25 + (9e4 / 2e4) ** 0.35
    np.testing.assert_allclose(law(5e3, 2e4), expected)
    joint = law._replace(form="joint")
    expected = 1.8 + ((3e4 / 5e3) ** (0.25 / 0.35) + 9e4 / 2e4) ** 0.35
    np.testing.assert_allclose(joint(5e3, 2e4), expected)
    np.testing.assert_allclose(joint(5e3, 1e30), 1.8 + (3e4 / 5e3) ** 0.25, rtol=1e-6)
    np.testing.assert_allclose(joint(1e30, 2e4), 1.8 + (9e4 / 2e4) ** 0.35, rtol=1e-6)


def test_what_a_law_explains():
    nats = np.array([1.0, 2.0, 3.0])
    assert scaling.r_squared(nats, nats) == 1.0
    assert scaling.r_squared(nats, np.full(3, 2.0)) == 0.0


def test_extrapolation_leaves_out_the_last_row_and_column():
    law = scaling.Law("joint", 1.8, 3e4, 0.25, 9e4, 0.35)
    grid = scaling.Grid(PARAMS.reshape(4, 4), CHARS.reshape(4, 4), np.zeros((4, 4, 1)))
    nats = law(grid.num_params, grid.num_chars)
    assert scaling.extrapolation_error("joint", grid, nats, None) < 1e-3
    nats[-1, :-1] += 1.0  # would spoil a fit to all
    nats[:-1, -1] += 1.0
    nats[-1, -1] += 0.25
    np.testing.assert_allclose(
        scaling.extrapolation_error("joint", grid, nats, law), 0.25, atol=1e-3
    )


def results_of(nats, depths=(2.0, 1.9), curves=None):
    """Results of a grid of losses [n, d, S] and of nets of 1, 2, ... layers."""
    nats = np.asarray(nats, np.float64)
    num_seeds = nats.shape[2]
    names = [[f"h{i}-d{j}" for j in range(nats.shape[1])] for i in range(nats.shape[0])]
    runs, metrics, arrays = {}, {}, {}
    for i, row in enumerate(names):
        for j, name in enumerate(row):
            runs[name] = {"num_params": 1_000 * 3**i, "num_chars": 5_000 * 3**j, "num_layers": 1}
            metrics[f"{name}/nats_per_char"] = summarise(nats[i, j])
            metrics[f"{name}/updates"] = summarise(num_seeds * [200.0])
            arrays[f"steps/{name}"] = np.array([100, 200])
            arrays[f"nats/{name}"] = np.stack([nats[i, j] + 0.5, nats[i, j]])
            if curves is not None:
                arrays[f"nats/{name}"] = curves[i, j]
    for layers, value in enumerate(depths, start=1):
        runs[f"layers{layers}"] = {"num_params": 9_000, "num_chars": 5_000, "num_layers": layers}
        metrics[f"layers{layers}/nats_per_char"] = summarise(np.broadcast_to(value, num_seeds))
    extra = {
        "grid": names,
        "depths": [f"layers{n + 1}" for n in range(len(depths))],
        "runs": runs,
        "chars_per_update": 10,
        "laws": {},
        "frontier_law": {},
    }
    return Results(
        *("scaling", (44,), "quick", 0, num_seeds, 200, {}, metrics), extra=extra, arrays=arrays
    )


def test_frontier_is_the_least_loss_up_to_each_amount_of_computing():
    rng = np.random.default_rng(0)
    curves = rng.uniform(1.0, 3.0, (3, 3, 2, 4))  # [n, d, step, S]
    found = results_of(curves[:, :, -1], curves=curves)
    edge = scaling.frontier(found, np.array([0, 2, 2]))
    points = [
        (6 * 1_000 * 3**i * 10 * 200, curves[i, j, 1, [0, 2, 2]].mean())
        for i in range(3)
        for j in range(3)
    ]  # at step 100 nothing has settled
    best = {c: min(nats for d, nats in points if d <= c) for c, _ in points}
    for c, nats in best.items():
        np.testing.assert_allclose(edge.nats[edge.operations <= c][-1], nats)
    assert (np.diff(edge.nats) < 0).all() and (np.diff(edge.operations) >= 0).all()
    assert set(edge.num_params) <= {1_000, 3_000, 9_000}


def test_a_law_of_the_frontier_is_found_again():
    operations = np.geomspace(1e9, 1e12, 12)
    edge = scaling.Frontier(operations, 2.5 + (3e9 / operations) ** 0.3, np.ones(12))
    np.testing.assert_allclose(scaling.fit_frontier(edge), (2.5, 3e9, 0.3), rtol=1e-2)
    steep = scaling.Frontier(operations, 5 - 0.25 * np.log10(operations), np.ones(12))
    np.testing.assert_allclose(scaling.nats_per_tenfold(steep), 0.25)


def test_intervals_of_a_law_hold_it_and_narrow_without_noise():
    law = scaling.Law("sum", 1.8, 2e4, 0.5, 9e4, 0.4)
    nats = law(SIZES[:, None], TEXTS[None])[..., None]
    rng = np.random.default_rng(1)
    noisy = results_of(nats + rng.normal(0, 0.01, (4, 4, 4)))
    exact = results_of(nats + np.zeros((4, 4, 4)))
    widths = []
    for found in (noisy, exact):
        summary = scaling.laws(found)["sum"]
        low, high = summary["ci95"]["b"]
        widths.append(high - low)
        assert summary["r_squared"] > 0.99
    assert widths[0] > 10 * widths[1]


def judged(found):
    found.extra["laws"] = scaling.laws(found)
    return {claim.id: claim.verdict for claim in scaling.claims(found)}


@pytest.mark.usefixtures("few_resamples")
def test_claims_hold_for_good_results_and_fail_for_bad_ones():
    jitter = 1e-3 * np.array([-1.0, 0.0, 1.0])
    law = scaling.Law("joint", 1.5, 4e3, 0.4, 4e4, 0.4)
    nats = law(SIZES[:, None], TEXTS[None])[..., None] + jitter
    verdicts = judged(results_of(nats, depths=(2.0, 1.9 + jitter, 1.8)))
    assert len(verdicts) == 8 and set(verdicts.values()) == {"holds"}, verdicts
    # Neither size nor data is worth anything, and no law has such a jump as the last run.
    rough = np.array([[0.0, 0.1, 0.2, 0.0], [0.1, 0.2, 0.0, 0.1], [0.2, 0.0, 0.1, 0.2], 4 * [0.1]])
    rough[-1, -1] = 0.5
    verdicts = judged(results_of(3 + rough[..., None] + jitter, depths=(2, 1.9, 2.05 + jitter)))
    assert len(verdicts) == 8 and set(verdicts.values()) == {"fails"}, verdicts


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize(("offset", "verdict"), [(0.0, "holds"), (0.5, "fails")])
def test_prediction_of_the_largest_run_is_judged(offset, verdict):
    law = scaling.Law("joint", 1.5, 2e4, 0.3, 9e4, 0.4)
    nats = law(SIZES[:, None], TEXTS[None])[..., None] + 1e-4 * np.array([-1.0, 0.0, 1.0])
    nats[-1, -1] += offset
    assert judged(results_of(nats))["power_law_predicts"] == verdict


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hidden_sizes": "16,x"}, "--hidden_sizes must be numbers"),
        ({"hidden_sizes": "64"}, "--hidden_sizes=64 must be two or more"),
        ({"hidden_sizes": "64,16"}, "--hidden_sizes must increase"),
        ({"divisors": "1,3"}, "--divisors decrease"),
        ({"divisors": "4,1"}, "--batch_size=32"),
        ({"divisors": "3,3"}, "different numbers"),
        ({"depths": "2,3"}, "--depths=2,3 must begin with 1"),
        ({"depths": "0,1"}, "--depths=0,1"),
        ({"depth_hidden": 50}, "--depth_hidden=50 must be one of"),
        ({"num_symbols": 2}, "--num_symbols"),
        ({"patience": 0}, "--patience"),
        ({"learning_rate": 0.0}, "--learning_rate"),
    ],
)
def test_bad_configurations_name_the_flag(wrong, words):
    with pytest.raises(ValueError, match=words):
        scaling.Config(**wrong)
