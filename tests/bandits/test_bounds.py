"""Bounds against 50 digits, integrals, every policy there is, and other roads to each number."""

import decimal
import fractions
import functools
import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from dl_lectures.bandits import bounds

# Means a few units in the last place apart, ordinary, and at the ends.
PAIRS = [
    *[(p, p + sign * d) for p in (0.01, 0.3, 0.5, 0.97) for d in (1e-6, 1e-3) for sign in (1, -1)],
    *[(0.5, 0.5), (0.1, 0.2), (0.1, 0.1999), (0.9, 0.1), (0.2, 0.7), (1e-6, 0.4), (0.4, 1e-6)],
    *[(0.3, 1 - 6e-8), (1 - 6e-8, 0.3), (1e-6, 2e-6), (0.75, 0.5), (0.25, 0.5)],
    *[(0.0, 0.3), (1.0, 0.3), (0.0, 0.0), (1.0, 1.0), (0.0, 1e-6), (1.0, 1 - 6e-8)],
]
KLS = {
    "bernoulli": bounds.bernoulli_kl,
    "gaussian": bounds.gaussian_kl,
    "exponential": bounds.exponential_kl,
    "poisson": bounds.poisson_kl,
}


def exact_kl(family, p, q):
    """The textbook formula in 50 digits, where it cancels without harm."""
    with decimal.localcontext(prec=50):
        p, q = decimal.Decimal(float(p)), decimal.Decimal(float(q))

        def times_log(x, y):
            return x * (x / y).ln() if x else decimal.Decimal(0)

        if family == "bernoulli":
            divergence = times_log(p, q) + times_log(1 - p, 1 - q)
        elif family == "gaussian":
            divergence = (p - q) ** 2 / 2
        elif family == "exponential":
            divergence = p / q - 1 - (p / q).ln()
        else:
            divergence = q - p + times_log(p, q)
        return float(divergence)


@pytest.mark.parametrize("family", KLS)
def test_kl_in_float32(family):
    """To a few units in the last place, also where the textbook formula would lose all digits."""
    pairs = np.float32([(p, q) for p, q in PAIRS if p > 0 or family != "exponential"])
    p, q = pairs.T
    expected = np.array([exact_kl(family, *pair) for pair in pairs])
    found = jax.jit(KLS[family])(p, q)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=0)
    if family == "bernoulli":  # the tolerance is one that the formula as it stands fails
        inside = (p > 0) & (p < 1)
        p, q, expected = p[inside], q[inside], expected[inside]
        naive = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        assert (abs(naive - expected) > 1e-2 * expected).sum() > 5


@pytest.mark.parametrize("family", KLS)
def test_kl_in_float64(family):
    pairs = np.array([(p, q) for p, q in PAIRS if 0 < p < 1])
    expected = [exact_kl(family, *pair) for pair in pairs]
    with jax.enable_x64(True):
        found = KLS[family](*jnp.asarray(pairs).T)
    np.testing.assert_allclose(found, expected, rtol=4e-15, atol=0)


@pytest.mark.parametrize(("p", "q"), [(0.3, 0.8), (2.0, 1.9), (1.0, 7.0)])
def test_kl_is_the_expected_log_ratio(p, q):
    """By integration of the densities, whose parameters could be mistaken for other ones."""
    counts = np.arange(100)
    of_p, of_q = stats.poisson(p), stats.poisson(q)
    expected = (of_p.pmf(counts) * (of_p.logpmf(counts) - of_q.logpmf(counts))).sum()
    np.testing.assert_allclose(bounds.poisson_kl(p, q), expected, rtol=2e-6)

    pairs = {
        bounds.exponential_kl: (stats.expon(scale=p), stats.expon(scale=q), 0),
        functools.partial(bounds.gaussian_kl, variance=2.25): (
            stats.norm(p, 1.5),
            stats.norm(q, 1.5),
            -30,
        ),
    }
    for kl, (of_p, of_q, start) in pairs.items():
        integrand = lambda x, of_p=of_p, of_q=of_q: of_p.pdf(x) * (of_p.logpdf(x) - of_q.logpdf(x))
        expected, _ = integrate.quad(integrand, start, 60, points=[p], limit=200)
        np.testing.assert_allclose(kl(p, q), expected, rtol=1e-5)


