"""Thompson sampling: posteriors by Bayes's rule, choices by integration, regret by simulation."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from dl_lectures.bandits import rewards, simulate, thompson
from dl_lectures.bandits.policies import Averages

T, K, N = 40, 3, 100
NUM_CHOICES = 400_000


@jax.jit
def play(policy, dice, table):
    """Plays on what every arm would pay, [T, K, N]; returns arms [T, N] and the states after."""

    def step(state, dice_and_rewards):
        dice, rewards = dice_and_rewards
        arm = policy.select(state, dice)
        state = policy.update(state, arm, jnp.take_along_axis(rewards, arm[None], 0)[0])
        return state, (arm, state)

    return jax.lax.scan(step, policy.init(*table.shape[1:]), (dice, table))[1]


@pytest.mark.parametrize("prior", [(1.0, 1.0), (2.0, 5.0), (0.5, 1.0), (3.0, 0.25)])
def test_posterior_counts_successes_and_failures(prior):
    """Exactly, and that is Bayes's rule: prior times likelihood, on a grid."""
    policy = thompson.thompson(*prior)
    odds = np.array([0.2, 0.5, 0.9])[:, None]
    table = (np.random.default_rng(0).random((T, K, N)) < odds).astype(np.float32)
    arms, posterior = play(policy, policy.draw(jax.random.key(0), T, K, N), table)
    pulled = np.asarray(arms)[:, None] == np.arange(K)[None, :, None]
    successes, failures = (pulled * table).cumsum(0), (pulled * (1 - table)).cumsum(0)
    np.testing.assert_array_equal(posterior.a, prior[0] + successes)
    np.testing.assert_array_equal(posterior.b, prior[1] + failures)
    assert len(np.unique(arms)) == K
    p = np.linspace(0.005, 0.995, 199)
    s, f = successes[-1, 1, 0], failures[-1, 1, 0]
    ratio = stats.beta(posterior.a[-1, 1, 0], posterior.b[-1, 1, 0]).pdf(p) / (
        stats.beta(*prior).pdf(p) * p**s * (1 - p) ** f
    )
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_fractions_are_shares_of_a_success():
    policy = thompson.thompson()
    state = policy.update(policy.init(2, 1), np.int32([1]), np.float32([0.25]))
    np.testing.assert_array_equal(state.a[:, 0], [1, 1.25])
    np.testing.assert_array_equal(state.b[:, 0], [1, 1.75])


def chances_of_being_best(laws):
    """P(each arm is the best): its density times the others' distribution functions."""
    ends = min(law.ppf(1e-12) for law in laws), max(law.ppf(1 - 1e-12) for law in laws)
    chances = []
    for k, law in enumerate(laws):
        others = [other for i, other in enumerate(laws) if i != k]

        def density(x, law=law, others=others):
            return law.pdf(x) * math.prod(other.cdf(x) for other in others)

        chances.append(integrate.quad(density, *ends, points=[law.mean()], limit=500)[0])
    assert sum(chances) == pytest.approx(1, abs=1e-6)
    return np.array(chances)


def assert_chosen_as_often_as_best(policy, wrap, posterior, laws):
    """Chi-square of 400,000 independent choices; it would fail once in 10^6 runs."""
    dice = policy.draw(jax.random.key(1), 1, len(laws), NUM_CHOICES)
    spread = [np.tile(np.float32(x)[:, None], NUM_CHOICES) for x in posterior]
    arms = jax.jit(policy.select)(wrap(*spread), jax.tree.map(lambda x: x[0], dice))
    expected = NUM_CHOICES * chances_of_being_best(laws)
    assert expected.min() > 1000  # every arm's share is tested
    counts = np.bincount(arms, minlength=len(laws))
    assert stats.chisquare(counts, expected / expected.sum() * NUM_CHOICES).pvalue > 1e-6


@pytest.mark.parametrize(
    ("a", "b", "below_one"),
    [
        ((3, 10, 1), (2, 8, 1), False),
        ((40, 3), (60, 6), False),
        ((0.5, 10, 2.5), (0.5, 8, 0.5), True),
    ],
)
def test_bernoulli_arms_are_pulled_as_often_as_they_are_best(a, b, below_one):
    policy = thompson.thompson(*((0.5, 0.5) if below_one else (1, 1)))
    laws = [stats.beta(*parameters) for parameters in zip(a, b, strict=True)]
    assert_chosen_as_often_as_best(policy, thompson.BetaPosterior, (a, b), laws)


