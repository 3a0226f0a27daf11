import json

import numpy as np
import pytest

from dl_lectures.reporting import plotting
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results, read_curves
from experiments import common, flags, long_term_memory


def test_smoke_preset(tmp_path):
    config, options = flags.resolve(long_term_memory, {"preset": "smoke", "workdir": str(tmp_path)})
    found = common.execute(long_term_memory, config, options)
    assert set(found.extra["runs"]) == {"adding-rnn-4", "adding-lstm-4"}
    assert [claim.id for claim in found.claims] == ["lstm_remembers_adding", "rnn_forgets_adding"]
    errors = found.metrics["adding-lstm-4/error"].per_seed
    assert max(errors) < 1 / 6  # it has begun to learn
    assert (tmp_path / "figures" / "long_term_memory.png").stat().st_size > 10_000
    curves = read_curves(tmp_path)  # of all parts, joined
    assert curves["adding-rnn-4/loss"].values.shape == (3, 4)
    np.testing.assert_array_equal(curves["adding-lstm-4/eval/error"].steps, [50, 100, 150])
    # Finished parts are read, not run again: one that was tampered with stays so.
    path = tmp_path / "parts" / "adding-rnn-4" / "results.json"
    stored = json.loads(path.read_text())
    stored["metrics"]["error"]["mean"] = 7.0
    path.write_text(json.dumps(stored))
    parts = common.run_parts(options, {"adding-rnn-4": None})
    assert parts.found["adding-rnn-4"].metrics["error"].mean == 7.0


def test_cohorts_are_the_seeds_of_one_run(tmp_path):
    """What a seed finds does not depend on how many train beside it."""
    flag_values = {"preset": "smoke", "cells": "lstm", "num_seeds": 5, "steps": 100}

    def run(name, **more):
        given = flag_values | {"workdir": str(tmp_path / name)} | more
        return common.execute(long_term_memory, *flags.resolve(long_term_memory, given))

    whole, parted = run("whole"), run("parted", cohort=2)
    for metric in ("solved", "error", "updates_to_solve"):
        np.testing.assert_allclose(
            parted.per_seed(f"adding-lstm-4/{metric}"),
            whole.per_seed(f"adding-lstm-4/{metric}"),
            rtol=1e-4,
        )
    folder = tmp_path / "parted" / "parts" / "adding-lstm-4" / "parts"
    assert sorted(path.name for path in folder.iterdir()) == ["seed-0", "seed-2", "seed-4"]
    assert Results.read(folder / "seed-4").num_seeds == 1


def results_of(solved, updates, lags_of=None):
    metrics, runs = {}, {}
    for cell in solved:
        for lag in lags_of[cell] if lags_of else [40]:
            name = f"adding-{cell}-{lag}"
            metrics[f"{name}/solved"] = summarise(solved[cell])
            metrics[f"{name}/updates_to_solve"] = summarise(updates[cell])
            metrics[f"{name}/error"] = summarise(16 * [0.01])
            runs[name] = {"problem": "adding", "cell": cell, "lag": lag}
    extra = {"problems": ["adding"], "claim_lag": 40, "runs": runs}
    extra["chance_error"] = {"adding": 1 / 6}
    return Results("long_term_memory", (13,), "quick", 0, 16, 3_000, {}, metrics, extra=extra)


def test_claims_follow_the_seeds():
    all_of, none = 16 * [1.0], 16 * [0.0]
    good = results_of(
        {"lstm": all_of, "rnn": none, "lstm_no_forget_gate": all_of},
        {"lstm": 16 * [500], "rnn": 16 * [3_000], "lstm_no_forget_gate": 16 * [800]},
    )
    assert [claim.verdict for claim in long_term_memory.claims(good)] == 3 * ["holds"]
    assert long_term_memory.claims(good)[2].value == pytest.approx(1.6)
    assert "at lag 40 the LSTM solves it on 90 %" in long_term_memory.report(good)
    bad = results_of(
        {"lstm": 12 * [0.0] + 4 * [1.0], "rnn": all_of, "lstm_no_forget_gate": all_of},
        {"lstm": 16 * [3_000], "rnn": 16 * [500], "lstm_no_forget_gate": 16 * [3_000]},
    )
    assert [claim.verdict for claim in long_term_memory.claims(bad)] == 2 * ["fails"]
    assert "at lag" not in long_term_memory.report(bad)
    useless = results_of(
        {"lstm": all_of, "rnn": none, "lstm_no_forget_gate": all_of},
        {"lstm": 16 * [500], "rnn": 16 * [3_000], "lstm_no_forget_gate": 16 * [510]},
    )
    assert long_term_memory.claims(useless)[2].verdict == "fails"


@pytest.mark.parametrize(
    ("lags", "drawn"),
    [
        ({"lstm": [40]}, ["lstm"]),
        ({"lstm_no_input_gate": [40]}, ["lstm_no_input_gate"]),
        ({"lstm": [40], "lstm_no_input_gate": [40]}, ["lstm", "lstm_no_input_gate"]),
        ({"lstm": [20, 40], "lstm_no_input_gate": [40]}, ["lstm"]),
        ({"lstm": [20, 40], "lstm_no_input_gate": [20, 40]}, ["lstm", "lstm_no_input_gate"]),
    ],
)
def test_figure_draws_a_line_for_every_net_and_for_ablations_that_have_one(lags, drawn):
    solved, updates = ({cell: 16 * [value] for cell in lags} for value in (1.0, 500))
    figure = long_term_memory.figure(results_of(solved, updates, lags))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [plotting.text(*common.CELL_LABELS[cell]) for cell in drawn]


def test_grid_has_every_net_at_every_lag_and_ablations_at_theirs():
    config = long_term_memory.Config(
        problems="adding,copy", cells="rnn,lstm", lags="10,20", ablation_lags="20", claim_lag=20
    )
    runs = long_term_memory.grid(config)
    assert len(runs) == 2 * (2 * 2 + 3)
    assert runs["copy-lstm_no_input_gate-20"].problem == "copy"
    assert runs["adding-rnn-10"].learning_rate == 3e-3
    assert runs["adding-lstm-10"].learning_rate == 1e-2
    quick = long_term_memory.grid(long_term_memory.PRESETS["quick"].config)
    assert {run.lag for run in quick.values()} == {10, 20, 40, 60}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"problems": "adding,sorting"}, "--problems: 'sorting'"),
        ({"cells": "lstm,lstm"}, "--cells=lstm,lstm names one twice"),
        ({"lags": "40,ten"}, "--lags must be numbers"),
        ({"lags": "60,40"}, "--lags=60,40 must increase"),
        ({"claim_lag": 50}, "--claim_lag=50 must be one of"),
        ({"problems": "temporal_order", "lags": "5,40"}, "--lag of temporal_order"),
        ({"num_hidden": 0}, "--num_hidden"),
        ({"cohort": 0}, "--cohort"),
    ],
)
def test_bad_configurations_name_the_flag(wrong, words):
    with pytest.raises(ValueError, match=words):
        long_term_memory.Config(**wrong)
