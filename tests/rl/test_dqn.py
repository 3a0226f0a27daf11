"""Probe environments whose values are known by hand, after those of rejax; then invariances."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from probes import agrees, constant, one_hot_of_drawn, one_hot_of_time, probe

from dl_lectures.rl import dqn, networks

GAMMA = 0.5
PROBE = dqn.Config(
    num_envs=4,
    hidden_sizes="16",
    capacity=400,
    prefill=100,
    batch_size=32,
    discount=GAMMA,
    learning_rate=1e-2,
    learning_rate_end=1e-3,
    decay_steps=600,
    target_every=10,
    epsilon_steps=400,
    num_eval_episodes=4,
)
SWITCHES = {
    "plain": {},
    "double": {"double": True},
    "dueling": {"dueling": True},
    "n_step": {"n_step": 3},
    "prioritized": {"prioritized": True},
    "c51": {"distribution": "c51", "num_atoms": 21, "value_min": -2.0, "value_max": 2.0},
    "qr": {"distribution": "qr", "num_atoms": 4},
    "noisy": {"noisy": True},
    "munchausen": {"munchausen": True, "munchausen_temperature": 0.5},
    "munchausen qr": {
        "munchausen": True,
        "munchausen_temperature": 0.5,
        "distribution": "qr",
        "num_atoms": 4,
    },
    "no replay": {"replay": False, "train_every": 4},
    "no target": {"target_every": 1},
}
RAINBOW = {
    name: value
    for switch in ("double", "dueling", "n_step", "prioritized", "c51", "noisy")
    for name, value in SWITCHES[switch].items()
}
SWITCHES["rainbow"] = RAINBOW


def trained(environment, num_seeds=3, **changes):
    """Parameters after 600 updates, leaves [num_seeds, ...], and the configuration."""
    config = dataclasses.replace(PROBE, **changes)
    learner = dqn.make(config, environment)

    @jax.jit
    @jax.vmap
    def train(key):
        state = learner.init(key)
        state, _ = jax.lax.scan(lambda s, _: learner.step(s, ()), state, None, length=600)
        return state.params

    return train(jax.random.split(jax.random.key(0), num_seeds)), config


def learned_values(environment, observations, num_seeds=3, **changes):
    """Q [len(observations), A], the median over seeds after 600 updates."""
    params, config = trained(environment, num_seeds, **changes)
    values = jax.vmap(dqn.action_values(config, 2), in_axes=(None, 0))
    found = jax.vmap(values, in_axes=(0, None))(params, jnp.array(observations))
    return np.median(found, axis=0)


def test_constant_reward_of_one_step():
    values = learned_values(probe(constant, lambda s, a: 1.0, 1), [[1.0, 1.0]])
    np.testing.assert_allclose(values, [[1.0, 1.0]], atol=0.03)


def test_reward_depends_on_the_observation():
    values = learned_values(probe(one_hot_of_drawn, lambda s, a: 2.0 * s[1] - 1.0, 1), np.eye(2))
    np.testing.assert_allclose(values, [[-1.0, -1.0], [1.0, 1.0]], atol=0.05)


# Two actions of equal value, tau 1/2: alpha tau log 1/2 is added to each reward, and what follows
# is worth tau log 2 more than its value.
BONUS, SOFT = 0.9 * 0.5 * np.log(0.5), 0.5 * np.log(2.0)


@pytest.mark.parametrize("switch", SWITCHES)
def test_what_comes_later_is_discounted(switch):
    """Reward 1 at the second of two steps: its value is 1, and gamma a step before."""
    environment = probe(one_hot_of_time, lambda s, a: s[0] == 1, 2)
    values = learned_values(environment, np.eye(2), **SWITCHES[switch])
    last, first = 1.0, GAMMA
    if "munchausen" in switch:
        last = 1.0 + BONUS
        first = BONUS + GAMMA * (last + SOFT)
    np.testing.assert_allclose(values, [[first, first], [last, last]], atol=0.07)


def test_c51_learns_the_law():
    """Reward -1 or 1, unseen which."""
    environment = probe(constant, lambda s, a: 2.0 * s[1] - 1.0, 1)
    params, config = trained(environment, **SWITCHES["c51"])
    network = dqn.make_network(config, 2)
    logits = jax.vmap(network.apply, in_axes=(0, None))(params, jnp.ones(2))
    law = np.median(jax.nn.softmax(logits), axis=0)  # [A, M]
    expected = np.where(np.isin(np.arange(21), (5, 15)), 0.5, 0.0)  # atoms -1 and 1
    np.testing.assert_allclose(law, [expected, expected], atol=0.1)


def test_qr_learns_the_quantiles():
    """Of a reward -1 or 1, unseen which: two of four quantiles lie at each."""
    environment = probe(constant, lambda s, a: 2.0 * s[1] - 1.0, 1)
    params, config = trained(environment, **SWITCHES["qr"])
    network = dqn.make_network(config, 2)
    quantiles = jax.vmap(network.apply, in_axes=(0, None))(params, jnp.ones(2))
    expected = [-1.0, -1.0, 1.0, 1.0]
    np.testing.assert_allclose(np.median(quantiles, axis=0), [expected, expected], atol=0.15)


@pytest.mark.parametrize(("correction", "value"), [(1.0, 0.25), (0.0, 1 / (1 + 3**0.5))])
def test_importance_weights_mend_what_priorities_bend(correction, value):
    """Reward 1 in a quarter of the episodes, unseen which: its mean is 1/4.

    Replay in proportion to errors, without weights, finds q where 1/4 (1 - q)^2 = 3/4 q^2.
    """
    environment = probe(constant, lambda s, a: s[1] == 0, 1, num_states=4)
    values = learned_values(
        environment,
        [[1.0, 1.0]],
        num_seeds=40,  # of each value 0.05 apart, so of their median 0.01
        prioritized=True,
        priority_exponent=1.0,
        priority_correction=correction,
        decay_steps=10**9,  # neither it nor the learning rate changes
        learning_rate=3e-3,
        batch_size=128,
    )
    np.testing.assert_allclose(values, [[value, value]], atol=0.04)


def test_returns_of_n_steps_end_with_the_episode():
    """Episodes of one step: what the next one earns does not count."""
    environment = probe(one_hot_of_drawn, lambda s, a: 2.0 * s[1] - 1.0, 1)
    values = learned_values(environment, np.eye(2), n_step=3)
    np.testing.assert_allclose(values, [[-1.0, -1.0], [1.0, 1.0]], atol=0.05)


def test_reward_depends_on_observation_and_action():
    environment = probe(one_hot_of_drawn, agrees, 1)
    values = learned_values(environment, np.eye(2))
    np.testing.assert_allclose(values, [[1.0, -1.0], [-1.0, 1.0]], atol=0.05)


ENDLESS = 1 / (1 - GAMMA)


@pytest.mark.parametrize(
    ("truncates", "changes", "value"),
    [
        (True, {}, ENDLESS),
        (False, {}, 1.0),
        (True, {"time_limit_is_death": True}, 1.0),
        (True, {"n_step": 3}, ENDLESS),  # cut within the three steps
    ],
    ids=["time limit", "termination", "taken for death", "of 3 steps"],
)
def test_a_time_limit_is_not_an_end(truncates, changes, value):
    """Reward 1 a step without end is worth 1 / (1 - gamma), wherever a time limit cuts."""
    environment = probe(constant, lambda s, a: 1.0, 1, truncates=truncates)
    values = learned_values(environment, [[1.0, 1.0]], **changes)
    np.testing.assert_allclose(values, [[value, value]], atol=0.1)


def test_a_time_limit_within_n_steps_taken_for_death():
    """Two steps an episode, reward 1 each: half of the returns are 1 + gamma, half are 1."""
    environment = probe(constant, lambda s, a: 1.0, 2, truncates=True)
    values = learned_values(environment, [[1.0, 1.0]], n_step=3, time_limit_is_death=True)
    np.testing.assert_allclose(values, 1 + GAMMA / 2, atol=0.1)


def test_a_window_tells_every_step_once():
    """30 steps of 2 environments with ends of both kinds, n 3, against sums over the record."""
    n, num_steps = 3, 30
    rng = np.random.default_rng(0)
    ended = rng.random((num_steps, 2)) < 0.3
    discounts = np.where(ended & (rng.random((num_steps, 2)) < 0.5), 0.0, 0.5)
    time = np.arange(num_steps * 2).reshape(num_steps, 2)
    steps = dqn.Transition(
        jnp.array(time, jnp.float32)[..., None],
        jnp.array(time % 3, jnp.int32),
        jnp.array(rng.normal(size=(num_steps, 2)), jnp.float32),
        jnp.array(discounts, jnp.float32),
        jnp.array(time, jnp.float32)[..., None] + 0.5,
    )
    empty = jax.tree.map(lambda x: jnp.zeros((n, *x.shape[1:]), x.dtype), steps)
    window = dqn.Window(empty, jnp.zeros((n, 2), bool))
    _, rows = jax.lax.scan(lambda w, x: dqn.n_steps(w, *x), window, (steps, jnp.array(ended)))
    for t in range(num_steps - n + 1):
        for env in range(2):
            row = [x[t + n - 1, env] for x in rows]  # n - 1 steps late
            earned, weight = 0.0, 1.0
            for k in range(t, t + n):
                earned += weight * steps.reward[k, env]
                weight *= discounts[k, env]
                if ended[k, env]:
                    break
            expected = (time[t, env], time[t, env] % 3, earned, weight, time[k, env] + 0.5)
            found = (row[0][0], *row[1:4], row[4][0])
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_run_begins_with_full_windows():
    """Episodes of two steps that show the time, n 3: no row of the buffer is made up."""
    environment = probe(lambda s: 1.0 + jnp.float32(s[0])[None], lambda s, a: 1.0, 2)
    config = dataclasses.replace(PROBE, n_step=3)
    state = dqn.make(config, environment).init(jax.random.key(0))
    assert state.buffer.size == PROBE.prefill
    rows = jax.tree.map(lambda x: np.array(x[: state.buffer.size]), state.buffer.data)
    assert set(rows.obs[:, 0]) == {1.0, 2.0}
    np.testing.assert_array_equal(rows.next_obs, 3.0)
    np.testing.assert_array_equal(rows.reward, np.where(rows.obs[:, 0] == 1.0, 1 + GAMMA, 1.0))
    np.testing.assert_array_equal(rows.discount, 0.0)
    assert config.env_steps(0) == PROBE.prefill + 2 * PROBE.num_envs


def test_without_replay_it_learns_from_what_was_just_collected():
    """A rate of 0 leaves the parameters, so that the loss of step t is that of its own rows."""
    environment = probe(one_hot_of_drawn, lambda s, a: 10.0 ** s[1], 1)
    config = dataclasses.replace(
        PROBE, replay=False, learning_rate=0.0, learning_rate_end=0.0, num_envs=1
    )
    learner = dqn.make(config, environment)
    state = learner.init(jax.random.key(0))
    assert state.buffer == () and config.env_steps(0) == 0
    values = dqn.action_values(config, 2)
    for _ in range(4):
        drawn = state.actors.env_state[1][0]
        q = values(state.params, jax.nn.one_hot(drawn, 2))
        state, metrics = jax.jit(learner.step)(state, ())
        losses = (10.0**drawn - q) ** 2  # of either action
        assert np.isclose(metrics["loss"], losses, rtol=1e-4).any()


@pytest.fixture(scope="module")
def learner():
    environment = probe(one_hot_of_drawn, agrees, 1)
    return dqn.make(PROBE, environment)


def test_learns_and_does_not_without_learning(learner):
    """Median greedy return over 5 seeds; random play earns 0, and so does a rate of zero."""
    environment = probe(one_hot_of_drawn, agrees, 1)
    idle = dqn.make(
        dataclasses.replace(PROBE, learning_rate=0.0, learning_rate_end=0.0), environment
    )

    def median_return(learner):
        @jax.jit
        @jax.vmap
        def train(key):
            state = learner.init(key)
            state, _ = jax.lax.scan(lambda s, _: learner.step(s, ()), state, None, length=200)
            return learner.evaluate(jax.random.fold_in(key, 1), state, ())["greedy_return"]

        return np.median(train(jax.random.split(jax.random.key(2), 5)))

    assert median_return(learner) == 1.0
    assert median_return(idle) < 1.0


@pytest.mark.parametrize("switch", SWITCHES)
def test_types_are_a_fixed_point(switch):
    environment = probe(one_hot_of_drawn, lambda s, a: 1.0, 1)
    learner = dqn.make(dataclasses.replace(PROBE, **SWITCHES[switch]), environment)
    probes.assert_types_are_a_fixed_point(learner, "epsilon")


@pytest.mark.parametrize(
    "name",
    [
        *("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Catch-bsuite", "DeepSea-bsuite"),
        *("MemoryChain-bsuite", "UmbrellaChain-bsuite", "DiscountingChain-bsuite"),
        *("SimpleBandit-bsuite", "BernoulliBandit-misc", "GaussianBandit-misc"),
        *("FourRooms-misc", "MetaMaze-misc", "FrozenLake-misc", "Pong-misc"),
        *(f"{game}-MinAtar" for game in ("Asterix", "Breakout", "Freeway", "SpaceInvaders")),
    ],
)
def test_every_environment_with_finitely_many_actions(name):
    """Seaquest alone takes 3 s to trace, and is left out."""
    learner = dqn.make(dataclasses.replace(PROBE, env=name, n_step=2))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, _ = jax.eval_shape(learner.step, state, ())
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


@pytest.mark.parametrize("switch", ["plain", "rainbow", "no replay"])
def test_keys_are_used_once(switch):
    learner = dqn.make(dataclasses.replace(PROBE, **SWITCHES[switch]))  # CartPole
    probes.assert_keys_are_used_once(learner)


def test_noise_is_each_environments_own_and_rests_between_updates():
    """An observation that never changes: actions differ over environments, not within a step."""
    environment = probe(constant, lambda s, a: 0.0, 1)
    config = dataclasses.replace(
        PROBE, noisy=True, num_envs=20, train_every=5, prefill=20, learning_rate=0.0
    )
    learner = dqn.make(config, environment)
    state = jax.jit(learner.init)(jax.random.key(0))
    state, metrics = jax.jit(learner.step)(state, ())
    actions = np.array(state.buffer.data.action[20:120]).reshape(5, 20)
    assert (actions == actions[0]).all()
    assert set(actions[0]) == {0, 1}
    assert metrics["epsilon"] == 0.0


def test_noisy_layers_disturb_their_weights():
    """Against the disturbed weights, formed; without noise the mean weights alone."""
    layer = networks.NoisyDense(3, 0.5)
    x = jnp.array([1.0, -2.0])
    params = layer.init(jax.random.key(0), x, None)
    noise = networks.draw_noise(jax.random.key(1), (5,))
    p = params["params"]
    kernel = p["kernel"] + p["kernel_sigma"] * jnp.outer(noise[:2], noise[2:])
    bias = p["bias"] + p["bias_sigma"] * noise[2:]
    np.testing.assert_allclose(layer.apply(params, x, noise), x @ kernel + bias, rtol=1e-5)
    np.testing.assert_allclose(layer.apply(params, x, None), x @ p["kernel"] + p["bias"])
    assert networks.num_noise(params) == 5
    np.testing.assert_allclose(p["kernel_sigma"], 0.5 / 2**0.5, rtol=1e-6)


def test_noise_is_the_signed_root_of_normal_noise():
    """E f^2 = E |normal| = sqrt(2 / pi); n = 10^5, 4 sigma of that mean is 0.008."""
    noise = networks.draw_noise(jax.random.key(0), (100_000,))
    assert abs(jnp.square(noise).mean() - (2 / np.pi) ** 0.5) < 0.008
    assert abs(noise.mean()) < 0.012


def test_dueling_is_value_and_advantage():
    """The advantages have mean 0, so that the mean over actions is the value head's output."""
    network = networks.QNetwork((8,), 3, dueling=True)
    params = network.init(jax.random.key(0), jnp.ones(2))
    obs = jnp.array([0.5, -1.0])
    p = params["params"]  # advantages: layers 0 and 1, value: 2 and 3
    hidden = jax.nn.relu(obs @ p["Dense_2"]["kernel"] + p["Dense_2"]["bias"])
    value = hidden @ p["Dense_3"]["kernel"] + p["Dense_3"]["bias"]
    np.testing.assert_allclose(network.apply(params, obs).mean(), value[0], rtol=1e-5, atol=1e-6)
    assert network.apply(params, obs).std() > 0


