"""What the recurrent cells share: the plain recurrence, products over time, rows for tokens.

Every cell's module (`rnn`, `irnn`, `gru`, `lstm`, `min_gru`, `min_lstm`) offers the same functions:

    init(key, num_inputs, num_hidden) -> Params
    initial_carry(params, batch_shape=()) -> Carry
    cell(params, carry, x) -> (carry, h)                          the definition: one time step
    project(params, xs) -> projected_xs                           the input's share of the gates
    apply_projected(params, projected_xs, carry=None) -> (carry, hs)
    apply(params, xs, carry=None) -> (carry, hs)                  apply_projected of project

`scan(cell, params, xs, carry)` defines what `apply` returns. `apply` computes it in another order,
with gradients written out by hand (reverse mode only; `scan` has forward mode, too):

- the input's share of the gates at all time steps is one product before the recurrence (an LSTM
  reads few inputs together with its hidden state, which takes less time);
- the derivatives of all gates are taken at all steps at once before the backward recurrence, which
  then carries only what backpropagation through time must carry, with one product a step;
- the gradient of the recurrent weights is one product over all steps after it.

The gates of `min_gru` and `min_lstm` do not see the hidden state, so that only `linear` is left in
time, which need not be computed one step after the other.

Arrays are time-major, xs [T, ..., D], hs [T, ..., H] and the leaves of a carry [..., H], with any
batch axes between: a scan walks the leading axis, and the batch of one step then lies together in
memory. One sequence is [T, D].

T: time steps (at least 1), D: inputs, H: hidden units, G: gate columns (H to 4H), V: symbols.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

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


# Linear recurrences -----------------------------------------------------------------------------

Form = Literal["sequential", "parallel"]


def linear(a: jax.Array, b: jax.Array, initial: jax.Array, form: Form | None = None) -> jax.Array:
    """The linear recurrence h_t = a_t * h_{t-1} + b_t, elementwise, from h_0 = `initial`.

    The parallel form is a prefix "sum" (Blelloch, 1990, CMU-CS-90-190; for recurrent nets Martin &
    Cundy, 2018, arXiv:1709.04057): more work in fewer dependent steps, see `depth`. On two CPU
    cores it took two to three and a half times as long as the sequential form, forward and
    gradient, at every T from 64 to 8,192. Reverse mode only.

    Args:
      a: [T, ..., H] what the state is multiplied by.
      b: [T, ..., H] what is then added to it.
      initial: [..., H].
      form: how it is computed; None: sequential on CPU, parallel on every other device.

    Returns:
      h_1 to h_T, [T, ..., H].
    """
    return _linear(form, a, b, initial)


def depth(num_steps: int, form: Form) -> int:
    """The longest chain of multiply-adds in `linear` of which each needs the one before it.

    So many steps remain however many processors there are; the gradient takes about as many again.
    In sequence they are T, in parallel 2 log2(T) - 1 for T = 4, 8, 16, ...
    """
    if form == "sequential":
        return num_steps
    # The log2 T levels up and down again of `jax.lax.associative_scan`: one step more wherever
    # T + 1 reaches 2^k or 3 * 2^k.
    return (num_steps + 1).bit_length() - 1 + ((num_steps + 1) // 3).bit_length()


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _linear(form: Form | None, a: jax.Array, b: jax.Array, initial: jax.Array) -> jax.Array:
    return _linear_fwd(form, a, b, initial)[0]


def _linear_fwd(
    form: Form | None, a: jax.Array, b: jax.Array, initial: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    hs = _in_form(form, _sequential, _parallel, a, b, initial)
    return hs, (a, hs, initial)


def _linear_bwd(
    form: Form | None, residuals: tuple[jax.Array, ...], d_hs: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    a, hs, initial = residuals
    # What the loss gains by h_t, directly and through all later steps, is a linear recurrence, too,
    # backwards in time: g_t = dh_t + a_{t+1} g_{t+1}.
    gs = _in_form(form, _sequential_adjoint, _parallel_adjoint, a, d_hs)
    return gs * previous(hs, initial), gs, a[0] * gs[0]


_linear.defvjp(_linear_fwd, _linear_bwd)


def _in_form(
    form: Form | None,
    sequential: Callable[..., jax.Array],
    parallel: Callable[..., jax.Array],
    *args: jax.Array,
) -> jax.Array:
    if form is None:  # settled when the program is lowered: only one of them is compiled
        return jax.lax.platform_dependent(*args, cpu=sequential, default=parallel)
    return {"sequential": sequential, "parallel": parallel}[form](*args)


def _sequential(a: jax.Array, b: jax.Array, initial: jax.Array) -> jax.Array:
    def step(h: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        h = inputs[0] * h + inputs[1]
        return h, h

    return jax.lax.scan(step, initial, (a, b))[1]


def _sequential_adjoint(a: jax.Array, d_hs: jax.Array) -> jax.Array:
    def step(ag: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        g = inputs[1] + ag
        # What is carried is a_t g_t, because a shifted in time would cost a copy.
        return inputs[0] * g, g

    return jax.lax.scan(step, jnp.zeros_like(a[0]), (a, d_hs), reverse=True)[1]


def _compose(
    first: tuple[jax.Array, jax.Array], second: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The map h -> a h + b, as (a, b), that does the first and then the second; associative."""
    return first[0] * second[0], second[0] * first[1] + second[1]


def _parallel(a: jax.Array, b: jax.Array, initial: jax.Array) -> jax.Array:
    b = jnp.concatenate([(a[0] * initial + b[0])[None], b[1:]])
    return jax.lax.associative_scan(_compose, (a, b))[1]


def _parallel_adjoint(a: jax.Array, d_hs: jax.Array) -> jax.Array:
    a_tp1 = jnp.concatenate([a[1:], a[:1]])  # the last is multiplied by nothing
    return jax.lax.associative_scan(_compose, (a_tp1, d_hs), reverse=True)[1]
