"""Long short-term memory.

Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735, with the forget gate of Gers et
al. (2000), doi:10.1162/089976600300015015:

    i, f, o = sigmoid(x W + h U + b)    g = tanh(x W + h U + b)    each with its own columns
    c' = f * c + i * g
    h' = o * tanh(c')

`recurrence` says what the functions of all cells have in common.
T: time steps, D: inputs, H: hidden units. Gates are stored in the order i, f, g, o.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.sequences import recurrence


class Params(NamedTuple):
    """Weights; each block of H columns is one gate, in the order i, f, g, o."""

    w_x: jax.Array  # [D, 4H] W, input to gates
    w_h: jax.Array  # [H, 4H] U, hidden state to gates
    b: jax.Array  # [4H]


class Carry(NamedTuple):
    """What one time step hands to the next."""

    h: jax.Array  # [..., H] what the cell says
    c: jax.Array  # [..., H] what the cell remembers


def init(key: jax.Array, num_inputs: int, num_hidden: int) -> Params:
    """Returns fresh parameters. The key is consumed."""
    key_x, key_h = jax.random.split(key)
    glorot = jax.nn.initializers.glorot_uniform()
    return Params(
        w_x=glorot(key_x, (num_inputs, 4 * num_hidden)),
        w_h=glorot(key_h, (num_hidden, 4 * num_hidden)),
        # A forget gate that starts open (Jozefowicz et al., 2015, Sec. 2.2).
        b=jnp.zeros(4 * num_hidden).at[num_hidden : 2 * num_hidden].set(1.0),
    )


Gate = Literal["i", "f", "o"]


def open_gate(params: Params, gate: Gate) -> Params:
    """The parameters of an LSTM that lacks a gate: it is 1 whatever happens.

    Without the forget gate this is the cell of 1997. No gradient reaches the weights of that gate.
    """
    num_hidden = params.w_h.shape[0]
    start = "ifgo".index(gate) * num_hidden
    columns = slice(start, start + num_hidden)
    return Params(
        w_x=params.w_x.at[:, columns].set(0.0),
        w_h=params.w_h.at[:, columns].set(0.0),
        b=params.b.at[columns].set(40.0),  # sigmoid(40) is 1 in float32
    )


def initial_carry(params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
    """A carry of zeros, [*batch_shape, H]."""
    zeros = jnp.zeros((*batch_shape, params.w_h.shape[0]))
    return Carry(h=zeros, c=zeros)


def cell(params: Params, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
    """One time step. `x` is [..., D]; the output, [..., H], is also the new `carry.h`."""
    z = recurrence.add_bias(x @ params.w_x + carry.h @ params.w_h, params.b)
    i, f, g, o = jnp.split(z, 4, axis=-1)
    c = jax.nn.sigmoid(f) * carry.c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return Carry(h, c), h


def project(params: Params, xs: jax.Array) -> jax.Array:
    """The input's share of the gates, x W + b: [..., 4H] of inputs [..., D], as one product."""
    return recurrence.add_bias(recurrence.product(xs, params.w_x), params.b)


def apply(params: Params, xs: jax.Array, carry: Carry | None = None) -> tuple[Carry, jax.Array]:
    """Maps inputs [T, ..., D] to the last carry and the hidden states [T, ..., H]."""
    if carry is None:
        carry = initial_carry(params, xs.shape[1:-1])
    if xs.shape[-1] > _FEW_INPUTS:
        # The bias is added inside the recurrence, where it costs no pass over memory.
        given = _Given(zs=recurrence.product(xs, params.w_x), b=params.b)
        return _unroll(params.w_h, given, carry)
    one = jnp.ones((*xs.shape[:-1], 1))
    weights = jnp.concatenate([params.w_h, params.w_x, params.b[None]])
    return _unroll(weights, _Given(xs=jnp.concatenate([xs, one], axis=-1)), carry)


def apply_projected(
    params: Params, projected_xs: jax.Array, carry: Carry | None = None
) -> tuple[Carry, jax.Array]:
    """As `apply`, of what `project` has made of the inputs, [T, ..., 4H]."""
    if carry is None:
        carry = initial_carry(params, projected_xs.shape[1:-1])
    return _unroll(params.w_h, _Given(zs=projected_xs, b=jnp.zeros_like(params.b)), carry)


# The recurrence and its gradient ----------------------------------------------------------------

# So few inputs are read together with the hidden state: their share of the gates has 4H numbers a
# step, and to write them down and read them again takes longer.
_FEW_INPUTS = 16


class _Given(NamedTuple):
    """What each step is given besides the carry: xs, or their share of the gates and a bias."""

    xs: jax.Array | None = None  # [T, ..., X] read with the hidden state
    zs: jax.Array | None = None  # [T, ..., 4H]
    b: jax.Array | None = None  # [4H]


