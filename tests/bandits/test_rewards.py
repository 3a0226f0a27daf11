"""What machines pay, against SciPy's laws and by hand; and what holds for every kind of machine."""

import functools
import itertools
import math
import re

import chex
import jax
import numpy as np
import pytest
from scipy import stats

from dl_lectures.bandits import rewards

# Single comparisons fail with a probability of 10^-6 or less: below 10^-4 for the whole file.
Z = 4.9
STEPS, RUNS = 60, 999  # not a multiple of each other; RUNS / 3 for each arm
ODDS = np.array([0.0, 0.35, 1.0])
MEANS = np.array([0.5, 2.0, 4.0])
WEIGHTS = np.array([[0.2, 0.8, 0.0], [0.0, 0.5, 0.5], [0.3, 0.3, 0.4]])
LOWS = np.array([[0.0, 3.0, 9.0], [9.0, 1.0, 4.0], [-1.0, 0.0, 2.0]])
HIGHS = np.array([[1.0, 3.5, 9.0], [9.0, 2.0, 6.0], [1.0, 1.0, 2.5]])
PAST = ((100.0, 20.0, 20.0, 10.0), (50.0, 120.0, 30.0, 100.0, 80.0), (7.0,))
PERIODS = np.array([[0.1, 0.5, 0.9], [0.9, 0.2, 0.4], [0.3, 1.0, 0.0]])
TABLE = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)

# Bandits whose arms differ, by the order of the arms and a hyper-parameter.
ORDERED = {
    "bernoulli": lambda order, x: rewards.bernoulli(ODDS[order]),
    "gaussian": lambda order, x: rewards.gaussian(MEANS[order], x),
    "student_t": lambda order, x: rewards.student_t(MEANS[order], 3 + x, x),
    "pareto": lambda order, x: rewards.pareto(MEANS[order], 2.5 + x),
    "exponential": lambda order, x: rewards.exponential(MEANS[order]),
    "mixture": lambda order, x: rewards.mixture(WEIGHTS[order], LOWS[order], HIGHS[order]),
    "past_payouts": lambda order, x: rewards.past_payouts([PAST[i] for i in order]),
    "piecewise": lambda order, x: rewards.piecewise(PERIODS[:, order], [10, 25]),
    "rotting": lambda order, x: rewards.rotting(MEANS[order], x, 2 * x),
    "adversarial": lambda order, x: rewards.adversarial(TABLE[:, order]),
}
DRAWN = {
    "bernoulli_prior": lambda order, x: rewards.bernoulli_prior(3, x, 2 + x),
    "gaussian_testbed": lambda order, x: rewards.gaussian_testbed(3, x),
    "switching": lambda order, x: rewards.switching(3, x / 5),
    "random_walk": lambda order, x: rewards.random_walk(3, x / 10, x),
    "contextual_linear": lambda order, x: rewards.contextual_linear(3, 4, x),
}
BANDITS = ORDERED | DRAWN
IN_ORDER = [0, 1, 2]
TRACED = []


@functools.partial(jax.jit, static_argnames="num_steps")
def play(key, bandit, arm, num_steps=STEPS):
    """Pulls one arm a run, or one a step and run; returns means [B, K, N], rewards [B, N]."""
    TRACED.append(bandit)
    key_machines, key_luck = jax.random.split(key)
    state = bandit.init(key_machines, arm.shape[-1])
    luck = bandit.draw(key_luck, num_steps, arm.shape[-1])

    def step(state, luck_and_arm):
        luck, arm = luck_and_arm
        state_next, reward = bandit.pull(state, luck, arm)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, state_next)
        return state_next, (bandit.means(state, luck), reward)

    arms = arm if arm.ndim == 2 else np.ones((num_steps, 1), np.int32) * arm[None]
    return jax.lax.scan(step, state, (luck, arms))[1]


def each_arm(num_arms=3, num_runs=RUNS):
    return np.arange(num_runs, dtype=np.int32) % num_arms


def played(bandit, key=0, arm=None, num_steps=STEPS):
    """Means [B, K, N] and rewards [B, N] as NumPy arrays."""
    arm = each_arm() if arm is None else arm
    means, reward = play(jax.random.key(key), bandit, arm, num_steps)
    return np.broadcast_to(means, (num_steps, means.shape[1], len(arm))), np.asarray(reward)


