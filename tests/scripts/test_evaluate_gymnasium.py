"""Gymnasium's environments and gymnax's, step by step; and the script that compares returns."""

import importlib.util
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.errors import UsageError
from dl_lectures.rl import environments
from experiments import common, dqn, flags, playing

ROOT = pathlib.Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location(
    "evaluate_gymnasium", ROOT / "scripts" / "evaluate_gymnasium.py"
)
script = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(script)

# gymnax's fields in the order of Gymnasium's state, and how far states of a test spread.
STATES = {
    "CartPole-v1": (("x", "x_dot", "theta", "theta_dot"), (2.5, 2.0, 0.22, 2.0)),
    "Acrobot-v1": (
        ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"),
        (3.14, 3.14, 6.0, 9.0),
    ),
    "MountainCar-v0": (("position", "velocity"), (0.89, 0.069)),
}


@pytest.mark.parametrize("name", script.ENVS)
def test_transitions_are_the_same_from_the_same_states(name):
    gymnasium = pytest.importorskip("gymnasium")
    fields, spread = STATES[name]
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (500, len(fields))) * spread
    if name == "MountainCar-v0":
        states[:, 0] -= 0.3  # positions lie in [-1.2, 0.6]
    environment = environments.make(name)
    actions = rng.integers(environment.num_actions, size=500).astype(np.int32)
    _, first = environment.reset(jax.random.key(0))

    def step(state, action):
        begin = first.replace(**{f: state[i] for i, f in enumerate(fields)})
        obs, _, reward, terminated, _ = environment.step(jax.random.key(1), begin, action)
        return obs, reward, terminated

    ours = jax.jit(jax.vmap(step))(jnp.asarray(states, jnp.float32), actions)
    env = gymnasium.make(name, disable_env_checker=True)
    env.reset(seed=0)
    theirs = []
    for state, action in zip(states, actions, strict=True):
        env.reset()
        env.unwrapped.state = state.copy()
        obs, reward, terminated, _, _ = env.step(int(action))
        theirs.append((obs, reward, terminated))
    obs, reward, terminated = (np.array(part) for part in zip(*theirs, strict=True))
    # Where a pole is out at the start, gymnax pays nothing and Gymnasium says so once.
    inside = np.ones(500, bool)
    if name == "CartPole-v1":
        inside = (np.abs(states[:, 0]) < 2.4) & (np.abs(states[:, 2]) < 12 * np.pi / 180)
    np.testing.assert_allclose(ours[0], obs, atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(np.asarray(ours[1])[inside], reward[inside])
    np.testing.assert_array_equal(np.asarray(ours[2])[inside], terminated[inside])
    assert 5 < terminated[inside].sum() < inside.sum() - 5  # both kinds were there


def test_episodes_are_played_to_their_ends():
    """A push to the right always: the pole falls within a few steps, in both."""
    pytest.importorskip("gymnasium")
    returns = script.in_gymnasium("CartPole-v1", lambda obs: np.ones(obs.shape[:2]), (2, 50), 0)
    assert returns.shape == (2, 50)
    assert ((returns >= 8) & (returns <= 11)).all() and returns.std() > 0
    cut = script.in_gymnasium("CartPole-v1", lambda obs: np.ones(obs.shape[:2]), (1, 3), 0, 5)
    np.testing.assert_array_equal(cut, 5.0)
    none = script.in_gymnasium("MountainCar-v0", lambda obs: np.ones(obs.shape[:2]), (1, 2), 0)
    np.testing.assert_array_equal(none, -200.0)  # its time limit
    again = script.in_gymnasium("CartPole-v1", lambda obs: np.ones(obs.shape[:2]), (2, 50), 0)
    np.testing.assert_array_equal(returns, again)


def test_each_policy_sees_its_own_observations():
    pytest.importorskip("gymnasium")
    seen = []

    def act(obs):
        seen.append(obs.copy())
        return np.array([[0] * 3, [1] * 3])

    script.in_gymnasium("CartPole-v1", act, (2, 3), 1)
    assert seen[0].dtype == np.float32 and seen[0].shape == (2, 3, 4)
    assert (seen[3][0, :, 1] < -0.3).all() and (seen[3][1, :, 1] > 0.3).all()  # speeds


def test_intervals():
    """By hand: policies are given, episodes are not."""
    ours = np.array([[1.0, 3.0], [10.0, 10.0]])
    mean = script.mean_of(ours)
    assert mean.value == 6.0
    half = 1.959964 * np.sqrt(2.0 / 2 / 4)  # variance 2 of one policy, 2 episodes, 2 policies
    assert mean.high - mean.value == pytest.approx(half) == mean.value - mean.low
    gap = script.difference(ours, ours + 1.0)
    assert gap.value == 1.0 and gap.high - 1.0 == pytest.approx(half * 2**0.5)
    perfect = np.full((3, 100), 500.0)
    assert script.difference(perfect, perfect) == (0.0, 0.0, 0.0)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """2,000 comparisons of equal things: 95 %, give or take 4.5 standard errors (2.2 %)."""
    rng = np.random.default_rng(0)
    means = np.array([[3.0], [30.0]])
    hits = 0
    for _ in range(2_000):
        gap = script.difference(*rng.exponential(means, (2, 2, 100)))
        hits += gap.low <= 0.0 <= gap.high
    assert 0.928 < hits / 2_000 < 0.972


def test_report_says_whether_they_agree():
    trained = playing.Trained(None, 100, np.array([5, 6]))
    ours = np.tile([9.0, 11.0], (2, 50))
    words, agree = script.report("CartPole-v1", trained, ours, ours)
    assert agree and words.endswith("AGREE")
    words, agree = script.report("CartPole-v1", trained, ours, ours + 1.0)
    assert not agree and "difference       1.00" in words and "\nDIFFER" in words


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("dqn") / "run"
    given = {"preset": "smoke", "workdir": str(workdir)}
    common.execute(dqn, *flags.resolve(dqn, given))
    return workdir


def test_a_run_is_compared(finished):
    pytest.importorskip("gymnasium")
    words, agree = script.compare(finished, 100, seed=1)
    assert "2 policies after 100 updates, 100 episodes of each" in words
    assert isinstance(agree, bool) and ("AGREE" in words) == agree


def test_what_cannot_be_compared_is_said(finished, tmp_path, monkeypatch):
    for arguments, said in (
        ((finished, 99, 0), "--num_episodes must be at least 100, not 99"),
        ((finished, 100, -1), "--seed must lie in"),
        ((tmp_path / "none", 100, 0), "no run in"),
    ):
        with pytest.raises(UsageError, match=said):
            script.compare(*arguments)
    other = tmp_path / "other"
    other.mkdir()
    text = (finished / "config.json").read_text()
    (other / "config.json").write_text(text.replace("CartPole-v1", "Catch-bsuite"))
    with pytest.raises(UsageError, match="--env=Catch-bsuite .* Gymnasium has CartPole-v1"):
        script.compare(other, 100, 0)
    monkeypatch.setitem(sys.modules, "gymnasium", None)  # its import raises ImportError
    with pytest.raises(UsageError, match="install it with: python -m pip install gymnasium"):
        script.compare(finished, 100, 0)
