"""Beta variates against SciPy's law, and the inequality that lets most of them pass unexamined."""

import jax
import numpy as np
import pytest
from scipy import stats

from dl_lectures.bandits import beta

NUM_DRAWS, NUM_SMALL = 1_000_000, 50_000
# Kolmogorov-Smirnov's P(D > x) < 2 exp(-2 n x^2), here 10^-6, for each of about 20 comparisons:
# all together would fail less than once in 10,000 runs.
KS_BOUND = np.sqrt(np.log(2 / 1e-6) / (2 * NUM_DRAWS))
LEVELS = np.linspace(0, 1, 2002)[1:-1]

PAIRS = {  # parameters of the arms of one call
    False: [(1, 1), (1, 500), (300, 700), (1, 1e5), (2, 1.5), (1e5, 3e5)],
    True: [(0.5, 0.5), (0.2, 3), (3, 0.2), (1, 1), (1, 500), (300, 700)],
}


draw = jax.jit(beta.draw_beta, static_argnums=(1, 2, 3, 4))
sample = jax.jit(beta.sample_beta)


@pytest.fixture(scope="module", params=PAIRS, ids=["at_least_one", "below_one"])
def drawn(request):
    """Variates [K, N] of one step, and their parameters."""
    pairs = np.float32(PAIRS[request.param])
    luck = draw(jax.random.key(7), 1, len(pairs), NUM_DRAWS, request.param)
    a, b = (np.repeat(column[:, None], NUM_DRAWS, 1) for column in pairs.T)
    variates = sample(jax.tree.map(lambda x: x[0], luck), a, b)
    return np.asarray(variates), pairs.astype(float)


def distance(xs, law):
    """Kolmogorov and Smirnov's, at up to 2,000 quantiles of the law: not more than the true one."""
    quantiles = law.ppf(LEVELS)
    below = np.searchsorted(np.sort(xs), quantiles, side="right") / len(xs)
    return abs(below - LEVELS)[quantiles < 1 - 1e-6].max()  # beyond, float32 has few numbers


def test_law(drawn):
    variates, pairs = drawn
    assert variates.dtype == np.float32 and (variates >= 0).all() and (variates <= 1).all()
    distances = [distance(xs, stats.beta(*ab)) for xs, ab in zip(variates, pairs, strict=True)]
    assert max(distances) < KS_BOUND, dict(zip(map(tuple, pairs), distances, strict=True))
    # It could tell another law: one of a twentieth of a standard deviation beside it.
    off = stats.beta(1, 1, loc=0.05 * stats.beta(1, 1).std())
    assert distance(variates[list(map(tuple, pairs)).index((1, 1))], off) > 2 * KS_BOUND


def test_moments(drawn):
    """Mean and variance within 4.9 standard errors, P < 10^-6 each; tails count here."""
    variates, pairs = drawn
    for xs, (a, b) in zip(variates.astype(float), pairs, strict=True):
        mean, variance, kurtosis = stats.beta.stats(a, b, moments="mvk")
        deviations = (xs - mean) / np.sqrt(variance)
        assert abs(deviations.mean()) < 4.9 / np.sqrt(NUM_DRAWS)
        assert abs((deviations**2).mean() - 1) < 4.9 * np.sqrt((kurtosis + 2) / NUM_DRAWS)


def test_arms_and_runs_are_independent(drawn):
    """Ranks are not correlated: of arms with each other, nor of runs i and i + 1."""
    u = np.array([stats.rankdata(xs) for xs in drawn[0][:4, :200_000]])
    bound = 4.9 / np.sqrt(u.shape[1])
    between_arms = np.corrcoef(u)[np.triu_indices(len(u), 1)]
    between_runs = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in u]
    assert abs(between_arms).max() < bound
    assert np.abs(between_runs).max() < bound


def small(seed, below_one, a, b):
    """Variates of three steps of two arms, [3, 2, N], with parameters [2, N]."""
    luck = draw(jax.random.key(seed), 3, *a.shape, below_one)
    return np.array([sample(jax.tree.map(lambda x, i=i: x[i], luck), a, b) for i in range(3)])


@pytest.mark.parametrize("below_one", [False, True])
def test_parameters_of_runs_are_their_own(below_one):
    """Every run with other parameters: what the law makes of each variate is uniform."""
    rng = np.random.default_rng(3)
    least = -1 if below_one else 0
    a, b = (10 ** rng.uniform(least, 3, size=(2, 2, NUM_SMALL))).astype(np.float32)
    u = stats.beta.cdf(small(1, below_one, a, b), a, b)
    # Next to 1 float32 has few numbers, so that only the lower half is looked at.
    for level in (0.05, 0.1, 0.25, 0.5):
        error = 4.9 * np.sqrt(level * (1 - level) / NUM_SMALL)
        np.testing.assert_allclose((u < level).mean(-1), level, rtol=0, atol=error)
    between_steps = np.corrcoef(u[:, 0])[np.triu_indices(3, 1)]
    assert abs(between_steps).max() < 4.9 / np.sqrt(NUM_SMALL)


