"""Sweeps as parts of an experiment: their numbers, their log, and who is to blame for an error."""

import json

import numpy as np
import pytest

from dl_lectures.bandits import policies, rewards, simulate
from dl_lectures.errors import UsageError
from dl_lectures.training.options import Options
from experiments import bandit_runs

HORIZON = 60


def options_in(workdir, **changes):
    given = {"num_seeds": 2, "steps": HORIZON, "log_every": 25} | changes
    return Options(workdir=str(workdir), preset="smoke", **given)


def games(**changes):
    odds = rewards.bernoulli([0.2, 0.9])
    players = {"none": policies.epsilon_greedy(0.0), "half": policies.epsilon_greedy(0.5)}
    return bandit_runs.Games(odds, players, **changes)


def run(workdir, game, num_runs=50):
    return bandit_runs.run("toy", (21,), options_in(workdir), num_runs, {"part": game})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs")
    return workdir, run(workdir, games())


def test_metrics_are_those_of_the_curves(finished):
    found = finished[1].found["part"]
    assert found.arrays["times"].tolist() == list(range(1, HORIZON + 1))
    for row, label in enumerate(("none", "half")):
        curves = {name: found.arrays[name][row] for name in ("reward", "optimal", "regret")}
        assert curves["reward"].shape == (2, HORIZON)
        for name, expected in {
            "regret": curves["regret"][:, -1],
            "total": curves["reward"].sum(1),
            "reward": curves["reward"][:, -6:].mean(1),  # of the last tenth
            "optimal": curves["optimal"][:, -6:].mean(1),
        }.items():
            np.testing.assert_allclose(found.per_seed(f"{label}/{name}"), expected, rtol=1e-5)
    middle = found.arrays["quantiles"][..., -1, 1]
    assert found.arrays["quantiles"].shape == (2, 2, 10, 3)
    assert (middle <= found.arrays["quantiles"][..., -1, 2]).all()


def test_the_log_has_a_line_for_each_seed_and_the_last_step(finished):
    lines = (finished[0] / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["step"], row["seed"]) for row in rows] == [
        (step, seed) for step in (25, 50, HORIZON) for seed in (0, 1)
    ]
    np.testing.assert_allclose(
        [row["part/half/regret"] for row in rows[-2:]],
        finished[1].found["part"].per_seed("half/regret"),
        rtol=1e-6,
    )


def test_a_finished_part_is_only_read(finished, monkeypatch):
    monkeypatch.setattr(simulate, "sweep", None)
    again = run(finished[0], games())
    assert again.state_sha256 == finished[1].state_sha256


def test_a_sweep_may_have_a_horizon_of_its_own(tmp_path):
    found = run(tmp_path, games(horizon=20, num_points=4)).found["part"]
    assert found.arrays["times"].tolist() == [5, 10, 15, 20]


def test_a_number_of_the_user_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"^num_points must lie in 1 ... horizon = 60, not 61$"):
        run(tmp_path, games(num_points=61))


def test_a_bug_within_a_simulation_stays_one(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(simulate, "_add", broken)
    with pytest.raises(ValueError, match="^a bug$"):
        run(tmp_path, games())


def test_every_policy_has_a_label_in_both_languages():
    for en, ja in bandit_runs.POLICY_LABELS.values():
        assert en
        assert ja
