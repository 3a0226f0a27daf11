"""EXP3 and EXP3-IX against plain products of weights, their expectations and their bounds."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.bandits import adversarial, arms, rewards, simulate, ucb

NUM_STEPS, NUM_ARMS, NUM_RUNS = 400, 4, 5


@jax.jit
def play(policy, table, uniforms):
    """All states, and the pulls, [T, N], where an arm pays what the table says."""
    num_arms, num_runs = table.shape[1:]

    def step(memory, inputs):
        paid, dice = inputs
        arm = policy.select(memory, dice)
        new = policy.update(memory, arm, arms.of_arm(paid, arm))
        return new, (memory, arm)

    return jax.lax.scan(step, policy.init(num_arms, num_runs), (table, uniforms))[1]


def luck():
    draw = np.random.default_rng(0)
    table = draw.random((NUM_STEPS, NUM_ARMS, NUM_RUNS)) < np.linspace(0.2, 0.8, 4)[:, None]
    uniforms = draw.random((NUM_STEPS, NUM_RUNS))
    return table.astype(np.float32), uniforms.astype(np.float32)


def drawn(law, uniform):
    return int(np.searchsorted(np.cumsum(law), uniform, side="right"))


def exp3_pulls(gamma, table, uniforms):
    """Figure 1 of the paper for one run."""
    weights = np.ones(NUM_ARMS)
    for paid, uniform in zip(table, uniforms, strict=True):
        law = (1 - gamma) * weights / weights.sum() + gamma / NUM_ARMS
        arm = drawn(law, uniform)
        weights[arm] *= math.exp(gamma * paid[arm] / law[arm] / NUM_ARMS)
        yield arm


def exp3_ix_pulls(rates, table, uniforms):
    """Algorithm 1 of the paper for one run; rates of pull t, from 1."""
    losses = np.zeros(NUM_ARMS)
    for t, (paid, uniform) in enumerate(zip(table, uniforms, strict=True), 1):
        eta, gamma = rates(t)
        law = np.exp(-eta * losses) / np.exp(-eta * losses).sum()
        arm = drawn(law, uniform)
        losses[arm] += (1 - paid[arm]) / (law[arm] + gamma)
        yield arm


def ix_for_horizon(t):
    eta = math.sqrt(2 * math.log(NUM_ARMS) / (NUM_ARMS * NUM_STEPS))
    return eta, eta / 2


def ix_anytime(t):
    eta = math.sqrt(math.log(NUM_ARMS) / (NUM_ARMS * t))
    return eta, eta / 2


TUNED = math.sqrt(NUM_ARMS * math.log(NUM_ARMS) / ((math.e - 1) * NUM_STEPS))


@pytest.mark.parametrize(
    ("policy", "reference", "numbers"),
    [
        (adversarial.exp3(0.2), exp3_pulls, 0.2),
        (adversarial.exp3(1.0), exp3_pulls, 1.0),
        (adversarial.exp3(horizon=NUM_STEPS), exp3_pulls, TUNED),
        (adversarial.exp3(horizon=1), exp3_pulls, 1.0),
        (adversarial.exp3_ix(0.1), exp3_ix_pulls, lambda t: (0.1, 0.05)),
        (adversarial.exp3_ix(0.1, 0.3), exp3_ix_pulls, lambda t: (0.1, 0.3)),
        (adversarial.exp3_ix(horizon=NUM_STEPS), exp3_ix_pulls, ix_for_horizon),
        (adversarial.exp3_ix(), exp3_ix_pulls, ix_anytime),
    ],
)
def test_pulls_are_those_of_the_paper(policy, reference, numbers):
    """Pull for pull, from the same uniform numbers, none of which lies where rounding decides."""
    table, uniforms = luck()
    found = np.asarray(play(policy, table, uniforms)[1])
    for run in range(NUM_RUNS):
        expected = list(reference(numbers, table[..., run].astype(float), uniforms[:, run]))
        np.testing.assert_array_equal(found[:, run], expected)
        assert len(set(expected)) == NUM_ARMS


@pytest.mark.parametrize("gamma", [0.05, 1.0])
def test_exp3_draws_from_a_law(gamma):
    memory, _ = play(adversarial.exp3(gamma), *luck())
    laws = jax.vmap(adversarial.exp3_probabilities, (None, 0))(gamma, memory.totals)
    np.testing.assert_allclose(laws.sum(1), 1, rtol=1e-6)
    assert laws.min() >= gamma / NUM_ARMS * (1 - 1e-6)
    assert (memory.totals.max(1) == 0).all()  # weights cannot overflow


@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_estimates_are_unbiased_without_a_bias(bias):
    """The mean over all arms that may be drawn; with a bias it is value p / (p + bias)."""
    law = np.float32([[0.7, 0.01], [0.2, 0.9], [0.1, 0.09]])
    values = np.float32([[0.3, 1.0], [0.9, 0.2], [0.5, 0.0]])
    mean = 0
    for arm in range(3):
        pulled = jnp.full(2, arm)
        mean += law[arm] * np.asarray(
            adversarial.importance_weighted(law, pulled, values[arm], bias)
        )
    np.testing.assert_allclose(mean, values * law / (law + bias), rtol=1e-5)


def test_long_runs_do_not_overflow():
    """An arm that alone pays, for 20,000 steps: weights by themselves would be infinite."""
    table = np.zeros((20_000, 2, 1), np.float32)
    table[:, 1] = 1
    uniforms = np.random.default_rng(1).random((20_000, 1)).astype(np.float32)
    for policy in (adversarial.exp3(0.1), adversarial.exp3_ix(0.1)):
        memory, found = play(policy, table, uniforms)
        assert np.isfinite(memory.totals).all()
        assert found[-1000:].mean() > 0.94


def total(policy, table):
    """Mean reward of all pulls together, over 1,000 runs."""
    horizon = len(table)
    summary = simulate.simulate(
        jax.random.key(0), rewards.adversarial(table), policy, horizon, 1000, num_points=10
    )
    return summary.reward.mean() * horizon


def test_regret_on_a_sequence_made_against_ucb1():
    """UCB1 is deterministic: an adversary who knows it never pays, and pays EXP3 nearly all."""
    horizon, num_arms = 2000, 3
    # UCB1 that has earned nothing pulls the arms in turn.
    table = (np.arange(horizon)[:, None] % num_arms != np.arange(num_arms)).astype(np.float32)
    best = table.sum(0).max()
    assert total(ucb.ucb1(), table) == 0
    earned = total(adversarial.exp3(horizon=horizon), table)
    # No arm stands out, so that dice of any kind earn as much as the best of them, but for chance.
    assert abs(earned - best) < 0.02 * best


def test_regret_against_the_best_arm_in_hindsight():
    """Within the papers' bounds, and above exploring, when the best arm begins as the worst."""
    horizon, num_arms = 2000, 3
    early = np.arange(horizon)[:, None] < horizon // 4
    table = np.where(early, [0.6, 0.5, 0.0], [0.4, 0.5, 1.0]).astype(np.float32)
    best = table.astype(float).sum(0).max()
    scale = math.sqrt(horizon * num_arms * math.log(num_arms))
    explored = table.astype(float).mean(1).sum()  # in the mean, exactly
    for policy, factor in (
        (adversarial.exp3(horizon=horizon), 2.63),
        (adversarial.exp3_ix(horizon=horizon), 2 * math.sqrt(2)),
        (adversarial.exp3_ix(), 4),
    ):
        regret = best - total(policy, table)
        assert regret < factor * scale
        assert regret < 0.75 * (best - explored)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (adversarial.exp3(0.1), adversarial.exp3(0.2)),
        (adversarial.exp3(horizon=10), adversarial.exp3(horizon=20.0)),
        (adversarial.exp3_ix(0.1), adversarial.exp3_ix(0.2, 0.3)),
        (adversarial.exp3_ix(horizon=10), adversarial.exp3_ix(horizon=20)),
    ],
)
def test_numbers_are_leaves(one, other):
    """So that a sweep over them compiles once."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert jax.tree.leaves(one) != jax.tree.leaves(other)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: adversarial.exp3(), "give either gamma or horizon, not None and None"),
        (lambda: adversarial.exp3(0.1, 10), "give either gamma or horizon, not 0.1 and 10"),
        (lambda: adversarial.exp3(0), "gamma must lie in (0, 1], not 0"),
        (lambda: adversarial.exp3(1.5), "gamma must lie in (0, 1], not 1.5"),
        (
            lambda: adversarial.exp3(horizon=0),
            "horizon must be finite and at least 1, not 0",
        ),
        (lambda: adversarial.exp3_ix(0), "eta must be positive and finite, not 0"),
        (lambda: adversarial.exp3_ix(0.1, -1), "gamma must be finite and at least 0, not -1"),
        (lambda: adversarial.exp3_ix(gamma=0.1), "gamma = 0.1 needs an eta"),
        (
            lambda: adversarial.exp3_ix(0.1, horizon=10),
            "give either eta or horizon, not 0.1 and 10",
        ),
        (
            lambda: adversarial.exp3_ix(horizon=math.inf),
            "horizon must be finite and at least 1, not inf",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        make()
