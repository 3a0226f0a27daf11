"""Minimal long short-term memory, whose gates do not see the hidden state.

Feng et al. (2024), arXiv:2410.01201, Sec. 3.2, as it is written there before it moves to logarithms
(which keep h positive):

    f, i = sigmoid(x W + b)    n = x W + b    each with its own columns
    f' = f / (f + i)           i' = i / (f + i)
    h' = f' * h + i' * n

An LSTM without output gate, tanh and recurrent weights, so that the cell state is the hidden state;
that its two gates sum to 1 keeps the scale of h the same at all times. What is left in time is a
linear recurrence, `recurrence.linear`. Where we differ from the paper: weights start as those of
our other cells do, with biases of 0, that of the forget gate 1.

`recurrence` says what the functions of all cells have in common. `apply` and `apply_projected` take
the `form` of `recurrence.linear`, too.
T: time steps, D: inputs, H: hidden units. Gates are stored in the order f, i, n.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.sequences import recurrence


class Params(NamedTuple):
    """Weights; each block of H columns is one gate, in the order f, i, n."""

    w_x: jax.Array  # [D, 3H] W, input to gates
    b: jax.Array  # [3H]


class Carry(NamedTuple):
    """What one time step hands to the next."""

    h: jax.Array  # [..., H]


def init(key: jax.Array, num_inputs: int, num_hidden: int) -> Params:
    """Returns fresh parameters. The key is consumed."""
    glorot = jax.nn.initializers.glorot_uniform()
    return Params(
        w_x=glorot(key, (num_inputs, 3 * num_hidden)),
        # A forget gate that starts open, as in `lstm`; f' is 0.59 then.
        b=jnp.zeros(3 * num_hidden).at[:num_hidden].set(1.0),
    )


def initial_carry(params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
    """A carry of zeros, [*batch_shape, H]."""
    return Carry(h=jnp.zeros((*batch_shape, len(params.b) // 3)))


def cell(params: Params, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
    """One time step. `x` is [..., D]; the output, [..., H], is also the new `carry.h`."""
    f, i, n = gates(recurrence.add_bias(x @ params.w_x, params.b))
    h = f * carry.h + i * n
    return Carry(h), h


def gates(projected_xs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """f', i' (which sum to 1) and n, each [..., H], of what they are made of, [..., 3H]."""
    f, i, n = jnp.split(projected_xs, 3, axis=-1)
    # f' = f / (f + i) = sigmoid(log f - log i), which is no 0 / 0 where both gates are closed.
    difference = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
    return jax.nn.sigmoid(difference), jax.nn.sigmoid(-difference), n


def project(params: Params, xs: jax.Array) -> jax.Array:
    """What the gates are made of, x W + b: [..., 3H] of inputs [..., D], as one product."""
    return recurrence.add_bias(recurrence.product(xs, params.w_x), params.b)


def apply(
    params: Params,
    xs: jax.Array,
    carry: Carry | None = None,
    form: recurrence.Form | None = None,
) -> tuple[Carry, jax.Array]:
    """Maps inputs [T, ..., D] to the last carry and the hidden states [T, ..., H]."""
    return apply_projected(params, project(params, xs), carry, form)


def apply_projected(
    params: Params,
    projected_xs: jax.Array,
    carry: Carry | None = None,
    form: recurrence.Form | None = None,
) -> tuple[Carry, jax.Array]:
    """As `apply`, of what `project` has made of the inputs, [T, ..., 3H]."""
    if carry is None:
        carry = initial_carry(params, projected_xs.shape[1:-1])
    f, i, n = gates(projected_xs)
    hs = recurrence.linear(f, i * n, carry.h, form)
    return Carry(hs[-1]), hs
