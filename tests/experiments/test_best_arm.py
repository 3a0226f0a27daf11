"""The experiment from flags to figure at the smoke preset."""

import dataclasses

import numpy as np
import pytest

from dl_lectures.bandits import best_arm as best_arm_lib
from dl_lectures.errors import Stopped
from dl_lectures.reporting import plotting
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results
from dl_lectures.training import signals
from dl_lectures.training.options import Options
from experiments import best_arm, common

_OF_BUDGETS = [
    "slide_rule_errs",
    "five_is_too_few",
    "halving_beats_slide_at_its_own_pulls",
    "halving_beats_scaled_slide",
    "uniform_is_worst",
]
_OF_TRACKING = [
    "track_and_stop_keeps_delta",
    "track_and_stop_beats_lucb",
    "choice_of_arms_pays",
    "track_and_stop_nears_bound",
]


def test_smoke_run_writes_results_claims_and_figure(tmp_path, monkeypatch):
    preset = best_arm.PRESETS["smoke"]
    options = Options(workdir=str(tmp_path), preset="smoke", **common.options_of(preset))

    # A signal before the third algorithm: the first two are kept.
    asked = iter([False] * 5)  # their budgets are four; the scaled rule's first is the fifth
    monkeypatch.setattr(signals, "received", lambda: next(asked, True))
    with pytest.raises(Stopped, match="continues"):
        common.execute(best_arm, preset.config, options)
    assert (tmp_path / "parts" / "problem4_uniform" / "DONE").exists()
    assert not (tmp_path / "parts" / "problem4_slide_scaled" / "DONE").exists()
    monkeypatch.setattr(signals, "received", lambda: False)

    found = common.execute(best_arm, preset.config, options)
    assert (tmp_path / "DONE").exists()
    assert (tmp_path / "figures" / "best_arm.png").stat().st_size > 10_000
    read = Results.read(tmp_path)
    assert read.metrics == found.metrics
    # LUCB with proven intervals needs more pulls than --steps, and is not judged.
    assert read.metrics["sure_lucb_proven/unsure_0.1"].mean == 1
    assert [claim.id for claim in read.claims] == [*_OF_BUDGETS, *_OF_TRACKING]
    assert read.arrays["problem4_uniform/budgets"].tolist() == [55, 75, 150, 301]
    assert read.arrays["problem4_uniform/spent"].tolist() == [54, 72, 150, 300]
    errors = read.arrays["problem4_top_two/errors"]
    assert errors.shape == (4, 2)
    np.testing.assert_allclose(
        errors.mean(1) * 100, read.arrays["problem4_top_two/num_wrong"], rtol=1e-6
    )
    np.testing.assert_array_equal(errors[0], read.per_seed("problem4_top_two/error_55"))
    assert 0.3 < errors[0].mean() < 0.8  # five of six arms are wrong
    pulls = read.metrics["sure_track_and_stop/pulls_0.1"].mean
    assert read.extra["least_pulls"][0] < pulls < 4 * read.extra["least_pulls"][0]
    assert "problem 4, H1 = 601" in best_arm.report(read)

    # What is finished is not played again.
    (tmp_path / "DONE").unlink()
    monkeypatch.setattr(best_arm_lib, "_play", None)
    again = common.execute(best_arm, preset.config, options)
    assert again.metrics == found.metrics
    assert again.state_sha256 == found.state_sha256


