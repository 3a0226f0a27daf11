"""Best-arm identification against loops in NumPy, every outcome there is, and brute force."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from scipy import optimize, stats

from dl_lectures.bandits import best_arm, bounds, cohorts, fixed_budget, fixed_confidence, rewards

MEANS = (0.6, 0.45, 0.5, 0.3, 0.55)
NUM_ARMS = len(MEANS)
NUM_PULLS, NUM_RUNS = 60, 12
BANDIT = rewards.bernoulli(MEANS)
NORMAL = rewards.gaussian(MEANS, 0.5)  # without ties


def keys(num_seeds=1):
    return [jax.random.key(seed) for seed in range(num_seeds)]


# Pull for pull


@jax.jit
def traced(bandit, explorer):
    """Arms, rewards and luck of each step, the answer, and where it was sure."""
    key_machines, key_rewards, key_dice = jax.random.split(jax.random.key(3), 3)
    machines = bandit.init(key_machines, NUM_RUNS)
    reward_luck = bandit.draw(key_rewards, NUM_PULLS, NUM_RUNS)
    dice = explorer.draw(key_dice, NUM_PULLS, NUM_ARMS, NUM_RUNS)

    def step(carry, luck):
        machines, state = carry
        state, arm = explorer.select(state, luck[1])
        machines, reward = bandit.pull(machines, luck[0], arm)
        state = explorer.update(state, arm, reward)
        is_sure = jnp.zeros(NUM_RUNS, bool) if explorer.is_sure is None else explorer.is_sure(state)
        return (machines, state), (arm, reward, is_sure)

    carry = (machines, explorer.init(NUM_ARMS, NUM_RUNS))
    (_, state), steps = jax.lax.scan(step, carry, (reward_luck, dice))
    answers = explorer.recommend(state, jnp.full(NUM_RUNS, 0.5))
    return *steps, reward_luck, dice, answers


SCHEDULES = {
    "uniform": fixed_budget.uniform_schedule(NUM_ARMS, NUM_PULLS),
    "slide": fixed_budget.slide_schedule(NUM_ARMS, 4),
    "slide cut off": fixed_budget.slide_schedule(NUM_ARMS, 7, budget=NUM_PULLS),
    "halving": fixed_budget.halving_schedule(NUM_ARMS, NUM_PULLS),
    "rejects": fixed_budget.rejects_schedule(NUM_ARMS, NUM_PULLS),
}
# (pulls of an arm, arms kept) of each phase, by hand
PHASES = {
    "uniform": [(12, 1)],
    "slide": [(4, 3), (4, 2), (4, 1)],
    "slide cut off": [(7, 3), (7, 2)],  # and 4 pulls of 2 arms in the last round
    "halving": [(4, 3), (6, 2), (10, 1)],
    # log_bar = 107 / 60, n_k = ceil(55 * 60 / 107 / (6 - k)) = 7, 8, 11, 16
    "rejects": [(7, 4), (1, 3), (3, 2), (5, 1)],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_elimination_pull_for_pull(name):
    arms, _, _, uniforms, step_keys, _ = traced(
        BANDIT, fixed_budget.eliminate(SCHEDULES[name])._replace(num_pulls=None)
    )
    num_pulls = SCHEDULES[name].num_pulls
    expected = np.array(
        [
            eliminated(PHASES[name], num_pulls, np.asarray(uniforms)[:, n], step_keys, n)
            for n in range(NUM_RUNS)
        ]
    )
    np.testing.assert_array_equal(np.asarray(arms)[:num_pulls].T, expected)
    assert len(np.unique(expected[:, -1])) > 1 or name == "uniform"  # not all runs are the same


def eliminated(phases, num_pulls, uniforms, step_keys, run):
    """The arms of one run, by lists of survivors."""
    survivors, wins, pulls, played = list(range(NUM_ARMS)), [0] * NUM_ARMS, [0] * NUM_ARMS, []
    for number, keep in [*phases, (num_pulls, 1)]:
        for _, arm in itertools.product(range(number), survivors):
            if len(played) == num_pulls:
                return played
            wins[arm] += uniforms[len(played)] < np.float32(MEANS[arm])
            pulls[arm] += 1
            played.append(arm)
        if len(played) == num_pulls:
            return played
        dice = jax.random.uniform(step_keys[len(played)], (NUM_ARMS, NUM_RUNS))[:, run]
        survivors.sort(key=lambda arm: (-wins[arm] / pulls[arm], -float(dice[arm])))
        survivors = sorted(survivors[:keep])
    raise AssertionError


def test_ucb_e_pull_for_pull():
    arms, payoffs, *_, answers = traced(
        NORMAL, fixed_budget.ucb_e(2.0, 60)._replace(num_pulls=None)
    )
    arms, payoffs = np.asarray(arms), np.asarray(payoffs, np.float64)
    for n in range(NUM_RUNS):
        assert sorted(arms[:NUM_ARMS, n]) == list(range(NUM_ARMS))  # the first in any order
        for t in range(NUM_ARMS, NUM_PULLS):
            counts, means = statistics(arms[:t, n], payoffs[:t, n])
            assert arms[t, n] == np.argmax(means + np.sqrt(2.0 / counts))
        assert answers[n] == np.argmax(statistics(arms[:, n], payoffs[:, n])[1])


@pytest.mark.parametrize("width", ["proven", "practical"])
def test_lucb_pull_for_pull(width):
    # 20 times too sure of itself, so that some runs are sure within the few pulls
    delta = 0.9
    scale = 20.0
    explorer = fixed_confidence.lucb(delta, width)
    bandit = rewards.gaussian([scale * mean for mean in MEANS], 0.5)
    arms, payoffs, is_sure, *_ = (np.asarray(leaf) for leaf in traced(bandit, explorer))
    num_sure = 0
    for n in range(NUM_RUNS):
        assert arms[:NUM_ARMS, n].tolist() == list(range(NUM_ARMS))
        for t in range(NUM_ARMS, NUM_PULLS - 1, 2):
            counts, means = statistics(arms[:t, n], payoffs[:t, n].astype(np.float64))
            if width == "proven":
                log_term = math.log(1.25 * NUM_ARMS * t**4 / delta)
            else:
                log_term = math.log((math.log(t) + 1) / delta)
            widths = np.sqrt(log_term / (2 * counts))
            best = np.argmax(means)
            rivals = np.where(np.arange(NUM_ARMS) == best, -np.inf, means + widths)
            assert arms[t : t + 2, n].tolist() == [best, np.argmax(rivals)]
            assert is_sure[t - 1, 0, n] == (rivals.max() < means[best] - widths[best])
            assert not is_sure[t, 0, n]  # in the middle of a round
            num_sure += is_sure[t - 1, 0, n]
    assert 0 < num_sure < NUM_RUNS * (NUM_PULLS - NUM_ARMS) // 2


def statistics(arms, payoffs):
    counts = np.bincount(arms, minlength=NUM_ARMS)
    return counts, np.bincount(arms, payoffs, NUM_ARMS) / counts


def test_schedules_by_hand():
    slide = fixed_budget.slide_schedule(20)
    np.testing.assert_array_equal(slide.ends[:5], [100, 150, 175, 190, 200])
    np.testing.assert_array_equal(slide.kept[:5], [10, 5, 3, 2, 1])
    assert (slide.ends[5:] == np.iinfo(np.int32).max).all()
    # 20, 40, 80, 133 and 200 pulls of 20, 10, 5, 3 and 2 arms
    assert fixed_budget.halving_schedule(20, 2000).ends[:5].tolist() == [400, 800, 1200, 1599, 1999]
    # Audibert & Bubeck: n_k = 16, 21, 31, and in all n_1 + n_2 + 2 n_3
    assert fixed_budget.rejects_schedule(4, 100).ends.tolist() == [64, 79, 99]
    assert fixed_budget.slide_pulls(20, 399) == 9  # of 40 pulls each


@pytest.mark.parametrize("num_arms", [2, 3, 7, 16, 20])
def test_schedules_spend_what_they_say(num_arms):
    for budget in (100, 101, 1234):
        for make in (
            fixed_budget.uniform_schedule,
            fixed_budget.halving_schedule,
            fixed_budget.rejects_schedule,
            lambda k, n: fixed_budget.slide_schedule(k, fixed_budget.slide_pulls(k, n)),
        ):
            schedule = make(num_arms, budget)
            ends = schedule.ends[schedule.ends < np.iinfo(np.int32).max]
            # The last phase may end with the budget, and then needs no end of its own.
            sizes = [num_arms, *schedule.kept[: len(ends)]]
            pulls = np.diff([0, *ends, schedule.num_pulls])
            assert schedule.num_pulls <= budget
            assert schedule.num_pulls > budget - 2 * num_arms - 40  # rounded down, not lost
            assert all(p % size == 0 for p, size in zip(pulls, sizes, strict=True))
            assert sizes[-1] == 1 or len(ends) < num_arms


def test_two_arms_halve_as_they_share():
    for budget in (2, 9, 50):
        halving, uniform = (
            make(2, budget)
            for make in (fixed_budget.halving_schedule, fixed_budget.uniform_schedule)
        )
        assert halving.num_pulls == uniform.num_pulls == budget // 2 * 2
        np.testing.assert_array_equal(halving.ends, uniform.ends)


# Errors


def exact_error(phases, means):
    """The probability of a wrong answer, over all numbers of wins and all ways to break ties."""

    def right(phases, survivors, state):
        if len(survivors) == 1:
            return float(survivors == (0,))
        (pulls, keep), *later = phases
        total = 0.0
        for wins in itertools.product(range(pulls + 1), repeat=len(survivors)):
            p = math.prod(
                stats.binom.pmf(win, pulls, means[arm])
                for win, arm in zip(wins, survivors, strict=True)
            )
            new = {arm: state.get(arm, 0) + win for arm, win in zip(survivors, wins, strict=True)}
            ways = ways_to_keep(new, keep)
            total += p * sum(right(later, kept, new) for kept in ways) / len(ways)
        return total

    return 1 - right(phases, tuple(range(len(means))), {})


def ways_to_keep(wins, keep):
    """Equally likely sets of survivors."""
    cut = sorted(wins.values())[-keep]
    above = [arm for arm in wins if wins[arm] > cut]
    tied = [arm for arm in wins if wins[arm] == cut]
    chosen = itertools.combinations(tied, keep - len(above))
    return [tuple(sorted([*above, *some])) for some in chosen]


@pytest.mark.parametrize(
    ("schedule", "phases"),
    [
        (fixed_budget.uniform_schedule(3, 9), [(3, 1)]),
        (fixed_budget.slide_schedule(3, 2), [(2, 2), (2, 1)]),
        (fixed_budget.halving_schedule(3, 14), [(2, 2), (3, 1)]),
        (fixed_budget.rejects_schedule(3, 11), [(2, 2), (1, 1)]),
    ],
)
def test_error_is_that_of_all_outcomes(schedule, phases):
    means = (0.7, 0.4, 0.55)
    expected = exact_error(phases, means)
    found = best_arm.answers(
        keys(4), rewards.bernoulli(means), fixed_budget.eliminate(schedule), num_runs=5_000
    )
    assert found.shape == (4, 1, 5_000)
    # 20,000 runs; four standard errors, which a right program exceeds once in 15,000 times
    margin = 4 * math.sqrt(expected * (1 - expected) / found.size)
    assert abs((found != 0).mean() - expected) < margin


def test_ties_favour_no_arm():
    values = jnp.zeros((4, 8_000)).at[3].set(-1.0)
    active = jnp.ones((4, 8_000), bool)
    kept = fixed_budget.keep_best(values, active, jnp.int32(2), jax.random.key(0))
    np.testing.assert_array_equal(kept.sum(0), 2)
    np.testing.assert_allclose(kept.mean(1), [2 / 3, 2 / 3, 2 / 3, 0], atol=0.025)


# Playing


def test_run_is_the_same_whatever_else_is_asked():
    explorer = fixed_budget.top_two_thompson("normal")
    found = best_arm.answers(keys(2), BANDIT, explorer, 300, [10, 63, 140])
    alone = best_arm.answers(keys(2)[1:], BANDIT, explorer, 260, [140])
    np.testing.assert_array_equal(found[1:, 2:, :260], alone)
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0, 2, :50], found[0, 2, 250:300])  # cohorts differ
    one = jax.make_mesh((1,), ("run",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    on_one = best_arm.answers(keys(2), BANDIT, explorer, 300, [10, 63, 140], mesh=one)
    np.testing.assert_array_equal(on_one, found)


def test_budgets_share_a_program():
    best_arm.answers(keys(), BANDIT, fixed_budget.uniform(NUM_ARMS, 20), 10)
    (mesh,) = [jax.make_mesh((jax.device_count(),), ("run",), axis_types=(AxisType.Auto,))]
    program = cohorts.program(mesh, best_arm._budgets_of_cohort)
    before = program._cache_size()
    for budget in (30, 40):
        for make in (
            fixed_budget.uniform,
            fixed_budget.sequential_halving,
            fixed_budget.successive_rejects,
        ):
            best_arm.answers(keys(), BANDIT, make(NUM_ARMS, budget), 10)
    assert program._cache_size() == before


def test_of_policy_takes_any_policy():
    from dl_lectures.bandits import policies

    explorer = best_arm.of_policy(
        policies.epsilon_greedy(0.5), jax.tree_util.Partial(best_arm.recommend_average)
    )
    bandit = rewards.bernoulli([0.1, 0.9])
    found = best_arm.answers(keys(), bandit, explorer, 100, [100])
    assert (found == 1).mean() > 0.95


def test_until_sure_stops_each_run_by_itself():
    means = (0.9, 0.5, 0.4)
    bandit = rewards.bernoulli(means)
    both = best_arm.until_sure(
        keys(2), bandit, fixed_confidence.track_and_stop([0.1, 0.01]), 400, 5_000
    )
    assert both.pulls.shape == (2, 2, 400)
    assert both.is_sure.all()
    assert (both.pulls[:, 0] <= both.pulls[:, 1]).all()
    assert both.pulls.std() > 5
    assert (both.arms != 0).mean((0, 2))[0] < 0.1
    least = fixed_confidence.least_pulls(means, 0.01)
    assert least < both.pulls[:, 1].mean() < 3 * least
    uniform = best_arm.until_sure(
        keys(2), bandit, fixed_confidence.uniform_until_sure([0.1, 0.01]), 400, 5_000
    )
    assert both.pulls[:, 1].mean() < 0.9 * uniform.pulls[:, 1].mean()
    # A cap changes nothing of the runs that are sure before it.
    capped = best_arm.until_sure(
        keys(2), bandit, fixed_confidence.track_and_stop([0.1, 0.01]), 400, 30
    )
    early = both.pulls <= 30
    np.testing.assert_array_equal(capped.is_sure, early)
    np.testing.assert_array_equal(capped.pulls, np.minimum(both.pulls, 30))
    np.testing.assert_array_equal(capped.arms[early], both.arms[early])
    assert 0 < early.mean() < 1


def test_tracking_pulls_by_the_optimal_weights():
    """Rewards without noise, as if there were some: the averages are the means at once."""
    means = np.array([1.0, 0.8, 0.5, 0.6, 0.7])
    explorer = fixed_confidence.track_and_stop([0.1], "gaussian", stale=0.0)

    @jax.jit
    def counts(explorer):
        state = explorer.init(5, 1)
        luck = explorer.draw(jax.random.key(0), 1_000, 5, 1)

        def step(state, luck):
            state, arm = explorer.select(state, luck)
            return explorer.update(state, arm, jnp.asarray(means, jnp.float32)[arm]), None

        return jax.lax.scan(step, state, luck)[0].totals.counts[:, 0]

    weights = fixed_confidence.optimal_weights(jnp.asarray(means)[:, None], bounds.gaussian_kl)[0][
        :, 0
    ]
    # Every arm has sqrt(t) - K/2 pulls, about 29 of 1,000, even if it deserves fewer.
    assert weights.min() > 0.03
    # Rewards are added up in float32, and averages drift by as much.
    np.testing.assert_allclose(counts(explorer) / 1_000, weights, atol=3e-3)


# Top-two


@pytest.mark.parametrize("posterior", ["beta", "normal"])
def test_top_two_has_russos_law(posterior):
    """P(j) = leader a_j + (1 - leader) sum_{i != j} a_i a_j / (1 - a_i), a_i of being best."""
    num = 20_000
    counts, sums = np.array([12.0, 15.0, 9.0]), np.array([7.0, 8.0, 3.0])
    draws = stats.beta(sums + 1, counts - sums + 1).rvs((400_000, 3), random_state=0)
    best = np.bincount(draws.argmax(1), minlength=3) / len(draws)
    second = [sum(best[i] * best[j] / (1 - best[i]) for i in range(3) if i != j) for j in range(3)]
    expected = 0.7 * best + 0.3 * np.array(second)
    explorer = fixed_budget.top_two_thompson(posterior, leader=0.7, num_tries=12)
    state = best_arm.Totals(
        jnp.int32(36), *(jnp.tile(jnp.float32(x)[:, None], num) for x in (counts, sums))
    )

    @jax.jit
    def select(explorer, state):
        luck = explorer.draw(jax.random.key(1), 1, 3, num)
        return explorer.select(state, jax.tree.map(lambda leaf: leaf[0], luck))[1]

    found = np.bincount(select(explorer, state), minlength=3) / num
    # Standard error 0.0035; the normal posterior differs by its shape.
    np.testing.assert_allclose(found, expected, atol=0.014 if posterior == "beta" else 0.025)


def test_top_two_without_tries_takes_the_hardest_rival():
    """Arm 0 leads surely; arm 2 is nearer than arm 1, but arm 1 is hardly known."""
    explorer = fixed_budget.top_two_thompson("gaussian", leader=1e-6, num_tries=0, scale=0.1)
    state = best_arm.Totals(
        jnp.int32(0), jnp.float32([[50], [2], [50]]), jnp.float32([[50], [1.2], [40]])
    )
    luck = jax.tree.map(lambda leaf: leaf[0], explorer.draw(jax.random.key(0), 1, 3, 1))
    # gaps 0.4 and 0.2; 0.16 / (1/50 + 1/2) = 0.31, 0.04 / (2/50) = 1
    assert explorer.select(state, luck)[1].tolist() == [1]
    untried = state._replace(counts=state.counts.at[2].set(0), sums=state.sums.at[2].set(0))
    assert explorer.select(untried, luck)[1].tolist() == [2]


# The lower bound


def test_weights_of_two_gaussians():
    weights, inverse = fixed_confidence.optimal_weights(
        jnp.float32([[0.2, 1.0], [0.7, -3.0]]), bounds.gaussian_kl
    )
    np.testing.assert_allclose(weights, 0.5, atol=1e-5)
    np.testing.assert_allclose(inverse, [0.25 / 8, 16 / 8], rtol=1e-5)


def test_weights_are_those_of_garivier_and_kaufmann():
    """Their section 6, and the leading term of the bound there."""
    for means, weights in (
        ((0.5, 0.45, 0.43, 0.4), (0.417, 0.390, 0.136, 0.057)),
        ((0.3, 0.21, 0.2, 0.19, 0.18), (0.336, 0.251, 0.177, 0.132, 0.104)),
    ):
        found = fixed_confidence.optimal_weights(jnp.float32(means)[:, None], bounds.bernoulli_kl)[
            0
        ]
        np.testing.assert_allclose(found[:, 0], weights, atol=6e-4)


def worst_case(weights, means, kl):
    """min over b of inf over m of w_a kl(m_a, m) + w_b kl(m_b, m), by a scalar search."""
    best = int(np.argmax(means))

    def evidence(b):
        def at(m):
            return weights[best] * kl(means[best], m) + weights[b] * kl(means[b], m)

        found = optimize.minimize_scalar(
            at, bounds=(means[b], means[best]), method="bounded", options={"xatol": 1e-10}
        )
        return found.fun

    return min(evidence(b) for b in range(len(means)) if b != best)


def bernoulli_kl(p, q):
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def gaussian_kl(p, q):
    return (p - q) ** 2 / 2


@pytest.mark.parametrize(
    ("kl", "oracle", "means"),
    [
        (bounds.bernoulli_kl, bernoulli_kl, (0.3, 0.9, 0.6)),
        (bounds.bernoulli_kl, bernoulli_kl, (0.11, 0.1, 0.02)),
        (bounds.gaussian_kl, gaussian_kl, (0.0, -0.4, -1.0)),
    ],
)
def test_no_weights_are_better(kl, oracle, means):
    with jax.enable_x64(True):
        weights, inverse = fixed_confidence.optimal_weights(jnp.asarray(means)[:, None], kl)
    weights, inverse = np.asarray(weights)[:, 0], float(inverse[0])
    assert weights.sum() == pytest.approx(1)
    assert worst_case(weights, means, oracle) == pytest.approx(inverse, rel=1e-6)
    grid = [(i / 24, j / 24, (24 - i - j) / 24) for i in range(1, 24) for j in range(1, 24 - i)]
    best = max(worst_case(w, means, oracle) for w in grid)
    assert 0.94 * inverse < best <= inverse * (1 + 1e-9)
    for direction in ((1, -1, 0), (0, 1, -1), (1, 0, -1)):  # and it is the top, nearby
        for size in (1e-3, -1e-3):
            assert worst_case(weights + size * np.array(direction), means, oracle) < inverse


def test_few_iterations_are_enough_to_pull_by():
    rng = np.random.default_rng(0)
    means = rng.uniform(0.02, 0.98, (6, 400)).astype(np.float32)
    with jax.enable_x64(True):
        exact = fixed_confidence.optimal_weights(
            jnp.asarray(means, jnp.float64), bounds.bernoulli_kl
        )[0]
        exact = np.asarray(exact)
    few = fixed_confidence.optimal_weights(
        jnp.asarray(means), fixed_confidence.quick_bernoulli_kl, 12, 2
    )[0]
    np.testing.assert_allclose(few, exact, atol=2e-3)


def test_several_best_arms_share_the_pulls():
    weights, inverse = fixed_confidence.optimal_weights(
        jnp.float32([[0.5], [0.2], [0.5], [0.5]]), bounds.bernoulli_kl
    )
    np.testing.assert_allclose(weights[:, 0], [1 / 3, 0, 1 / 3, 1 / 3], rtol=1e-6)
    assert inverse.tolist() == [0]


def test_least_pulls():
    # T* = 8 scale^2 / gap^2 of two Gaussians; kl(0.1, 0.9) = 0.8 log 9
    assert fixed_confidence.least_pulls([1.0, 1.5], 0.1, "gaussian", 2.0) == pytest.approx(
        8 * 4 / 0.25 * 0.8 * math.log(9)
    )
    assert fixed_confidence.least_pulls([0.4, 0.6], 0.6) == 0


def test_likelihood_ratio():
    counts, means = (7.0, 20.0, 12.0), (0.75, 0.5, 0.25)
    for kl, oracle in (
        (bounds.bernoulli_kl, bernoulli_kl),
        (fixed_confidence.quick_bernoulli_kl, bernoulli_kl),
        (bounds.gaussian_kl, gaussian_kl),
    ):
        found = fixed_confidence.likelihood_ratio(
            jnp.float32(counts)[:, None], jnp.float32(means)[:, None], kl
        )
        assert float(found[0]) == pytest.approx(worst_case(counts, means, oracle), rel=1e-5)
    tied = fixed_confidence.likelihood_ratio(
        jnp.full((3, 1), 4.0), jnp.full((3, 1), 0.3), bounds.bernoulli_kl
    )
    assert tied.tolist() == [0]


def test_quick_bernoulli_kl():
    p = np.float32([0, 1, 0, 0.3, 0.9, 0.5, 1, 0.2])
    q = np.float32([0.3, 0.6, 0, 0.7, 0.1, 0.501, 1, 0.2])
    found = fixed_confidence.quick_bernoulli_kl(jnp.asarray(p), jnp.asarray(q))
    np.testing.assert_allclose(found, bounds.bernoulli_kl(p, q), rtol=1e-4, atol=0)


def test_complexity():
    found = best_arm.complexity([0.3, 0.5, 0.4])
    # gaps 0.1 (of the best), 0.1 and 0.2
    assert found.h1 == pytest.approx(100 + 100 + 25)
    assert found.h2 == pytest.approx(200)
    assert fixed_budget.oracle_exploration([0.3, 0.5, 0.4], 228) == pytest.approx(25 / 36)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fixed_budget.uniform(5, 4), "budget must be a whole number of at least 5"),
        (lambda: fixed_budget.uniform(1, 4), "at least 2 arms"),
        (lambda: fixed_budget.uniform(5, 7.5), "whole number"),
        (lambda: fixed_budget.sequential_halving(5, 14), "at least 15 for sequential halving"),
        (lambda: fixed_budget.successive_rejects(5, 5), "at least 6 for successive rejects"),
        (lambda: fixed_budget.slide_halving(5, budget=4), "at least 5 for slide_halving"),
        (lambda: fixed_budget.slide_halving(5, keep=1.0), "keep must lie between"),
        (lambda: fixed_budget.slide_halving(5, pulls=0), "pulls must be"),
        (lambda: fixed_budget.slide_pulls(20, 39), "at least 40"),
        (lambda: fixed_budget.ucb_e(0.0, 10), "exploration must be positive"),
        (lambda: fixed_budget.oracle_exploration([0.1, 0.2], 2), "at least 3 for UCB-E"),
        (lambda: best_arm.complexity([0.5, 0.5, 0.1]), "one best arm"),
        (lambda: fixed_budget.top_two_thompson("cauchy"), "posterior must be one of beta"),
        (lambda: fixed_budget.top_two_thompson(leader=1.0), "leader must lie"),
        (lambda: fixed_budget.top_two_thompson(num_tries=-1), "num_tries must be"),
        (lambda: fixed_confidence.lucb(0.0), "delta must lie between 0 and 1"),
        (lambda: fixed_confidence.lucb(0.1, "thin"), "width must be"),
        (lambda: fixed_confidence.track_and_stop([0.1, 1.0]), "delta must lie between 0 and 1"),
        (lambda: fixed_confidence.track_and_stop([0.1], "poisson"), "rewards must be"),
        (lambda: fixed_confidence.track_and_stop([0.1], stale=-1.0), "stale must be"),
        (lambda: fixed_confidence.least_pulls([0.0, 0.5], 0.1), "means must lie between 0 and 1"),
        (
            lambda: best_arm.answers(keys(), BANDIT, fixed_budget.uniform(5, 5), 1, [5]),
            "budgets are",
        ),
        (lambda: best_arm.answers(keys(), BANDIT, fixed_confidence.lucb(0.1), 1), "budgets are"),
        (
            lambda: best_arm.answers(keys(), BANDIT, fixed_confidence.lucb(0.1), 1, [5, 5]),
            "increasing",
        ),
        (lambda: best_arm.answers(keys(), BANDIT, fixed_confidence.lucb(0.1), 0, [5]), "num_runs"),
        (
            lambda: best_arm.until_sure(keys(), BANDIT, fixed_budget.uniform(5, 5), 1, 9),
            "never sure",
        ),
        (
            lambda: best_arm.until_sure(keys(), BANDIT, fixed_confidence.lucb(0.1), 1, 0),
            "cap must be",
        ),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()
