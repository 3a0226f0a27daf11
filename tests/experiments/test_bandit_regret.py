"""The experiment from flags to figure at the smoke preset."""

import re

import numpy as np
import pytest

from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import bandit_regret, common


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("regret")
    preset = bandit_regret.PRESETS["smoke"]
    options = Options(workdir=str(workdir), preset="smoke", **common.options_of(preset))
    common.execute(bandit_regret, preset.config, options)
    assert (workdir / "DONE").exists()
    assert (workdir / "figures" / "bandit_regret.png").stat().st_size > 10_000
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert any('"ten_ucb1/ucb1/regret"' in line for line in lines)
    return Results.read(workdir)


def test_smoke_run_writes_results_and_claims(found):
    assert [claim.id for claim in found.claims] == [
        *("exploring_earns_the_mean", "greed_loses_for_ever", "nobody_beats_the_optimum"),
        *("simple_rules_come_close", "laws_need_not_be_normal", "slope_of_ucb1"),
    ]
    assert found.extra["policies"] == ["epsilon", "ucb1"]
    assert "regret on ten coins after 200 pulls" in bandit_regret.report(found)


def test_bounds_are_right(found):
    """Lai & Robbins by hand; the least regret by enumeration elsewhere, here between two limits."""
    kl = 0.8 * np.log(0.8 / 0.9) + 0.2 * np.log(0.2 / 0.1)
    np.testing.assert_allclose(found.extra["lai_robbins"], 0.1 / kl, rtol=1e-6)
    assert 0 < found.extra["bayes_optimal_regret"] < 20 / 6  # of only exploring: T (2/3 - 1/2)
    np.testing.assert_allclose(found.extra["slide_mean"] * 120, (37.5 + 76) / 2, rtol=1e-6)


def test_slope_is_growth_per_log_t(found):
    """Of a regret that is twice the constant of Lai & Robbins times log t."""
    times = found.arrays["two/times"]
    curve = 2 * found.extra["lai_robbins"] * np.log(times)
    arrays = {"two/times": times, "two/made_up": np.stack([curve, 3 * curve])}
    made_up = Results(
        *("bandit_regret", (19,), "smoke", 0, 2, 1, {}, {}), extra=found.extra, arrays=arrays
    )
    np.testing.assert_allclose(bandit_regret.slope(made_up, "made_up"), [2, 6], rtol=1e-6)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"num_runs": 0}, "--num_runs must be at least 1, not 0"),
        ({"long_horizon": 5}, "--long_horizon must be at least 100, not 5"),
        ({"bayes_horizon": 500}, "--bayes_horizon must lie in 1 ... 200, not 500"),
        (
            {"laws": "normal"},
            "--laws=normal must name some of mixture, exponential, pareto, once",
        ),
        (
            {"policies": "ucb1,ucb1"},
            "--policies=ucb1,ucb1 must name some of ucb1, moss, kl_ucb, bayes_ucb, thompson, once",
        ),
    ],
)
def test_bad_flags_are_named(flags, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        bandit_regret.Config(**flags)
