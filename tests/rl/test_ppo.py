"""Probe environments whose values and best actions are known, NumPy, and invariances."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from probes import agrees, constant, one_hot_of_drawn, one_hot_of_time, probe

from dl_lectures.rl import environments, evaluation, ppo
from dl_lectures.training import devices

GAMMA = 0.5
PROBE = ppo.Config(
    num_envs=8,
    num_steps=16,
    num_epochs=4,
    num_minibatches=2,
    hidden_sizes="16",
    discount=GAMMA,
    learning_rate=1e-2,
    learning_rate_end=1e-3,
    decay_steps=60,
    value_clip=0.0,
    num_eval_episodes=4,
)


def train(config, environment, num_steps, num_seeds=3):
    """Trained states, leaves [S, ...]."""
    learner = ppo.make(config, environment)

    @jax.jit
    @jax.vmap
    def run(key):
        state = learner.init(key)
        return jax.lax.scan(lambda s, _: learner.step(s, ()), state, None, length=num_steps)[0]

    return run(jax.random.split(jax.random.key(0), num_seeds))


def learned_values(environment, observations, config=PROBE):
    """V [len(observations)], the median over seeds after 60 rollouts."""
    state = train(config, environment, 60)
    apply = ppo.make_apply(ppo.make_network(config, environment))
    found = jax.vmap(lambda params: apply(params, (), jnp.array(observations))[1])(state.params)
    return np.median(found, axis=0)


def test_what_comes_later_is_discounted():
    """Reward 1 at the second of two steps: its value is 1, and gamma a step before."""
    environment = probe(one_hot_of_time, lambda s, a: s[0] == 1, 2)
    np.testing.assert_allclose(learned_values(environment, np.eye(2)), [GAMMA, 1.0], atol=0.05)


@pytest.mark.parametrize(
    ("truncates", "value"),
    [(True, 1 / (1 - GAMMA)), (False, 1.0)],
    ids=["time limit", "termination"],
)
def test_a_time_limit_is_not_an_end(truncates, value):
    """Reward 1 a step without end is worth 1 / (1 - gamma), wherever a time limit cuts."""
    environment = probe(constant, lambda s, a: 1.0, 1, truncates=truncates)
    np.testing.assert_allclose(learned_values(environment, [[1.0, 1.0]]), [value], atol=0.1)


def test_learns_and_does_not_without_learning():
    """Median greedy return over 5 seeds; random play earns 0, and so does a rate of zero."""
    environment = probe(one_hot_of_drawn, agrees, 1)
    idle = dataclasses.replace(PROBE, learning_rate=0.0, learning_rate_end=0.0)

    def median_return(config):
        learner = ppo.make(config, environment)
        keys = jax.random.split(jax.random.key(1), 5)
        state = train(config, environment, 20, num_seeds=5)
        found = jax.vmap(lambda key, state: learner.evaluate(key, state, ()))(keys, state)
        return np.median(found["greedy_return"])

    assert median_return(PROBE) == 1.0
    assert median_return(idle) < 1.0


def test_learns_a_continuous_action():
    """The best actions are 1.2 and -0.6 where 0 was drawn, their negatives where 1 was."""
    best = jnp.array([1.2, -0.6])

    def reward(state, action):
        return -jnp.square(action - jnp.where(state[1] == 0, best, -best)).sum()

    environment = probe(one_hot_of_drawn, reward, 1, num_dims=2)
    config = dataclasses.replace(PROBE, entropy_cost=0.0, normalize_rewards=True)
    state = train(config, environment, 60)
    act = ppo.greedy(config, environment)
    found = jax.vmap(lambda params: jax.vmap(functools.partial(act, params, ()))(jnp.eye(2)))(
        state.params
    )
    expected = np.array([best, -best])
    np.testing.assert_allclose(np.median(found, axis=0), expected, atol=0.15)
    assert (state.params["params"]["log_std"] < -0.5).all()  # it has become sure


def test_learns_to_balance():
    """CartPole for 40,000 steps: the median of 3 seeds; random play earns 22."""
    config = dataclasses.replace(
        PROBE, num_envs=8, num_steps=64, discount=0.98, learning_rate=3e-3, hidden_sizes="64"
    )
    environment = environments.make("CartPole-v1", max_episode_steps=200)
    state = train(config, environment, 60)
    act = ppo.greedy(config, environment)

    @jax.jit
    @jax.vmap
    def returns(params):
        policy = lambda _, obs: act(params, (), obs)
        return evaluation.episode_returns(jax.random.key(1), environment, policy, 16).mean()

    assert np.median(returns(state.params)) > 120


@pytest.fixture(scope="module")
def experienced():
    """A learner after a rollout of CartPole with a limit of 9 steps: all that it learns from."""
    environment = environments.make("CartPole-v1", max_episode_steps=9)
    config = dataclasses.replace(PROBE, discount=0.9, num_epochs=1, num_minibatches=1)
    learner = ppo.make(config, environment)
    apply = ppo.make_apply(ppo.make_network(config, environment))
    rng = np.random.default_rng(0)
    shape = (16, 8)
    ends = rng.integers(0, 6, shape)
    obs, final_obs = np.float32(rng.normal(size=(2, *shape, 4)))
    goes_on = (ends > 1)[:-1, :, None]
    final_obs[:-1] = np.where(goes_on, obs[1:], final_obs[:-1])
    steps = ppo.Rollout(
        obs=jnp.array(obs),
        action=jnp.array(rng.integers(0, 2, shape), jnp.int32),
        log_prob=jnp.zeros(shape),
        reward=jnp.array(rng.normal(size=shape), jnp.float32),
        terminated=jnp.array(ends == 0),
        truncated=jnp.array(ends == 1),
        final_obs=jnp.array(final_obs),
    )
    state = learner.init(jax.random.key(0))
    log_prob = jax.vmap(jax.vmap(lambda law, a: law.log_prob(a)))(
        jax.vmap(apply, (None, None, 0))(state.params, (), steps.obs)[0], steps.action
    )
    return config, apply, state, steps._replace(log_prob=log_prob)


def test_advantages_are_those_of_a_loop(experienced):
    """delta_t + gamma lambda delta_{t+1} + ... up to an end, by a loop over each environment."""
    config, apply, state, steps = experienced
    found = ppo.judge(config, apply, state, steps)
    both = jax.vmap(apply, (None, None, 0))
    values, after = (np.float64(both(state.params, (), x)[1]) for x in (steps.obs, steps.final_obs))
    reward, terminated, truncated = map(np.array, steps[3:6])
    expected = np.zeros(values.shape)
    for n in range(8):
        later = 0.0
        for t in reversed(range(16)):
            delta = reward[t, n] - values[t, n]
            if not terminated[t, n]:
                delta += 0.9 * after[t, n]
            if terminated[t, n] or truncated[t, n]:
                later = 0.0
            later = delta + 0.9 * 0.95 * later
            expected[t, n] = later
    np.testing.assert_allclose(found.advantage, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.value_target, expected + values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.value, values, rtol=1e-5, atol=1e-6)


def flat(experience):
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), experience)


def test_the_loss_is_that_of_numpy(experienced):
    """Every term written out, for a policy and a value that have moved."""
    config, apply, state, steps = experienced
    config = dataclasses.replace(config, value_clip=0.1, clip=0.15)
    batch = flat(ppo.judge(config, apply, state, steps))
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda x: x + jnp.array(0.3 * rng.normal(size=x.shape), jnp.float32), state.params
    )
    law, value = apply(params, (), batch.obs)
    p = np.exp(np.float64(law.logits))
    p /= p.sum(-1, keepdims=True)
    ratio = p[np.arange(128), batch.action] / np.exp(np.float64(batch.log_prob))
    a = np.float64(batch.advantage)
    a = (a - a.mean()) / a.std()
    of_policy = -np.minimum(ratio * a, np.clip(ratio, 0.85, 1.15) * a).mean()
    value, old, target = map(np.float64, (value, batch.value, batch.value_target))
    near = old + np.clip(value - old, -0.1, 0.1)
    of_value = 0.5 * np.maximum((value - target) ** 2, (near - target) ** 2).mean()
    entropy = -(p * np.log(p)).sum(-1).mean()
    found, metrics = ppo.minibatch_loss(config, apply, params, (), batch)
    expected = of_policy + 0.5 * of_value - 0.01 * entropy
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    shown = (metrics["policy_loss"], metrics["value_loss"], metrics["entropy_nats"])
    np.testing.assert_allclose(shown, (of_policy, of_value, entropy), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["clipped"], (np.abs(ratio - 1) > 0.15).mean(), atol=1e-6)
    assert 0.1 < metrics["clipped"] < 0.9
    kl = (ratio - 1 - np.log(ratio)).mean()
    np.testing.assert_allclose(metrics["approx_kl_nats"], kl, rtol=1e-3)


def test_the_first_gradient_is_the_policy_gradient(experienced):
    """Where the ratio is 1 the surrogate's gradient is that of advantage times log-probability."""
    config, apply, state, steps = experienced
    config = dataclasses.replace(config, value_cost=0.0, entropy_cost=0.0)
    batch = flat(ppo.judge(config, apply, state, steps))
    advantage = np.array(batch.advantage)
    advantage = jnp.array((advantage - advantage.mean()) / advantage.std())

    def reinforce(params):
        logits = apply(params, (), batch.obs)[0].logits
        log_probs = jax.nn.log_softmax(logits)[jnp.arange(128), batch.action]
        return -(log_probs * advantage).mean()

    loss = lambda params: ppo.minibatch_loss(config, apply, params, (), batch)[0]
    found, expected = jax.grad(loss)(state.params), jax.grad(reinforce)(state.params)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-7)
    assert max(jnp.abs(x).max() for x in jax.tree.leaves(expected)) > 1e-3


