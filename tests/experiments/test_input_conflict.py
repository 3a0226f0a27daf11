"""The experiment from flags to figure at the smoke preset, resumed, and its claims."""

import dataclasses
import itertools

import numpy as np
import pytest

from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import common, input_conflict

NAMES = [
    input_conflict.part_name(*part)
    for part in itertools.product(("input", "output"), (False, True), ("slide", "random"))
]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("smoke")
    preset = input_conflict.PRESETS["smoke"]
    options = Options(workdir=str(workdir), preset="smoke", **common.options_of(preset))
    return workdir, preset, options, common.execute(input_conflict, preset.config, options)


def test_smoke_run_writes_results_claims_and_figure(smoke):
    workdir, _, _, found = smoke
    assert (workdir / "DONE").exists()
    assert (workdir / "figures" / "input_conflict.png").stat().st_size > 10_000
    read = Results.read(workdir)
    assert read.metrics == found.metrics
    assert len(read.claims) == 14 and len({claim.id for claim in read.claims}) == 14
    verdicts = {claim.id: claim.verdict for claim in read.claims}
    for conflict in ("input", "output"):  # theorems, however short the run
        assert verdicts[f"{conflict}_stalls"] == "holds"
        assert verdicts[f"{conflict}_pushes_oppose"] == "holds"
        assert verdicts[f"{conflict}_pushes_cancel"] == "holds"
    no_gate = read.arrays["input_no_gate_slide/pushes"]
    assert no_gate.shape == (64, 6)
    np.testing.assert_allclose(np.median(no_gate, 0), [5 / 6, *[-1 / 6] * 5], atol=0.03)
    # By hand, as in test_carousel; w is 1 / 6 but for the noise of batches.
    on_slide = np.median(read.arrays["input_no_gate_slide/pushes_of_slide"], axis=0)
    np.testing.assert_allclose(on_slide, 23 / 28 * np.array([3, -1, -2, -2, -2, -1]), rtol=0.05)
    held = np.median(read.arrays["output_no_gate_slide/pushes_of_slide"], axis=0)
    np.testing.assert_allclose(held, 27 / 14 * np.array([5, *[-1] * 5]) / 6, rtol=0.1)
    steps = read.arrays["input_gate_slide/steps"]
    np.testing.assert_array_equal(steps, np.arange(10, 201, 10))
    first = np.median(read.arrays["input_gate_slide/push_of_first"], axis=1)
    assert first[0] > 0.4 > 0.05 > first[-1]  # the gate ends the conflict
    assert "AGCCCG" in input_conflict.report(read)
    assert set(read.metrics) >= {f"{name}/solved" for name in NAMES}


def test_run_that_was_cut_is_the_same_run(monkeypatch, tmp_path):
    monkeypatch.setattr(input_conflict, "CONFLICTS", ("input",))
    monkeypatch.setattr(input_conflict, "ALPHABETS", ("slide",))
    config = input_conflict.Config(batch_size=8, num_eval_batches=1)
    options = Options(
        workdir=str(tmp_path),
        num_seeds=2,
        steps=20,
        log_every=5,
        eval_every=10,
        checkpoint_every=10,
    )

    def run(name, steps):
        workdir = tmp_path / name
        workdir.mkdir(exist_ok=True)
        found = input_conflict.run(
            config, dataclasses.replace(options, workdir=str(workdir), steps=steps)
        )
        return found.state_sha256, (workdir / "metrics.jsonl").read_bytes()

    run("cut", 10)
    assert run("cut", 20) == run("whole", 20)


def results_of(surviving, opposing, solved, solved_with_gate, gross, gross_with_gate):
    """Results of 100 seeds in which both conflicts and alphabets are alike."""
    metrics = {}
    for name in NAMES:
        without = "no_gate" in name
        metrics |= {
            f"{name}/surviving_share": summarise([surviving] * 100),
            f"{name}/opposing_share": summarise([opposing] * 100),
            f"{name}/solved": summarise([solved if without else solved_with_gate] * 100),
            f"{name}/gross_push": summarise([gross if without else gross_with_gate] * 100),
        }
    return Results("input_conflict", (12,), "quick", 0, 100, 100, {}, metrics)


def test_claims_hold_where_the_lecture_is_right_and_fail_where_not():
    right = results_of(0.1, 1.0, 0.0, 1.0, 1.7, 0.01)
    assert {claim.verdict for claim in input_conflict.claims(right)} == {"holds"}
    wrong = results_of(0.5, 0.4, 1.0, 0.0, 1.7, 1.0)
    assert {claim.verdict for claim in input_conflict.claims(wrong)} == {"fails"}