def test_kl_at_the_ends_and_outside():
    kl = bounds.bernoulli_kl
    np.testing.assert_array_equal(kl(jnp.array([0, 1, 0.5, 0.5]), jnp.array([1, 0, 0, 1])), jnp.inf)
    assert kl(0, 0) == kl(1, 1) == bounds.poisson_kl(0, 0) == 0  # integers, too
    np.testing.assert_allclose(kl(jnp.array([0.0, 1.0]), 0.5), np.log(2), rtol=1e-6)
    outside = jnp.array([-0.1, 1.1, jnp.nan])
    assert jnp.isnan(kl(outside, 0.5)).all()
    assert jnp.isnan(kl(0.5, outside)).all()
    assert bounds.poisson_kl(3, 0) == jnp.inf
    assert jnp.isnan(bounds.poisson_kl(jnp.array([-1.0, 1.0]), jnp.array([1.0, -1.0]))).all()
    assert jnp.isnan(bounds.exponential_kl(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))).all()
    assert jnp.isnan(bounds.gaussian_kl(0, 1, variance=0))


@pytest.mark.parametrize("family", KLS)
def test_kl_broadcasts_and_rises_away_from_p(family):
    """Under jit, as an index that searches for q needs it, with the right slope by q."""
    p = jnp.array([0.2, 0.55])
    q = jnp.linspace(0.01, 0.99, 99)
    kl = jax.jit(KLS[family])(p[:, None], q)
    assert kl.shape == (2, 99)
    for row, mean in zip(kl, p, strict=True):
        assert (jnp.diff(row)[q[:-1] >= mean] > 0).all()
        assert (jnp.diff(row)[q[1:] <= mean] < 0).all()
    slope = jax.vmap(jax.grad(KLS[family], argnums=1))
    variance = {"bernoulli": q * (1 - q), "gaussian": 1 + 0 * q, "exponential": q**2, "poisson": q}
    expected = (q - 0.55) / variance[family]  # the same form in every exponential family
    np.testing.assert_allclose(slope(jnp.full(99, 0.55), q), expected, rtol=1e-4, atol=2e-5)


def test_kl_slope_is_finite_at_the_ends():
    slope = jax.grad(bounds.bernoulli_kl, argnums=1)
    np.testing.assert_allclose(slope(0.0, 0.25), 1 / 0.75, rtol=1e-6)
    np.testing.assert_allclose(slope(1.0, 0.25), -4, rtol=1e-6)
    assert jnp.isfinite(slope(0.0, 0.0))


def test_lai_robbins_by_hand():
    """Gaussians: sum of 2 / gap. Coins: one term of logarithms. Arms that tie for best are free."""
    gaussian = bounds.lai_robbins_constant([0.1, 0.6, 0.35, 0.6], bounds.gaussian_kl)
    np.testing.assert_allclose(gaussian, 2 / 0.5 + 2 / 0.25, rtol=1e-14)
    coins = bounds.lai_robbins_constant([0.5, 0.25], bounds.bernoulli_kl)
    kl = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    np.testing.assert_allclose(coins, 0.25 / kl, rtol=1e-14)
    near = bounds.lai_robbins_constant([0.5, 0.5 - 1e-6], bounds.bernoulli_kl)
    np.testing.assert_allclose(near, 1e6 / 2, rtol=1e-5)  # the slope of Gaussians of variance 1/4