@pytest.mark.parametrize("continuous", [False, True])
def test_the_policy_that_acted_is_the_one_of_the_first_update(continuous):
    environment = probe(one_hot_of_drawn, lambda s, a: 1.0, 3, num_dims=2 if continuous else 0)
    config = dataclasses.replace(PROBE, num_epochs=1, num_minibatches=1, normalize_obs=True)
    learner = ppo.make(config, environment)
    step = jax.jit(learner.step)
    state = learner.init(jax.random.key(0))
    for _ in range(2):  # at the second, observations are normalised
        state, metrics = step(state, ())
        assert abs(metrics["approx_kl_nats"]) < 1e-6
        assert metrics["clipped"] == 0.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nothing_is_gained_beyond_the_clip(sign):
    """The surrogate of equation 7 by hand: flat where a ratio has gone far enough, not before."""
    ratio = jnp.array([0.5, 0.9, 1.1, 1.5])
    advantage = jnp.full(4, sign)
    expected = {1.0: [-0.5, -0.9, -1.1, -1.2], -1.0: [0.8, 0.9, 1.1, 1.5]}[sign]
    np.testing.assert_allclose(ppo.policy_loss(ratio, advantage, 0.2), expected, rtol=1e-6)
    slope = jax.grad(lambda r: ppo.policy_loss(r, advantage, 0.2).sum())(ratio)
    moves = {1.0: [-1, -1, -1, 0], -1.0: [0, 1, 1, 1]}[sign]
    np.testing.assert_allclose(slope, moves)