def results_of(problems=(1, 5), error=0.2, pulls=3_000.0, unsure=0.0):
    """Made-up results: all algorithms err alike, but for the slide's own and for uniform's."""
    seeds = np.array([0.99, 1.0, 1.01])
    metrics, arrays = {}, {}
    config = best_arm.Config(problems=",".join(map(str, problems)))
    for i in problems:
        budgets = best_arm.budgets_of(config, best_arm.PROBLEMS[i])
        for name in best_arm.plans(config, best_arm.PROBLEMS[i]):
            errors = np.array([0.8, 2 * error, error, error / 2])[:, None] * seeds
            errors = errors + 0.1 * (name == "uniform")
            arrays |= {
                f"problem{i}_{name}/budgets": np.array(budgets),
                f"problem{i}_{name}/spent": np.array(budgets),
                f"problem{i}_{name}/errors": errors,
                f"problem{i}_{name}/num_wrong": np.rint(errors.mean(1) * 300).astype(int),
            }
    for name in best_arm.sure_plans():
        deltas = best_arm.DELTAS[:1] if name == "lucb_proven" else best_arm.DELTAS
        factor = 1.0 if name == "track_and_stop" else 2.0
        for delta in deltas:
            metrics[f"sure_{name}/error_{delta:g}"] = summarise(error * delta * seeds)
            metrics[f"sure_{name}/pulls_{delta:g}"] = summarise(factor * pulls * seeds)
            metrics[f"sure_{name}/unsure_{delta:g}"] = summarise(unsure * np.ones(3))
        arrays[f"sure_{name}/num_wrong"] = np.zeros(len(deltas), int)
        arrays[f"sure_{name}/quantiles"] = factor * pulls * np.ones((3, len(deltas)))
    extra = {
        "num_runs": 100,
        "problems": list(problems),
        "num_arms": {str(i): len(best_arm.PROBLEMS[i]) for i in problems},
        "h1": {str(i): 2_000.0 for i in problems},
        "slide_pulls": {"1": 200, "5": 145},
        "least_pulls": [500.0, 1_500.0, 2_000.0],
    }
    common_fields = ("best_arm", (20, 21), "quick", 0, 3, 100_000, {}, metrics)
    return Results(*common_fields, extra=extra, arrays=arrays)


def test_claims_hold_for_good_and_fail_for_bad_results():
    good = {claim.id: claim.verdict for claim in best_arm.claims(results_of())}
    assert list(good) == [*_OF_BUDGETS, "lucb_keeps_delta", *_OF_TRACKING]
    assert set(good.values()) == {"holds"}
    bad = {claim.id: claim for claim in best_arm.claims(results_of(error=2.0, pulls=5_000.0))}
    assert bad["five_is_too_few"].verdict == "fails"
    assert bad["five_is_too_few"].value == pytest.approx(2.5)
    assert bad["track_and_stop_keeps_delta"].verdict == "fails"
    assert bad["lucb_keeps_delta"].verdict == "fails"
    assert bad["track_and_stop_nears_bound"].value == pytest.approx(2.5)
    assert bad["track_and_stop_nears_bound"].verdict == "fails"
    unsure = [claim.id for claim in best_arm.claims(results_of(unsure=0.01))]
    assert unsure == _OF_BUDGETS


def test_figure_of_one_and_two_problems(font, tmp_path):
    for problems in ((1,), (1, 5)):
        figure = best_arm.figure(results_of(problems))
        titles = [ax.get_title() for ax in figure.axes if ax.axison]
        assert len(titles) == 1 + len(problems)
        png, _ = plotting.save(figure, tmp_path / str(len(problems)))
        assert png.stat().st_size > 10_000


def test_problems_are_those_of_the_paper():
    """H1 is near the budgets of Audibert & Bubeck's figure, and the best arm comes first."""
    for number, budget in ((1, 2_000), (2, 2_000), (4, 600), (6, 6_000), (7, 6_000)):
        assert best_arm_lib.complexity(best_arm.PROBLEMS[number]).h1 == pytest.approx(
            budget, rel=0.05
        )
    for means in (*best_arm.PROBLEMS.values(), *best_arm.SURE_PROBLEMS.values()):
        assert np.argmax(means) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_runs", 0),
        ("problems", ""),
        ("problems", "1,8"),
        ("problems", "1,1"),
        ("problems", "one"),
        ("max_budget", 0.1),
        ("max_budget", float("nan")),
        ("num_tries", -1),
    ],
)
def test_bad_flags_are_named(field, value):
    with pytest.raises(ValueError, match=f"--{field} "):
        dataclasses.replace(best_arm.Config(), **{field: value})
