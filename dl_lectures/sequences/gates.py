"""What an LSTM's gates do, and how long its cells remember.

A cell's memory c' = f * c + i * g is multiplied by the forget gate at every step, so what it holds
decays like the product of its f: with half-life ln 2 / -mean(ln f) time steps. That leaves out the
way round: the memory also speaks, h = o * tanh(c), and what is said moves all gates one step later.
`impulse_response` measures the whole.

T: time steps, D: inputs, H: cells, N: times of an impulse, K: time steps after it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dl_lectures.sequences import lstm


class Trace(NamedTuple):
    """All that happens in an LSTM while it reads."""

    i: jax.Array  # [T, H] input gate
    f: jax.Array  # [T, H] forget gate
    g: jax.Array  # [T, H] what may be stored
    o: jax.Array  # [T, H] output gate
    c: jax.Array  # [T, H] memory after the step
    h: jax.Array  # [T, H] what is said after it


def trace(params: lstm.Params, xs: jax.Array, carry: lstm.Carry | None = None) -> Trace:
    """Reads xs [T, D] and writes everything down."""
    if carry is None:
        carry = lstm.initial_carry(params)

    def step(carry: lstm.Carry, x: jax.Array) -> tuple[lstm.Carry, Trace]:
        z_i, z_f, z_g, z_o = jnp.split(x @ params.w_x + carry.h @ params.w_h + params.b, 4)
        i, f, o = (jax.nn.sigmoid(z) for z in (z_i, z_f, z_o))
        g = jnp.tanh(z_g)
        after, h = lstm.cell(params, carry, x)
        return after, Trace(i, f, g, o, after.c, h)

    return jax.lax.scan(step, carry, xs)[1]


def half_lives(f: ArrayLike) -> np.ndarray:
    """Time steps in which a memory halves by its forget gate, float64 [H], of gates [T, H]."""
    log_f = np.log(np.maximum(np.asarray(f, np.float64), 1e-30))
    # A gate that is wholly open keeps everything: infinitely long.
    with np.errstate(divide="ignore"):
        return np.log(2) / np.abs(log_f.mean(0))


def forgetting_curves(f: jax.Array, times: jax.Array, num_steps: int) -> jax.Array:
    """What the forget gates alone leave of a memory, [N, K + 1, H]: 1 at first.

    Args:
        f: forget gates, [T, H].
        times: int32 [N], when the memory is as it is; times + K < T.
        num_steps: K.
    """

    def of_one(time: jax.Array) -> jax.Array:
        gates = jax.lax.dynamic_slice_in_dim(f, time + 1, num_steps)
        return jnp.concatenate([jnp.ones((1, f.shape[1])), jnp.cumprod(gates, axis=0)])

    return jax.vmap(of_one)(times)


def impulse_responses(
    params: lstm.Params, xs: jax.Array, times: jax.Array, num_steps: int, size: float = 0.01
) -> jax.Array:
    """What is left of an impulse in each cell's own memory, [N, K + 1, H]: 1 at first.

    Each memory alone is raised by `size` after the step at `times`, and the net reads on.

    Args:
        params: of the LSTM.
        xs: what it reads, [T, D].
        times: int32 [N]; times + K < T.
        num_steps: K.
        size: of the impulse; small, that the answer be proportional to it.
    """
    num_hidden = params.w_h.shape[0]
    read = trace(params, xs)
    unit = size * jnp.eye(num_hidden)

    def of_one(time: jax.Array) -> jax.Array:
        inputs = jax.lax.dynamic_slice_in_dim(xs, time + 1, num_steps)
        c, o = read.c[time], read.o[time]

        def memories(impulse: jax.Array) -> jax.Array:
            # What is said at once is said by the raised memory.
            start = lstm.Carry(h=o * jnp.tanh(c + impulse), c=c + impulse)
            return jnp.concatenate([start.c[None], trace(params, inputs, start).c])

        undisturbed = memories(jnp.zeros_like(c))
        disturbed = jax.vmap(memories)(unit)  # [H, K + 1, H]
        own = jnp.diagonal(disturbed, axis1=0, axis2=2)  # [K + 1, H]
        return (own - undisturbed) / size

    return jax.vmap(of_one)(times)


def time_to_half(curves: ArrayLike) -> np.ndarray:
    """When curves [K + 1, H] that begin at 1 first reach one half, float64 [H]; at most K.

    Between time steps the logarithm is taken as straight, as it is in a decay.
    """
    curves = np.asarray(curves, np.float64)
    is_below = curves <= 0.5
    after = np.where(is_below.any(0), is_below.argmax(0), len(curves) - 1)
    before = np.maximum(after - 1, 0)
    columns = np.arange(curves.shape[1])
    high, low = np.log(np.maximum(curves[[before, after], columns], 1e-30))
    inside = (high + np.log(2)) / np.maximum(high - low, 1e-12)
    return np.where(is_below.any(0), before + np.clip(inside, 0.0, 1.0), float(len(curves) - 1))
