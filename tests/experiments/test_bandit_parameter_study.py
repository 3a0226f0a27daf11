"""The experiment from flags to figure at the smoke preset."""

import re

import numpy as np
import pytest

from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import bandit_parameter_study as study
from experiments import common


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("study")
    preset = study.PRESETS["smoke"]
    options = Options(workdir=str(workdir), preset="smoke", **common.options_of(preset))
    common.execute(study, preset.config, options)
    assert (workdir / "DONE").exists()
    assert (workdir / "figures" / "bandit_parameter_study.png").stat().st_size > 10_000
    return Results.read(workdir)


def test_smoke_run_writes_results_and_claims(found):
    assert [claim.id for claim in found.claims] == [
        *("exploring_pays", "optimism_pays", "uncertainty_guides", "baseline_matters"),
        *("figure_2_2", "figure_2_3", "figure_2_4", "figure_2_5"),
        *("neither_extreme", "no_number_is_best"),
    ]
    assert found.arrays["averages/optimal"].shape == (3, 2, 200)  # every step, as in the book
    assert "gap 1:" in study.report(found)


def test_optimistic_values_try_every_arm_first(found):
    """The spike of the book's figure 2.3: in the 11th pull many take the best of ten tried arms."""
    row = found.extra["labels"]["weighted"].index("optimistic")
    shares = found.arrays["weighted/optimal"][row].mean(0)
    np.testing.assert_allclose(shares[:10].mean(), 0.1, atol=0.04)
    assert shares[10] > 0.3


def test_metrics_are_of_the_curves(found):
    row = found.extra["labels"]["averages"].index("0.1")
    curve = found.arrays["averages/reward"][row].astype(np.float64)
    last = curve[:, found.arrays["averages/times"] > 180].mean(1)
    np.testing.assert_allclose(found.per_seed("averages/0.1/reward"), last, rtol=1e-5)
    np.testing.assert_allclose(found.per_seed("averages/0.1/total"), curve.sum(1), rtol=1e-5)


def test_regret_of_one_pull_each_is_known(found):
    """Explore-then-commit with m = 1 on means 0 and -1: P(wrong) = Phi(-1 / sqrt 2) = 0.2398."""
    expected = 1 + 0.23975 * (200 - 2)
    labels = found.extra["labels"]["commit_1"]
    regret = study.commit(found, 1.0)[labels.index("1")].mean()  # 400 runs
    assert abs(regret - expected) < 5 * 198 * np.sqrt(0.24 * 0.76 / 400)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"num_runs": 0}, "--num_runs must be at least 1, not 0"),
        ({"gaps": "1,x"}, "--gaps must be numbers with commas between, not '1,x'"),
        ({"gaps": "1"}, "--gaps needs two positive numbers or more, not '1'"),
        ({"gaps": "1,-2"}, "--gaps needs two positive numbers or more, not '1,-2'"),
    ],
)
def test_bad_flags_are_named(flags, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        study.Config(**flags)
