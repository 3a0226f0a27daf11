"""Gated recurrent unit.

Cho et al. (2014), arXiv:1406.1078, with the reset gate after the product, as cuDNN, PyTorch and
linen have it (Chung et al., 2014, arXiv:1412.3555, apply it before):

    r = sigmoid(x W_r + b_r + h U_r)
    z = sigmoid(x W_z + b_z + h U_z)
    n = tanh(x W_n + b_n + r * (h U_n + c_n))
    h' = (1 - z) * n + z * h

`recurrence` says what the functions of all cells have in common.
T: time steps, D: inputs, H: hidden units. Gates are stored in the order r, z, n.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.sequences import recurrence


class Params(NamedTuple):
    """Weights; each block of H columns is one gate, in the order r, z, n."""

    w_x: jax.Array  # [D, 3H] W, input to gates
    w_h: jax.Array  # [H, 3H] U, hidden state to gates
    b: jax.Array  # [3H]
    c_n: jax.Array  # [H] the bias inside the reset gate's product


class Carry(NamedTuple):
    """What one time step hands to the next."""

    h: jax.Array  # [..., H]


def init(key: jax.Array, num_inputs: int, num_hidden: int) -> Params:
    """Returns fresh parameters. The key is consumed."""
    key_x, key_h = jax.random.split(key)
    glorot = jax.nn.initializers.glorot_uniform()
    return Params(
        w_x=glorot(key_x, (num_inputs, 3 * num_hidden)),
        w_h=glorot(key_h, (num_hidden, 3 * num_hidden)),
        b=jnp.zeros(3 * num_hidden),
        c_n=jnp.zeros(num_hidden),
    )


def initial_carry(params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
    """A carry of zeros, [*batch_shape, H]."""
    return Carry(h=jnp.zeros((*batch_shape, params.w_h.shape[0])))


def cell(params: Params, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
    """One time step. `x` is [..., D]; the output, [..., H], is also the new `carry.h`."""
    x_r, x_z, x_n = jnp.split(recurrence.add_bias(x @ params.w_x, params.b), 3, axis=-1)
    h_r, h_z, h_n = jnp.split(carry.h @ params.w_h, 3, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * recurrence.add_bias(h_n, params.c_n))
    h = (1 - z) * n + z * carry.h
    return Carry(h), h


def project(params: Params, xs: jax.Array) -> jax.Array:
    """The input's share of the gates, x W + b: [..., 3H] of inputs [..., D], as one product."""
    return recurrence.add_bias(recurrence.product(xs, params.w_x), params.b)


def apply(params: Params, xs: jax.Array, carry: Carry | None = None) -> tuple[Carry, jax.Array]:
    """Maps inputs [T, ..., D] to the last carry and the hidden states [T, ..., H]."""
    if carry is None:
        carry = initial_carry(params, xs.shape[1:-1])
    # The bias is added inside the recurrence, where it costs no pass over memory.
    projected_xs = recurrence.product(xs, params.w_x)
    return _unroll(params.w_h, params.b, params.c_n, projected_xs, carry)


def apply_projected(
    params: Params, projected_xs: jax.Array, carry: Carry | None = None
) -> tuple[Carry, jax.Array]:
    """As `apply`, of what `project` has made of the inputs, [T, ..., 3H]."""
    if carry is None:
        carry = initial_carry(params, projected_xs.shape[1:-1])
    return _unroll(params.w_h, jnp.zeros_like(params.b), params.c_n, projected_xs, carry)


class _Trace(NamedTuple):
    """What the backward recurrence needs of the forward one."""

    w_h: jax.Array  # [H, 3H]
    carry: Carry  # the initial carry
    ys: jax.Array  # [T, ..., 2H] tanh of half the gates r and z, see `_gates`
    ns: jax.Array  # [T, ..., H] n
    ms: jax.Array  # [T, ..., H] h U_n + c_n
    hs: jax.Array  # [T, ..., H]