def test_lai_robbins_limits():
    kl = bounds.bernoulli_kl
    assert bounds.lai_robbins_constant([0.4, 0.4, 0.4], kl) == 0
    assert bounds.lai_robbins_constant([0.4], kl) == 0
    assert bounds.lai_robbins_constant([1.0, 0.4, 1.0], kl) == 0  # infinite divergence
    np.testing.assert_allclose(
        bounds.lai_robbins_constant([0.0, 0.5], kl), 0.5 / math.log(2), rtol=1e-14
    )
    problems = np.array([[0.5, 0.4, 0.2], [0.2, 0.5, 0.4]])
    constants = bounds.lai_robbins_constant(problems, kl)
    assert constants.shape == (2,)
    np.testing.assert_allclose(constants[0], constants[1], rtol=1e-15)  # arms have no order


def test_lai_robbins_curve():
    times = np.array([1, 10, 100])
    curve = bounds.lai_robbins_curve([[0.0, 1.0], [0.0, 2.0]], bounds.gaussian_kl, times)
    np.testing.assert_allclose(curve, np.outer([2, 1], np.log(times)), rtol=1e-14)


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ([], "means must have shape [..., K] with K at least 1, not (0,)"),
        (0.5, "means must have shape [..., K] with K at least 1, not ()"),
        ([0.5, math.nan], "means must be finite, not [0.5, nan]"),
        ([0.5, math.inf], "means must be finite, not [0.5, inf]"),
        ([0.5, 1.5], "means must be means of the family of kl, not [0.5, 1.5]"),
        ([0.5, -0.1], "means must be means of the family of kl, not [0.5, -0.1]"),
    ],
)
def test_lai_robbins_refuses(means, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        bounds.lai_robbins_constant(means, bounds.bernoulli_kl)


def test_lai_robbins_curve_refuses():
    with pytest.raises(ValueError, match=r"^times must be at least 1, not \[0, 1\]$"):
        bounds.lai_robbins_curve([0.5, 0.4], bounds.bernoulli_kl, [0, 1])


@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 12])
def test_no_policy_beats_the_minimax_bound(horizon):
    """On the theorem's own pair of problems, by the best reply to either being equally likely."""
    gap = min(math.sqrt(2 / horizon), 1) / 4
    good, fair = 0.5 + gap, 0.5

    def likelihood(rate, wins, losses):
        return rate**wins * (1 - rate) ** losses

    @functools.cache
    def regret(wins_1, losses_1, wins_2, losses_2):
        """What is yet to come at best, times the probability of what has been seen, in order."""
        if wins_1 + losses_1 + wins_2 + losses_2 == horizon:
            return 0.0
        seen = (wins_1, losses_1, wins_2, losses_2)
        first = likelihood(good, *seen[:2]) * likelihood(fair, *seen[2:]) / 2
        second = likelihood(fair, *seen[:2]) * likelihood(good, *seen[2:]) / 2

        def after(i):
            return regret(*(n + (j == i) for j, n in enumerate(seen)))

        return min(gap * second + after(0) + after(1), gap * first + after(2) + after(3))

    bound = bounds.minimax_lower_bound(2, horizon)
    assert bound <= regret(0, 0, 0, 0) < 6 * bound


def test_minimax_values():
    assert bounds.minimax_lower_bound(10, 1000) == 5
    assert bounds.minimax_lower_bound(10, 4) == 0.2  # fewer pulls than arms
    assert bounds.gaussian_minimax_lower_bound(10, 8100) == 10


@pytest.mark.parametrize("function", ["minimax_lower_bound", "gaussian_minimax_lower_bound"])
def test_minimax_refuses(function):
    function = getattr(bounds, function)
    with pytest.raises(ValueError, match=r"^num_arms must be at least 2, not 1$"):
        function(1, 10)
    with pytest.raises(ValueError, match=r"^horizon must be at least 1, not -3$"):
        function(2, -3)


def test_gaussian_minimax_refuses_few_pulls():
    with pytest.raises(ValueError, match=r"^horizon must be at least 9, not 8$"):
        bounds.gaussian_minimax_lower_bound(10, 8)


