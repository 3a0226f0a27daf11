"""How large the gradient of a loss is at earlier and earlier states of a recurrent net, three ways.

Pascanu, Mikolov & Bengio (2013), arXiv:1211.5063, equations 4 to 6. With the state s_t, all that
one time step hands to the next, and the Jacobian J_t = ds_t / ds_{t-1} of one step,

    dL/ds_t = dL/ds_T  J_T  J_{T-1} ... J_{t+1}
    ||dL/ds_t|| <= ||dL/ds_T||  sigma(J_T) ... sigma(J_{t+1}),     sigma: largest singular value

- `by_autodiff` asks reverse mode: what training gets, in its float32, which ends near 1e-38 and
  1e38;
- `by_product` multiplies explicit Jacobians. It carries a unit vector and the logarithm of the
  length, and so neither under- nor overflows;
- it returns the bound, too.

The paper's state is h alone; an LSTM's is h and c, one after the other. All is for one sequence;
batch with vmap. The cells' functions and T, D, H are those of `recurrence`.
N: numbers in a state (H; 2H for the LSTM). Lag: T - t, from 0 to T.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

Cell = Callable[[Any, Any, jax.Array], tuple[Any, jax.Array]]  # params, carry, x -> carry, h


_NUM_SQUARINGS = 8  # powers up to 2 x 2^8; see log10_spectral_bound


class Backwards(NamedTuple):
    """A gradient on its way back in time, by lag."""

    log10_norms: jax.Array  # [T + 1] of dL/ds_t; -inf where it is exactly zero
    log10_bounds: jax.Array  # [T + 1] what they cannot exceed
    directions: jax.Array  # [T + 1, N] unit vectors along dL/ds_t; zeros where that is zero


def flat(carry: Any) -> jax.Array:
    """A carry of leaves [H] as one vector [N]."""
    return jax.flatten_util.ravel_pytree(carry)[0]


def trajectory(cell: Cell, params: Any, xs: jax.Array, carry: Any) -> Any:
    """The carry before the first step of xs [T, D] and after each: leaves [T + 1, H]."""

    def step(carry: Any, x: jax.Array) -> tuple[Any, Any]:
        carry, _ = cell(params, carry, x)
        return carry, carry

    _, carries = jax.lax.scan(step, carry, xs)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), carry, carries)


def step_jacobian(cell: Cell, params: Any, carry: Any, x: jax.Array) -> jax.Array:
    """J[i, j] = ds'_i / ds_j of the step from `carry`, leaves [H], by x [D]: [N, N]."""
    state, to_carry = jax.flatten_util.ravel_pytree(carry)
    return jax.jacrev(lambda state: flat(cell(params, to_carry(state), x)[0]))(state)


def by_autodiff(
    cell: Cell, params: Any, xs: jax.Array, carry: Any, loss: Callable[[Any], jax.Array]
) -> jax.Array:
    """dL/ds_t at all lags, from one backward pass.

    Every state has a perturbation of zero added to it, and the loss is differentiated by these.

    Args:
      cell: one time step.
      params: its parameters.
      xs: inputs, [T, D].
      carry: before the first step, leaves [H].
      loss: from the last carry to a number.

    Returns:
      [T + 1, N], the lags increasing.
    """

    def perturbed_loss(perturbations: Any) -> jax.Array:
        def step(carry: Any, inputs: tuple[jax.Array, Any]) -> tuple[Any, None]:
            x, perturbation = inputs
            return cell(params, jax.tree.map(jnp.add, carry, perturbation), x)[0], None

        before = jax.tree.map(lambda p: p[:-1], perturbations)
        last, _ = jax.lax.scan(step, carry, (xs, before))
        return loss(jax.tree.map(lambda leaf, p: leaf + p[-1], last, perturbations))

    num_states = xs.shape[0] + 1
    zeros = jax.tree.map(lambda leaf: jnp.zeros((num_states, *leaf.shape)), carry)
    return jax.vmap(flat)(jax.grad(perturbed_loss)(zeros))[::-1]