@jax.custom_vjp
def _unroll(
    w_h: jax.Array, b: jax.Array, c_n: jax.Array, zs: jax.Array, carry: Carry
) -> tuple[Carry, jax.Array]:
    """The recurrence over the input's share of the gates without its bias, zs [T, ..., 3H]."""
    return _unroll_fwd(w_h, b, c_n, zs, carry)[0]


def _gates(ys: jax.Array) -> tuple[jax.Array, ...]:
    """The gates r and z of ys = tanh(x / 2), since sigmoid(x) = (1 + tanh(x / 2)) / 2."""
    y_r, y_z = jnp.split(ys, 2, axis=-1)
    return 0.5 * (1 + y_r), 0.5 * (1 + y_z)


def _unroll_fwd(
    w_h: jax.Array, b: jax.Array, c_n: jax.Array, zs: jax.Array, carry: Carry
) -> tuple[tuple[Carry, jax.Array], _Trace]:
    num_hidden = w_h.shape[0]

    def step(carry: Carry, z: jax.Array) -> tuple[Carry, tuple[jax.Array, ...]]:
        z_rz, z_n = jnp.split(recurrence.add_bias(z, b), [2 * num_hidden], axis=-1)
        h_rz, h_n = jnp.split(carry.h @ w_h, [2 * num_hidden], axis=-1)
        # The barriers keep XLA from computing y, n and h again wherever they are read.
        y = jax.lax.optimization_barrier(jnp.tanh(0.5 * (z_rz + h_rz)))
        r, z = _gates(y)
        m = recurrence.add_bias(h_n, c_n)
        n = jax.lax.optimization_barrier(jnp.tanh(z_n + r * m))
        h = jax.lax.optimization_barrier(n + z * (carry.h - n))
        return Carry(h), (y, n, m, h)

    last, (ys, ns, ms, hs) = jax.lax.scan(step, carry, zs)
    return (last, hs), _Trace(w_h, carry, ys, ns, ms, hs)


def _unroll_bwd(
    trace: _Trace, cotangents: tuple[Carry, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, Carry]:
    d_last, d_hs = cotangents
    r, z = _gates(trace.ys)
    hs_tm1 = recurrence.previous(trace.hs, trace.carry.h)
    # What dh_t is multiplied by, at all steps at once.
    n_of_h = (1 - z) * (1 - trace.ns**2)  # d(argument of n) / dh_t
    factors = (
        z,  # dh_{t-1} / dh_t past the gates
        n_of_h * trace.ms * r * (1 - r),  # d(argument of r) / dh_t
        (hs_tm1 - trace.ns) * z * (1 - z),  # d(argument of z) / dh_t
        n_of_h * r,  # d(h U_n + c_n) / dh_t
    )
    factors, w_h_transposed = jax.lax.optimization_barrier((factors, trace.w_h.T))

    def step(d_carry: Carry, inputs: tuple[jax.Array, ...]) -> tuple[Carry, jax.Array]:
        d_h_out, (h_of_h, r_of_h, z_of_h, m_of_h) = inputs
        d_h = d_carry.h + d_h_out
        d_gates = jnp.concatenate([d_h * r_of_h, d_h * z_of_h, d_h * m_of_h], axis=-1)
        return Carry(d_h * h_of_h + d_gates @ w_h_transposed), (d_h, d_gates)

    d_carry, (d_hs, d_gates) = jax.lax.scan(step, d_last, (d_hs, factors), reverse=True)
    d_rz, d_m = jnp.split(d_gates, [2 * trace.w_h.shape[0]], axis=-1)
    d_zs = jnp.concatenate([d_rz, d_hs * n_of_h], axis=-1)
    time_and_batch = tuple(range(d_zs.ndim - 1))
    d_w_h = recurrence.outer_sum(hs_tm1, d_gates)
    return d_w_h, d_zs.sum(time_and_batch), d_m.sum(time_and_batch), d_zs, d_carry


_unroll.defvjp(_unroll_fwd, _unroll_bwd)
