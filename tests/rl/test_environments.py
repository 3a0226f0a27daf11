import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.errors import UsageError
from dl_lectures.rl import environments, evaluation


@pytest.mark.parametrize("name", ["CartPole-v1", "Catch-bsuite"])
def test_transitions_are_those_of_gymnax(name):
    """1,000 random actions, through ends of episodes and time limits, against gymnax's own step."""
    ours = environments.make(name)
    env, params = gymnax.make(name)
    key_reset, key_run = jax.random.split(jax.random.key(0))
    obs, state = env.reset(key_reset, params)
    assert jnp.array_equal(ours.reset(key_reset)[0], obs)

    def step(carry, key):
        state, our_state = carry
        key_action, key = jax.random.split(key)
        action = jax.random.randint(key_action, (), 0, ours.num_actions)
        theirs = env.step(key, state, action, params)
        keys = jax.random.split(key)
        out = environments.step_and_reset(ours, keys[0], keys[1], our_state, action)
        pairs = (
            (theirs[0], out.obs),
            (theirs[2], out.reward),
            (theirs[3], out.terminated),
            (theirs[5]["final_observation"], out.final_obs),
        )
        return (theirs[1], out.state), (pairs, out.terminated)

    _, (pairs, ends) = jax.lax.scan(step, (state, state), jax.random.split(key_run, 1_000))
    assert ends.sum() > 10
    for theirs, out in pairs:
        np.testing.assert_allclose(np.float32(theirs), np.float32(out), rtol=1e-6, atol=1e-6)


def test_a_time_limit_truncates_and_shows_where_it_cut():
    """CartPole's limit is 500 steps; a state one step before it, upright, is truncated next."""
    ours = environments.make("CartPole-v1")
    _, state = ours.reset(jax.random.key(0))
    state = state.replace(time=jnp.int32(499))
    keys = jax.random.split(jax.random.key(1))
    out = environments.step_and_reset(ours, keys[0], keys[1], state, jnp.int32(0))
    assert out.truncated and not out.terminated
    assert out.state.time == 0
    assert not jnp.array_equal(out.obs, out.final_obs)
    np.testing.assert_array_equal(out.final_obs, ours.step(keys[0], state, jnp.int32(0))[0])


def test_a_sticky_action_is_the_one_before():
    """An environment that shows the action taken: 10,000 alternating choices, 0.1 of them stuck."""
    inner = environments.Environment(
        reset=lambda key: (jnp.int32(0), ()),
        step=lambda key, state, action: (action, (), jnp.float32(0), False, False),
        num_actions=3,
    )
    environment = environments.sticky(inner, 0.1)
    actions = 1 + jnp.arange(10_000) % 2

    def step(state, x):
        key, action = x
        taken, state, *_ = environment.step(key, state, action)
        return state, (taken, state[1])

    _, state = environment.reset(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), len(actions))
    _, (taken, remembered) = jax.lax.scan(step, state, (keys, actions))
    before = jnp.concatenate([jnp.zeros(1, int), taken[:-1]])
    stuck = taken != actions
    np.testing.assert_array_equal(taken, remembered)
    np.testing.assert_array_equal(taken[stuck], before[stuck])
    # After a stuck action the one before equals the choice, so that a second one cannot be seen:
    # of every 1.1 steps one can, 0.1 / 1.1 = 0.0909 +- 4 sigma.
    assert abs(stuck.mean() - 0.1 / 1.1) < 0.0115


def test_deep_sea_has_a_size_and_continuous_actions_have_bounds():
    obs, _ = environments.make("DeepSea-bsuite", size=12).reset(jax.random.key(0))
    assert obs.shape == (12, 12)
    pendulum = environments.make("Pendulum-v1", continuous=True)
    assert (pendulum.num_actions, pendulum.low, pendulum.high) == (0, (-2.0,), (2.0,))
    assert environments.make("Swimmer-misc", continuous=None).low == (-1.0, -1.0)


def test_a_time_limit_can_be_set():
    ours = environments.make("CartPole-v1", max_episode_steps=3)
    _, state = ours.reset(jax.random.key(0))
    for expected in (False, False, True):
        _, state, _, _, truncated = ours.step(jax.random.key(1), state, jnp.int32(0))
        assert truncated == expected


def test_pictures_take_a_byte_a_cell():
    obs, _ = environments.make("Breakout-MinAtar").reset(jax.random.key(0))
    theirs, _ = gymnax.make("Breakout-MinAtar")[0].reset(jax.random.key(0))
    assert obs.dtype == bool
    np.testing.assert_array_equal(obs, theirs)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"name": "CartPole-v1", "size": 4}, "only DeepSea-bsuite has a size"),
        ({"name": "CartPole-v1", "continuous": True}, "has finitely many actions"),
        (
            {"name": "Pendulum-v1", "continuous": True, "sticky_actions": 0.1},
            "actions of Pendulum-v1 are continuous",
        ),
    ],
)
def test_wishes_that_do_not_fit(wanted, said):
    with pytest.raises(UsageError, match=said):
        environments.make(**wanted)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CartPole", "is unknown; choose one of"),
        ("Pendulum-v1", "continuous actions"),
        ("MountainCarContinuous-v0", "is refused"),
    ],
)
def test_names_that_do_not_serve(name, said):
    with pytest.raises(UsageError, match=said):
        environments.make(name)


def test_data_that_cannot_be_fetched_is_said(monkeypatch):
    def offline(name):
        raise OSError("no network")

    monkeypatch.setattr(gymnax, "make", offline)
    with pytest.raises(UsageError, match=r"MNISTBandit-bsuite cannot fetch its data \(no network"):
        environments.make("MNISTBandit-bsuite")


def test_random_play_on_cartpole():
    """Gymnasium's random policy earns 22 +- 12 an episode; 400 episodes err by 0.6."""
    ours = environments.make("CartPole-v1")
    policy = evaluation.uniform_policy(2)
    returns = evaluation.episode_returns(jax.random.key(0), ours, policy, 400)
    assert 19.5 < returns.mean() < 25.0
    assert returns.min() >= 8


def test_every_episode_counts_once():
    """Episodes of one and of three steps, side by side, each with reward 1 a step."""

    def step(key, state, action):
        length, t = state
        return length, (length, t + 1), jnp.float32(1), t + 1 >= length, jnp.bool_(False)

    def reset(key):
        length = 1.0 + 2.0 * jax.random.bernoulli(key)
        return length, (length, jnp.float32(0))

    environment = environments.Environment(reset, step, num_actions=1)
    returns = evaluation.episode_returns(
        jax.random.key(3), environment, lambda key, obs: jnp.int32(0), 64
    )
    assert set(returns.tolist()) == {1.0, 3.0}