def distance(xs, cdf):
    """Kolmogorov and Smirnov's, as a multiple of what is exceeded with a probability of 10^-6."""
    xs = np.sort(np.ravel(xs))
    below = cdf(xs)
    ranks = np.arange(len(xs) + 1) / len(xs)
    d = max((ranks[1:] - below).max(), (below - ranks[:-1]).max())
    return d / np.sqrt(np.log(2 / 1e-6) / (2 * len(xs)))


@pytest.mark.parametrize("name", BANDITS)
def test_every_bandit(name):
    """What the means promise is paid; runs and keys differ; numbers are arguments of a program."""
    make = BANDITS[name]
    bandit = make(IN_ORDER, 0.5)
    means, reward = played(bandit)
    assert reward.shape == (STEPS, RUNS) and reward.dtype == means.dtype == np.float32
    arm = each_arm()
    surprises = reward - means[:, arm, np.arange(RUNS)]
    for k in range(3):
        mine = surprises[:, arm == k].astype(float)
        assert abs(mine.mean()) <= Z * mine.std() / np.sqrt(mine.size) + 1e-6

    again, other = played(bandit), played(bandit, key=1)
    np.testing.assert_array_equal(again[1], reward)
    np.testing.assert_array_equal(again[0], means)
    if name != "adversarial":
        assert (other[1] != reward).any()
        varies = arm == 1  # arm 1 is random in every bandit here
        assert len(np.unique(reward[:, varies], axis=1).T) > varies.sum() / 2

    num_traces = len(TRACED)
    order = [2, 0, 1]
    changed = make(order, 0.25)
    played(changed)
    assert len(TRACED) == num_traces
    assert jax.tree.structure(changed) == jax.tree.structure(bandit)
    if name in ORDERED:  # who is called by another number pays as before
        inverse = np.argsort(order).astype(np.int32)
        means_p, reward_p = played(make(order, 0.5), arm=inverse[arm])
        np.testing.assert_array_equal(reward_p, reward)
        np.testing.assert_array_equal(means_p, means[:, order])
    assert len(TRACED) == num_traces


LAWS = {
    "gaussian": (rewards.gaussian(MEANS, 0.7), [stats.norm(m, 0.7) for m in MEANS]),
    "student_t": (rewards.student_t(MEANS, 5.5, 0.5), [stats.t(5.5, m, 0.5) for m in MEANS]),
    "student_t_heavy": (rewards.student_t(MEANS, 1.2), [stats.t(1.2, m) for m in MEANS]),
    "student_t_light": (rewards.student_t(MEANS, 1e5), [stats.norm(m) for m in MEANS]),
    "pareto": (rewards.pareto(MEANS, 5.0), [stats.pareto(5, scale=m * 0.8) for m in MEANS]),
    "pareto_heavy": (rewards.pareto(MEANS, 1.5), [stats.pareto(1.5, scale=m / 3) for m in MEANS]),
    "exponential": (rewards.exponential(MEANS), [stats.expon(scale=m) for m in MEANS]),
}


@pytest.mark.parametrize("name", LAWS)
def test_law(name):
    """Distribution, mean, and where they are finite variance and its error; independent pulls."""
    bandit, laws = LAWS[name]
    means, reward = played(bandit)
    np.testing.assert_allclose(means[0, :, 0], [law.mean() for law in laws], rtol=1e-6)
    uniform = np.empty(reward.shape)
    for k, law in enumerate(laws):
        xs = reward[:, each_arm() == k].astype(float)
        uniform[:, each_arm() == k] = law.cdf(xs)
        assert distance(xs, law.cdf) < 1
        assert distance(xs, lambda x, law=law: law.cdf(x * 1.1)) > 1  # it can tell laws apart
        _, variance, kurtosis = law.stats(moments="mvk")
        if np.isfinite(variance):
            assert abs(xs.mean() - law.mean()) < Z * np.sqrt(variance / xs.size)
        if np.isfinite(kurtosis):
            squares = (xs - law.mean()) ** 2
            assert abs(squares.mean() / variance - 1) < Z * np.sqrt((kurtosis + 2) / xs.size)
    bound = Z / np.sqrt(uniform.size)
    assert abs(np.corrcoef(uniform[1:].ravel(), uniform[:-1].ravel())[0, 1]) < bound
    assert abs(np.corrcoef(uniform[:, 1:].ravel(), uniform[:, :-1].ravel())[0, 1]) < bound


def test_bernoulli_is_paid_by_its_odds():
    _, reward = played(rewards.bernoulli(ODDS))
    assert set(np.unique(reward)) == {0, 1}
    shares = [reward[:, each_arm() == k].mean() for k in range(3)]
    assert shares[0] == 0 and shares[2] == 1
    assert abs(shares[1] - 0.35) < Z * np.sqrt(0.35 * 0.65 / (reward.size / 3))


