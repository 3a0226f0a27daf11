import numpy as np

from experiments import common, dqn, flags


def test_smoke_preset(tmp_path):
    config, options = flags.resolve(dqn, {"preset": "smoke", "workdir": str(tmp_path)})
    found = common.execute(dqn, config, options)
    assert found.extra["env_steps"] == config.prefill + 100 * config.num_envs
    assert 19.0 < found.extra["random_return"] < 25.0  # Gymnasium's random policy earns 22
    assert found.arrays["greedy_return"].shape == (2, 2)
    np.testing.assert_array_equal(found.arrays["env_steps"], [300, 500])
    assert [claim.id for claim in found.claims] == ["dqn_learns_from_reward", "dqn_balances"]
    assert (tmp_path / "figures" / "dqn.png").stat().st_size > 10_000
    assert "CartPole-v1 after 500 environment steps" in dqn.report(found)
