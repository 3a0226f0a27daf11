import dataclasses

import numpy as np
import pytest

from dl_lectures.reporting import intervals, plotting
from dl_lectures.reporting.results import Results
from dl_lectures.rl import dqn
from experiments import common, dqn_ablations, flags


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    given = {"preset": "smoke", "workdir": str(tmp_path_factory.mktemp("dqn_ablations"))}
    config, options = flags.resolve(dqn_ablations, given)
    return common.execute(dqn_ablations, config, options)


def test_smoke_preset(smoke, tmp_path, font):
    assert [claim.id for claim in smoke.claims] == ["dqn_needs_replay"]
    for name in smoke.extra["runs"]:
        curve = smoke.arrays[f"{name}/greedy_return"]
        assert curve.shape == (4, 2)
        np.testing.assert_allclose(smoke.per_seed(f"{name}/mean_return"), curve.mean(0))
    # Without replay there is nothing to fill before learning.
    assert smoke.arrays["plain/env_steps"][0] == 100 + 25 * 4
    assert smoke.arrays["no_replay/env_steps"][0] == 25 * 4
    figure = dqn_ablations.figure(smoke)
    assert plotting.save(figure, tmp_path / "figure")[0].stat().st_size > 10_000
    assert "to plain" in dqn_ablations.report(smoke)


def test_short_runs_are_judged_on_whole_episodes(smoke):
    """Training cuts after 50 steps, evaluations do not: a fit policy would earn more than 50."""
    config = flags.resolve(dqn_ablations, {"preset": "smoke", "workdir": "unused"})[0]
    assert dqn_ablations.config_of(config, "short").max_episode_steps == 50
    assert dqn_ablations.config_of(config, "plain").max_episode_steps == 200


@pytest.mark.parametrize("name", dqn_ablations.CHANGES)
def test_every_run_changes_what_it_says(name):
    """And nothing else; that every combination is allowed is seen by the way."""
    config = dqn_ablations.PRESETS["quick"].config
    plain = dqn_ablations.config_of(config, "plain")
    changed = {
        field.name
        for field in dataclasses.fields(dqn.Config)
        if getattr(dqn_ablations.config_of(config, name), field.name) != getattr(plain, field.name)
    }
    also = {"max_episode_steps"} if "short" in name else set()
    assert changed == set(dqn_ablations.CHANGES[name]) | also


def found(returns):
    """Results as if every run had earned these mean returns, by run."""
    metrics = {
        f"{run}/{name}": intervals.summarise(values)
        for run, values in returns.items()
        for name in ("mean_return", "value")
    }
    extra = {"env": "CartPole-v1", "runs": [*returns], "short_limit": 50}
    return Results("dqn_ablations", (23,), "quick", 0, 3, 1, {}, metrics, extra=extra)


def test_claims_compare_seed_by_seed():
    """Plain and without replay differ by 150 in each seed, however much the seeds differ."""
    plain = np.array([200.0, 300.0, 400.0])
    judged = dqn_ablations.claims(found({"plain": plain, "no_replay": plain - 150.0}))
    assert [(claim.id, claim.verdict) for claim in judged] == [("dqn_needs_replay", "holds")]
    assert judged[0].value == pytest.approx(150.0)
    returns = {"plain": plain, "no_target": plain, "rainbow": plain, "short": plain}
    judged = dqn_ablations.claims(found(returns | {"no_replay": plain, "short_is_death": plain}))
    assert [claim.id for claim in judged] == [
        "dqn_needs_replay",
        "dqn_needs_target_network",
        "time_limit_is_no_death_values",
        "time_limit_is_no_death_returns",
        "rainbow_beats_dqn",
    ]
    fails = dqn_ablations.claims(found({"short": plain, "short_is_death": plain + 5.0}))
    assert [claim.verdict for claim in fails] == ["fails", "fails"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runs": "plain,sarsa"}, "--runs: 'sarsa' is none of plain"),
        ({"runs": "plain,plain"}, "names one twice"),
        ({"short_limit": 0}, "--short_limit=0 must be at least 1"),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(dqn_ablations.PRESETS["smoke"].config, **changes)