def test_mixture_of_intervals_and_values():
    means, reward = played(rewards.mixture(WEIGHTS, LOWS, HIGHS))
    np.testing.assert_allclose(means[0, :, 0], [0.2 * 0.5 + 0.8 * 3.25, 3.25, 0.15 + 0.9], 1e-6)
    for k in range(3):
        parts = [
            (weight, stats.uniform(low, high - low))
            for weight, low, high in zip(WEIGHTS[k], LOWS[k], HIGHS[k], strict=True)
            if weight
        ]

        def cdf(x, parts=parts):
            return sum(weight * law.cdf(x) for weight, law in parts)

        assert distance(reward[:, each_arm() == k], cdf) < 1
    assert not (reward == 9).any()  # parts without weight
    # Single values, exactly and as often as their weights say
    values = rewards.mixture([[0.25, 0.75], [1, 0]], [[2, 5], [1, 3]], [[2, 5], [1, 3]])
    arm = each_arm(2)
    means, reward = played(values, arm=arm)
    np.testing.assert_array_equal(means[0, :, 0], [4.25, 1])
    assert set(np.unique(reward[:, arm == 0])) == {2, 5}
    assert set(np.unique(reward[:, arm == 1])) == {1}
    share = (reward[:, arm == 0] == 2).mean()
    assert abs(share - 0.25) < Z * np.sqrt(0.25 * 0.75 / (arm == 0).sum() / STEPS)


def test_past_payouts_are_paid_again():
    """The slide's machines: nothing but what they have paid, as often as they have paid it."""
    assert PAST[:2] == rewards.SLIDE_MACHINES
    bandit = rewards.past_payouts(rewards.SLIDE_MACHINES)
    arm = each_arm(2)
    means, reward = played(bandit, arm=arm)
    np.testing.assert_array_equal(means[0, :, 0], [37.5, 76])
    for k, machine in enumerate(rewards.SLIDE_MACHINES):
        values, past = np.unique(machine, return_counts=True)
        found, counts = np.unique(reward[:, arm == k], return_counts=True)
        np.testing.assert_array_equal(found, values)
        assert stats.chisquare(counts, past / past.sum() * counts.sum()).pvalue > 1e-6
    # The greatest uniform number takes the last reward, none beyond it.
    state = bandit.init(jax.random.key(0), 2)
    _, last = bandit.pull(state, np.full(2, 1 - 2**-24, np.float32), np.int32([0, 1]))
    np.testing.assert_array_equal(last, [10, 80])


def test_piecewise_changes_at_its_steps():
    means, reward = played(rewards.piecewise(PERIODS, [10, 25]))
    period = np.repeat([0, 1, 2], [10, 15, STEPS - 25])
    np.testing.assert_array_equal(means[:, :, 0], PERIODS[period].astype(np.float32))
    last = reward[25:]  # odds of 1 and of 0 are certain from the first step of the period on
    assert (last[:, each_arm() == 1] == 1).all() and not last[:, each_arm() == 2].any()
    assert (reward[24, each_arm() == 1] == 0).any() and reward[24, each_arm() == 2].any()
    far = rewards.piecewise(PERIODS[:2], [10**12])  # later than any run lasts
    np.testing.assert_array_equal(
        far.means(np.int32(2**31 - 2), None)[:, 0], np.float32(PERIODS[0])
    )


def test_switching_redraws_all_odds_at_its_rate():
    means, _ = played(rewards.switching(3, 0.1))
    is_new = means[1:] != means[:-1]
    assert (is_new.all(1) == is_new.any(1)).all()
    changes = is_new[:, 0]
    assert abs(changes.mean() - 0.1) < Z * np.sqrt(0.1 * 0.9 / changes.size)
    assert distance(means[0], stats.uniform.cdf) < 1
    new_odds = np.moveaxis(means[1:], 1, -1)[changes]
    assert distance(new_odds, stats.uniform.cdf) < 1
    old_odds = np.moveaxis(means[:-1], 1, -1)[changes]
    together = np.corrcoef(new_odds.T, old_odds.T)[np.triu_indices(6, 1)]
    assert abs(together).max() < Z / np.sqrt(len(new_odds))
    assert (played(rewards.switching(3, 0.0))[0] == played(rewards.switching(3, 0.0))[0][:1]).all()
    always = played(rewards.switching(3, 1.0))[0]
    assert (always[1:] != always[:-1]).all()


