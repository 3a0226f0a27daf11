"""Gradients through time against closed forms, whole Jacobians, an SVD, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import jacobians
from dl_lectures.sequences.cells import CELLS

T, D, H = 6, 2, 5


def linear(params, carry, x):
    """A cell without activation: s' = s A + x B, whose Jacobian is A^T."""
    carry = carry @ params["a"] + x @ params["b"]
    return carry, carry


def linear_problem(a, num_steps):
    a = np.float32(a)
    params = {"a": a, "b": np.ones((1, len(a)), np.float32)}
    return linear, params, np.ones((num_steps, 1), np.float32), np.zeros(len(a), np.float32)


def random_problem(name, seed=0, num_steps=T):
    """A cell with random weights, inputs and first carry."""
    cell = CELLS[name]
    rng = np.random.default_rng(seed)

    def random_like(shape):
        return np.float32(0.6 * rng.normal(size=shape.shape))

    def shapes():
        params = cell.init(jax.random.key(0), D, H)
        return params, jnp.zeros((num_steps, D)), cell.initial_carry(params)

    return cell.cell, *jax.tree.map(random_like, jax.eval_shape(shapes))


@jax.jit(static_argnums=0)
def backwards(cell, params, xs, carry, cotangent):
    carries = jacobians.trajectory(cell, params, xs, carry)
    return jacobians.by_product(cell, params, xs, carries, cotangent)


@jax.jit(static_argnums=0)
def autodiff(cell, params, xs, carry, cotangent):
    return jacobians.by_autodiff(
        cell, params, xs, carry, lambda last: jnp.vdot(cotangent, jacobians.flat(last))
    )


def size(name):
    return 2 * H if name == "lstm" else H


@pytest.mark.parametrize("name", ["rnn", "relu", "gru", "lstm"])
def test_the_three_ways(name):
    """The product is reverse mode, both are whole Jacobians', and the bound is an SVD's."""
    problem = random_problem(name)
    cotangent = np.float32(np.random.default_rng(1).normal(size=size(name)))
    found = backwards(*problem, cotangent)
    grads = autodiff(*problem, cotangent)
    cell, params, xs, carry = problem

    @jax.jit
    def oracle(carries):
        """d(last state) / d(state), from each state on, by forward mode; one step's, too."""

        def last(carry, rest):
            for x in rest:
                carry, _ = cell(params, carry, x)
            return jacobians.flat(carry)

        states = [jax.tree.map(lambda leaf, t=t: leaf[t], carries) for t in range(T + 1)]
        tree = jax.tree.structure(carry)

        def matrix(function, carry):  # the columns of all leaves side by side
            blocks = jax.tree.leaves(jax.jacfwd(function)(carry))
            assert len(blocks) == tree.num_leaves
            return jnp.concatenate(blocks, axis=1)

        to_the_end = [matrix(lambda c, t=t: last(c, xs[t:]), states[t]) for t in range(T + 1)]
        of_a_step = [matrix(lambda c, t=t: last(c, xs[t : t + 1]), states[t]) for t in range(T)]
        return jnp.stack(to_the_end), jnp.stack(of_a_step)

    to_the_end, of_a_step = oracle(jacobians.trajectory(*problem))
    expected = (cotangent @ np.asarray(to_the_end))[::-1]  # [T + 1, N], by lag
    np.testing.assert_allclose(grads, expected, rtol=1e-4, atol=1e-6)
    rebuilt = found.directions * 10 ** found.log10_norms[:, None]
    np.testing.assert_allclose(rebuilt, expected, rtol=1e-4, atol=1e-6)

    sigmas = np.linalg.svd(np.asarray(of_a_step, np.float64), compute_uv=False)[::-1, 0]
    exact = np.log10(np.linalg.norm(cotangent)) + np.cumsum([0.0, *np.log10(sigmas)])
    excess = found.log10_bounds - exact
    assert (excess > -1e-4).all()
    assert (excess < np.arange(T + 1) * np.log10(size(name)) / 1024 + 1e-4).all()
    assert (found.log10_norms <= found.log10_bounds + 1e-4).all()
    assert (found.log10_norms < found.log10_bounds - 0.01)[2:].all()  # no equality by accident


def test_autodiff_takes_any_loss():
    """The gradient by the first carry, as JAX takes it without perturbations."""
    cell, params, xs, carry = random_problem("lstm")

    def loss(last):
        return jnp.sin(last.h).sum() + (last.c**3).sum()

    def of_first(carry):
        return loss(jax.lax.scan(lambda c, x: cell(params, c, x), carry, xs)[0])

    expected = jacobians.flat(jax.jit(jax.grad(of_first))(carry))
    grads = jax.jit(lambda: jacobians.by_autodiff(cell, params, xs, carry, loss))()
    assert grads.shape == (T + 1, 2 * H)
    np.testing.assert_allclose(grads[-1], expected, rtol=1e-5, atol=1e-6)


