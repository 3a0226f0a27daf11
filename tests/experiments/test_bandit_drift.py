"""The experiment from flags to figure at the smoke preset."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from dl_lectures.errors import Stopped, UsageError
from dl_lectures.reporting.results import Results
from dl_lectures.training import signals
from dl_lectures.training.options import Options
from experiments import bandit_drift, common

PRESET = bandit_drift.PRESETS["smoke"]


def options_in(workdir, **changes):
    return Options(workdir=str(workdir), preset="smoke", **(common.options_of(PRESET) | changes))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Of a run that was stopped on its way and continued."""
    workdir = tmp_path_factory.mktemp("drift")
    asked = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "received", lambda: next(asked) >= 4)
        with pytest.raises(Stopped, match="the same command continues"):
            common.execute(bandit_drift, PRESET.config, options_in(workdir))
    common.execute(bandit_drift, PRESET.config, options_in(workdir))
    return workdir


def test_smoke_run_writes_results_claims_and_figure(workdir):
    assert (workdir / "DONE").exists()
    assert (workdir / "figures" / "bandit_drift.png").stat().st_size > 10_000
    found = Results.read(workdir)
    assert [claim.id for claim in found.claims] == [
        *("exploring_earns_the_mean", "concentrating_ruins", "forgetting_recovers"),
        *("trusting_all_data_loses", "forgetting_costs", "random_exchanges"),
    ]
    verdicts = {claim.id: claim.verdict for claim in found.claims}
    assert verdicts["concentrating_ruins"] == "holds"
    assert "discounted_thompson" in bandit_drift.report(found)


def test_committed_to_the_first_best_it_earns_that_coins_odds_later(workdir):
    """0.8, then 0.1, then 0.4: 200 runs, of which nearly all chose the right coin."""
    found = Results.read(workdir)
    later = [bandit_drift.in_period(found, "commit", period).mean() for period in (1, 2)]
    np.testing.assert_allclose(later, [0.1, 0.4], atol=0.04)


def test_odds_average_out_and_the_best_coin_changes():
    best = [int(np.argmax(odds)) for odds in bandit_drift.ODDS]
    assert len(set(best)) == 3
    assert bandit_drift.change_times(300) == [100, 200]


def test_bad_flags_are_named(tmp_path):
    for flag in ("num_runs", "period"):
        with pytest.raises(ValueError, match=f"^--{flag} must be at least 1, not 0$"):
            dataclasses.replace(PRESET.config, **{flag: 0})
    words = re.escape("--steps must be at least 30 for two changes, not 20")
    with pytest.raises(UsageError, match=words):
        bandit_drift.run(PRESET.config, options_in(tmp_path, steps=20))
