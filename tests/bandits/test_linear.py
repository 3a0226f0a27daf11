"""Linear policies against matrices that are inverted anew at every step."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.bandits import arms, linear, policies, rewards, simulate

NUM_STEPS, NUM_FEATURES, NUM_ARMS, NUM_RUNS = 200, 3, 4, 3


@jax.jit
def play(policy, contexts, noise, theta, luck):
    """The last state, all pulls and rewards [T, N]; contexts [T, D, K, N], theta [D, N]."""

    def step(memory, inputs):
        context, deviation, dice = inputs
        memory = policy.look(memory, context)
        arm = policy.select(memory, dice)
        reward = arms.of_arm((context * theta[:, None]).sum(0), arm) + deviation
        return policy.update(memory, arm, reward), (arm, reward)

    init = policy.init(*contexts.shape[2:])
    return jax.lax.scan(step, init, (contexts, noise, luck))


def game(seed=0):
    draw = np.random.default_rng(seed)
    contexts = draw.normal(size=(NUM_STEPS, NUM_FEATURES, NUM_ARMS, NUM_RUNS))
    noise = 0.3 * draw.normal(size=(NUM_STEPS, NUM_RUNS))
    theta = draw.normal(size=(NUM_FEATURES, NUM_RUNS))
    return tuple(x.astype(np.float32) for x in (contexts, noise, theta))


def regression(ridge, xs, ys):
    """Inverse of V and the ridge estimate, in float64, from the rows seen so far."""
    inverse = np.linalg.inv(ridge * np.eye(NUM_FEATURES) + xs.T @ xs)
    return inverse, inverse @ xs.T @ ys


def rows(contexts, found, run):
    """Features of the arms that were pulled, float64 [T, D]."""
    return np.stack([contexts[t, :, arm, run] for t, arm in enumerate(found[:, run])]).astype(float)


def test_linucb_is_that_of_the_paper():
    """Pull for pull; contexts are such that rounding never decides."""
    contexts, noise, theta = game()
    alpha, ridge = 0.7, 2.0
    policy = linear.linucb(NUM_FEATURES, alpha, ridge)
    none = np.zeros((NUM_STEPS, 1), np.float32)
    _, (found, paid) = play(policy, contexts, noise, theta, none)
    for run in range(NUM_RUNS):
        xs, ys = np.zeros((0, NUM_FEATURES)), np.zeros(0)
        for t in range(NUM_STEPS):
            inverse, estimate = regression(ridge, xs, ys)
            offers = contexts[t, :, :, run].astype(float).T
            widths = [alpha * math.sqrt(x @ inverse @ x) for x in offers]
            arm = int(np.argmax(offers @ estimate + widths))
            assert found[t, run] == arm, (run, t)
            xs, ys = np.vstack([xs, offers[arm]]), np.append(ys, paid[t, run])


@pytest.mark.parametrize("ridge", [0.5, 1.0])
def test_root_is_of_the_inverse(ridge):
    """Sherman & Morrison, 200 times in float32, against one inversion in float64."""
    contexts, noise, theta = game(1)
    policy = linear.linear_thompson(NUM_FEATURES, 0.5, ridge=ridge)
    luck = policy.draw(jax.random.key(0), NUM_STEPS, NUM_ARMS, NUM_RUNS)
    memory, (found, paid) = play(policy, contexts, noise, theta, luck)
    for run in range(NUM_RUNS):
        inverse, estimate = regression(ridge, rows(contexts, found, run), np.asarray(paid[:, run]))
        root = np.asarray(memory.root[..., run], float)
        np.testing.assert_allclose(root @ root.T, inverse, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(memory.theta[:, run], estimate, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [None, 0.4])
def test_linear_thompson_pulls_an_arm_as_often_as_it_is_best(scale):
    """Shares of 20,000 runs with one past, against samples by Cholesky's factor, by NumPy."""
    noise, delta, num_runs = 0.1, 0.2, 20_000
    policy = linear.linear_thompson(NUM_FEATURES, scale, noise, delta)
    draw = np.random.default_rng(12)
    xs, ys = draw.normal(size=(6, NUM_FEATURES)), draw.normal(size=6)
    offers = draw.normal(size=(NUM_FEATURES, NUM_ARMS))

    memory = policy.init(NUM_ARMS, num_runs)
    for x, y in zip(xs.astype(np.float32), ys.astype(np.float32), strict=True):
        shown = jnp.broadcast_to(x[:, None, None], (NUM_FEATURES, NUM_ARMS, num_runs))
        arm = jnp.zeros(num_runs, jnp.int32)
        memory = policy.update(policy.look(memory, shown), arm, jnp.full(num_runs, y))
    shown = jnp.broadcast_to(
        offers.astype(np.float32)[..., None], (NUM_FEATURES, NUM_ARMS, num_runs)
    )
    luck = policy.draw(jax.random.key(0), 1, NUM_ARMS, num_runs)[0]
    found = policy.select(policy.look(memory, shown), luck)

    inverse, estimate = regression(1.0, xs, ys)
    v = scale or noise * math.sqrt(9 * NUM_FEATURES * math.log(7 / delta))
    samples = (
        estimate + v * draw.normal(size=(200_000, NUM_FEATURES)) @ np.linalg.cholesky(inverse).T
    )
    expected = np.bincount((samples @ offers).argmax(1), minlength=NUM_ARMS) / 200_000
    shares = np.bincount(found, minlength=NUM_ARMS) / num_runs
    assert np.sort(expected)[-2] > 0.05
    errors = np.sqrt(expected * (1 - expected) * (1 / num_runs + 1 / 200_000))
    assert (abs(shares - expected) <= 4.5 * errors).all()


