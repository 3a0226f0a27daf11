import dataclasses

import jax
import numpy as np
import pytest

from dl_lectures.errors import UsageError
from dl_lectures.rl import dqn as dqn_lib
from dl_lectures.training import devices
from experiments import common, dqn, flags


def test_smoke_preset(tmp_path, font, capsys):
    config, options = flags.resolve(dqn, {"preset": "smoke", "workdir": str(tmp_path)})
    found = common.execute(dqn, config, options)
    assert found.extra["env_steps"] == config.prefill + 100 * config.num_envs
    assert 19.0 < found.extra["random_return"] < 25.0  # Gymnasium's random policy earns 22
    assert found.arrays["greedy_return"].shape == (2, 2)
    np.testing.assert_array_equal(found.arrays["env_steps"], [300, 500])
    assert [claim.id for claim in found.claims] == ["dqn_learns_from_reward", "dqn_solves"]
    assert (tmp_path / "figures" / "dqn.png").stat().st_size > 10_000
    assert "CartPole-v1 after 500 environment steps" in dqn.report(found)
    assert "MiB a seed" in capsys.readouterr().out


def test_the_first_good_evaluation_counts():
    """Three seeds: good at once and not later, good later, never good."""
    returns = np.array([[9.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 5.0, 4.9]])
    steps = dqn.steps_to_solve(np.array([10, 20, 30]), returns, 5.0)
    assert steps.tolist() == [10, 30, 30]


def test_more_replay_than_memory_is_refused(tmp_path):
    """States of 80 TB are told in a line, and nothing is allocated or written."""
    given = {"preset": "smoke", "workdir": str(tmp_path), "capacity": 2_000_000_000}
    config, options = flags.resolve(dqn, given | {"num_seeds": 1_000})
    with pytest.raises(UsageError, match="smaller --capacity or fewer --num_seeds") as caught:
        dqn.run(config, options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_replay_takes_what_is_said(tmp_path, capsys):
    """Against the bytes of a state that was really made."""
    config, options = flags.resolve(dqn, {"preset": "smoke", "workdir": str(tmp_path)})
    config = dataclasses.replace(config, capacity=100_000)
    learner = dqn_lib.make(config)
    state = learner.init(jax.random.key(0))
    size = sum(
        x.nbytes for x in jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    )
    assert devices.num_bytes(state) == size
    common.check_memory(learner, options)
    assert f"{size / 2**20:,.1f} MiB a seed" in capsys.readouterr().out


@pytest.mark.parametrize("name", dqn.PRESETS)
def test_presets_make_learners(name):
    """Of each environment; presets learn until their steps end, and their claims are known."""
    preset = dqn.PRESETS[name]
    learner = dqn_lib.make(preset.config)
    jax.eval_shape(learner.init, jax.random.key(0))
    assert preset.config.env in dqn.GOOD_RETURN
    assert name == "smoke" or preset.config.decay_steps == preset.steps


def test_presets_of_environments_are_flags(tmp_path):
    help_text = flags.help_text(dqn)
    assert "--preset=<smoke|quick|full|" in help_text and "acrobot: 'Acrobot-v1'" in help_text
    config, options = flags.resolve(dqn, {"preset": "acrobot", "workdir": str(tmp_path)})
    assert config.env == "Acrobot-v1" and options.preset == "acrobot"
