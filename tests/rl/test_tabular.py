"""Each update against the book's pseudocode in NumPy; then what is learned, and invariances."""

import collections
import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import grids, planning, tabular

S, A, GAMMA = 5, 3, 0.8
NUM_STEPS = 120
BASE = tabular.Config(
    discount=GAMMA, learning_rate=0.5, n_steps=3, trace_decay=0.6, block_steps=20,
    max_episode_steps=20,
)  # fmt: skip
POWERS = (0.0, 0.6)


def config_of(method, **changes):
    return dataclasses.replace(BASE, method=method, **changes)


# Updates, step for step.


@pytest.fixture(scope="module")
def experience():
    """A chain of transitions, [NUM_STEPS]: some episodes terminate, some are cut."""
    rng = np.random.default_rng(0)
    states = rng.integers(S, size=NUM_STEPS + 1)
    actions = rng.integers(A, size=NUM_STEPS + 1)
    ends = rng.choice(["goes on", "terminated", "cut"], size=NUM_STEPS, p=[0.75, 0.15, 0.1])
    ends[17::18] = "terminated"  # none is longer than a block
    ends[-1] = "goes on"
    # After an end the next episode begins elsewhere than where this one led to.
    led_to, meant = (np.where(ends == "goes on", x[1:], (x[1:] + 1) % n) for x, n in (
        (states, S), (actions, A)))  # fmt: skip
    policy = rng.dirichlet(np.ones(A), NUM_STEPS)
    ended = ends != "goes on"
    episode = np.concatenate([[0], ended.cumsum()[:-1]])
    seen, is_first = set(), []
    for visit in zip(episode, states, actions, strict=False):
        is_first.append(visit not in seen)
        seen.add(visit)
    return tabular.Transition(
        states[:-1].astype(np.int32),
        actions[:-1].astype(np.int32),
        rng.normal(size=NUM_STEPS).astype(np.float32),
        np.where(ends == "terminated", 0.0, GAMMA).astype(np.float32),
        led_to.astype(np.int32),
        meant.astype(np.int32),
        policy.astype(np.float32),
        ended,
        episode.astype(np.int32),
        np.array(is_first),
    )


class Table:
    """The book's arrays."""

    def __init__(self, power, num_tables=1):
        self.q = np.random.default_rng(1).normal(size=(num_tables, S, A))
        self.start = self.q.astype(np.float32)
        self.visits, self.power = np.zeros((num_tables, S, A), int), power

    def move(self, where, target):
        self.visits[where] += 1
        rate = BASE.learning_rate * self.visits[where] ** -self.power
        self.q[where] += rate * (target - self.q[where])


def rows(experience):
    return [jax.tree.map(lambda x, i=i: x[i], experience) for i in range(NUM_STEPS)]


def by_the_book_one_step(method, experience, uniforms, power):
    table = Table(power, 2 if method == "double_q" else 1)
    q = table.q
    for x, u in zip(rows(experience), uniforms, strict=True):
        s, a, t = x.state, x.action, x.next_state
        which = int(u < 0.5) if method == "double_q" else 0
        if method == "q_learning":
            following = max(q[0, t])
        elif method == "sarsa":
            following = q[0, t, x.next_action]
        elif method == "expected_sarsa":
            following = sum(p * v for p, v in zip(x.next_policy, q[0, t], strict=True))
        else:
            following = q[1 - which, t, np.argmax(q[which, t])]
        table.move((which, s, a), x.reward + x.discount * following)
    return table


def by_the_book_n_step(experience, power):
    table, n, steps = Table(power), BASE.n_steps, []

    def learn(tau, end):
        goal = sum(GAMMA ** (k - tau) * steps[k].reward for k in range(tau, end))
        last = steps[end - 1]
        if last.discount > 0:
            goal += GAMMA ** (end - tau) * table.q[0, last.next_state, last.next_action]
        table.move((0, steps[tau].state, steps[tau].action), goal)

    for x in rows(experience):
        steps.append(x)
        if len(steps) >= n:
            learn(len(steps) - n, len(steps))
        if x.ended:
            for tau in range(max(0, len(steps) - n + 1), len(steps)):
                learn(tau, len(steps))
            steps = []
    return table