def test_names_of_arms_do_not_matter():
    contexts, noise, theta = game(2)
    order = np.array([2, 0, 3, 1])
    none = np.zeros((NUM_STEPS, 1), np.float32)
    policy = linear.linucb(NUM_FEATURES, 0.7)
    found = play(policy, contexts, noise, theta, none)[1][0]
    renamed = play(policy, contexts[:, :, order], noise, theta, none)[1][0]
    np.testing.assert_array_equal(order[np.asarray(renamed)], found)


def test_regret():
    """A few pulls' worth, and then hardly more, where exploring alone pays at every step."""
    bandit = rewards.contextual_linear(6, 4)
    key = jax.random.key(0)

    def regret(*tried):
        return simulate.sweep([key], bandit, tried, 200, 1000, 4).regret[:, 0]

    (explore,) = regret(policies.explore_only())[:, -1]
    # The paper's v explores more than is good here, as its docstring says, but learns.
    optimist, bayes, paper = (
        *regret(linear.linucb(4, 0.2)),
        *regret(linear.linear_thompson(4, 0.1), linear.linear_thompson(4, noise=0.1)),
    )
    for found in (optimist, bayes):
        assert found[-1] < explore / 20
        assert found[3] - found[1] < 0.1 * found[1]
    assert explore / 20 < paper[-1] < explore / 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (linear.linucb(3), linear.linucb(3, 2.0, 0.1)),
        (linear.linear_thompson(3), linear.linear_thompson(3, 0.1, 2.0, 0.5, 2.0)),
    ],
)
def test_numbers_are_leaves(one, other):
    """So that a sweep over them compiles once; the paper's v and a constant one included."""
    assert jax.tree.structure(one) == jax.tree.structure(other)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: linear.linucb(0),
            "num_features must be a whole number of at least 1, not 0",
        ),
        (lambda: linear.linucb(3, -1), "alpha must be finite and at least 0, not -1"),
        (lambda: linear.linucb(3, ridge=0), "ridge must be positive and finite, not 0"),
        (
            lambda: linear.linear_thompson(1.5),
            "num_features must be a whole number of at least 1, not 1.5",
        ),
        (lambda: linear.linear_thompson(3, 0), "scale must be positive and finite, not 0"),
        (lambda: linear.linear_thompson(3, noise=0), "noise must be positive and finite, not 0"),
        (lambda: linear.linear_thompson(3, delta=1), "delta must lie in (0, 1), not 1"),
        (lambda: linear.linear_thompson(3, ridge=-1), "ridge must be positive and finite, not -1"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        make()
