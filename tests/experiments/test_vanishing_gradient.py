"""The experiment from flags to figure at the smoke preset, and its verdicts on made-up results."""

import dataclasses

import jax
import numpy as np
import pytest

from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import common, vanishing_gradient

CLAIMS = [
    "rnn_gradient_vanishes",
    "relu_avoids_vanishing",
    "relu_of_he_keeps_gradient",
    "irnn_keeps_gradient",
    "untrained_lstm_keeps_gradient",
    "trained_lstm_keeps_gradient",
    "backpropagation_time_is_linear",
    "backpropagation_memory_is_linear",
    "rematerialisation_takes_the_root",
    "truncation_forgets",
]


def test_smoke_run_writes_results_claims_and_figure(tmp_path):
    preset = vanishing_gradient.PRESETS["smoke"]
    options = Options(workdir=str(tmp_path), preset="smoke", **common.options_of(preset))
    found = common.execute(vanishing_gradient, preset.config, options)
    assert (tmp_path / "figures" / "vanishing_gradient.png").stat().st_size > 10_000
    read = Results.read(tmp_path)
    assert read.metrics == found.metrics
    assert [claim.id for claim in read.claims] == CLAIMS
    np.testing.assert_array_equal(read.arrays["lags"], np.arange(65))
    for name in vanishing_gradient.NETS:
        norms = read.arrays[f"{name}_log10_norms"]
        bounds = read.arrays[f"{name}_log10_bounds"]
        assert norms.shape == bounds.shape == (2, 65, 4)
        np.testing.assert_allclose(norms[:, 0], 0.0, atol=1e-6)  # relative to lag 0
        assert (norms <= bounds + 1e-3).all()
        assert (norms[0] != norms[1]).any()  # training changed something
        assert max(read.metrics[f"{name}/disagreement_decades"].per_seed) < 1e-3
        in_c = read.arrays[f"{name}_share_of_c"]
        assert (in_c > 0.1).any() == (name == "lstm")
    np.testing.assert_array_equal(read.arrays["cost_lengths"], [64, 256])
    assert (read.arrays["cost_seconds"] > 0).all()  # [3 repetitions, 3 kinds, 2 lengths]
    growth = read.arrays["cost_bytes"][:, 1] / read.arrays["cost_bytes"][:, 0]
    np.testing.assert_allclose(growth, [4, 2, 1], rtol=0.2)
    report = vanishing_gradient.report(read)
    assert "tanh RNN" in report and "rematerialised" in report

    # A run that was stopped after its parts takes them as they are, the times, too.
    (tmp_path / "DONE").unlink()
    (tmp_path / "results.json").unlink()
    again = common.execute(vanishing_gradient, preset.config, options)
    assert again.metrics == found.metrics
    assert again.state_sha256 == found.state_sha256
    np.testing.assert_array_equal(again.arrays["cost_seconds"], found.arrays["cost_seconds"])


def made_up(rates, seconds_slopes=(0.95, 1.0, 1.05), bytes_slopes=(1.0, 0.5, 0.0)):
    """Results of 30 seeds in which gradients lose so many decades per 100 steps."""
    lags, lengths = np.arange(0, 513, 4), np.array([64, 256, 1024])
    spread = np.linspace(0.98, 1.02, 30)  # of the seeds
    metrics, arrays = {}, {"lags": lags, "cost_lengths": lengths}
    for name in vanishing_gradient.NETS:
        lost = np.array(rates.get(name, (0.0, 0.0)))  # before, after training
        norms = -lost[:, None, None] * lags[:, None] / 100 * spread
        arrays[f"{name}_log10_norms"] = norms
        for phase, at_the_end in zip(("start", "trained"), norms[:, -1], strict=True):
            for what, values in vanishing_gradient.fates(at_the_end).items():
                metrics[f"{name}/{phase}/{what}"] = summarise(values)
    arrays["cost_seconds"] = 1e-5 * np.stack(
        [np.stack([np.float64(lengths) ** slope] * 3) for slope in seconds_slopes]
    )
    arrays["cost_bytes"] = np.stack([1e4 * np.float64(lengths) ** slope for slope in bytes_slopes])
    return Results(
        *("vanishing_gradient", (10, 11), "quick", 0, 30, 100, {}, metrics), arrays=arrays
    )