def by_the_book_watkins(experience, power):
    table, traces = Table(power), np.zeros((S, A))
    for x in rows(experience):
        q, s, a = table.q[0], x.state, x.action
        error = x.reward + x.discount * q[x.next_state].max() - q[s, a]
        is_greedy = q[x.next_state, x.next_action] == q[x.next_state].max()
        traces[s, a] = 1.0
        table.visits[0, s, a] += 1
        q += BASE.learning_rate * table.visits[0, s, a] ** -power * error * traces
        traces *= GAMMA * BASE.trace_decay if is_greedy and not x.ended else 0.0
    return table


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("method", [m for m in tabular.METHODS if m not in tabular.MONTE_CARLO])
def test_updates_are_those_of_the_book(method, power, experience):
    config = config_of(method, learning_rate_power=power)
    uniforms = np.random.default_rng(2).uniform(size=NUM_STEPS).astype(np.float32)
    if method == "n_step_sarsa":
        table = by_the_book_n_step(experience, power)
    elif method == "watkins":
        table = by_the_book_watkins(experience, power)
    else:
        table = by_the_book_one_step(method, experience, uniforms, power)
    update = tabular.UPDATES[method](config)
    learned = tabular.Learned(
        jnp.asarray(table.start),
        jnp.zeros(table.start.shape, jnp.int32),
        tabular.memory_of(config, S, A),
    )

    @jax.jit
    def learn(learned, experience, uniforms):
        body = lambda learned, x: (update(learned, *x, jnp.float32(0.5)), None)
        return jax.lax.scan(body, learned, (experience, uniforms))[0]

    found = learn(learned, experience, uniforms)
    np.testing.assert_allclose(found.tables, table.q, atol=1e-5)
    np.testing.assert_array_equal(found.visits, table.visits)
    assert np.abs(table.q - table.start).max() > 0.5


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("method", tabular.MONTE_CARLO)
def test_monte_carlo_is_that_of_the_book(method, power, experience):
    """In blocks, while episodes go from block to block; what is not over is not learned from."""
    config = config_of(method, learning_rate_power=power)
    experience = experience._replace(next_policy=None)
    table, length = Table(power), BASE.block_steps
    for end in range(length, NUM_STEPS + 1, length):
        block = rows(experience)[:end]
        episodes = collections.defaultdict(list)
        for x in block:
            episodes[int(x.episode)].append(x)
        over = [
            steps
            for number, steps in episodes.items()
            if steps[-1].ended and number >= block[-length].episode
        ]
        for steps in reversed(over):  # the last episode first, as we do
            last = steps[-1]
            goal = table.q[0, last.next_state, last.next_action] * (last.discount > 0)
            for i in reversed(range(len(steps))):
                goal = steps[i].reward + GAMMA * goal
                pair = (steps[i].state, steps[i].action)
                earlier = [(x.state, x.action) for x in steps[:i]]
                if method == "every_visit_mc" or pair not in earlier:
                    table.move((0, *pair), goal)
    learned = tabular.Learned(
        jnp.asarray(table.start), jnp.zeros((1, S, A), jnp.int32), tabular.memory_of(config, S, A)
    )
    learn = jax.jit(functools.partial(tabular.monte_carlo, config))
    previous = tabular.no_block(config)
    for end in range(length, NUM_STEPS + 1, length):
        block = jax.tree.map(lambda x, end=end: x[end - length : end], experience)
        learned = learn(learned, previous, block, jnp.float32(0.5))
        previous = block
    np.testing.assert_allclose(learned.tables, table.q, atol=1e-5)
    np.testing.assert_array_equal(learned.visits, table.visits)
    assert table.visits.sum() > 60


def test_epsilon_greedy_by_hand():
    found = tabular.epsilon_greedy(jnp.array([1.0, 3.0, 3.0, 0.0]), jnp.float32(0.2))
    np.testing.assert_allclose(found, [0.05, 0.45, 0.45, 0.05], rtol=1e-6)


# Learners.


def train(learner, num_steps, num_seeds, num_idle=0):
    """Final states, metrics and evaluations; the last `num_idle` seeds have learning rate 0."""

    @jax.jit
    @jax.vmap
    def of_one(key, idle):
        state = learner.init(key)
        state = state._replace(learning_rate=state.learning_rate * ~idle) if num_idle else state
        state, metrics = jax.lax.scan(lambda s, _: learner.step(s, ()), state, length=num_steps)
        return state, metrics, learner.evaluate(key, state, ())

    idle = jnp.arange(num_seeds) >= num_seeds - num_idle
    return of_one(jax.random.split(jax.random.key(0), num_seeds), idle)