def test_a_pass_takes_every_row_once():
    config = dataclasses.replace(PROBE, num_envs=12, num_steps=6, num_minibatches=3)
    order = np.array(ppo.shuffle(jax.random.key(0), config))
    assert config.num_groups == 4 and order.shape == (12, 4, 6)
    passes = order.reshape(4, 3, 4, 6).transpose(0, 2, 1, 3).reshape(4, 4, 18)
    np.testing.assert_array_equal(np.sort(passes, axis=-1), np.tile(np.arange(18), (4, 4, 1)))
    assert len({tuple(rows) for rows in passes.reshape(16, 18)}) == 16


def stream(state):
    t = state[0].astype(jnp.float32)
    return jnp.stack([1_000.0 + jnp.sin(t), 3.0 * t])


def test_statistics_are_those_of_the_whole_stream():
    """Three rollouts of 16 steps in episodes of 5: NumPy's moments of all that was observed."""
    environment = probe(stream, lambda s, a: 1.0 + s[0], 5)
    config = dataclasses.replace(PROBE, normalize_obs=True, normalize_rewards=True)
    learner = ppo.make(config, environment)
    step, state = jax.jit(learner.step), learner.init(jax.random.key(0))
    for _ in range(3):
        state, _ = step(state, ())
    times = np.arange(48) % 5
    seen = np.stack([1_000 + np.sin(times), 3.0 * times], axis=1)
    assert state.obs_moments.count == 48 * 8
    np.testing.assert_allclose(state.obs_moments.mean, seen.mean(0), rtol=1e-6)
    np.testing.assert_allclose(ppo.deviation(state.obs_moments), seen.std(0), rtol=1e-3)
    sums, earned = [], 0.0
    for t in times:
        earned = 1.0 + t + (0.0 if t == 0 else GAMMA * earned)
        sums.append(earned)
    assert state.return_moments.count == 48 * 8
    np.testing.assert_allclose(state.return_moments.mean, np.mean(sums), rtol=1e-5)
    np.testing.assert_allclose(ppo.deviation(state.return_moments), np.std(sums), rtol=1e-4)
    z = ppo.normalized(state.obs_moments, jnp.array([1_000.5, 1e6]))
    np.testing.assert_allclose(z[0], (1_000.5 - seen[:, 0].mean()) / seen[:, 0].std(), rtol=2e-3)
    assert z[1] == 10.0


