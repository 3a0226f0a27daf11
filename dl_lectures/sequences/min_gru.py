"""Minimal gated recurrent unit, whose gates do not see the hidden state.

Feng et al. (2024), arXiv:2410.01201, Sec. 3.1, as it is written there before it moves to logarithms
(which keep h positive):

    z = sigmoid(x W_z + b_z)
    n = x W_n + b_n
    h' = (1 - z) * h + z * n

A GRU without reset gate, tanh and recurrent weights. What is left in time is a linear recurrence,
`recurrence.linear`, which a parallel machine computes in far fewer dependent steps than T. Where we
differ from the paper: weights start as those of our other cells do, with biases of 0.

`recurrence` says what the functions of all cells have in common. `apply` and `apply_projected` take
the `form` of `recurrence.linear`, too.
T: time steps, D: inputs, H: hidden units. Gates are stored in the order z, n.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.sequences import recurrence


class Params(NamedTuple):
    """Weights; each block of H columns is one gate, in the order z, n."""

    w_x: jax.Array  # [D, 2H] W, input to gates
    b: jax.Array  # [2H]


class Carry(NamedTuple):
    """What one time step hands to the next."""

    h: jax.Array  # [..., H]


def init(key: jax.Array, num_inputs: int, num_hidden: int) -> Params:
    """Returns fresh parameters. The key is consumed."""
    glorot = jax.nn.initializers.glorot_uniform()
    return Params(
        w_x=glorot(key, (num_inputs, 2 * num_hidden)),
        b=jnp.zeros(2 * num_hidden),
    )


def initial_carry(params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
    """A carry of zeros, [*batch_shape, H]."""
    return Carry(h=jnp.zeros((*batch_shape, len(params.b) // 2)))


def cell(params: Params, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
    """One time step. `x` is [..., D]; the output, [..., H], is also the new `carry.h`."""
    z, n = gates(recurrence.add_bias(x @ params.w_x, params.b))
    h = (1 - z) * carry.h + z * n
    return Carry(h), h


def gates(projected_xs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z and n, each [..., H], of what they are made of, [..., 2H]."""
    z, n = jnp.split(projected_xs, 2, axis=-1)
    return jax.nn.sigmoid(z), n


def project(params: Params, xs: jax.Array) -> jax.Array:
    """What the gates are made of, x W + b: [..., 2H] of inputs [..., D], as one product."""
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
    """As `apply`, of what `project` has made of the inputs, [T, ..., 2H]."""
    if carry is None:
        carry = initial_carry(params, projected_xs.shape[1:-1])
    z, n = gates(projected_xs)
    hs = recurrence.linear(1 - z, z * n, carry.h, form)
    return Carry(hs[-1]), hs
