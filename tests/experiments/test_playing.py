"""Watching what was learned, on the smallest trained agents; and its flags in a shell."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dl_lectures.errors import UsageError
from dl_lectures.reporting.results import Results
from dl_lectures.rl import environments
from dl_lectures.training import checkpoint
from experiments import common, dqn, flags, playing, vae

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two seeds."""
    workdir = tmp_path_factory.mktemp("dqn") / "run"
    given = {"preset": "smoke", "workdir": str(workdir), "seed": 5}
    common.execute(dqn, *flags.resolve(dqn, given))
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return pathlib.Path(shutil.copytree(finished, tmp_path / "run"))


def film(run, given=None, **play):
    return playing.run(dqn, {"workdir": str(run), **(given or {})}, playing.Play(True, **play))


def test_a_finished_run_is_filmed(run):
    said = film(run, play_seed=3, play_policy=6, play_steps=9)
    assert "CartPole-v1 by the policy of seed 6 after 100 of 100 steps, episode of seed 3" in said
    name = "play_policy6_seed3"
    files = {path.name for path in (run / "figures").iterdir()}
    assert {f"{name}.gif", f"{name}.png", f"{name}.svg"} <= files
    with Image.open(run / "figures" / f"{name}.gif") as image:
        assert 2 <= image.n_frames <= 10


def test_the_policy_is_the_seeds_own(run):
    """It acts by the parameters that the checkpoint has for that seed."""
    config, options = playing.read_run(dqn, run, {})
    player = dqn.play(config)
    trained = playing.load(player, options)
    assert trained.step == 100
    whole = checkpoint.sha256(checkpoint.to_host(trained.state))
    assert whole == Results.read(run).state_sha256  # all of what the run ended with
    np.testing.assert_array_equal(trained.seeds, [5, 6])
    obs = jax.random.normal(jax.random.key(0), (50, 4))
    for row in range(2):
        state = jax.tree.map(lambda leaf, row=row: leaf[row], trained.state)
        values = jax.vmap(dqn.dqn.action_values(config, 2), in_axes=(None, 0))(state.params, obs)
        actions = jax.vmap(player.act, in_axes=(None, 0))(state, obs)
        np.testing.assert_array_equal(actions, values.argmax(-1))
    shown = playing.film(player, state, seed=1, num_steps=30)
    assert len(shown.rewards) == len(shown.actions) == len(shown.obs) - 1
    np.testing.assert_array_equal(shown.obs[:, 2], shown.states["theta"])
    again = playing.film(player, state, seed=1, num_steps=30)
    np.testing.assert_array_equal(shown.obs, again.obs)
    other = playing.film(player, state, seed=2, num_steps=30)
    assert shown.obs[0, 0] != other.obs[0, 0]


def test_an_unfinished_run_is_filmed(run):
    """Its newest checkpoint is what there is."""
    shutil.rmtree(run / "checkpoints" / "100")
    (run / "DONE").unlink()
    assert "after 50 of 100 steps" in film(run, play_steps=5)
    assert not (run / "DONE").exists()


def test_a_damaged_checkpoint_is_passed_over(run):
    (run / "checkpoints" / "100" / "meta" / "metadata").write_text("{")
    with pytest.warns(UserWarning, match="checkpoint 100 is damaged"):
        assert "after 50 of 100 steps" in film(run, play_steps=5)


def spoil(run, part, **changes):
    config = json.loads((run / "config.json").read_text())
    (config[part] if part else config).update(changes)
    (run / "config.json").write_text(json.dumps(config))


def test_what_cannot_be_played_is_one_line(run, tmp_path):
    for given, play, said in (
        ({"env": "Acrobot-v1"}, {}, "--env is 'Acrobot-v1' now and was 'CartPole-v1'"),
        ({"seed": 6}, {}, "--seed is 6 now and was 5"),
        ({}, {"play_policy": 7}, "--play_policy=7 must be a seed of the run, 5 to 6"),
    ):
        with pytest.raises(UsageError, match=said):
            film(run, given, **play)
    with pytest.raises(UsageError, match="--play needs the --workdir of a run"):
        playing.run(dqn, {}, playing.Play(True))
    with pytest.raises(UsageError, match="no run in .*elsewhere"):
        film(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UsageError, match="no checkpoint in .*run yet"):
        film(run)
    assert not (run / "checkpoints").exists()
    spoil(run, "config", extra_switch=1)
    with pytest.raises(UsageError, match="another version of dqn, which differs in --extra_switch"):
        film(run)
    spoil(run, None, experiment="vae")
    with pytest.raises(UsageError, match="holds a run of experiments.vae, not of dqn"):
        film(run)
    (run / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot read .*config.json"):
        film(run)


def test_a_run_that_is_under_way_is_left_alone(run):
    from dl_lectures.reporting import workdir

    with workdir.locked(run), pytest.raises(UsageError, match="in use by process"):
        film(run)


@pytest.mark.parametrize(
    ("changes", "said"), [({"play_steps": 0}, "play_steps"), ({"play_seed": -1}, "play_seed")]
)
def test_impossible_flags_are_refused(changes, said):
    with pytest.raises(UsageError, match=f"--{said} must"):
        playing.Play(True, **changes)


def test_fields_are_found_beneath_what_wraps_a_state():
    sticky = environments.make("CartPole-v1", sticky_actions=0.5)
    plain = environments.make("CartPole-v1")
    key = jax.random.key(0)
    found = [playing.fields_of(env.reset(key)[1]) for env in (plain, sticky)]
    assert {"x", "theta"} <= found[0].keys()
    np.testing.assert_array_equal(found[0]["x"], found[1]["x"])

    @dataclasses.dataclass
    class Plain:
        x: int

    Named = type("Named", (), {"_asdict": lambda self: {"y": jnp.ones(2)}})
    assert playing.fields_of((Plain(3), 1)) == {"x": 3}
    np.testing.assert_array_equal(playing.fields_of(Named())["y"], [1, 1])
    assert playing.fields_of(jnp.ones(2)) == {}


def shell(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_flags_in_a_shell(run):
    workdir = f"--workdir={run}"
    code, out, err = shell("experiments.dqn", "--play", workdir, "--play_steps=5")
    assert (code, err) == (0, "")
    assert "play_policy5_seed0.gif" in out
    code, _, err = shell("experiments.dqn", "--play_seed=1", workdir)
    assert code == 2 and err == "error: --play_seed says how to --play; give that, too\n"
    code, out, _ = shell("experiments.dqn", "--help")
    assert code == 0 and "--[no]play" in out and "(default: 1000)" in out
    assert flags.can_play(dqn) and not flags.can_play(vae)