def test_random_walk_spreads_linearly():
    """Variance of the true values after t pulls: t times that of a step, for all arms alike."""
    means, reward = played(rewards.random_walk(3, 0.02, 0.5))
    assert not means[0].any()
    steps = np.diff(means, axis=0)
    assert distance(steps, stats.norm(0, 0.02).cdf) < 1
    for t in (1, 10, STEPS - 1):
        squares = (means[t].astype(float) ** 2).sum() / (t * 0.02**2)  # chi-square of 3 N
        assert 1e-6 < stats.chi2(means[t].size).cdf(squares) < 1 - 1e-6
    assert abs(np.corrcoef(steps[0])[np.triu_indices(3, 1)]).max() < Z / np.sqrt(RUNS)
    noise = reward - means[:, each_arm(), np.arange(RUNS)]
    assert distance(noise, stats.norm(0, 0.5).cdf) < 1
    same = played(rewards.random_walk(3, 0.02, 0.5), arm=np.zeros(RUNS, np.int32))[0]
    np.testing.assert_array_equal(same, means)  # whatever is pulled


@pytest.mark.parametrize("bandit", [rewards.switching(3, 0.5), rewards.random_walk(3)])
def test_parts_of_the_luck_share_no_numbers(bandit):
    """23 bits repeat by chance in a few of a hundred; a key used twice repeats them all."""
    parts = jax.tree.map(np.asarray, list(bandit.draw(jax.random.key(0), STEPS, RUNS)))
    for part, other in itertools.permutations(parts, 2):
        assert np.isin(part, other).mean() < 0.5


def test_rotting_by_pulls_of_the_arm():
    rng = np.random.default_rng(1)
    arm = rng.integers(3, size=(STEPS, RUNS), dtype=np.int32)
    bandit = rewards.rotting(MEANS, 0.7, 0.3)
    means, reward = play(jax.random.key(0), bandit, arm)
    pulls = np.cumsum(arm[:, None] == np.arange(3)[None, :, None], 0)
    before = np.concatenate([np.zeros_like(pulls[:1]), pulls[:-1]])
    np.testing.assert_allclose(means, MEANS[None, :, None] * (before + 1.0) ** -0.7, rtol=1e-5)
    mine = np.take_along_axis(np.asarray(means), arm[:, None], 1)[:, 0]
    assert distance(reward - mine, stats.norm(0, 0.3).cdf) < 1


def test_adversary_pays_what_is_written():
    means, reward = played(rewards.adversarial(TABLE))
    written = TABLE[np.arange(STEPS) % len(TABLE)]
    np.testing.assert_array_equal(means[:, :, 0], written)
    np.testing.assert_array_equal(reward, written[:, each_arm()])


def test_true_values_that_runs_draw():
    """By the laws promised, once for the whole run."""
    means, reward = played(rewards.gaussian_testbed(3, -4.0))
    assert (means == means[:1]).all()
    assert distance(means[0], stats.norm(-4).cdf) < 1
    assert distance(reward - means[0, each_arm(), np.arange(RUNS)], stats.norm.cdf) < 1
    assert abs(np.corrcoef(means[0])[np.triu_indices(3, 1)]).max() < Z / np.sqrt(RUNS)
    means, reward = played(rewards.bernoulli_prior(3, 0.5, 2.0))
    assert (means == means[:1]).all()
    assert distance(means[0], stats.beta(0.5, 2).cdf) < 1
    assert set(np.unique(reward)) == {0, 1}


