import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import td


def transition(discount):
    return dict(
        q_tm1=jnp.array([2.0, 7.0]),
        a_tm1=0,
        r_t=1.0,
        discount_t=discount,
        q_t_target=jnp.array([9.0, 4.0]),
        q_t_online=jnp.array([0.0, 1.0]),
    )


@pytest.mark.parametrize(
    ("error", "discount", "by_hand"),
    [
        (td.q_learning_error, 0.5, 1.0 + 0.5 * 9.0 - 2.0),
        (td.q_learning_error, 0.0, 1.0 - 2.0),  # terminated
        (td.double_q_error, 0.5, 1.0 + 0.5 * 4.0 - 2.0),  # the online network chooses action 1
        (td.double_q_error, 0.0, 1.0 - 2.0),
    ],
)
def test_by_hand(error, discount, by_hand):
    chex.assert_trees_all_close(error(**transition(discount)), jnp.float32(by_hand))


def munchausen(q_tm1, a_tm1, r_t, discount_t, q_t_target, q_t_online):
    """With the other errors' arguments: what is called online is the old observation's target."""
    return td.munchausen_error(q_tm1, a_tm1, r_t, discount_t, q_t_target, q_t_online, 0.5, 0.9, -1)


@pytest.mark.parametrize("error", [td.q_learning_error, td.double_q_error, munchausen])
def test_no_gradient_flows_into_the_target(error):
    inputs = transition(0.5)
    floats = {name: jnp.float32(x) for name, x in inputs.items() if name != "a_tm1"}
    grads = jax.grad(lambda x: error(a_tm1=inputs["a_tm1"], **x))(floats)
    chex.assert_trees_all_close(grads.pop("q_tm1"), jnp.array([-1.0, 0.0]))
    assert all((grad == 0).all() for grad in grads.values())


def n_step_by_definition(rewards, discounts, ended):
    """What is earned until the first end, one step after the other."""
    earned, weight = 0.0, 1.0
    for k in range(len(rewards)):
        earned += weight * rewards[k]
        weight *= discounts[k]
        if ended[k]:
            break
    return earned, weight, k


@pytest.mark.parametrize(
    ("discounts", "ended", "by_hand"),
    [
        ([0.5, 0.5, 0.5], [0, 0, 0], (1 + 1 + 1, 0.125, 2)),
        ([0.5, 0.0, 0.5], [0, 1, 0], (1 + 1, 0.0, 1)),  # terminated at the second step
        ([0.5, 0.5, 0.5], [0, 1, 0], (1 + 1, 0.25, 1)),  # a time limit there: bootstraps
        ([0.5, 0.5, 0.0], [1, 0, 1], (1, 0.5, 0)),  # another end in the next episode
        ([0.5, 0.5, 0.0], [0, 0, 1], (1 + 1 + 1, 0.0, 2)),
    ],
)
def test_n_steps_by_hand(discounts, ended, by_hand):
    """Rewards 1, 2, 4."""
    found = td.n_step(jnp.array([1.0, 2.0, 4.0]), jnp.array(discounts), jnp.array(ended, bool))
    np.testing.assert_allclose(found, by_hand)


def test_n_steps_against_a_loop():
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(200, 5)).astype(np.float32)
    ended = rng.random((200, 5)) < 0.3
    discounts = np.where(ended & (rng.random((200, 5)) < 0.5), 0.0, 0.9).astype(np.float32)
    found = jax.vmap(td.n_step)(jnp.array(rewards), jnp.array(discounts), jnp.array(ended))
    expected = np.array(
        [n_step_by_definition(*x) for x in zip(rewards, discounts, ended, strict=True)]
    )
    np.testing.assert_allclose(np.stack(found, 1), expected, rtol=1e-5, atol=1e-6)


def test_munchausen_by_hand():
    """tau 1/2 and values of which pi is (1/4, 3/4); scale 0.9, nothing less than -1 is added."""
    q = 0.5 * jnp.log(jnp.array([1.0, 3.0]))
    soft_max = 0.5 * np.log(4.0)
    for action, log_pi in ((0, np.log(0.25)), (1, np.log(0.75))):
        bonus = td.munchausen_bonus(q, action, 0.5, 0.9, -1.0)
        np.testing.assert_allclose(bonus, 0.9 * 0.5 * log_pi, rtol=1e-6)
        error = td.munchausen_error(jnp.zeros(2), action, 2.0, 0.5, q, q, 0.5, 0.9, -1.0)
        np.testing.assert_allclose(error, 2.0 + bonus + 0.5 * soft_max, rtol=1e-6)
    np.testing.assert_allclose(td.munchausen_bonus(q, 0, 0.5, 0.9, -0.1), -0.09, rtol=1e-6)
    np.testing.assert_allclose(td.soft_quantiles(q[:, None], 0.5), [soft_max], rtol=1e-6)


