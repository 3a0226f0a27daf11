"""Policies pull for pull against NumPy, written run by run from the books; and their invariants."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dl_lectures.bandits import policies

# Rewards without ties but those of the first estimates, some of them negative.
T, K, N = 60, 4, 200
TABLE = (
    np.random.default_rng(0).normal(np.array([0.1, -0.3, 0.4, 0.3])[:, None], size=(T, K, N))
).astype(np.float32)
# What hyper-parameters of a kind may be: one program for all of them.
KINDS = {
    "explore_only": [policies.explore_only],
    "epsilon_greedy": [
        policies.greedy,
        lambda: policies.epsilon_greedy(0.3),
        lambda: policies.epsilon_greedy(1.0, initial_value=-0.2),
    ],
    "first_of_ties": [
        lambda: policies.epsilon_greedy(0.3, ties="first"),
        lambda: policies.epsilon_greedy(0.1, ties="first"),
    ],
    "recency_weighted": [
        lambda: policies.epsilon_greedy(0.2, 0.3, -0.5),
        policies.optimistic,
        lambda: policies.optimistic(2.0, 1.0),
    ],
    "decaying": [
        lambda: policies.decaying_epsilon_greedy(1.5, 0.5),
        lambda: policies.decaying_epsilon_greedy(0.02, 1.0),
    ],
    "softmax": [lambda: policies.softmax(0.2), lambda: policies.softmax(3.0)],
    "softmax_recency": [lambda: policies.softmax(0.2, 0.1), lambda: policies.softmax(0.5, 1.0)],
    "gradient": [
        policies.gradient,
        lambda: policies.gradient(0.3, "including"),
        lambda: policies.gradient(0.4, "none"),
    ],
    "explore_then_commit": [
        lambda: policies.explore_then_commit(1),
        lambda: policies.explore_then_commit(6),
        lambda: policies.explore_then_commit(100),
    ],
    "successive_elimination": [
        lambda: policies.successive_elimination(1),
        lambda: policies.successive_elimination(T),
    ],
}


@jax.jit
def play(policy, dice, table):
    """Plays on what every arm would pay, [T, K, N]; returns arms [T, N] and the states after."""
    _, num_arms, num_runs = table.shape

    def step(state, dice_and_rewards):
        dice, rewards = dice_and_rewards
        arm = policy.select(state, dice)
        state = policy.update(state, arm, jnp.take_along_axis(rewards, arm[None], 0)[0])
        return state, (arm, state)

    return jax.lax.scan(step, policy.init(num_arms, num_runs), (dice, table))[1]


def played(policy, table=TABLE, key=0):
    """Returns the dice, arms and states, as NumPy arrays."""
    dice = policy.draw(jax.random.key(key), *table.shape)
    return jax.tree.map(np.asarray, (dice, *play(policy, dice, table)))


# One run each: rewards [T, K], dice [T] -> arms.


def best(values, tie):
    tied = np.flatnonzero(values == values.max())
    return tied[0] if tie is None else tied[int(tie * len(tied))]


def reference_greedy(rewards, dice, epsilon, step_size=None, initial=0.0):
    """S&B, "a simple bandit algorithm" of section 2.4; `epsilon` of the n-th pull."""
    num_arms = rewards.shape[1]
    q, n = np.full(num_arms, float(initial)), np.zeros(num_arms)
    for t, row in enumerate(rewards):
        explores = dice.explore[t] < epsilon(t + 1)
        tie = None if dice.tie is None else dice.tie[t]
        a = int(dice.explore[t] / epsilon(t + 1) * num_arms) if explores else best(q, tie)
        n[a] += 1
        q[a] += (row[a] - q[a]) * (1 / n[a] if step_size is None else step_size)
        yield a


def draw(probabilities, u):
    assert abs(probabilities.sum() - 1) < 1e-12
    return int(np.searchsorted(np.cumsum(probabilities), u, side="right"))


def reference_softmax(rewards, uniforms, temperature, step_size=None):
    q, n = np.zeros(rewards.shape[1]), np.zeros(rewards.shape[1])
    for row, u in zip(rewards, uniforms, strict=True):
        weights = np.exp(q / temperature)
        a = draw(weights / weights.sum(), u)
        n[a] += 1
        q[a] += (row[a] - q[a]) * (1 / n[a] if step_size is None else step_size)
        yield a


def reference_gradient(rewards, uniforms, step_size, baseline):
    """S&B (2.12), for each arm by itself."""
    h, received = np.zeros(rewards.shape[1]), []
    for row, u in zip(rewards, uniforms, strict=True):
        pi = np.exp(h) / np.exp(h).sum()
        a = draw(pi, u)
        before = np.mean(received) if received else 0.0
        received.append(float(row[a]))
        against = {"before": before, "including": np.mean(received), "none": 0.0}[baseline]
        for b in range(len(h)):
            if b == a:
                h[b] += step_size * (row[a] - against) * (1 - pi[b])
            else:
                h[b] -= step_size * (row[a] - against) * pi[b]
        yield a


def reference_commit(rewards, ties, num_pulls):
    num_arms = rewards.shape[1]
    first = rewards[: num_pulls * num_arms]
    received = [first[a::num_arms, a] for a in range(num_arms)]
    for t in range(len(rewards)):
        if t < num_pulls * num_arms:
            yield t % num_arms
        else:
            yield best(np.array([r.mean() for r in received]), ties[num_pulls * num_arms])


def reference_elimination(rewards, horizon):
    """Even-Dar et al., algorithm 3, round for round, with the radius of the docstring."""
    num_arms = rewards.shape[1]
    survivors, received, t = list(range(num_arms)), [[] for _ in range(num_arms)], 0
    while True:
        for a in survivors:
            if t == len(rewards):
                return
            received[a].append(float(rewards[t, a]))
            t += 1
            yield a
        n = len(received[survivors[0]])
        radius = math.sqrt(math.log(4 * num_arms * n**2 * horizon) / (2 * n))
        averages = {a: np.mean(received[a]) for a in survivors}
        survivors = [a for a in survivors if max(averages.values()) - averages[a] < 2 * radius]


def only(reference, **arguments):
    return lambda rewards, dice: reference(rewards, dice, **arguments)


GREEDY = reference_greedy
REFERENCES = {
    "explore_only": [lambda rewards, dice: (int(u * K) for u in dice)],
    "epsilon_greedy": [
        only(GREEDY, epsilon=lambda n: 0.0),
        only(GREEDY, epsilon=lambda n: 0.3),
        only(GREEDY, epsilon=lambda n: 1.0, initial=-0.2),
    ],
    "first_of_ties": [
        only(GREEDY, epsilon=lambda n: 0.3),
        only(GREEDY, epsilon=lambda n: 0.1),
    ],
    "recency_weighted": [
        only(GREEDY, epsilon=lambda n: 0.2, step_size=0.3, initial=-0.5),
        only(GREEDY, epsilon=lambda n: 0.0, step_size=0.1, initial=5),
        only(GREEDY, epsilon=lambda n: 0.0, step_size=1.0, initial=2),
    ],
    "decaying": [
        only(GREEDY, epsilon=lambda n: min(1, 1.5 * K / (0.25 * n))),
        only(GREEDY, epsilon=lambda n: min(1, 0.02 * K / n)),
    ],
    "softmax": [only(reference_softmax, temperature=0.2), only(reference_softmax, temperature=3)],
    "softmax_recency": [
        only(reference_softmax, temperature=0.2, step_size=0.1),
        only(reference_softmax, temperature=0.5, step_size=1.0),
    ],
    "gradient": [
        only(reference_gradient, step_size=0.1, baseline="before"),
        only(reference_gradient, step_size=0.3, baseline="including"),
        only(reference_gradient, step_size=0.4, baseline="none"),
    ],
    "explore_then_commit": [
        only(reference_commit, num_pulls=1),
        only(reference_commit, num_pulls=6),
        lambda rewards, dice: (t % K for t in range(T)),
    ],
    "successive_elimination": [
        lambda rewards, dice: reference_elimination(rewards, 1),
        lambda rewards, dice: reference_elimination(rewards, T),
    ],
}
CASES = [(name, i) for name, makers in KINDS.items() for i in range(len(makers))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_pull_for_pull(name, number):
    """The same dice and rewards, 40 runs of 60 pulls; no program but one for a kind."""
    policy = KINDS[name][number]()
    dice, arms, _ = played(policy)
    assert arms.dtype == np.int32
    for run in range(40):
        mine = jax.tree.map(lambda x, i=run: x[:, i % x.shape[1]], dice)
        expected = list(REFERENCES[name][number](TABLE[:, :, run].astype(float), mine))
        np.testing.assert_array_equal(arms[:, run], expected, str(run))

    def as_arguments(policy):
        leaves, structure = jax.tree.flatten(policy)
        return [(np.shape(x), jnp.result_type(x)) for x in leaves], structure

    assert as_arguments(policy) == as_arguments(KINDS[name][0]())


def test_averages_are_means_of_what_was_received():
    for name in ("epsilon_greedy", "softmax"):
        _, arms, states = played(KINDS[name][1]())
        assert states.means.dtype == np.float32
        np.testing.assert_array_equal(states.t, np.arange(1, T + 1))
        for t, arm, run in itertools.product((1, 5, T), range(K), range(N)):
            mine = arms[:t, run] == arm
            received = TABLE[:t, arm, run][mine]
            assert states.counts[t - 1, arm, run] == len(received)
            expected = received.mean(dtype=float) if len(received) else 0.0
            assert states.means[t - 1, arm, run] == pytest.approx(expected, rel=2e-5, abs=2e-6)
    _, arms, states = played(policies.epsilon_greedy(1.0, initial_value=-0.2))
    unpulled = states.counts[5] == 0
    assert unpulled.any() and (states.means[5][unpulled] == np.float32(-0.2)).all()


def test_recency_weighting_is_a_sum():
    """S&B (2.6): (1 - a)^n Q_1 + sum of a (1 - a)^(n - i) R_i."""
    step_size, initial = 0.3, -0.5
    _, arms, states = played(KINDS["recency_weighted"][0]())
    for arm, run in itertools.product(range(K), range(N)):
        received = TABLE[:, arm, run][arms[:, run] == arm].astype(float)
        n = len(received)
        weights = step_size * (1 - step_size) ** np.arange(n - 1, -1, -1)
        expected = (1 - step_size) ** n * initial + (weights * received).sum()
        assert states.means[-1, arm, run] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert states.counts[-1, arm, run] == n


@pytest.mark.parametrize("make", [policies.explore_only, lambda: policies.epsilon_greedy(1.0)])
def test_exploring_is_uniform(make):
    """Chi-square of 12,000 pulls, and of pairs of pulls; each would fail once in 10^6 runs."""
    _, arms, _ = played(make())
    assert stats.chisquare(np.bincount(arms.ravel(), minlength=K)).pvalue > 1e-6
    pairs = K * arms[::2] + arms[1::2]
    assert stats.chisquare(np.bincount(pairs.ravel(), minlength=K * K)).pvalue > 1e-6


def test_exploring_is_as_frequent_as_epsilon():
    """What is not a best arm was explored, and so were 1 of K best ones."""
    epsilon = 0.3
    _, arms, states = played(policies.epsilon_greedy(epsilon))
    means = states.means[T // 2 : -1]  # nearly all estimates differ by now
    others = arms[T // 2 + 1 :] != means.argmax(1)
    expected = epsilon * (1 - 1 / K)
    assert abs(others.mean() - expected) < 4.9 * np.sqrt(expected / others.size)


def test_epsilon_of_zero_never_explores():
    policy = policies.greedy()
    dice = policies.Dice(np.zeros((T, N), np.float32), np.zeros((T, N), np.float32))
    arms, states = play(policy, dice, TABLE)
    np.testing.assert_array_equal(arms[0], 0)
    np.testing.assert_array_equal(arms[1:], np.argmax(states.means[:-1], 1))


def test_optimistic_tries_every_arm_first():
    _, arms, _ = played(policies.optimistic(100.0, 0.1))
    first = np.sort(arms[:K], 0)
    np.testing.assert_array_equal(first, np.arange(K)[:, None].repeat(N, 1))
    assert len(np.unique(arms[:K], axis=1).T) == math.factorial(K)  # in every order


def test_explore_then_commit():
    """Each arm as often as it says, then one arm for ever; ties by the die of that one step."""
    num_pulls = 6
    _, arms, _ = played(policies.explore_then_commit(num_pulls))
    explored, rest = np.split(arms, [num_pulls * K])
    counts = [(explored == arm).sum(0) for arm in range(K)]
    np.testing.assert_array_equal(counts, np.full((K, N), num_pulls))
    assert (rest == rest[0]).all()
    ties, arms, _ = played(policies.explore_then_commit(num_pulls), np.zeros_like(TABLE))
    winners = (ties[num_pulls * K] * K).astype(int)
    np.testing.assert_array_equal(arms[num_pulls * K :], np.tile(winners, (T - num_pulls * K, 1)))
    assert len(np.unique(winners)) == K


@pytest.mark.parametrize("is_noisy", [False, True])
def test_successive_elimination(is_noisy):
    """The best arm stays and in the end is alone; without noise the others go by their rank."""
    horizon, orders = 1200, list(itertools.permutations([0.95, 0.5, 0.3, 0.0]))
    means = np.array(orders, np.float32).T  # [K, 24]
    table = np.tile(means, (horizon, 1, 1))
    if is_noisy:
        noise = np.random.default_rng(1).random(table.shape, np.float32)
        table = (noise < table).astype(np.float32)
    _, arms, states = played(policies.successive_elimination(horizon), table)
    best_arms = means.argmax(0)
    assert states.active[:, best_arms, np.arange(24)].all()
    assert (states.active[-1].sum(0) == 1).all()
    assert (states.active[1:] <= states.active[:-1]).all()  # none comes back
    np.testing.assert_array_equal(arms[-1], best_arms)
    for run in (0, 7, 23):
        expected = list(reference_elimination(table[:, :, run].astype(float), horizon))
        np.testing.assert_array_equal(arms[:, run], expected)
    if not is_noisy:
        np.testing.assert_array_equal(states.active.sum(0).argsort(0), means.argsort(0))


def test_successive_elimination_keeps_equal_arms():
    table = np.full((1200, K, 24), 0.5, np.float32)
    _, arms, states = played(policies.successive_elimination(1200), table)
    assert states.active.all()
    np.testing.assert_array_equal(arms, np.tile(np.arange(1200)[:, None] % K, 24))


def test_preferences_sum_to_zero():
    """Probabilities that sum to 1 leave the sum of the preferences alone, S&B (2.12)."""
    _, _, states = played(policies.gradient(0.3, "including"))
    assert abs(states.preferences.sum(1)).max() < 1e-4
    assert abs(states.preferences).max() > 1


@pytest.mark.parametrize("name", ["softmax", "gradient"])
def test_huge_rewards_are_numbers_still(name):
    policy = policies.softmax(1e-3) if name == "softmax" else policies.gradient(1.0, "none")
    table = np.full_like(TABLE, -1e4)
    table[:, 2] = 1e4
    _, arms, states = played(policy, table)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))
    assert (arms[-1] == 2).all()


@pytest.mark.parametrize("name", ["epsilon_greedy", "first_of_ties", "recency_weighted"])
def test_arms_have_no_names(name):
    """Arms in another order: the same choices by other numbers, where nothing ties."""
    policy = policies.epsilon_greedy(
        0.0,
        step_size=0.3 if name == "recency_weighted" else None,
        ties="first" if name == "first_of_ties" else "random",
    )
    order = np.array([2, 0, 3, 1])
    inverse = np.argsort(order)
    dice = policy.draw(jax.random.key(0), T, K, N)
    first = np.random.default_rng(2).normal(size=(K, N)).astype(np.float32)

    def start_from(means):
        averages = policies.Averages(jnp.int32(K), jnp.ones((K, N)), means)
        return policy._replace(init=jax.tree_util.Partial(_given, averages))

    arms, states = play(start_from(first), dice, TABLE)
    arms_p, states_p = play(start_from(first[order]), dice, TABLE[:, order])
    np.testing.assert_array_equal(arms_p, inverse[arms])
    np.testing.assert_array_equal(states_p.means, np.asarray(states.means)[:, order])
    np.testing.assert_array_equal(states_p.counts, np.asarray(states.counts)[:, order])
    assert len(np.unique(arms)) == K


def _given(state, num_arms, num_runs):
    del num_arms, num_runs
    return state


def test_dice_are_independent():
    dice = policies.draw_dice(jax.random.key(0), T, K, N)
    other = policies.draw_dice(jax.random.key(1), T, K, N)
    explore, tie = map(np.asarray, dice[:2])
    bound = 4.9 / np.sqrt(T * N)
    for x, y in (
        (explore, tie),
        (explore[1:], explore[:-1]),
        (tie[:, 1:], tie[:, :-1]),
        (explore, np.asarray(other.explore)),
        (explore, np.asarray(other.tie)),
    ):
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < bound
    assert policies.draw_one_die(jax.random.key(0), T, K, N).tie is None
    assert policies.draw_nothing(jax.random.key(0), T, K, N).shape == (T, 1)


GREEDY_POLICY = policies.epsilon_greedy
BAD = [
    (lambda: GREEDY_POLICY(-0.1), "epsilon must lie in 0 ... 1, not -0.1"),
    (lambda: GREEDY_POLICY(1.1), "epsilon must lie in 0 ... 1, not 1.1"),
    (lambda: GREEDY_POLICY(math.nan), "epsilon must lie in 0 ... 1, not nan"),
    (lambda: GREEDY_POLICY(0.1, 0), "step_size must lie in (0, 1], not 0"),
    (lambda: GREEDY_POLICY(0.1, 1.5), "step_size must lie in (0, 1], not 1.5"),
    (lambda: GREEDY_POLICY(0.1, math.nan), "step_size must lie in (0, 1], not nan"),
    (lambda: GREEDY_POLICY(initial_value=math.inf), "initial_value must be finite, not inf"),
    (lambda: GREEDY_POLICY(ties="last"), "ties must be 'random' or 'first', not 'last'"),
    (lambda: policies.optimistic(math.nan), "initial_value must be finite, not nan"),
    (lambda: policies.optimistic(5, 2), "step_size must lie in (0, 1], not 2"),
    (lambda: policies.decaying_epsilon_greedy(0, 1), "c must be positive and finite, not 0"),
    (
        lambda: policies.decaying_epsilon_greedy(math.inf, 1),
        "c must be positive and finite, not inf",
    ),
    (lambda: policies.decaying_epsilon_greedy(1, 0), "d must lie in (0, 1], not 0"),
    (lambda: policies.decaying_epsilon_greedy(1, 1.1), "d must lie in (0, 1], not 1.1"),
    (lambda: policies.decaying_epsilon_greedy(1, math.nan), "d must lie in (0, 1], not nan"),
    (lambda: policies.softmax(0), "temperature must be positive and finite, not 0"),
    (lambda: policies.softmax(math.nan), "temperature must be positive and finite, not nan"),
    (lambda: policies.softmax(1, -1), "step_size must lie in (0, 1], not -1"),
    (lambda: policies.gradient(0), "step_size must be positive and finite, not 0"),
    (
        lambda: policies.gradient(0.1, "after"),
        "baseline must be one of before, including, none, not 'after'",
    ),
    (
        lambda: policies.explore_then_commit(0),
        "num_pulls must be finite and at least 1, not 0",
    ),
    (lambda: policies.explore_then_commit(1.5), "num_pulls must be a whole number, not 1.5"),
    (
        lambda: policies.explore_then_commit(math.inf),
        "num_pulls must be finite and at least 1, not inf",
    ),
    (
        lambda: policies.successive_elimination(0.5),
        "horizon must be finite and at least 1, not 0.5",
    ),
    (
        lambda: policies.successive_elimination(math.nan),
        "horizon must be finite and at least 1, not nan",
    ),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_bad_input(make, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()
