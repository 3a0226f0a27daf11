"""The simple recurrent net of Elman (1990), doi:10.1207/s15516709cog1402_1, with tanh.

    h' = tanh(x W + h U + b)

`irnn` is the same net with ReLU and another start. `recurrence` says what the functions of all
cells have in common.
T: time steps, D: inputs, H: hidden units.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.sequences import recurrence


class Params(NamedTuple):
    """Weights."""

    w_x: jax.Array  # [D, H] W, input to hidden state
    w_h: jax.Array  # [H, H] U, hidden state to hidden state
    b: jax.Array  # [H]


class Carry(NamedTuple):
    """What one time step hands to the next."""

    h: jax.Array  # [..., H]


def init(key: jax.Array, num_inputs: int, num_hidden: int) -> Params:
    """Returns fresh parameters. The key is consumed."""
    key_x, key_h = jax.random.split(key)
    glorot = jax.nn.initializers.glorot_uniform()
    return Params(
        w_x=glorot(key_x, (num_inputs, num_hidden)),
        w_h=glorot(key_h, (num_hidden, num_hidden)),
        b=jnp.zeros(num_hidden),
    )


def initial_carry(params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
    """A carry of zeros, [*batch_shape, H]."""
    return Carry(h=jnp.zeros((*batch_shape, params.w_h.shape[0])))


def cell(params: Params, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
    """One time step. `x` is [..., D]; the output, [..., H], is also the new `carry.h`."""
    h = jnp.tanh(recurrence.add_bias(x @ params.w_x + carry.h @ params.w_h, params.b))
    return Carry(h), h


def project(params: Params, xs: jax.Array) -> jax.Array:
    """The input's share, x W + b: [..., H] of inputs [..., D], as one product."""
    return recurrence.add_bias(recurrence.product(xs, params.w_x), params.b)


def apply(params: Params, xs: jax.Array, carry: Carry | None = None) -> tuple[Carry, jax.Array]:
    """Maps inputs [T, ..., D] to the last carry and the hidden states [T, ..., H]."""
    if carry is None:
        carry = initial_carry(params, xs.shape[1:-1])
    # The bias is added inside the recurrence, where it costs no pass over memory.
    return unroll("tanh", params.w_h, params.b, recurrence.product(xs, params.w_x), carry)


def apply_projected(
    params: Params, projected_xs: jax.Array, carry: Carry | None = None
) -> tuple[Carry, jax.Array]:
    """As `apply`, of what `project` has made of the inputs, [T, ..., H]."""
    if carry is None:
        carry = initial_carry(params, projected_xs.shape[1:-1])
    return unroll("tanh", params.w_h, jnp.zeros_like(params.b), projected_xs, carry)


Activation = Literal["tanh", "relu"]


class _Trace(NamedTuple):
    """What the backward recurrence needs of the forward one."""

    w_h: jax.Array  # [H, H]
    carry: Carry  # the initial carry
    hs: jax.Array  # [T, ..., H]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def unroll(
    activation: Activation, w_h: jax.Array, b: jax.Array, zs: jax.Array, carry: Carry
) -> tuple[Carry, jax.Array]:
    """h' = activation(z + b + h U) over the input's share without its bias, zs [T, ..., H]."""
    return _unroll_fwd(activation, w_h, b, zs, carry)[0]


def _unroll_fwd(
    activation: Activation, w_h: jax.Array, b: jax.Array, zs: jax.Array, carry: Carry
) -> tuple[tuple[Carry, jax.Array], _Trace]:
    function = {"tanh": jnp.tanh, "relu": jax.nn.relu}[activation]

    def step(carry: Carry, z: jax.Array) -> tuple[Carry, jax.Array]:
        h = function(recurrence.add_bias(z, b) + carry.h @ w_h)
        h = jax.lax.optimization_barrier(h)  # or XLA computes it once for each reader
        return Carry(h), h

    last, hs = jax.lax.scan(step, carry, zs)
    return (last, hs), _Trace(w_h, carry, hs)


def _unroll_bwd(
    activation: Activation, trace: _Trace, cotangents: tuple[Carry, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array, Carry]:
    d_last, d_hs = cotangents
    # Both derivatives can be read off the activation's output.
    derivative = {"tanh": lambda h: 1 - h**2, "relu": lambda h: (h > 0).astype(h.dtype)}[activation]
    w_h_transposed = jax.lax.optimization_barrier(trace.w_h.T)

    def step(d_carry: Carry, inputs: tuple[jax.Array, ...]) -> tuple[Carry, jax.Array]:
        d_h_out, h = inputs
        d_z = jax.lax.optimization_barrier((d_carry.h + d_h_out) * derivative(h))
        return Carry(d_z @ w_h_transposed), d_z

    d_carry, d_zs = jax.lax.scan(step, d_last, (d_hs, trace.hs), reverse=True)
    d_w_h = recurrence.outer_sum(recurrence.previous(trace.hs, trace.carry.h), d_zs)
    d_b = d_zs.sum(tuple(range(d_zs.ndim - 1)))
    return d_w_h, d_b, d_zs, d_carry


unroll.defvjp(_unroll_fwd, _unroll_bwd)