def probability(wins, losses, alpha, beta):
    """Of one sequence of results of an arm: a ratio of Beta functions, exactly."""

    def rising(x, n):
        return math.prod(x + i for i in range(n))

    return fractions.Fraction(
        rising(alpha, wins) * rising(beta, losses), rising(alpha + beta, wins + losses)
    )


def best_of_all_policies(num_arms, horizon, priors):
    """The expected rewards of each policy there is, a choice for every sequence of results."""
    pasts = [past for t in range(horizon) for past in itertools.product([0, 1], repeat=t)]
    best = fractions.Fraction(0)
    for choices in itertools.product(range(num_arms), repeat=len(pasts)):
        policy = dict(zip(pasts, choices, strict=True))
        value = fractions.Fraction(0)
        for results in itertools.product([0, 1], repeat=horizon):
            wins, losses = [0] * num_arms, [0] * num_arms
            for t, won in enumerate(results):
                arm = policy[results[:t]]
                wins[arm] += won
                losses[arm] += 1 - won
            chances = map(probability, wins, losses, *zip(*priors, strict=True))
            value += sum(results) * math.prod(chances)
        best = max(best, value)
    return best


@pytest.mark.parametrize(
    ("horizon", "priors"),
    [
        *[(horizon, [(1, 1), (1, 1)]) for horizon in (1, 2, 3)],
        (3, [(2, 1), (1, 3)]),
        (3, [(1, 4), (2, 5)]),
        (1, [(1, 1), (1, 2), (3, 2)]),
        (2, [(1, 1), (1, 2), (3, 2)]),
    ],
)
def test_value_is_the_best_policys(horizon, priors):
    expected = best_of_all_policies(len(priors), horizon, priors)
    found = bounds.bayes_optimal_value(len(priors), horizon, priors)
    np.testing.assert_allclose(found, float(expected), rtol=1e-14)


def best_from(past, horizon, priors, discount=1):
    """The best value by recursion over whole histories [(arm, won)], in exact fractions."""
    if len(past) == horizon:
        return fractions.Fraction(0)
    values = []
    for arm, (alpha, beta) in enumerate(priors):
        wins = sum(won for pulled, won in past if pulled == arm)
        pulls = sum(1 for pulled, _ in past if pulled == arm)
        mean = fractions.Fraction(alpha + wins, alpha + beta + pulls)
        won, lost = (
            best_from([*past, (arm, result)], horizon, priors, discount) for result in (1, 0)
        )
        values.append(mean * (1 + discount * won) + (1 - mean) * discount * lost)
    return max(values)


@pytest.mark.parametrize(
    ("horizon", "priors", "discount"),
    [
        (4, [(1, 1), (1, 1)], fractions.Fraction(1)),
        (5, [(1, 1), (2, 3)], fractions.Fraction(1)),
        (4, [(1, 1), (2, 3)], fractions.Fraction(1, 3)),
        (3, [(1, 1), (1, 1), (1, 1)], fractions.Fraction(1)),
        (4, [(3, 1), (1, 1), (1, 4)], fractions.Fraction(3, 4)),
    ],
)
def test_value_by_histories(horizon, priors, discount):
    expected = best_from([], horizon, priors, discount)
    found = bounds.bayes_optimal_value(len(priors), horizon, priors, discount=float(discount))
    np.testing.assert_allclose(found, float(expected), rtol=1e-14)


def test_value_by_hand():
    """One pull: 1/2. Two: a win is repeated, after a loss the other arm is as good as at first."""
    assert bounds.bayes_optimal_value(2, 1) == 0.5
    np.testing.assert_allclose(bounds.bayes_optimal_value(2, 2), 1 / 2 + (2 / 3 + 1 / 2) / 2)
    np.testing.assert_allclose(bounds.bayes_optimal_regret(2, 1), 2 / 3 - 1 / 2)
    np.testing.assert_allclose(bounds.bayes_optimal_regret(3, 1), 3 / 4 - 1 / 2)
    np.testing.assert_allclose(bounds.bayes_optimal_regret(2, 1, [(1, 1), (2, 1)]), 3 / 4 - 2 / 3)