def test_one_trace(learner):
    probes.assert_one_trace(learner)


@pytest.mark.parametrize("switch", ["plain", "rainbow"])
def test_seeds_differ_in_parameters_exploration_and_batches(switch):
    """The error of a famous DQN: all of its seeds were the same seed."""
    environment = probe(one_hot_of_drawn, agrees, 1)
    learner = dqn.make(dataclasses.replace(PROBE, **SWITCHES[switch]), environment)
    init, step = jax.jit(learner.init), jax.jit(learner.step)
    a, b = (init(jax.random.key(seed)) for seed in (0, 1))
    assert all(
        not np.allclose(x, y)
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(a.params), jax.tree.leaves(b.params), strict=True
        )
        if x.ndim > 1 and "sigma" not in str(path)  # biases and sigmas start alike
    )
    rows = [getattr(state.buffer, "rows", state.buffer).data.action for state in (a, b)]
    assert not np.array_equal(*rows)
    same_but_key = a._replace(key=b.key)
    losses = [step(state, ())[1]["loss"] for state in (a, same_but_key)]
    assert losses[0] != losses[1]  # other rows were drawn


def test_evaluation_is_a_function_of_its_key(learner):
    state = learner.init(jax.random.key(0))
    evaluate = jax.jit(learner.evaluate)
    first, again = (evaluate(jax.random.key(5), state, ()) for _ in range(2))
    chex.assert_trees_all_equal(first, again)


