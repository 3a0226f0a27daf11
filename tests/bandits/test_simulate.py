"""Runs against a loop in NumPy that is given the same luck; bits that nothing may change."""

import functools
import re

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.tree_util import Partial

from dl_lectures.bandits import bounds, linear, policies, rewards, simulate
from dl_lectures.bandits.simulate import COHORT, Game

ODDS = [0.2, 0.5, 0.8]
BANDIT = rewards.bernoulli(ODDS)
HORIZON = 130  # two blocks of dice and a part of a third


def policy(epsilon=0.1):
    return policies.epsilon_greedy(epsilon, ties="first")


@functools.cache
def simulated(seed=0, horizon=HORIZON, num_runs=2 * COHORT, **options):
    return simulate.simulate(jax.random.key(seed), BANDIT, policy(), horizon, num_runs, **options)


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def by_hand(epsilon, dice, uniforms):
    """Epsilon-greedy on coins, run by run and pull by pull; regret so far and rewards, [T, N]."""
    num_steps, num_runs = uniforms.shape
    regret, reward = np.zeros((2, num_steps, num_runs))
    for run in range(num_runs):
        counts, means, lost = np.zeros(3), np.zeros(3, np.float32), 0.0
        for t in range(num_steps):
            u = dice[t, run]
            arm = int(u / np.float32(epsilon) * 3) if u < epsilon else int(np.argmax(means))
            reward[t, run] = uniforms[t, run] < np.float32(ODDS[arm])
            counts[arm] += 1
            means[arm] += (np.float32(reward[t, run]) - means[arm]) / np.float32(counts[arm])
            lost += max(ODDS) - ODDS[arm]
            regret[t, run] = lost
    return regret, reward