def corridor():
    """Four steps to the right earn 1; to the left, 0.1 at once."""
    return grids.grid(("GS...H",), {"G": 0.1, "H": 1.0})


@pytest.mark.parametrize("method", tabular.METHODS)
def test_every_method_learns_the_corridor_and_not_without_learning(method):
    config = config_of(method, discount=0.9, learning_rate=0.3, epsilon_start=1.0, epsilon_end=0.2,
                       epsilon_steps=1_000)  # fmt: skip
    _, metrics, found = train(tabular.make(config, corridor()), 150, 18, num_idle=2)
    np.testing.assert_allclose(np.median(found["greedy_return"][:16]), 0.9**3, rtol=1e-4)
    assert np.mean(found["is_optimal"][:16]) >= 0.75
    assert float(metrics["finished"].sum()) > 18 * 100
    assert not found["is_optimal"][16:].any()


@pytest.mark.parametrize("method", tabular.METHODS)
def test_a_time_limit_is_not_an_end(method):
    """Reward 1 a step without end is worth 1 / (1 - gamma), wherever a time limit cuts."""
    one = np.ones((1, 1, 1))
    endless = grids.MDP(one, one, np.array([False]), np.ones(1))
    config = config_of(method, discount=0.5, learning_rate=0.5, max_episode_steps=3)
    state, _, found = train(tabular.make(config, endless), 20, 1)
    np.testing.assert_allclose(state.learned.tables, 2.0, rtol=1e-3)
    np.testing.assert_allclose(found["value_error"], 0.0, atol=1e-3)
    np.testing.assert_allclose(found["greedy_return"], 1.75)  # of three steps
    assert int(state.episodes[0]) == 20 * BASE.block_steps // 3


def test_a_step_keeps_the_types_of_the_state_and_uses_keys_once():
    for method in tabular.METHODS:
        learner = tabular.make(config_of(method, num_returns=3, seek_optimum=20), corridor())
        before = jax.eval_shape(learner.init, jax.random.key(0))
        after, metrics = jax.eval_shape(learner.step, before, ())
        chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
        assert not any(leaf.weak_type for leaf in jax.tree.leaves(after))
        assert set(metrics) == {"loss", "reward", "finished"}
    with jax.debug_key_reuse(True):
        jax.jit(learner.step)(jax.jit(learner.init)(jax.random.key(0)), ())


def test_returns_of_the_first_episodes_add_up():
    config = config_of("sarsa", num_returns=400)
    state, metrics, _ = train(tabular.make(config, corridor()), 10, 3)
    assert (state.episodes < 400).all()
    np.testing.assert_allclose(state.returns.sum(1), metrics["reward"].sum(1), rtol=1e-5)
    np.testing.assert_array_equal(metrics["finished"].sum(1), state.episodes)
    short = tabular.make(dataclasses.replace(config, num_returns=3), corridor())
    np.testing.assert_array_equal(train(short, 10, 3)[0].returns, state.returns[:, :3])


def test_the_optimum_is_noted_when_it_is_found_first():
    config = config_of("q_learning", discount=0.9, epsilon_end=1.0, seek_optimum=20)
    learner = tabular.make(config, corridor())
    step, evaluate = jax.jit(learner.step), jax.jit(learner.evaluate)
    state, first = jax.jit(learner.init)(jax.random.key(0)), None
    for _ in range(40):
        state, _ = step(state, ())
        found = evaluate(state.key, state, ())
        if first is None and found["is_optimal"]:
            first = int(state.env_steps)
        assert found["first_optimal"] == (first or state.env_steps)
    assert first is not None