def _gate_scale(num_hidden: int) -> jax.Array:
    """[4H]. sigmoid(z) = (1 + tanh(z / 2)) / 2, so that one tanh serves all four gates."""
    return jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5]), num_hidden)


def _activate(ys: jax.Array) -> tuple[jax.Array, ...]:
    """The gates i, f, g, o, each [..., H], of ys = tanh(scale * z), [..., 4H]."""
    y_i, y_f, y_g, y_o = jnp.split(ys, 4, axis=-1)
    return 0.5 * (1 + y_i), 0.5 * (1 + y_f), y_g, 0.5 * (1 + y_o)


class _Trace(NamedTuple):
    """What the backward recurrence needs of the forward one."""

    w: jax.Array  # [H + X, 4H]
    c_0: jax.Array  # [..., H] the initial memory
    ys: jax.Array  # [T, ..., 4H] tanh of the scaled gates, see `_activate`
    cs: jax.Array  # [T, ..., H]
    us: jax.Array  # [T, ..., H + X] what the weights saw: h_{t-1} and x_t


@jax.custom_vjp
def _unroll(w: jax.Array, given: _Given, carry: Carry) -> tuple[Carry, jax.Array]:
    """The recurrence; the rows of w [H + X, 4H] are for the hidden state and, if given, the xs."""
    return _unroll_fwd(w, given, carry)[0]


def _unroll_fwd(
    w: jax.Array, given: _Given, carry: Carry
) -> tuple[tuple[Carry, jax.Array], _Trace]:
    num_hidden = carry.h.shape[-1]
    scale = _gate_scale(num_hidden)
    w_scaled = jax.lax.optimization_barrier(w * scale[None])

    def step(
        carry: Carry, inputs: tuple[jax.Array | None, jax.Array | None]
    ) -> tuple[Carry, tuple[jax.Array, ...]]:
        x, z = inputs
        u = carry.h if x is None else jnp.concatenate([carry.h, x], axis=-1)
        z_scaled = u @ w_scaled
        if z is not None:
            z_given = recurrence.add_bias(z, given.b)
            z_scaled += z_given * jnp.expand_dims(scale, range(z.ndim - 1))
        # The barriers keep XLA from computing y, c and h again wherever they are read.
        y = jax.lax.optimization_barrier(jnp.tanh(z_scaled))
        i, f, g, o = _activate(y)
        c = jax.lax.optimization_barrier(f * carry.c + i * g)
        h = jax.lax.optimization_barrier(o * jnp.tanh(c))
        return Carry(h, c), (y, c, u)

    last, (ys, cs, us) = jax.lax.scan(step, carry, (given.xs, given.zs))
    hs = jnp.concatenate([us[1:, ..., :num_hidden], last.h[None]])
    return (last, hs), _Trace(w, carry.c, ys, cs, us)


def _unroll_bwd(
    trace: _Trace, cotangents: tuple[Carry, jax.Array]
) -> tuple[jax.Array, _Given, Carry]:
    d_last, d_hs = cotangents
    num_hidden = d_hs.shape[-1]
    i, f, g, o = _activate(trace.ys)
    tanh_cs = jax.lax.optimization_barrier(jnp.tanh(trace.cs))
    # What dh_t and dc_t are multiplied by, at all steps at once.
    factors = (
        o * (1 - tanh_cs**2),  # dc_t / dh_t
        f,  # dc_{t-1} / dc_t
        g * i * (1 - i),  # dz_i / dc_t
        recurrence.previous(trace.cs, trace.c_0) * f * (1 - f),  # dz_f / dc_t
        i * (1 - g**2),  # dz_g / dc_t
        tanh_cs * o * (1 - o),  # dz_o / dh_t
    )
    w_h_transposed = trace.w[:num_hidden].T
    factors, w_h_transposed = jax.lax.optimization_barrier((factors, w_h_transposed))

    def step(d_carry: Carry, inputs: tuple[jax.Array, ...]) -> tuple[Carry, jax.Array]:
        d_h_out, (c_of_h, c_of_c, i_of_c, f_of_c, g_of_c, o_of_h) = inputs
        d_h = d_carry.h + d_h_out
        d_c = d_carry.c + d_h * c_of_h
        d_z = jnp.concatenate([d_c * i_of_c, d_c * f_of_c, d_c * g_of_c, d_h * o_of_h], axis=-1)
        return Carry(d_z @ w_h_transposed, d_c * c_of_c), d_z

    d_carry, d_zs = jax.lax.scan(step, d_last, (d_hs, factors), reverse=True)
    if trace.w.shape[0] > num_hidden:
        d_given = _Given(xs=jnp.tensordot(d_zs, trace.w[num_hidden:].T, 1))
    else:
        d_given = _Given(zs=d_zs, b=d_zs.sum(tuple(range(d_zs.ndim - 1))))
    return recurrence.outer_sum(trace.us, d_zs), d_given, d_carry


_unroll.defvjp(_unroll_fwd, _unroll_bwd)