def by_product(
    cell: Cell, params: Any, xs: jax.Array, carries: Any, cotangent: jax.Array
) -> Backwards:
    """dL/ds_t at all lags as a product of explicit Jacobians, and its bound.

    The Jacobians are made one after the other on the way back: all of them would take T N^2
    numbers.

    Args:
      cell: one time step.
      params: its parameters.
      xs: inputs, [T, D].
      carries: as `trajectory` returns them, leaves [T + 1, H].
      cotangent: dL/ds_T, [N].
    """

    def step(
        state: tuple[jax.Array, jax.Array, jax.Array], inputs: tuple[Any, jax.Array]
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        direction, log10_norm, log10_bound = state
        jacobian = step_jacobian(cell, params, *inputs)
        vector = jnp.vecdot(direction[:, None], jacobian, axis=0)  # v^T J
        log10_norm = log10_norm + log10_size(vector)
        log10_bound = log10_bound + log10_spectral_bound(jacobian)
        state = (unit(vector), log10_norm, log10_bound)
        return state, state

    before = jax.tree.map(lambda leaf: leaf[:-1], carries)
    first = (unit(cotangent), log10_size(cotangent), log10_size(cotangent))
    _, rest = jax.lax.scan(step, first, (before, xs), reverse=True)
    # A reversed scan stacks in the order of its inputs: the last of the rest is lag 1.
    directions, log10_norms, log10_bounds = jax.tree.map(
        lambda at_0, others: jnp.concatenate([at_0[None], others[::-1]]), first, rest
    )
    return Backwards(log10_norms, log10_bounds, directions)


def log10_spectral_bound(matrix: jax.Array) -> jax.Array:
    """log10 of the largest singular value of [N, N], from above by at most log10(N) / 1024.

    Of G = J^T J, whose largest eigenvalue is sigma^2, the trace of the power m = 512 is a sum that
    sigma^(2m) is part of and that N sigma^(2m) exceeds: products alone, where an SVD inside of a
    scan takes longer and, on several CPU devices at once, can wait for itself for ever (jaxlib
    0.10.2). -inf of zeros.
    """
    power = matrix.T @ matrix
    log10_scale = jnp.zeros(())  # G^m is 10^scale times `power`, whose greatest entry is 1
    for _ in range(_NUM_SQUARINGS):
        greatest = jnp.abs(power).max()
        power = power / jnp.where(greatest == 0, 1.0, greatest)
        log10_scale = 2 * (log10_scale + jnp.log10(greatest))
        power = power @ power
    # The trace of the square of a symmetric matrix is the sum of its squared entries.
    log10_trace = 2 * (log10_scale + log10_size(power.ravel()))
    return log10_trace / 2 ** (_NUM_SQUARINGS + 2)


def log10_size(vectors: jax.Array) -> jax.Array:
    """log10 of the Euclidean norm of [..., N] over the last axis; -inf of zeros.

    Squares nothing that is small or large: right for norms from 1e-38 to 1e38.
    """
    greatest = jnp.abs(vectors).max(-1)
    is_zero = greatest == 0
    divisor = jnp.where(is_zero, 1.0, greatest)
    scaled = jnp.linalg.norm(vectors / divisor[..., None], axis=-1)
    return jnp.where(is_zero, -jnp.inf, jnp.log10(divisor) + jnp.log10(scaled))


def unit(vector: jax.Array) -> jax.Array:
    """The vector [N] at length 1; zeros stay zeros."""
    greatest = jnp.abs(vector).max()
    scaled = vector / jnp.where(greatest == 0, 1.0, greatest)
    return scaled / jnp.where(greatest == 0, 1.0, jnp.linalg.norm(scaled))


def decades_per_100_steps(lags: np.ndarray, log10_norms: np.ndarray) -> np.ndarray:
    """The slope of log10 of the norm by lag, times 100: -2 is a hundredth every 100 steps.

    Args:
      lags: [L].
      log10_norms: [..., L]; a gradient that has become exactly zero, -inf, is left out.

    Returns:
      The slopes of the least-squares lines, [...]; NaN where fewer than two norms are finite.
    """
    is_known = np.isfinite(log10_norms)
    count = np.maximum(is_known.sum(-1, keepdims=True), 1)
    x = np.where(is_known, lags, 0.0)
    x = np.where(is_known, lags - x.sum(-1, keepdims=True) / count, 0.0)
    y = np.where(is_known, log10_norms, 0.0)
    squares = (x * x).sum(-1)
    return np.where(squares > 0, 100 * (x * y).sum(-1) / np.where(squares > 0, squares, 1), np.nan)