def test_munchausen_without_temperature_is_q_learning():
    """A cold policy is sure of the best action, for which nothing is added."""
    q_tm1, q_t = jnp.array([0.0, 5.0]), jnp.array([9.0, 4.0])
    plain = td.q_learning_error(q_tm1, 1, 1.0, 0.5, q_t, q_t)
    cold = td.munchausen_error(q_tm1, 1, 1.0, 0.5, q_t, q_tm1, 1e-3, 0.9, -1.0)
    np.testing.assert_allclose(cold, plain, rtol=1e-6)
    quantiles = jnp.array([[8.0, 10.0], [4.0, 4.0]])
    np.testing.assert_allclose(td.soft_quantiles(quantiles, 1e-3), [8.0, 10.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("reward", "discount", "by_hand"),
    [
        (0.0, 1.0, [0.25, 0.5, 0.25]),
        (0.5, 0.5, [0.125, 0.75, 0.125]),  # 0.5, 1, 1.5: the outer ones are halved
        (1.25, 0.0, [0.0, 0.75, 0.25]),  # terminated
        (0.0, 0.5, [0.25 + 0.25, 0.25 + 0.25, 0.0]),  # 0, 0.5, 1
        (5.0, 1.0, [0.0, 0.0, 1.0]),  # beyond the last atom
        (-5.0, 1.0, [1.0, 0.0, 0.0]),
    ],
)
def test_categorical_projection_by_hand(reward, discount, by_hand):
    """Atoms 0, 1, 2 with probabilities 1/4, 1/2, 1/4."""
    atoms, probabilities = jnp.arange(3.0), jnp.array([0.25, 0.5, 0.25])
    found = td.categorical_projection(atoms, probabilities, reward, discount)
    np.testing.assert_allclose(found, by_hand, atol=1e-7)


def test_categorical_projection_keeps_mass_and_mean():
    """Inside of the atoms; 100 random laws, rewards and discounts."""
    rng = np.random.default_rng(0)
    atoms = jnp.linspace(-10.0, 10.0, 51)
    laws = jnp.array(rng.dirichlet(np.ones(51), 100), jnp.float32)
    rewards, discounts = (jnp.array(rng.random(100), jnp.float32) for _ in range(2))
    discounts = 0.9 * discounts
    project = jax.vmap(td.categorical_projection, in_axes=(None, 0, 0, 0))
    found = project(atoms, laws, rewards, discounts)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(found @ atoms, rewards + discounts * (laws @ atoms), atol=1e-4)


def test_categorical_loss_has_the_gradient_of_cross_entropy():
    logits, target = jnp.array([0.3, -1.0, 2.0]), jnp.array([0.0, 0.25, 0.75])
    loss, grad = jax.value_and_grad(td.categorical_loss)(logits, target)
    np.testing.assert_allclose(grad, jax.nn.softmax(logits) - target, atol=1e-6)
    cross = -(target * jax.nn.log_softmax(logits)).sum()
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    np.testing.assert_allclose(loss, cross - entropy, rtol=1e-6)
    assert jnp.abs(td.categorical_loss(jnp.log(target + 1e-30), target)) < 1e-6


def test_quantile_loss_is_least_at_the_sorted_quantiles():
    """101 samples: of all of them, the one that 10, 30, ..., 90 % lie below is best."""
    samples = np.random.default_rng(0).normal(size=101).astype(np.float32)
    levels = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    best = np.quantile(samples, levels, method="inverted_cdf")
    for i in range(len(levels)):
        candidates = np.tile(best, (len(samples), 1))
        candidates[:, i] = samples
        losses = jax.vmap(td.quantile_loss, in_axes=(0, None, None))(
            jnp.array(candidates), jnp.array(samples), 0.0
        )
        assert candidates[losses.argmin(), i] == best[i]


@pytest.mark.parametrize("kappa", [0.0, 1.0, 0.5])
def test_quantile_loss_against_loops(kappa):
    rng = np.random.default_rng(1)
    quantiles, targets = rng.normal(size=(2, 6)).astype(np.float32)
    expected = 0.0
    for i, quantile in enumerate(quantiles):
        for target in targets:
            u = abs(target - quantile)
            huber = u**2 / 2 if u <= kappa else kappa * (u - kappa / 2)
            huber = huber / kappa if kappa else u
            expected += abs((i + 0.5) / 6 - (target < quantile)) * huber / 6
    found = td.quantile_loss(jnp.array(quantiles), jnp.array(targets), kappa)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