def test_contexts_and_their_linear_means():
    bandit = rewards.contextual_linear(5, 3, scale=0.2)
    key_init, key_draw = jax.random.split(jax.random.key(0))
    theta = np.asarray(bandit.init(key_init, 2000))
    luck = bandit.draw(key_draw, 2, 2000)
    first, second = (jax.tree.map(lambda x, i=i: x[i], luck) for i in range(2))
    contexts = np.asarray(bandit.context(theta, first))
    assert contexts.shape == (3, 5, 2000) and theta.shape == (3, 2000)
    np.testing.assert_allclose((contexts**2).sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose((theta**2).sum(0), 1, rtol=1e-5)
    for vectors in (
        contexts,
        theta,
    ):  # Archimedes: evenly on the sphere, each coordinate is U(-1, 1)
        for coordinate in vectors:
            assert distance(coordinate, stats.uniform(-1, 2).cdf) < 1
    means = np.asarray(bandit.means(theta, first))
    np.testing.assert_allclose(means, np.einsum("dkn,dn->kn", contexts, theta), atol=1e-6)
    arm = each_arm(5, 2000)
    theta_next, reward = bandit.pull(theta, first, arm)
    np.testing.assert_array_equal(theta_next, theta)
    assert distance(reward - means[arm, np.arange(2000)], stats.norm(0, 0.2).cdf) < 1
    between_steps = np.corrcoef(contexts.ravel(), np.ravel(second.contexts))[0, 1]
    assert abs(between_steps) < Z / np.sqrt(contexts.size)
    between_arms = np.corrcoef(contexts[0])[np.triu_indices(5, 1)]
    assert abs(between_arms).max() < Z / np.sqrt(2000)


NO_NUMBERS = [math.nan, math.inf, -math.inf]
TWO = [[0.5, 0.5], [0.5, 0.5]]
PART = "weights, lows and highs must have one shape [arms, parts], not (2, 2), (2, 2) and (1, 2)"
ODD_CHANGES = "changes must be 1 increasing whole steps above 0, one fewer than the periods, not "
BAD = [
    (lambda: rewards.bernoulli([0.5, 1.2]), "probabilities must lie in 0 ... 1, not 0.5, 1.2"),
    (lambda: rewards.bernoulli([-0.1, 0.5]), "probabilities must lie in 0 ... 1, not -0.1, 0.5"),
    (lambda: rewards.bernoulli([0.5]), "probabilities must name at least 2 arms, not 1"),
    (lambda: rewards.bernoulli([]), "probabilities must have 1 axes, not the shape (0,)"),
    (lambda: rewards.bernoulli(TWO), "probabilities must have 1 axes, not the shape (2, 2)"),
    (lambda: rewards.bernoulli(0.5), "probabilities must have 1 axes, not the shape ()"),
    (lambda: rewards.bernoulli([0.5, "x"]), "probabilities must be numbers, not [0.5, 'x']"),
    (lambda: rewards.gaussian([0, 10**400]), f"means must be numbers, not [0, {10**400}]"),
    (lambda: rewards.gaussian([0, 1e39]), "means must be finite, not 0, inf"),
    (
        lambda: rewards.gaussian([math.nan] + 8 * [1]),
        "means must be finite, not nan, 1, 1, 1, 1, 1, 1, 1, ...",
    ),
    (lambda: rewards.bernoulli_prior(1), "a bandit needs at least 2 arms, not 1"),
    (lambda: rewards.bernoulli_prior(2.5), "num_arms must be a whole number, not 2.5"),
    (lambda: rewards.bernoulli_prior(2, 0), "successes must be positive and finite, not 0"),
    (lambda: rewards.bernoulli_prior(2, 1, -1), "failures must be positive and finite, not -1"),
    (lambda: rewards.gaussian([0, 1], 0), "scale must be positive and finite, not 0"),
    (lambda: rewards.gaussian_testbed(0), "a bandit needs at least 2 arms, not 0"),
    (
        lambda: rewards.student_t([0, 1], 1),
        "degrees must be finite and above 1, where there is a mean; not 1",
    ),
    (lambda: rewards.student_t([0, 1], 3, -1), "scale must be positive and finite, not -1"),
    (lambda: rewards.pareto([0, 1], 2), "means must be positive, not 0, 1"),
    (
        lambda: rewards.pareto([1, 1], 1.0),
        "shape must be finite and above 1, where there is a mean; not 1.0",
    ),
    (lambda: rewards.exponential([-1, 1]), "means must be positive, not -1, 1"),
    (lambda: rewards.mixture(TWO, TWO, TWO[:1]), PART),
    (lambda: rewards.mixture(TWO[:1], TWO[:1], TWO[:1]), "a bandit needs at least 2 arms, not 1"),
    (
        lambda: rewards.mixture([[0.5, 0.4], [1, 0]], TWO, TWO),
        "each row of weights must sum to 1, not 0.9, 1",
    ),
    (
        lambda: rewards.mixture([[1.5, -0.5], [1, 0]], TWO, TWO),
        "each row of weights must sum to 1, not 1, 1",
    ),
    (lambda: rewards.mixture(TWO, TWO, [[0.5, 0.4], [1, 1]]), "highs must not lie below lows"),
    (lambda: rewards.mixture([1, 0], TWO, TWO), "weights must have 2 axes, not the shape (2,)"),
    (lambda: rewards.past_payouts([[1, 2]]), "a bandit needs at least 2 arms, not 1"),
    (
        lambda: rewards.past_payouts([[1], []]),
        "each of machines needs at least one past reward",
    ),
    (lambda: rewards.past_payouts([1, 2]), "each of machines needs at least one past reward"),
    (lambda: rewards.past_payouts([[1], [math.nan]]), "machines must be finite, not nan"),
    (lambda: rewards.piecewise([[0.5, 2]], []), "probabilities must lie in 0 ... 1, not 0.5, 2"),
    (lambda: rewards.piecewise([[0.5], [0.5]], [3]), "a bandit needs at least 2 arms, not 1"),
    (lambda: rewards.piecewise(TWO, []), f"{ODD_CHANGES}[]"),
    (lambda: rewards.piecewise(TWO, [0]), f"{ODD_CHANGES}[0]"),
    (lambda: rewards.piecewise(TWO, [2.5]), f"{ODD_CHANGES}[2.5]"),
    (lambda: rewards.piecewise(TWO, [math.inf]), f"{ODD_CHANGES}[inf]"),
    (lambda: rewards.piecewise(TWO, [math.nan]), f"{ODD_CHANGES}[nan]"),
    (lambda: rewards.piecewise(TWO, [5, 3]), f"{ODD_CHANGES}[5, 3]"),
    (lambda: rewards.switching(1, 0.1), "a bandit needs at least 2 arms, not 1"),
    (lambda: rewards.switching(2, 1.1), "rate must lie in 0 ... 1, not 1.1"),
    (lambda: rewards.random_walk(1), "a bandit needs at least 2 arms, not 1"),
    (lambda: rewards.random_walk(2, 0), "step_scale must be positive and finite, not 0"),
    (lambda: rewards.random_walk(2, 1, 0), "scale must be positive and finite, not 0"),
    (lambda: rewards.rotting([1, 0]), "means must be positive, not 1, 0"),
    (lambda: rewards.rotting([1, 1], 0), "exponent must be positive and finite, not 0"),
    (lambda: rewards.rotting([1, 1], 1, 0), "scale must be positive and finite, not 0"),
    (lambda: rewards.adversarial([1, 2]), "rewards must have 2 axes, not the shape (2,)"),
    (lambda: rewards.adversarial([[1], [2]]), "a bandit needs at least 2 arms, not 1"),
    (lambda: rewards.contextual_linear(1, 2), "a bandit needs at least 2 arms, not 1"),
    (lambda: rewards.contextual_linear(2, 0), "num_features must be at least 1, not 0"),
    (lambda: rewards.contextual_linear(2, 1.5), "num_features must be a whole number, not 1.5"),
    (lambda: rewards.contextual_linear(2, 2, 0), "scale must be positive and finite, not 0"),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_bad_input(make, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()


TAKES_NUMBERS = {
    "probabilities": lambda x: rewards.bernoulli([0.5, x]),
    "successes": lambda x: rewards.bernoulli_prior(2, x),
    "failures": lambda x: rewards.bernoulli_prior(2, 1, x),
    "means": lambda x: rewards.gaussian([0, x]),
    "scale": lambda x: rewards.gaussian([0, 1], x),
    "num_arms": lambda x: rewards.gaussian_testbed(x),
    "mean": lambda x: rewards.gaussian_testbed(2, x),
    "degrees": lambda x: rewards.student_t([0, 1], x),
    "shape": lambda x: rewards.pareto([1, 1], x),
    "weights": lambda x: rewards.mixture([[1, x], [1, 0]], TWO, TWO),
    "lows": lambda x: rewards.mixture(TWO, [[1, x], [1, 0]], TWO),
    "highs": lambda x: rewards.mixture(TWO, TWO, [[1, x], [1, 1]]),
    "machines": lambda x: rewards.past_payouts([[1, x], [1]]),
    "probabilities ": lambda x: rewards.piecewise([[x, 0.5]], []),
    "changes": lambda x: rewards.piecewise(TWO, [x]),
    "rate": lambda x: rewards.switching(2, x),
    "step_scale": lambda x: rewards.random_walk(2, x),
    "exponent": lambda x: rewards.rotting([1, 1], x),
    "rewards": lambda x: rewards.adversarial([[1, x]]),
    "num_features": lambda x: rewards.contextual_linear(2, x),
}


@pytest.mark.parametrize("name", TAKES_NUMBERS)
def test_nothing_but_finite_numbers(name):
    for value in NO_NUMBERS:
        with pytest.raises(ValueError, match=f"^{name.strip()} must .*{value}"):
            TAKES_NUMBERS[name](value)