def test_values_of_a_policy_are_those_of_the_linear_system():
    """Frozen lake at random: both methods see the same episodes and find the same values."""
    mdp = grids.exploring_starts(grids.frozen_lake())
    policy = np.full((16, 4), 0.25)
    config = config_of("sarsa", discount=0.9, learning_rate=1.0, learning_rate_power=0.7,
                       block_steps=500)  # fmt: skip
    learners = {
        method: tabular.make(dataclasses.replace(config, method=method), mdp, policy)
        for method in ("sarsa", "expected_sarsa", "first_visit_mc")
    }
    state, _, found = train(tabular.together(learners, same_key=True), 40, 8)
    exact = planning.action_values(mdp, planning.policy_values(mdp, policy, 0.9), 0.9)
    for name, one in state.states.items():
        table = np.asarray(one.learned.tables).mean((0, 1))  # over seeds
        np.testing.assert_allclose(table, exact, atol=0.03, err_msg=name)
        errors = np.abs(np.asarray(one.learned.tables)[:, 0] - exact)[:, grids.reachable(mdp)]
        np.testing.assert_allclose(
            found[f"{name}/value_error"],
            errors.max((1, 2)) / exact[grids.reachable(mdp)].max(),
            rtol=1e-4,
        )
    td, mc = state.states["sarsa"], state.states["first_visit_mc"]
    for field in ("state", "action", "time", "episodes", "key"):
        chex.assert_trees_all_equal(getattr(td, field), getattr(mc, field))


def two_tables_world():
    """Sutton & Barto's example 6.7: left leads to a state whose 10 actions earn -0.1 +- 1."""
    transitions, rewards = np.zeros((4, 10, 4)), np.zeros((4, 10, 4))
    transitions[0, :5, 1] = 1.0  # left; as likely by chance as right
    transitions[0, 5:, 2] = 1.0
    transitions[1, :, 2:] = 0.5
    rewards[1, :, 2], rewards[1, :, 3] = 0.9, -1.1
    transitions[2, :, 2] = transitions[3, :, 3] = 1.0
    return grids.MDP(transitions, rewards, np.array([False, False, True, True]), np.eye(4)[0])


def test_double_q_learning_is_less_deceived_by_a_maximum():
    """The best of 10 noisy values looks better than -0.1; 1,000 seeds of 1,000 random steps."""
    left = {}
    for method in ("q_learning", "double_q"):
        config = config_of(
            method, discount=1.0, learning_rate=0.1, block_steps=500, epsilon_end=1.0
        )
        state, _, _ = train(tabular.make(config, two_tables_world()), 2, 1_000)
        left[method] = np.asarray(state.learned.tables)[:, :, 0, :5].mean()
    assert left["q_learning"] > 0.1  # though the truth is -0.1
    assert left["double_q"] < 0.0


def test_a_sweep_is_its_learners_side_by_side():
    learner = tabular.make(config_of("sarsa"), corridor())
    sweep = tabular.sweep(learner, [0.0, 0.5])
    state, metrics, found = train(sweep, 10, 2)
    tables = np.asarray(state.states["rates"].learned.tables)  # [seeds, rates, 1, S, A]
    assert not tables[:, 0].any()
    assert tables[:, 1].any()
    assert {"reward@0", "reward@0.5", "loss"} <= set(metrics)
    assert {"greedy_return@0", "is_optimal@0.5"} <= set(found)
    one = jax.tree.map(lambda x: x[0, 1], state.states["rates"])
    again = learner.init(jax.random.key(1))._replace(key=one.key)
    assert float(one.learning_rate) == 0.5
    assert again.t == 0


def test_learners_together_are_the_learners_alone():
    learner = tabular.make(config_of("q_learning"), corridor())
    both = tabular.together({"a": learner, "b": learner})
    state = jax.jit(both.init)(jax.random.key(0))
    alone = state.states["b"]
    for _ in range(3):
        state, metrics = jax.jit(both.step)(state, ())
        alone, values = jax.jit(learner.step)(alone, ())
    chex.assert_trees_all_close(state.states["b"].learned, alone.learned, atol=1e-6)
    assert float(metrics["b/reward"]) == float(values["reward"])
    assert state.states["a"].key != state.states["b"].key
    assert {"a/loss", "loss"} <= set(metrics)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "magic"}, "--method=magic must be one of"),
        ({"block_steps": 0}, "--block_steps=0 must be at least 1"),
        ({"discount": 1.5}, "--discount=1.5 must lie between 0 and 1"),
        ({"seek_optimum": -1}, "--seek_optimum=-1 must not be negative"),
        ({"epsilon_steps": -1}, "--epsilon_steps=-1 must not be negative"),
        (
            {"method": "every_visit_mc", "max_episode_steps": 21},
            "--block_steps=20 must not be less",
        ),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(BASE, **changes)