def test_an_ended_episode_is_stored_with_its_last_observation():
    """Episodes of two steps that show the time: 0 -> 1 -> 2, then a new 0, never 1 -> 0."""
    environment = probe(lambda s: jnp.float32(s[0])[None], lambda s, a: 1.0, 2)
    state = dqn.make(PROBE, environment).init(jax.random.key(0))
    rows = jax.tree.map(lambda x: np.array(x[: state.buffer.size]), state.buffer.data)
    np.testing.assert_array_equal(rows.next_obs, rows.obs + 1)
    np.testing.assert_array_equal(rows.discount, np.where(rows.next_obs[:, 0] == 2, 0.0, GAMMA))
    np.testing.assert_array_equal(state.actors.last_return, 2.0)


@pytest.mark.parametrize(("every", "rate"), [(1, 1.0), (3, 1.0), (1, 0.1)])
def test_target_network_moves_when_it_should(every, rate):
    """every = 1, rate = 1 is learning without a target network."""
    environment = probe(one_hot_of_drawn, lambda s, a: 1.0, 1)
    config = dataclasses.replace(PROBE, target_every=every, target_rate=rate)
    learner = dqn.make(config, environment)
    state, step = learner.init(jax.random.key(0)), jax.jit(learner.step)
    expected = state.target_params
    for t in range(1, 5):
        state, _ = step(state, ())
        if t % every == 0:
            move = lambda new, old: rate * new + (1 - rate) * old
            expected = jax.tree.map(move, state.params, expected)
        chex.assert_trees_all_close(state.target_params, expected, rtol=1e-6, atol=1e-7)