def test_value_invariances():
    value = bounds.bayes_optimal_value
    priors = [(1, 1), (2, 5), (3, 4)]
    expected = value(3, 8, priors)
    for order in itertools.permutations(priors):
        np.testing.assert_allclose(value(3, 8, order), expected, rtol=1e-14)
    # An arm that never wins is as good as none; one that is known allows no learning.
    hopeless = value(3, 8, [(1, 1), (2, 5), (1, 1e15)])
    np.testing.assert_allclose(hopeless, value(2, 8, [(1, 1), (2, 5)]), rtol=1e-12)
    np.testing.assert_allclose(value(2, 8, [(3e15, 7e15), (6e15, 4e15)]), 8 * 0.6, rtol=1e-12)
    assert value(2, 8, discount=0) == 0.5  # the first pull alone


def test_one_known_arm_is_a_stopping_problem():
    """With one arm known, play is: the other one until it is left for good (Bradt et al., 1956)."""
    horizon, level = 25, 0.6

    @functools.cache
    def best(wins, losses):
        left = horizon - wins - losses
        if left == 0:
            return 0.0
        mean = (1 + wins) / (2 + wins + losses)
        go_on = mean * (1 + best(wins + 1, losses)) + (1 - mean) * best(wins, losses + 1)
        return max(level * left, go_on)

    found = bounds.bayes_optimal_value(2, horizon, [(1, 1), (6e15, 4e15)])
    np.testing.assert_allclose(found, best(0, 0), rtol=1e-12)
    assert found > horizon * level + 0.1


def test_regret_grows_ever_slower():
    horizons = range(1, 31)
    regrets = np.array([bounds.bayes_optimal_regret(2, horizon) for horizon in horizons])
    assert (regrets > 0).all()
    assert (np.diff(regrets) > 0).all()
    assert (np.diff(regrets, 2) < 1e-12).all()
    assert regrets[-1] < 30 * (2 / 3 - 1 / 2) / 4  # what never learning costs is 1/6 a pull
    assert bounds.bayes_optimal_regret(3, 12) > bounds.bayes_optimal_regret(2, 12)


@pytest.mark.parametrize(
    ("num_arms", "prior", "expected"),
    [
        (1, (1, 1), 1 / 2),
        (2, (1, 1), 2 / 3),
        (3, (1, 1), 3 / 4),
        (10, (1, 1), 10 / 11),
        (3, (2, 1), 6 / 7),  # P(X <= x) = x^2 each: the greatest is Beta(6, 1)
        (4, (0.01, 1), 0.04 / 1.04),  # x^0.01 each, with a density that is infinite at 0
        (2, (1, 0.5), 2 * 2 / 3 - 1 / 2),  # 1 - sqrt(1 - x) each
        (2, [(1, 1), (2, 1)], 3 / 4),
        (2, [(1, 1), (4e12, 6e12)], (1 + 0.4**2) / 2),  # one arm known to be 0.4
        (2, (1e8, 1e8), 0.5 + math.sqrt(0.25 / (2e8 + 1) / math.pi)),  # two narrow Gaussians
    ],
)
def test_expected_best_mean(num_arms, prior, expected):
    np.testing.assert_allclose(bounds.expected_best_mean(num_arms, prior), expected, atol=2e-10)


