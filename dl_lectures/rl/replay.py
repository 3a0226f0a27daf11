"""Experience replay (Lin, 1992, doi:10.1007/BF00992699): a ring of transitions as a pytree.

All functions are pure and may be vmapped. One array per field keeps each field's type; packing a
transition into one float row, so that a sample is one gather, saved 1 % of a training step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.learner import Key


class Buffer(NamedTuple):
    """Rows cursor - size, ..., cursor - 1 (modulo capacity) hold data, the oldest first."""

    data: Any  # leaves [capacity, ...]
    cursor: jax.Array  # [] int32, the row to write next
    size: jax.Array  # [] int32, rows that hold data


def init(item: Any, capacity: int) -> Buffer:
    """Returns an empty buffer for items whose leaves have the shapes and types of `item`'s."""
    data = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), item)
    return Buffer(data, cursor=jnp.int32(0), size=jnp.int32(0))


def add(buffer: Buffer, items: Any) -> Buffer:
    """Writes M rows (leaves of `items` are [M, ...]), over the oldest when full; M <= capacity.

    Raises:
      ValueError: more items than rows, so that a row would be written twice in no order.
    """
    num_items = jax.tree.leaves(items)[0].shape[0]
    capacity = jax.tree.leaves(buffer.data)[0].shape[0]
    if num_items > capacity:
        raise ValueError(f"{num_items} items do not fit into a buffer of {capacity} rows.")
    rows = (buffer.cursor + jnp.arange(num_items)) % capacity
    data = jax.tree.map(lambda old, new: old.at[rows].set(new), buffer.data, items)
    size = jnp.minimum(buffer.size + num_items, capacity)
    return Buffer(data, (buffer.cursor + num_items) % capacity, size)


def sample(buffer: Buffer, key: Key, batch_size: int) -> Any:
    """Draws B of the written rows uniformly, with replacement. The key is consumed.

    The buffer must not be empty. Leaves of the result are [B, ...]. The remainder of 32 random bits
    prefers the low rows by a factor of at most 1 + size / 2^32; `jax.random.randint` removes that
    bias by three calls of the generator instead of one.
    """
    rows = jax.random.bits(key, (batch_size,)) % jnp.uint32(buffer.size)
    return jax.tree.map(lambda x: x[rows], buffer.data)