def test_rotation_keeps_every_norm():
    turn = [[0.8, 0.6], [-0.6, 0.8]]
    problem = linear_problem(turn, 100)
    found = backwards(*problem, np.float32([1, 0]))
    np.testing.assert_allclose(found.log10_norms, 0.0, atol=1e-4)
    np.testing.assert_allclose(found.log10_bounds / (np.arange(101) + 1e-9), 0.0, atol=4e-4)
    np.testing.assert_allclose(found.directions[1], [0.8, -0.6], rtol=1e-5)  # v^T J is v A^T


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_beyond_float32(factor):
    """1e-60 and 1e60: the product goes on where reverse mode has lost the number."""
    problem = linear_problem([[factor]], 60)
    # The state must not overflow: without inputs it stays at zero.
    cell, params, xs, carry = problem
    found = backwards(cell, params, 0 * xs, carry, np.float32([2.0]))
    lags = np.arange(61)
    expected = np.log10(2.0) + lags * np.log10(factor)
    np.testing.assert_allclose(found.log10_norms, expected, atol=1e-3)
    np.testing.assert_allclose(found.log10_bounds, expected, atol=1e-3)
    log10_autodiff = jacobians.log10_size(autodiff(cell, params, 0 * xs, carry, np.float32([2.0])))
    np.testing.assert_allclose(log10_autodiff[:36], expected[:36], atol=1e-3)
    lost = -np.inf if factor < 1 else np.inf
    np.testing.assert_array_equal(np.asarray(log10_autodiff[46:]) == lost, factor < 1)
    assert not np.isfinite(log10_autodiff[46:]).any()


def test_a_dead_gradient_is_exactly_zero():
    """Nilpotent: nothing is left after two steps; the norm is -inf and the direction zeros."""
    found = backwards(*linear_problem([[0.0, 1.0], [0.0, 0.0]], 4), np.float32([0.0, 3.0]))
    np.testing.assert_allclose(found.log10_norms[:2], np.log10(3.0), rtol=1e-6)
    assert np.isneginf(found.log10_norms[2:]).all()
    np.testing.assert_array_equal(found.directions[2:], 0.0)
    assert np.isfinite(found.log10_bounds).all()  # each Jacobian alone has norm 1


def test_untrained_irnn_loses_nothing_while_its_units_are_on():
    """U = I: with positive inputs' share the Jacobian is the identity (Le et al., 2015)."""
    cell = CELLS["irnn"]
    params = cell.init(jax.random.key(0), D, H)
    params = params._replace(w_x=abs(params.w_x))
    carry = jax.tree.map(lambda leaf: leaf + 0.1, cell.initial_carry(params))
    xs = np.ones((T, D), np.float32)
    found = backwards(cell.cell, params, xs, carry, np.ones(H, np.float32))
    np.testing.assert_allclose(found.log10_norms, np.log10(H) / 2, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1.0, 1e25, 1e37])
def test_size_squares_nothing_extreme(scale):
    vectors = np.float32([[3.0 * scale, -4.0 * scale], [0.0, 0.0]])
    found = jacobians.log10_size(vectors)
    np.testing.assert_allclose(found[0], np.log10(5.0) + np.log10(scale), rtol=1e-5)
    assert np.isneginf(found[1])
    np.testing.assert_allclose(jacobians.unit(vectors[0]), [0.6, -0.8], rtol=1e-6)


def test_what_overflowed_is_not_a_number():
    assert np.isnan(jacobians.log10_size(np.float32([[np.nan, 1.0]]))).all()
    assert not np.isfinite(jacobians.log10_size(np.float32([[np.inf, 1.0]]))).any()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_spectral_bound_is_tight(scale):
    rng = np.random.default_rng(2)
    matrices = np.float32(scale * rng.normal(size=(20, 7, 7)))
    matrices[0] = scale * np.eye(7)  # all singular values alike: the loosest case
    exact = np.log10(np.linalg.svd(np.float64(matrices), compute_uv=False)[:, 0])
    found = jax.jit(jax.vmap(jacobians.log10_spectral_bound))(matrices)
    excess = np.asarray(found) - exact
    assert (excess > -1e-5).all()
    assert (excess <= np.log10(7) / 1024 + 1e-5).all()
    np.testing.assert_allclose(excess[0], np.log10(7) / 1024, atol=1e-5)
    assert np.isneginf(jacobians.log10_spectral_bound(np.zeros((3, 3), np.float32)))


def test_decades_per_100_steps():
    lags = np.arange(0, 50, 5)
    log10_norms = np.stack([1 - 0.03 * lags, 0.2 * lags, 0.0 * lags])
    log10_norms[0, 6:] = -np.inf  # dead from there on
    np.testing.assert_allclose(
        jacobians.decades_per_100_steps(lags, log10_norms), [-3.0, 20.0, 0.0], atol=1e-9
    )
    noisy = np.random.default_rng(3).normal(size=10)
    expected = 100 * np.polyfit(lags, noisy, 1)[0]
    np.testing.assert_allclose(jacobians.decades_per_100_steps(lags, noisy), expected)
    unknown = np.full(10, -np.inf)
    assert np.isnan(jacobians.decades_per_100_steps(lags, unknown))
    unknown[0] = 0.0
    assert np.isnan(jacobians.decades_per_100_steps(lags, unknown))