@pytest.mark.parametrize(
    ("horizon", "priors"), [(12, [(1, 1), (1, 1)]), (9, [(1, 2), (3, 3)]), (6, [(1, 1)] * 3)]
)
def test_actions_attain_the_value(horizon, priors):
    """The table as a policy, looked up in every state under jit, and valued by recursion."""
    num_arms = len(priors)
    table = bounds.bayes_optimal_actions(num_arms, horizon, priors)
    states = [
        (pulls, successes)
        for pulls in itertools.product(range(horizon + 1), repeat=num_arms)
        if sum(pulls) <= horizon
        for successes in itertools.product(*(range(n + 1) for n in pulls))
    ]
    pulls, successes = np.array(states).transpose(1, 0, 2)
    choose = jax.jit(jax.vmap(bounds.optimal_action, in_axes=(None, 0, 0)))
    actions = np.asarray(choose(table, pulls, successes))
    np.testing.assert_array_equal(actions == -1, pulls.sum(1) == horizon)
    assert actions.max() == num_arms - 1
    chosen = dict(zip(states, actions.tolist(), strict=True))

    @functools.cache
    def value(pulls, successes):
        arm = chosen[pulls, successes]
        if arm == -1:
            return 0.0
        alpha, beta = priors[arm]
        mean = (alpha + successes[arm]) / (alpha + beta + pulls[arm])
        pulls = (*pulls[:arm], pulls[arm] + 1, *pulls[arm + 1 :])
        won = (*successes[:arm], successes[arm] + 1, *successes[arm + 1 :])
        return mean * (1 + value(pulls, won)) + (1 - mean) * value(pulls, successes)

    start = (0,) * num_arms
    expected = bounds.bayes_optimal_value(num_arms, horizon, priors)
    np.testing.assert_allclose(value(start, start), expected, rtol=1e-13)
    assert chosen[start, start] in (0, 1)


def test_the_last_action_is_greedy():
    """With one pull left nothing is worth learning; a lone loss makes the other arm the better."""
    table = bounds.bayes_optimal_actions(2, 4)
    action = jax.jit(bounds.optimal_action)
    for pulls, successes, expected in [
        ((2, 1), (2, 0), 0),
        ((1, 2), (0, 1), 1),
        ((3, 0), (1, 0), 1),
        ((0, 3), (0, 1), 0),
        ((0, 0), (0, 0), 0),  # equal: the first
        ((1, 0), (0, 0), 1),
        ((9, 9), (1, 1), -1),  # far out of the table
    ]:
        assert action(table, np.array(pulls), np.array(successes)) == expected


