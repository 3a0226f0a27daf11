"""Backpropagation through time at three prices: whole, rematerialised, truncated.

`step(params, carry, inputs) -> (carry, loss)` is one time step of a net with its loss. All three
return the mean loss of T steps and its gradient by the parameters:

    whole            keeps what the backward pass needs of all T steps: memory grows like T
    rematerialised   keeps T / K carries, and computes K steps again when their gradient is due:
                     the same gradient, memory like T / K + K, least at K = sqrt(T) (Chen et al.,
                     2016, arXiv:1604.06174, section 4.1), for one more forward pass
    truncated        stops the gradient between chunks of K steps and so can forget each chunk:
                     memory does not grow with T, but what lies before a chunk gets no blame

Truncation is by chunks that do not overlap, as in most language models; the paper that named it,
Williams & Peng (1990), doi:10.1162/neco.1990.2.4.490, has them overlap (its h' is our K and its h
may be more).

Inputs are pytrees of arrays [T, ...]; K must divide T.
T: time steps, K: steps of a chunk.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Step = Callable[[Any, Any, Any], tuple[Any, jax.Array]]  # params, carry, inputs -> carry, loss []


def whole(step: Step, params: Any, inputs: Any, carry: Any) -> tuple[jax.Array, Any]:
    """The mean loss and its gradient, by reverse mode through the scan as it is written."""

    def loss_fn(params: Any) -> jax.Array:
        return _sum_of_losses(step, params, carry, inputs)[0]

    return _mean(jax.value_and_grad(loss_fn)(params), inputs)


def rematerialised(
    step: Step, params: Any, inputs: Any, carry: Any, chunk_length: int | None = None
) -> tuple[jax.Array, Any]:
    """What `whole` returns, with the inside of chunks computed twice.

    Args:
      step: one time step.
      params: its parameters.
      inputs: leaves [T, ...].
      carry: before the first step.
      chunk_length: K; by default the divisor of T that is nearest to its square root.

    Raises:
      ValueError: K does not divide T.
    """
    length = num_steps(inputs)
    chunks = _chunks(inputs, chunk_length or nearest_divisor(length))

    def loss_fn(params: Any) -> jax.Array:
        # Inside of a scan nothing can be merged with its copy, which is what prevent_cse is for.
        one = jax.checkpoint(functools.partial(_sum_of_losses, step), prevent_cse=False)

        def body(carry: Any, chunk: Any) -> tuple[Any, jax.Array]:
            loss, carry = one(params, carry, chunk)
            return carry, loss

        _, losses = jax.lax.scan(body, carry, chunks)
        return losses.sum()

    return _mean(jax.value_and_grad(loss_fn)(params), inputs)


def truncated(
    step: Step, params: Any, inputs: Any, carry: Any, chunk_length: int
) -> tuple[jax.Array, Any]:
    """The mean loss, and the sum of the gradients of chunks that take their first carry as given.

    Args:
      step: one time step.
      params: its parameters.
      inputs: leaves [T, ...].
      carry: before the first step.
      chunk_length: K; more than T is T.

    Raises:
      ValueError: K does not divide T.
    """
    of_chunk = jax.value_and_grad(functools.partial(_sum_of_losses, step), has_aux=True)

    def body(state: tuple[Any, Any], chunk: Any) -> tuple[tuple[Any, Any], None]:
        carry, so_far = state
        (loss, carry), grads = of_chunk(params, carry, chunk)
        return (carry, jax.tree.map(jnp.add, so_far, (loss, grads))), None

    nothing = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    chunks = _chunks(inputs, min(chunk_length, num_steps(inputs)))
    (_, total), _ = jax.lax.scan(body, (carry, nothing), chunks)
    return _mean(total, inputs)


def num_steps(inputs: Any) -> int:
    """T."""
    return jax.tree.leaves(inputs)[0].shape[0]


def nearest_divisor(length: int) -> int:
    """The divisor of `length` whose logarithm is nearest to that of its square root."""
    return max(k for k in range(1, math.isqrt(length) + 1) if length % k == 0)


def _sum_of_losses(step: Step, params: Any, carry: Any, inputs: Any) -> tuple[jax.Array, Any]:
    carry, losses = jax.lax.scan(functools.partial(step, params), carry, inputs)
    return losses.sum(), carry


def _chunks(inputs: Any, chunk_length: int) -> Any:
    """Leaves [T, ...] as [T / K, K, ...]."""
    length = num_steps(inputs)
    if chunk_length < 1 or length % chunk_length:
        raise ValueError(f"chunks of {chunk_length} steps do not divide {length} steps")
    return jax.tree.map(lambda x: x.reshape(-1, chunk_length, *x.shape[1:]), inputs)


def _mean(total: tuple[jax.Array, Any], inputs: Any) -> tuple[jax.Array, Any]:
    return jax.tree.map(lambda x: x / num_steps(inputs), total)