def test_gaussian_arms_are_pulled_as_often_as_they_are_best():
    """Posteriors by products of normal densities: precisions add, means are weighted by them."""
    prior_scale, scale = 2.0, 0.5
    counts, means = np.array([0, 1, 4]), np.array([0.0, 1.0, 0.8])
    precisions = 1 / prior_scale**2 + counts / scale**2
    laws = [
        stats.norm(m * n / scale**2 / precision, precision**-0.5)
        for n, m, precision in zip(counts, means, precisions, strict=True)
    ]
    policy = thompson.gaussian_thompson(prior_scale, scale)
    averages = functools.partial(Averages, np.int32(5))
    assert_chosen_as_often_as_best(policy, averages, (counts, means), laws)


@pytest.mark.parametrize(("prior_scale", "scale"), [(1.0, 1.0), (3.0, 0.7)])
def test_gaussian_pull_for_pull(prior_scale, scale):
    """NumPy with the same normal numbers, which updates its posterior reward by reward."""
    policy = thompson.gaussian_thompson(prior_scale, scale)
    rng = np.random.default_rng(1)
    table = rng.normal(np.array([0.0, 0.5, 1.0])[:, None], scale, (T, K, N)).astype(np.float32)
    normals = policy.draw(jax.random.key(2), T, K, N)
    arms, _ = play(policy, normals, table)
    means, variances = np.zeros((K, N)), np.full((K, N), prior_scale**2)
    runs = np.arange(N)
    for t in range(T):
        a = (means + np.sqrt(variances) * np.asarray(normals[t])).argmax(0)
        np.testing.assert_array_equal(arms[t], a)
        gain = variances[a, runs] / (variances[a, runs] + scale**2)  # Kalman's
        means[a, runs] += gain * (table[t, a, runs] - means[a, runs])
        variances[a, runs] *= 1 - gain
    assert len(np.unique(arms)) == K


def test_numbers_are_arguments_of_one_program():
    def structures(*policies):
        return {jax.tree.structure(policy) for policy in policies}

    make, normal = thompson.thompson, thompson.gaussian_thompson
    assert len(structures(make(1, 1), make(2.0, 5.0))) == 1
    assert len(structures(make(0.5, 1), make(1.0, 0.1))) == 1
    assert len(structures(normal(), normal(2, 0.1))) == 1


def test_regret_on_ten_bernoulli_arms():
    """A plain NumPy loop with `Generator.beta` has a regret of 24.10 +- 0.06 over 20,000 runs."""
    bandit = rewards.bernoulli(np.linspace(0.05, 0.95, 10))
    num_runs = 2000
    summary = simulate.simulate(
        jax.random.key(0), bandit, thompson.thompson(), 1000, num_runs, num_points=10
    )
    error = math.hypot(math.sqrt(summary.regret_variance[-1] / num_runs), 0.06)
    assert error < 0.3
    assert abs(summary.regret[-1] - 24.10) < 5 * error
    assert summary.optimal[-1] > 0.9


BAD = [
    (lambda: thompson.thompson(0), "successes must be positive and finite, not 0"),
    (lambda: thompson.thompson(1, -2), "failures must be positive and finite, not -2"),
    (lambda: thompson.thompson(math.nan), "successes must be positive and finite, not nan"),
    (lambda: thompson.thompson(1, math.inf), "failures must be positive and finite, not inf"),
    (
        lambda: thompson.gaussian_thompson(0),
        "prior_scale must be positive and finite, not 0",
    ),
    (lambda: thompson.gaussian_thompson(1, -1), "scale must be positive and finite, not -1"),
    (
        lambda: thompson.gaussian_thompson(math.inf),
        "prior_scale must be positive and finite, not inf",
    ),
    (lambda: thompson.gaussian_thompson(1, math.nan), "scale must be positive and finite, not nan"),
]


@pytest.mark.parametrize(("make", "text"), BAD)
def test_bad_input(make, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()
