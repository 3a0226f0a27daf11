"""The identity-initialised ReLU net (IRNN) of Le, Jaitly & Hinton (2015), arXiv:1504.00941.

    h' = max(0, x W + h U + b),  at the start U = I and b = 0

`recurrence` says what the functions of all cells have in common.
T: time steps, D: inputs, H: hidden units.
"""

import jax
import jax.numpy as jnp

from dl_lectures.sequences import recurrence, rnn
from dl_lectures.sequences.rnn import Carry, Params, initial_carry, project

__all__ = [
    "Carry",
    "Params",
    "apply",
    "apply_projected",
    "cell",
    "init",
    "initial_carry",
    "project",
]


def init(key: jax.Array, num_inputs: int, num_hidden: int) -> Params:
    """Returns fresh parameters. The key is consumed."""
    return Params(
        # "Gaussian distribution with mean of zero and standard deviation of 0.001" (Sec. 4).
        w_x=0.001 * jax.random.normal(key, (num_inputs, num_hidden)),
        w_h=jnp.eye(num_hidden),
        b=jnp.zeros(num_hidden),
    )


def cell(params: Params, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
    """One time step. `x` is [..., D]; the output, [..., H], is also the new `carry.h`."""
    h = jax.nn.relu(recurrence.add_bias(x @ params.w_x + carry.h @ params.w_h, params.b))
    return Carry(h), h


def apply(params: Params, xs: jax.Array, carry: Carry | None = None) -> tuple[Carry, jax.Array]:
    """Maps inputs [T, ..., D] to the last carry and the hidden states [T, ..., H]."""
    if carry is None:
        carry = initial_carry(params, xs.shape[1:-1])
    return rnn.unroll("relu", params.w_h, params.b, recurrence.product(xs, params.w_x), carry)


def apply_projected(
    params: Params, projected_xs: jax.Array, carry: Carry | None = None
) -> tuple[Carry, jax.Array]:
    """As `apply`, of what `project` has made of the inputs, [T, ..., H]."""
    if carry is None:
        carry = initial_carry(params, projected_xs.shape[1:-1])
    return rnn.unroll("relu", params.w_h, jnp.zeros_like(params.b), projected_xs, carry)