@pytest.mark.parametrize("function", ["bayes_optimal_value", "bayes_optimal_actions"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((1, 5), "num_arms must be 2 or 3, not 1"),
        ((4, 5), "num_arms must be 2 or 3, not 4"),
        ((2, 0), "horizon must be at least 1, not 0"),
        ((2, -1), "horizon must be at least 1, not -1"),
        (
            (2, 1000),
            "horizon=1000 with num_arms=2 makes 42,084,793,751 states of 200,000,000 allowed: "
            "lower horizon",
        ),
        (
            (3, 100),
            "horizon=100 with num_arms=3 makes 1,705,904,746 states of 200,000,000 allowed: "
            "lower horizon",
        ),
        ((2, 5, (0, 1)), "prior must be positive and finite, not [0.0, 1.0]"),
        ((2, 5, (1, -2)), "prior must be positive and finite, not [1.0, -2.0]"),
        ((2, 5, (1, math.nan)), "prior must be positive and finite, not [1.0, nan]"),
        ((2, 5, (1, math.inf)), "prior must be positive and finite, not [1.0, inf]"),
        ((2, 5, (1, 1, 1)), "prior must be (alpha, beta) or 2 such pairs, not of shape (3,)"),
        ((3, 5, [(1, 1)] * 2), "prior must be (alpha, beta) or 3 such pairs, not of shape (2, 2)"),
    ],
)
def test_dynamic_programming_refuses(function, args, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        getattr(bounds, function)(*args)


@pytest.mark.parametrize("discount", [-0.1, 1.1, math.nan])
def test_value_refuses_a_discount(discount):
    with pytest.raises(ValueError, match=rf"^discount must lie in \[0, 1\], not {discount}$"):
        bounds.bayes_optimal_value(2, 5, discount=discount)


def test_gittins_indices_as_published():
    """The four digits of Gittins, Glazebrook & Weber's tables, as Christian & Griffiths quote them.

    (Algorithms to Live By, 2016, chapter 2, by wins and losses so far.)
    """
    near = bounds.gittins_indices(0.9, 11)
    for wins, losses, expected in [(0, 0, 0.7029), (1, 1, 0.6346), (2, 2, 0.6010), (9, 1, 0.8695)]:
        assert round(near[wins, losses], 4) == expected
    assert round(bounds.gittins_indices(0.99, 1)[0, 0], 4) == 0.8699


@pytest.mark.parametrize("discount", [0.5, 0.9])
@pytest.mark.parametrize("start", [(0, 0), (1, 0), (0, 2), (2, 1)])
def test_gittins_index_by_restarting(discount, start):
    """(1 - discount) times the value of a game in which one may always begin anew from `start`.

    Katehakis & Veinott (1987), doi:10.1287/moor.12.2.262: no certain reward, no calibration.
    """
    depth = 130 if discount > 0.5 else 40
    prior = (1.0, 1.5)
    alpha, beta = prior[0] + start[0], prior[1] + start[1]
    wins, losses = np.meshgrid(np.arange(depth), np.arange(depth), indexing="ij")
    mean = (alpha + wins) / (alpha + beta + wins + losses)
    values = np.zeros((depth + 1, depth + 1))  # nothing beyond: discount^130 / 0.1 is 1e-5
    for _ in range(2 * depth):
        go_on = mean * (1 + discount * values[1:, :-1]) + (1 - mean) * discount * values[:-1, 1:]
        values[:-1, :-1] = np.maximum(go_on, go_on[0, 0])
    indices = bounds.gittins_indices(discount, 4, prior, tolerance=1e-9)
    np.testing.assert_allclose(indices[start], (1 - discount) * values[0, 0], atol=2e-6)


def test_gittins_error_is_bounded():
    """Rough tables lie below the exact one, by what they promise at most."""
    exact = bounds.gittins_indices(0.9, 6, tolerance=1e-9)
    is_state = np.add.outer(range(6), range(6)) < 6
    np.testing.assert_array_equal(np.isnan(exact), ~is_state)
    errors = []
    for tolerance in (1e-1, 1e-2, 1e-4):
        short = (exact - bounds.gittins_indices(0.9, 6, tolerance=tolerance))[is_state]
        assert (short > -1e-9).all()
        assert (short <= tolerance).all()
        errors.append(short.max())
    assert errors[0] > 10 * errors[1] > 100 * errors[2] > 0


@pytest.mark.parametrize("depth", [1, 3, 30])
def test_stopping(depth):
    """Where no rule but one makes sense, the bracket that the error bound gives, and the slope."""
    alphas, discount = np.array([1.0, 2.0, 4.0]), 0.8
    means = alphas / 5
    stopping = functools.partial(bounds._stopping, alphas, 5.0, discount=discount)
    advantage, duration = stopping(np.zeros(3), depth=depth)  # for ever
    np.testing.assert_allclose(advantage, 5 * means, rtol=1e-14)
    np.testing.assert_allclose(duration, 5, rtol=1e-14)
    advantage, duration = stopping(np.ones(3), depth=depth)  # once
    np.testing.assert_allclose(advantage, means - 1, rtol=1e-14)
    np.testing.assert_array_equal(duration, 1)
    bound = discount**depth / (1 - discount) / (4 * math.sqrt(5 + depth + 1))
    for levels in np.linspace(0.0512345, 0.9512345, 19)[:, None] * np.ones(3):
        advantage, duration = stopping(levels, depth=depth)
        missed = stopping(levels, depth=200)[0] - advantage
        assert (missed > -1e-12).all()
        assert (missed < bound).all()
        low, high = (stopping(levels + step, depth=depth)[0] for step in (-1e-7, 1e-7))
        # The advantage is piecewise linear: no level of these is at a kink.
        np.testing.assert_allclose((low - high) / 2e-7, duration, rtol=1e-6)


def test_gittins_limits():
    """The mean without a future; the more there is of it, the more is unknown arms' bonus."""
    means = (1 + np.arange(8)[:, None]) / (2 + np.add.outer(range(8), range(8)))
    is_state = np.add.outer(range(8), range(8)) < 8
    tables = [bounds.gittins_indices(discount, 8) for discount in (0, 0.3, 0.7, 0.9)]
    np.testing.assert_array_equal(tables[0][is_state], means[is_state])
    for less, more in itertools.pairwise(tables):
        assert (more > less)[is_state].all()
    indices = tables[-1]
    assert (indices[is_state] < 1).all()
    assert (np.diff(indices, axis=0)[is_state[1:]] > 0).all()  # a success raises it
    assert (np.diff(indices, axis=1)[is_state[:, 1:]] < 0).all()
    bonus = np.diagonal(indices - means)[:4]  # as many successes as failures
    assert (np.diff(bonus) < 0).all()
    # Known almost surely: no bonus. A shifted prior is a shifted table.
    known = bounds.gittins_indices(0.9, 1, (4e9, 6e9))
    np.testing.assert_allclose(known, 0.4, atol=1e-4)
    shifted = bounds.gittins_indices(0.9, 4, (3, 2))
    np.testing.assert_allclose(shifted[:2, :2], indices[2:4, 1:3], atol=1e-6)


def test_gittins_policy_is_optimal():
    """Two discounted arms by their indices earn what dynamic programming over both arms earns."""
    discount, horizon = 0.7, 40  # what comes later is below 0.7^40 / 0.3 = 2e-6
    means = (1 + np.arange(horizon)[:, None]) / (2 + np.add.outer(range(horizon), range(horizon)))

    def value_of(indices):
        """Of pulling the arm of greatest index, by the wins and losses of both."""
        indices = np.nan_to_num(indices)

        @functools.cache
        def value(first, second, t):
            if t == horizon:
                return 0.0
            if indices[first] < indices[second]:  # the arms are alike: the order is free
                first, second = second, first
            wins, losses = first
            mean = means[first]
            won = value((wins + 1, losses), second, t + 1)
            lost = value((wins, losses + 1), second, t + 1)
            return mean * (1 + discount * won) + (1 - mean) * discount * lost

        return value((0, 0), (0, 0), 0)

    best = bounds.bayes_optimal_value(2, horizon, discount=discount)
    by_index = value_of(bounds.gittins_indices(discount, horizon, tolerance=1e-7))
    assert -1e-12 < best - by_index < 2e-6
    assert best - value_of(means) > 1e-4  # the greedy one
    too_patient = value_of(bounds.gittins_indices(0.95, horizon, tolerance=1e-2))
    assert best - too_patient > 1e-4


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((1, 5), "discount must lie in [0, 1), not 1"),
        ((-0.5, 5), "discount must lie in [0, 1), not -0.5"),
        ((math.nan, 5), "discount must lie in [0, 1), not nan"),
        ((0.9, 0), "size must be at least 1, not 0"),
        ((0.9, 5, (0, 1)), "prior must be positive and finite, not [0.0, 1.0]"),
        ((0.9, 5, [(1, 1)]), "prior must be a pair (alpha, beta), not of shape (1, 2)"),
        ((0.9, 5, (1, 1), 0), "tolerance must be finite and at least 1e-09, not 0"),
        ((0.9, 5, (1, 1), math.nan), "tolerance must be finite and at least 1e-09, not nan"),
        (
            (0.99, 50),
            "size=50 at discount=0.99 looks 1404 pulls ahead, which makes 1,257,545,250 cells of "
            "500,000,000 allowed: lower one of them or raise tolerance",
        ),
    ],
)
def test_gittins_refuses(args, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        bounds.gittins_indices(*args)


def test_gittins_refuses_a_discount_of_nearly_one_at_once():
    with pytest.raises(ValueError, match="^size=1 at discount=1 looks 28736436626012155 pulls"):
        bounds.gittins_indices(1 - 1e-15, 1)