def test_tiny_parameters_do_not_underflow_to_zero():
    """Gammas of shape 0.01 mostly underflow; their ratio is near 0 or 1 equally often."""
    shapes = np.full((2, NUM_SMALL), 0.01, np.float32)
    xs = small(3, True, shapes, shapes)
    assert abs((xs > 0.5).mean() - 0.5) < 4.9 * 0.5 / np.sqrt(xs.size)
    middle = stats.beta(0.01, 0.01).cdf(0.9) - stats.beta(0.01, 0.01).cdf(0.1)
    assert abs(((xs > 0.1) & (xs < 0.9)).mean() - middle) < 4.9 * np.sqrt(middle / xs.size)


def log_alpha(d, y):
    """The paper's x^2 / 2 + d - d v + d log v with v = (1 + y)^3, multiplied out."""
    return d * (3 * np.log1p(y) - 3 * y + 1.5 * y**2 - y**3)


def test_bound_of_the_acceptance():
    """alpha >= 1 - t wherever 1 - t can accept, and for small y no better t could be had."""
    d = (10 ** np.linspace(0, 7, 200) - 1 / 3)[:, None]  # shapes of 1 ... 10^7
    x = np.linspace(-5.6, 5.6, 4001)[None]  # 23 bits reach 5.3
    y = x / np.sqrt(9 * d)
    inside = y > -1
    y = np.where(inside, y, 0.0)
    v = (1 + y) ** 3
    as_written = 9 * d * y**2 / 2 + d - d * v + d * np.log(v)
    np.testing.assert_allclose(log_alpha(d, y)[:50], as_written[:50], atol=1e-10)
    with jax.enable_x64(True):
        t = np.asarray(beta._doubt(d, y))
    assert t.dtype == np.float64
    slack = np.exp(log_alpha(d, y)) - (1 - t)
    assert slack[inside].min() > -1e-9
    near = inside & (abs(y) < 0.01) & (t > 1e-6) & (t < 1e-2)
    assert near.sum() > 100
    np.testing.assert_allclose(-np.expm1(log_alpha(d, y)[near]), t[near], rtol=0.02)


def test_words_are_split():
    """23 bits make a normal number, in the middle of its interval, and the other nine w."""
    words = np.append(np.uint32([0, 2**32 - 1]), jax.random.bits(jax.random.key(4), (10_000,)))
    normal, spare = jax.jit(beta._normal_and_spare)(words)
    expected = stats.norm.ppf(((words // 512).astype(float) + 0.5) / 2**23)
    np.testing.assert_allclose(normal, expected, rtol=3e-4, atol=1e-6)
    np.testing.assert_array_equal(spare, words % 512)


def test_variate_for_variate():
    """The paper's loop, in float64, over each run's variates in turn, with the same words."""
    shapes = np.float32([1, 1, 1, 1.2, 2, 30])
    luck = jax.tree.map(lambda x: x[0], draw(jax.random.key(5), 1, 3, 300))
    a, b = (np.repeat(part[:, None], 300, 1) for part in np.split(shapes, 2))
    # In half of the runs w is that of alpha itself: the other bits decide, unless alpha is near 1.
    ds = shapes.astype(float)[:, None] - 1 / 3
    with np.errstate(invalid="ignore"):
        alphas = np.nan_to_num(np.exp(log_alpha(ds, luck.normal / np.sqrt(9 * ds))))
    is_crafted = (alphas < 0.99) & (np.arange(300) < 150)
    spare = np.where(is_crafted, np.floor(512 * alphas), luck.spare).astype(np.float32)
    luck = luck._replace(spare=spare)
    words, key = [], luck.key
    for _ in range(30):
        key, key_now = jax.random.split(key)
        words.append(jax.random.bits(key_now, (3, 300)))
    words = np.array(words)
    uniforms = ((words >> 9) + 0.5) / 2.0**23
    normals = stats.norm.ppf(uniforms[:, 1])
    num_decided = 0

    def accepts(d, x, u):
        y = x / np.sqrt(9 * d)
        return y > -1 and np.log(u) < log_alpha(d, y)

    gammas = np.zeros((6, 300))
    for run in range(300):
        turn = iter(range(30))
        for i, d in enumerate(shapes.astype(float) - 1 / 3):
            x, w = float(luck.normal[i, run]), float(luck.spare[i, run])
            y = x / np.sqrt(9 * d)
            if not (y > -1 and w + 1 <= 512 * (1 - 0.75 * d * y**4 / (1 + min(y, 0)))):
                n = next(turn)
                num_decided += 1
                if not accepts(d, x, (w + uniforms[n, 0, run]) / 512):
                    while not accepts(d, x := normals[n, run], uniforms[n, 2, run]):
                        n = next(turn)
            gammas[i, run] = d * (1 + x / np.sqrt(9 * d)) ** 3
    assert is_crafted.sum() > 200 and num_decided > 250
    first, second = np.split(gammas, 2)
    np.testing.assert_allclose(sample(luck, a, b), first / (first + second), rtol=1e-3, atol=1e-5)


def test_no_such_law_gives_nan_and_ends():
    luck = jax.tree.map(lambda leaf: leaf[0], beta.draw_beta(jax.random.key(0), 1, 2, 3))
    a = np.float32([[2.0, -3.0, np.nan], [1.0, 1.0, 1.0]])
    found = np.asarray(jax.jit(beta.sample_beta)(luck, a, np.ones((2, 3), np.float32)))
    np.testing.assert_array_equal(np.isnan(found), [[False, True, True], [False] * 3])