def test_pull_for_pull_as_by_hand():
    horizon = 100
    key = jax.random.key(3)
    cohort = simulate.play_cohort(
        jax.tree.map(np.float32, Game(BANDIT, policy(0.25))), key, 0, COHORT, horizon
    )
    _, key_rewards, key_dice = jax.random.split(jax.random.fold_in(key, 0), 3)
    draws = [
        (
            policies.draw_one_die(jax.random.fold_in(key_dice, b), 50, 3, COHORT).explore,
            BANDIT.draw(jax.random.fold_in(key_rewards, b), 50, COHORT),
        )
        for b in range(horizon // 50)
    ]
    dice, uniforms = (np.concatenate(parts) for parts in zip(*draws, strict=True))
    regret, reward = by_hand(0.25, dice, uniforms)
    np.testing.assert_allclose(cohort.regret, regret.mean(1), rtol=1e-5)
    np.testing.assert_allclose(cohort.regret_m2, regret.var(1) * COHORT, rtol=1e-4)
    np.testing.assert_allclose(cohort.reward, reward.mean(1), rtol=1e-5)
    np.testing.assert_allclose(cohort.sketched, regret[9::10], rtol=1e-5, atol=1e-6)


def test_the_number_of_devices_changes_no_bit():
    one = jax.make_mesh((1,), ("run",), (AxisType.Auto,), devices=jax.devices()[:1])
    assert len(jax.devices()) == 2
    assert_same(simulated(), simulated(mesh=one))


def test_an_interruption_changes_no_bit():
    """A tally that was copied, as to a checkpoint and back, is folded on."""

    def drive(fold, tally, num_blocks):
        assert num_blocks == 2
        for block in range(num_blocks):
            tally = fold(block, jax.tree.map(np.copy, tally))
        return tally

    keys = [jax.random.key(0)]
    found = simulate.sweep(keys, BANDIT, [policy()], HORIZON, 3 * COHORT, drive=drive)
    undisturbed = simulated(num_runs=3 * COHORT)
    np.testing.assert_array_equal(found.regret[0, 0], undisturbed.regret)
    np.testing.assert_array_equal(found.sketch[0, 0], undisturbed.sketch)


def test_a_run_is_the_same_run_whatever_the_number_of_runs():
    """The second thousand of 2,000 runs is what 2,000 have and 1,000 have not; 500 are half."""
    first, both = simulated(num_runs=COHORT), simulated()
    cohort = simulate.play_cohort(
        jax.tree.map(np.float32, Game(BANDIT, policy())), jax.random.key(0), 1, 2 * COHORT, HORIZON
    )
    np.testing.assert_allclose(both.regret, (first.regret + cohort.regret) / 2, rtol=1e-5)
    few = simulated(num_runs=500)
    assert few.sketch[-1].sum() == 500
    assert (few.sketch <= first.sketch).all()


def test_the_horizon_cuts_curves_and_changes_nothing_before():
    short = simulated(horizon=70)
    np.testing.assert_array_equal(short.regret, simulated().regret[:70])
    np.testing.assert_array_equal(short.times, np.arange(1, 71))


def test_moments_are_those_of_the_runs():
    cohorts = [
        simulate.play_cohort(
            jax.tree.map(np.float32, Game(BANDIT, policy())), jax.random.key(0), c, 1500, HORIZON
        )
        for c in range(2)
    ]
    last = np.concatenate([c.sketched[-1] for c in cohorts]).astype(np.float64)[:1500]
    summary = simulated(num_runs=1500)
    np.testing.assert_allclose(summary.regret[-1], last.mean(), rtol=1e-5)
    np.testing.assert_allclose(summary.regret_variance[-1], last.var(ddof=1), rtol=1e-4)
    for q in (0.0, 0.05, 0.5, 0.95, 1.0):
        exact = np.sort(last)[int(q * 1499)]
        np.testing.assert_allclose(summary.quantile(q)[-1], exact, rtol=0.011)


def test_coarse_curves_are_means_of_windows():
    fine, coarse = simulated(), simulated(num_points=4)
    np.testing.assert_array_equal(coarse.times, [33, 65, 98, 130])
    np.testing.assert_allclose(coarse.reward[1], fine.reward[33:65].mean(), rtol=1e-6)
    np.testing.assert_allclose(coarse.optimal[3], fine.optimal[98:].mean(), rtol=1e-6)
    np.testing.assert_array_equal(coarse.regret, fine.regret[[32, 64, 97, 129]])


def test_a_sweep_is_its_members_and_compiles_once():
    values = (0.0, 0.1, 0.3)
    keys = [jax.random.key(0), jax.random.key(1)]
    mesh = jax.make_mesh((2,), ("one_of_its_own",), (AxisType.Auto,))
    found = simulate.sweep(keys, BANDIT, [policy(x) for x in values], HORIZON, 700, mesh=mesh)
    assert found.regret.shape == (3, 2, HORIZON)
    single = simulate.simulate(keys[1], BANDIT, policy(0.1), HORIZON, 700, mesh=mesh)
    np.testing.assert_array_equal(found.regret[1, 1], single.regret)
    assert not np.array_equal(found.regret[1, 0], found.regret[1, 1])
    others = [rewards.bernoulli([0.1, 0.2, x]) for x in (0.3, 0.4)]
    simulate.sweep(keys[:1], others, [policy(), policy(0.2)], HORIZON, 10, mesh=mesh)
    # One program for three, one and two policies, and for other odds: the numbers are arguments.
    assert simulate._player(mesh, HORIZON)._cache_size() == 3  # by how many are stacked
    simulate.sweep(keys, BANDIT, [policy(x) for x in (0.5, 0.6, 0.7)], HORIZON, 10, mesh=mesh)
    assert simulate._player(mesh, HORIZON)._cache_size() == 3


def test_only_exploring_earns_the_mean():
    """2,000 runs of 130 pulls: five standard errors are 0.005."""
    found = simulate.simulate(
        jax.random.key(0), BANDIT, policies.explore_only(), HORIZON, 2 * COHORT
    )
    np.testing.assert_allclose(found.reward.mean(), np.mean(ODDS), atol=0.005)
    np.testing.assert_allclose(found.optimal.mean(), 1 / 3, atol=0.005)


def test_the_optimal_policy_earns_what_dynamic_programming_says():
    """And greed, given the same runs, earns less: 20,000 runs of 30 pulls, five standard errors."""
    horizon, num_runs = 30, 20 * COHORT
    table = bounds.bayes_optimal_actions(2, horizon)
    optimal = policies.Policy(
        init=Partial(policies.init_averages),
        draw=Partial(policies.draw_nothing),
        select=Partial(_select_optimal, table),
        update=Partial(policies.averaged),
    )
    best = bounds.bayes_optimal_regret(2, horizon)
    prior = rewards.bernoulli_prior(2)
    found = simulate.simulate(jax.random.key(0), prior, optimal, horizon, num_runs)
    error = np.sqrt(found.regret_variance[-1] / num_runs)
    assert abs(found.regret[-1] - best) < 5 * error
    greedy = simulate.simulate(jax.random.key(0), prior, policies.greedy(), horizon, num_runs)
    assert greedy.regret[-1] > best + 20 * error


def _select_optimal(table, state, luck):
    successes = state.counts * state.means
    choose = jax.vmap(bounds.optimal_action, in_axes=(None, 1, 1))
    pulls, wins = (jax.numpy.round(x).astype(int) for x in (state.counts, successes))
    return choose(table, pulls, wins).astype(jax.numpy.int32)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"horizon": -1}, "horizon must be a whole number of at least 1, not -1"),
        ({"horizon": 2.5}, "horizon must be a whole number of at least 1, not 2.5"),
        ({"num_runs": 0}, "num_runs must be a whole number of at least 1, not 0"),
        ({"num_points": 9}, "num_points must lie in 1 ... horizon = 8, not 9"),
        ({"policies": []}, "policies is empty: a sweep needs at least one"),
        (
            {"policies": [policy(), policies.explore_only()]},
            "policies of one sweep, and their bandits, must be of one kind and differ in numbers "
            "alone; sweep each kind by itself",
        ),
        ({"bandit": [BANDIT, BANDIT]}, "2 bandits for 1 policies: give one, or as many"),
        (
            {"policies": [linear.linucb(2)]},
            "this policy looks at contexts, and this bandit shows none",
        ),
    ],
)
def test_bad_input_is_named_before_anything_is_compiled(changed, words, monkeypatch):
    monkeypatch.setattr(simulate, "_player", None)
    arguments = {
        "keys": [jax.random.key(0)],
        "bandit": BANDIT,
        "policies": [policy()],
        "horizon": 8,
        "num_runs": 5,
    }
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        simulate.sweep(**(arguments | changed))


def test_more_than_the_memory_is_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(simulate, "_player", None)
    many = rewards.bernoulli(np.full(10**7, 0.5, np.float32))
    with pytest.raises(ValueError, match=r"needs about \d+ GiB of \d+: 10000000 arms take"):
        simulate.simulate(jax.random.key(0), many, policy(), 8, 5)
    with pytest.raises(ValueError, match="curves"):
        simulate.simulate(jax.random.key(0), BANDIT, policy(), 10**10, 5)


def test_no_key_is_used_twice():
    with jax.debug_key_reuse(True):
        game = jax.tree.map(np.float32, Game(BANDIT, policies.epsilon_greedy(0.1)))
        simulate.play_cohort(game, jax.random.key(0), 0, 5, 10)
