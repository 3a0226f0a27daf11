"""What the recurrent cells share: the plain recurrence, products over time, rows for tokens.

Every cell's module (`rnn`, `irnn`, `gru`, `lstm`) offers the same functions:

    init(key, num_inputs, num_hidden) -> Params
    initial_carry(params, batch_shape=()) -> Carry
    cell(params, carry, x) -> (carry, h)                          the definition: one time step
    project(params, xs) -> projected_xs                           the input's share of the gates
    apply_projected(params, projected_xs, carry=None) -> (carry, hs)
    apply(params, xs, carry=None) -> (carry, hs)                  apply_projected of project

`scan(cell, params, xs, carry)` defines what `apply` returns. `apply` computes it in another order,
with gradients written out by hand (reverse mode only; `scan` has forward mode, too):

- the input's share of the gates at all time steps is one product before the recurrence;
- the derivatives of all gates are taken at all steps at once before the backward recurrence, which
  then carries only what backpropagation through time must carry, with one product a step;
- the gradient of the recurrent weights is one product over all steps after it.

Arrays are time-major, xs [T, ..., D], hs [T, ..., H] and the leaves of a carry [..., H], with any
batch axes between: a scan walks the leading axis, and the batch of one step then lies together in
memory. One sequence is [T, D].

T: time steps (at least 1), D: inputs, H: hidden units, G: gate columns (H, 3H or 4H), V: symbols.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def scan(cell: Callable[..., Any], params: Any, xs: jax.Array, carry: Any) -> tuple[Any, jax.Array]:
    """The recurrence as it is written: `cell` at every step of xs [T, ..., D].

    Returns:
      The last carry and the hidden states, [T, ..., H].
    """
    return jax.lax.scan(functools.partial(cell, params), carry, xs)


def add_bias(xs: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds `bias` [G] to the last axis of xs [..., G]."""
    return xs + jnp.expand_dims(bias, range(xs.ndim - 1))


def previous(states: jax.Array, initial: jax.Array) -> jax.Array:
    """The states [T, ..., H] one step earlier; `initial` [..., H] comes first."""
    return jnp.concatenate([initial[None], states[:-1]])


def outer_sum(xs: jax.Array, ys: jax.Array) -> jax.Array:
    """Sums x y^T over time and batch: [T, ..., M] and [T, ..., N] to [M, N], as one product."""
    summed = tuple(range(xs.ndim - 1))
    return jax.lax.dot_general(xs, ys, ((summed, summed), ((), ())))


@jax.custom_vjp
def product(xs: jax.Array, w: jax.Array) -> jax.Array:
    """`xs @ w` for inputs [T, ..., D] and weights [D, G]."""
    return jnp.tensordot(xs, w, 1)


def _product_fwd(xs: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return product(xs, w), (xs, w)


def _product_bwd(
    residuals: tuple[jax.Array, jax.Array], d_ys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    xs, w = residuals
    # Autodiff would take the sum over time as d_ys^T xs and so transpose the G columns of d_ys in
    # memory and then the result; xs has D columns only.
    return jnp.tensordot(d_ys, w.T, 1), outer_sum(xs, d_ys)


product.defvjp(_product_fwd, _product_bwd)


def lookup(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Rows of `table` [V, G] at `ids`, int32 [...] in [0, V); returns [..., G].

    A gather, whose gradient is a scatter: on CPU both are faster than a one-hot product for every V
    that was measured (96 to 3,300).
    """
    # An id out of range would otherwise give NaN, at the price of one more pass over the result.
    return jnp.take(table, ids, axis=0, mode="clip")
