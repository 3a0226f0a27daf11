"""The experiment from flags to figure at the smoke preset, stopped and continued."""

import dataclasses
import itertools

import numpy as np
import pytest

from dl_lectures.errors import Stopped
from dl_lectures.reporting.results import Results
from dl_lectures.training import signals
from dl_lectures.training.options import Options
from experiments import common, tabular_control

PRESET = tabular_control.PRESETS["smoke"]
CONFIG = dataclasses.replace(PRESET.config, methods="", learning_rates="0.1,1")


def options_in(workdir, **changes):
    return Options(workdir=str(workdir), preset="smoke", **(common.options_of(PRESET) | changes))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Of a run that was stopped on its way and continued."""
    workdir = tmp_path_factory.mktemp("tabular")
    asked = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "received", lambda: next(asked) >= 4)
        with pytest.raises(Stopped, match="the same command continues"):
            common.execute(tabular_control, CONFIG, options_in(workdir))
    common.execute(tabular_control, CONFIG, options_in(workdir))
    return workdir


def test_smoke_run_writes_results_claims_and_figure(workdir):
    assert (workdir / "DONE").exists()
    assert (workdir / "figures" / "tabular_control.png").stat().st_size > 10_000
    found = Results.read(workdir)
    assert [claim.id for claim in found.claims] == [
        *("trying_teaches", "trying_finds_the_best", "q_learning_is_exact"),
        "monte_carlo_and_td_agree",
        *("monte_carlo_varies_more", "sarsa_earns_more_while_learning"),
        *("q_learning_walks_the_edge", "sarsa_keeps_away", "expected_sarsa_is_best_in_the_end"),
        *("expected_sarsa_learns_fastest", "sarsa_needs_small_steps"),
        *("trying_finds_what_search_finds", "trying_takes_less_than_search"),
    ]
    verdicts = {claim.id: claim.verdict for claim in found.claims}
    assert verdicts["trying_takes_less_than_search"] == "holds"
    assert "1,398,101 nodes" in tabular_control.report(found)


def test_exact_answers_are_beside_what_was_learned(workdir):
    found = Results.read(workdir)
    best = found.extra["best"]
    assert (best["cliff"], best["windy"]) == (-13.0, -15.0)
    np.testing.assert_allclose(best["maze"], 0.95**9)
    tree = found.extra["tree"]
    assert (tree["depth"], tree["nodes"]) == (10, (4**11 - 1) // 3)
    np.testing.assert_allclose(tree["value"], best["maze"])
    # Nobody earns more than the best, and the maze is learned exactly.
    for name in found.extra["methods"]:
        share = found.per_seed(f"frozen_lake/{name}/greedy_return") / best["frozen_lake"]
        assert (share <= 1 + 1e-5).all()
    assert found.metrics["exact/maze/value_error"].mean < 0.01


def test_figure_is_drawn_in_both_languages(workdir, font, tmp_path):
    common.draw(tabular_control, workdir)
    assert (workdir / "figures" / "tabular_control.svg").stat().st_size > 10_000


def test_another_number_of_steps_goes_on_where_it_ended(workdir):
    """The curve of 100 steps is the beginning of that of 150."""
    before = Results.read(workdir)
    found = common.execute(tabular_control, CONFIG, options_in(workdir, steps=150))
    curve = "frozen_lake/q_learning"
    assert list(found.arrays["frozen_lake/steps"]) == [50, 100, 150]
    np.testing.assert_array_equal(found.arrays[curve][:2], before.arrays[curve])


def test_finished_episodes_alone_are_averaged():
    returns = np.array([[4.0, 2.0, 6.0, 1.0], [4.0, 2.0, 0.0, 0.0], [-3.0, 0.0, 0.0, 0.0]])
    found = tabular_control.finished_mean(returns, np.array([9, 1, 0]), most=2)
    np.testing.assert_array_equal(found, [3.5, 4.0, -3.0])


def test_smallest_margin_is_at_the_worst_step_size():
    arrays = {
        f"step_sizes/{name}/interim": np.array(values)[:, None] + np.zeros((1, 3))
        for name, values in {
            "expected_sarsa": [-30.0, -20.0],
            "sarsa": [-29.0, -50.0],
            "q_learning": [-40.0, -25.0],
        }.items()
    }
    found = dataclasses.replace(blank(), arrays=arrays)
    np.testing.assert_array_equal(tabular_control.smallest_margin(found, "interim"), [-1.0] * 3)


def blank():
    return Results("tabular_control", (18,), "smoke", 0, 3, 1, {}, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": "magic"}, "--methods=magic must be of"),
        ({"methods": "sarsa"}, "--methods=sarsa must be of"),
        ({"learning_rates": "0.5"}, "--learning_rates=0.5 must be two or more"),
        ({"learning_rates": "0.5,0.1"}, "must be two or more increasing numbers"),
        ({"learning_rates": "0.5,x"}, "--learning_rates must be numbers"),
        ({"discount": 1.0}, "--discount=1.0 must lie between"),
        ({"learning_rate_power": 0.5}, "--learning_rate_power=0.5 must be above 0.5"),
        ({"sweep_block_steps": 0}, "--sweep_block_steps=0 must be at least 1"),
        ({"maze_block_steps": 0}, "--block_steps=0 must be at least 1"),
        ({"block_steps": 49}, "--block_steps=49 must not be less than --max_episode_steps=50"),
    ],
)
def test_impossible_flags_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(PRESET.config, **changes)