def verdicts(found):
    return {claim.id: claim.verdict for claim in vanishing_gradient.claims(found)}


def test_claims_hold_where_the_lecture_is_right():
    rates = {"rnn": (4.0, 3.0), "relu": (1.0, 1.0), "lstm": (1.5, 1.0)}
    assert set(verdicts(made_up(rates)).values()) == {"holds"}


def test_claims_fail_where_it_is_wrong():
    rates = {
        "rnn": (1.0, 1.0),
        "relu": (15.0, 15.0),
        "relu_he": (-5.0, 0.0),
        "irnn": (0.0, -2.0),  # explodes after training only
        "lstm": (0.6, 0.6),
    }
    found = made_up(rates, seconds_slopes=(1.4, 1.5, 1.6), bytes_slopes=(0.5, 1.0, 1.0))
    assert set(verdicts(found).values()) == {"fails"}


def test_slopes_are_exponents():
    found = made_up({}, seconds_slopes=(0.8, 1.2), bytes_slopes=(1.0, 0.4, 0.0))
    slopes = vanishing_gradient.slopes(found, "seconds")  # [R, 3]
    np.testing.assert_allclose(slopes, [[0.8] * 3, [1.2] * 3])
    np.testing.assert_allclose(
        vanishing_gradient.slopes(found, "bytes"), [1.0, 0.4, 0.0], atol=1e-9
    )


def test_fates():
    fates = vanishing_gradient.fates(np.array([-np.inf, -7.0, -5.0, 5.0, 7.0, np.nan]))
    np.testing.assert_array_equal(fates["dead"], [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(fates["vanished"], [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(fates["exploded"], [0, 0, 0, 0, 1, 1])


def test_disagreement_is_taken_where_float32_is_at_ease():
    norms = np.zeros((2, 3, 2))  # [phases, L, S]
    autodiff = norms.copy()
    norms[1, 2], autodiff[1, 2] = -40.0, -np.inf  # underflow is no disagreement
    autodiff[0, 1, 1] = 0.25
    found = vanishing_gradient.disagreement(
        vanishing_gradient.Measured(norms, norms, autodiff, norms)
    )
    np.testing.assert_array_equal(found, [0.0, 0.25])


def test_gradients_without_a_slope_count():
    found = made_up({"rnn": (2.0, 2.0)})
    norms = found.arrays["rnn_log10_norms"][0]
    norms[1:, 0] = -np.inf  # zero at once
    norms[:, 1] = np.nan  # the forward pass overflowed
    np.testing.assert_allclose(
        vanishing_gradient.decades_lost(found, "start", "rnn")[[0, 1, -1]],
        [100.0, -100.0, 2.0 * 1.02],
    )


def test_he_start_doubles_the_variance_of_the_recurrent_weights_alone():
    config = vanishing_gradient.Config(num_hidden=4)
    plain, he = (
        vanishing_gradient.make(config, name).init(jax.random.key(0)).params
        for name in ("relu", "relu_he")
    )
    np.testing.assert_allclose(he.layer.w_h, np.sqrt(2) * plain.layer.w_h, rtol=1e-6)
    np.testing.assert_array_equal(he.layer.w_x, plain.layer.w_x)
    np.testing.assert_array_equal(he.w_out, plain.w_out)


def test_stored_lags_and_lengths():
    config = vanishing_gradient.Config(max_lag=1000, cost_length=5000)
    lags = vanishing_gradient.stored_lags(config)
    assert lags[0] == 0 and lags[-1] == 1000 and len(lags) == 129
    assert set(np.diff(lags)) <= {7, 8}
    assert vanishing_gradient.cost_lengths(config) == [64, 256, 1024, 4096]
    short = dataclasses.replace(config, max_lag=5)
    np.testing.assert_array_equal(vanishing_gradient.stored_lags(short), np.arange(6))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", -1.0), ("lag", 1), ("num_hidden", 0), ("batch_size", 0)),
        *(("max_lag", 1), ("cost_length", 100), ("cost_hidden", 0), ("cost_batch", 0)),
        *(("repetitions", 0), ("truncation", 0), ("truncation", 24)),
    ],
)
def test_bad_flags_are_named(name, value):
    with pytest.raises(ValueError, match=f"--{name}"):
        vanishing_gradient.Config(**{name: value})