def test_epsilon_greedy_explores_at_its_rate():
    """n = 20,000: 0.15 random, of which half hit the greedy action; 4 sigma is 0.0075."""
    q_values = jnp.tile(jnp.array([0.0, 1.0]), (20_000, 1))
    actions = dqn.epsilon_greedy(jax.random.key(0), q_values, jnp.float32(0.15))
    assert abs((actions == 0).mean() - 0.075) < 0.0075
    assert (dqn.epsilon_greedy(jax.random.key(0), q_values, jnp.float32(0.0)) == 1).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 0}, "--batch_size=0 must be at least 1"),
        ({"prefill": 500}, "--prefill=500 must lie between"),
        ({"hidden_sizes": "a,b"}, "--hidden_sizes=a,b must be whole numbers"),
        ({"hidden_sizes": "16,0"}, "--hidden_sizes=16,0 must be whole numbers above 0"),
        ({"discount": 1.5}, "--discount=1.5 must lie between 0 and 1"),
        ({"learning_rate": -1.0}, "--learning_rate=-1.0 must not be negative"),
        ({"decay_steps": 0}, "--decay_steps=0 must be at least 1"),
        ({"capacity": 2**31}, "--capacity=2147483648 must be less than"),
        ({"n_step": 0}, "--n_step=0 must be at least 1"),
        ({"sticky_actions": 1.5}, "--sticky_actions=1.5 must lie between 0 and 1"),
        ({"prioritized": True, "replay": False}, "--prioritized and --noreplay cannot"),
        ({"munchausen": True, "double": True}, "--munchausen and --double cannot"),
        ({"munchausen": True, "n_step": 3}, "--munchausen and --n_step above 1 cannot"),
        ({"munchausen": True, "distribution": "c51"}, "--munchausen and --distribution=c51"),
        ({"distribution": "c51", "value_min": 10.0}, "--value_min=10.0 must be less than"),
        ({"distribution": "qr", "num_atoms": 1}, "--num_atoms=1 must be at least 2"),
        ({"noisy": True, "noise_scale": 0.0}, "--noise_scale=0.0 must be above 0"),
        ({"munchausen": True, "munchausen_floor": 0.5}, "--munchausen_floor=0.5 below"),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(PROBE, **changes)