def test_actions_are_clipped_and_mapped_to_their_range():
    environment = environments.Environment(None, None, 0, (-2.0, 0.0), (2.0, 10.0))
    for action, expected in (([0.0, 0.0], [0.0, 5.0]), ([-3.0, 1.0], [-2.0, 10.0])):
        np.testing.assert_allclose(ppo.to_range(environment, jnp.array(action)), expected)


@pytest.fixture(scope="module")
def learner():
    return ppo.make(PROBE, probe(one_hot_of_drawn, agrees, 1))


def test_devices_that_share_a_batch_change_nothing(learner):
    """The environments of one seed over two devices, against one device."""
    state = learner.init(jax.random.key(0))
    alone, _ = jax.jit(learner.step)(state, ())
    mesh = devices.make_mesh(num_seeds=1)
    assert dict(mesh.shape) == {"seed": 1, "batch": 2}
    with jax.set_mesh(mesh):
        state = jax.device_put(state, devices.everywhere(mesh))
        shared, _ = jax.jit(learner.step)(state, ())
    chex.assert_trees_all_close(shared.params, alone.params, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("continuous", [False, True])
def test_types_are_a_fixed_point(shared, continuous):
    config = dataclasses.replace(
        PROBE, shared_torso=shared, normalize_obs=True, normalize_rewards=True, activation="relu"
    )
    environment = probe(constant, lambda s, a: 1.0, 3, num_dims=2 if continuous else 0)
    learner = ppo.make(config, environment)
    state = probes.assert_types_are_a_fixed_point(learner)
    assert ("value_torso" in state.params["params"]) != shared
    assert ("log_std" in state.params["params"]) == continuous


def test_pictures_go_through_a_convolution():
    environment = environments.make("Breakout-MinAtar")
    config = dataclasses.replace(PROBE, conv_channels=4)
    params = jax.eval_shape(
        lambda key: ppo.make(config, environment).init(key).params, jax.random.key(0)
    )
    assert params["params"]["torso"]["conv_kernel"].shape == (3, 3, 4, 4)


def test_keys_are_used_once(learner):
    probes.assert_keys_are_used_once(learner)


def test_one_trace(learner):
    probes.assert_one_trace(learner)


def test_seeds_differ_in_parameters_actions_and_batches(learner):
    a, b = (learner.init(jax.random.key(seed)) for seed in (0, 1))
    assert all(
        not np.allclose(x, y)
        for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True)
        if x.ndim > 1  # biases start at 0
    )
    step = jax.jit(learner.step)
    losses = [step(state, ())[1]["loss"] for state in (a, a._replace(key=b.key))]
    assert losses[0] != losses[1]


def test_steps_differ_and_the_rate_falls_by_rollouts(learner):
    """decay_steps rollouts after the start the step size is the last one, and stays there."""
    config = dataclasses.replace(PROBE, learning_rate_end=0.0, decay_steps=2)
    learner = ppo.make(config, probe(one_hot_of_drawn, agrees, 1))
    step, state = jax.jit(learner.step), learner.init(jax.random.key(0))
    kept = []
    for _ in range(3):
        after, _ = step(state, ())
        same = jax.tree.map(np.array_equal, state.params, after.params)
        kept.append(all(jax.tree.leaves(same)))
        state = after
    assert kept == [False, False, True]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_epochs": 0}, "--num_epochs=0 must be at least 1"),
        ({"num_minibatches": 3}, "--num_minibatches=3 must divide the 16 steps"),
        ({"num_minibatches": 128, "num_envs": 1, "num_steps": 128}, "leaves one step a minibatch"),
        ({"hidden_sizes": "16,0"}, "--hidden_sizes=16,0 must be whole numbers above 0"),
        ({"trace_decay": 1.5}, "--trace_decay=1.5 must lie between 0 and 1"),
        ({"clip": 0.0}, "--clip=0.0 must be above 0"),
        ({"max_grad_norm": -1.0}, "--max_grad_norm=-1.0 must not be negative"),
        ({"decay_steps": 0}, "--decay_steps=0 must be at least 1"),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(PROBE, **changes)
