import dataclasses
import json

import numpy as np
import pytest

from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.intervals import summarise
from dl_lectures.rl import ppo, pqn
from experiments import common, flags, minatar


def test_smoke_preset(tmp_path):
    config, options = flags.resolve(minatar, {"preset": "smoke", "workdir": str(tmp_path)})
    found = common.execute(minatar, config, options)
    assert found.extra["env_steps"] == 100 * 4 * 8
    assert 0.2 < found.extra["random_return"]["Breakout"] < 1.0
    np.testing.assert_array_equal(found.arrays["Breakout/env_steps"], [1_600, 3_200])
    assert found.arrays["Breakout/greedy_return"].shape == (2, 2)
    assert found.arrays["Breakout/frames"].shape == (6, 10, 10, 3)
    assert {"Breakout/greedy_return", "Breakout/training_return"} <= found.metrics.keys()
    assert [claim.id for claim in found.claims] == ["minatar_breakout_beats_chance"]
    assert (tmp_path / "figures" / "minatar.png").stat().st_size > 10_000
    assert (tmp_path / "parts" / "Breakout" / "DONE").exists()
    assert "PQN after 3,200 environment steps, 2 seeds" in minatar.report(found)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "seed", "Breakout/episode_return"} <= rows[0].keys()


def test_a_run_of_the_other_agent(tmp_path):
    given = {"preset": "smoke", "workdir": str(tmp_path), "agent": "ppo", "num_seeds": 1}
    config, options = flags.resolve(minatar, given)
    assert config.agent == "ppo"
    found = minatar.run(config, options)
    assert found.extra["env_steps"] == 3_200
    assert "PPO after 3,200" in minatar.report(found)


@pytest.mark.parametrize("name", minatar.PRESETS)
def test_both_agents_take_as_many_steps(name):
    presets = [minatar.preset_for(name, {"agent": agent}) for agent in ("pqn", "ppo")]
    steps = [preset.steps * preset.config.env_steps_per_update for preset in presets]
    assert steps[0] == steps[1]
    decays = [p.config.decay_steps * p.config.env_steps_per_update for p in presets]
    assert decays[0] == decays[1]
    assert [preset.config.agent for preset in presets] == ["pqn", "ppo"]
    assert presets[0].config.games == presets[1].config.games


def test_the_full_preset_takes_as_many_steps_as_gymnax():
    preset = minatar.PRESETS["full"]
    assert preset.steps * preset.config.env_steps_per_update >= 10_000_000
    assert preset.config.decay_steps == preset.steps


def test_settings_reach_the_agent():
    config = minatar.Config(
        games="Asterix,Freeway", agent="ppo", sticky_actions=0.1, entropy_cost=0.02
    )
    of_agent = config.of_agent("Freeway")
    assert isinstance(of_agent, ppo.Config)
    assert (of_agent.env, of_agent.sticky_actions) == ("Freeway-MinAtar", 0.1)
    assert of_agent.entropy_cost == 0.02
    other = dataclasses.replace(config, agent="pqn", epsilon_steps=7).of_agent("Asterix")
    assert isinstance(other, pqn.Config)
    assert (other.env, other.epsilon_steps) == ("Asterix-MinAtar", 7)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"games": "Pong"}, "--games=Pong must be different ones of Asterix"),
        ({"games": "Breakout,Breakout"}, "must be different ones"),
        ({"games": ""}, "must be different ones"),
        ({"num_envs": 0}, "--num_envs=0 must be at least 1"),
        ({"sticky_actions": 2.0}, "--sticky_actions=2.0 must lie between"),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        minatar.Config(**changes)


def made_up(games, env_steps=10_002_432, is_gymnax=True):
    rng = np.random.default_rng(0)
    per_seed = {game: 40.0 + np.arange(4.0) for game in games}
    return results.Results(
        experiment="minatar",
        slides=minatar.SLIDES,
        preset="full",
        seed=0,
        num_seeds=4,
        steps=1_221,
        seconds={},
        metrics={f"{game}/greedy_return": summarise(v) for game, v in per_seed.items()},
        extra={
            "agent": "pqn",
            "env_steps": env_steps,
            "is_gymnax": is_gymnax,
            "random_return": dict.fromkeys(games, 0.5),
        },
        arrays={
            f"{game}/{name}": array
            for game in games
            for name, array in {
                "env_steps": np.linspace(0, env_steps, 20),
                "greedy_return": np.linspace(0, 40, 20)[:, None] + rng.normal(size=(20, 4)),
                "frames": rng.uniform(size=(6, 10, 10, 3)),
            }.items()
        },
    )


def test_published_scores_are_judged_only_where_they_can_be_compared():
    games = ("Breakout", "Freeway", "Seaquest")
    verdicts = {claim.id: claim.verdict for claim in minatar.claims(made_up(games))}
    assert verdicts == {
        "minatar_breakout_beats_chance": "holds",
        "minatar_breakout_published": "holds",  # 28
        "minatar_freeway_beats_chance": "holds",
        "minatar_freeway_published": "fails",  # 58
        "minatar_seaquest_beats_chance": "holds",
    }
    for changes in ({"env_steps": 9_000_000}, {"is_gymnax": False}):
        claims = minatar.claims(made_up(games, **changes))
        assert all(claim.id.endswith("_beats_chance") for claim in claims)


@pytest.mark.parametrize("num_games", [1, 2, 5])
def test_the_figure_has_a_curve_for_each_game(font, num_games, tmp_path):
    games = minatar.GAMES[:num_games]
    figure = minatar.figure(made_up(games))
    curves = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    assert curves.keys() == set(games)
    num_lines = {game: 2 if game == "Seaquest" else 3 for game in games}  # with random and gymnax
    assert {game: len(ax.lines) for game, ax in curves.items()} == num_lines
    assert sum(len(ax.images) for ax in figure.axes) == num_games
    png, _ = plotting.save(figure, tmp_path / "figure")
    assert png.stat().st_size > 10_000
