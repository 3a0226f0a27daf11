"""Arrays over arms and runs: what rewards and policies share.

K: arms, N: runs side by side. Arms lead and runs trail, [K, N], so that the loops over a few arms
are outside and those over many runs are vector instructions.
"""

import jax
import jax.numpy as jnp


def one_hot(arms: jax.Array, num_arms: int) -> jax.Array:
    """Marks each run's arm.

    Args:
      arms: int32 [N].
      num_arms: K.

    Returns:
      bool [K, N].
    """
    return jnp.arange(num_arms, dtype=jnp.int32)[:, None] == arms[None]


def of_arm(values: jax.Array, arms: jax.Array) -> jax.Array:
    """Returns each run's value of its arm, [N].

    A masked sum: on CPU ten lanes of it are faster than one gathered load.

    Args:
      values: [K, N], or [K, 1] where all runs have the same.
      arms: int32 [N].
    """
    return jnp.where(one_hot(arms, values.shape[0]), values, jnp.zeros_like(values)).sum(0)


def first_best(values: jax.Array) -> jax.Array:
    """Returns the arm of the greatest value, the first of several, int32 [N].

    `jnp.argmax` reduces values and indices together, which XLA does not vectorise on CPU.

    Args:
      values: [K, N]; a run with a NaN among them gets the last arm.
    """
    num_arms = values.shape[0]
    indices = jnp.arange(num_arms, dtype=jnp.int32)[:, None]
    tied = values == values.max(0)[None]
    return jnp.where(tied, indices, num_arms - 1).min(0)


def random_best(values: jax.Array, uniforms: jax.Array) -> jax.Array:
    """Returns the arm of the greatest value, ties broken evenly at random, int32 [N].

    Args:
      values: [K, N]; a run with a NaN among them gets the first arm.
      uniforms: [N], in [0, 1); decide between ties.
    """
    tied = values == values.max(0)[None]
    num_tied = tied.sum(0, dtype=jnp.int32)
    place = jnp.minimum((uniforms * num_tied).astype(jnp.int32), num_tied - 1)
    passed = jnp.cumsum(tied, 0, dtype=jnp.int32) <= place[None]
    return jnp.minimum(passed.sum(0, dtype=jnp.int32), values.shape[0] - 1)


def uniform_arm(uniforms: jax.Array, num_arms: int) -> jax.Array:
    """Returns an even choice among all arms, int32 [N], from `uniforms`, [N] in [0, 1)."""
    return jnp.minimum((uniforms * num_arms).astype(jnp.int32), num_arms - 1)


def sampled_arm(probabilities: jax.Array, uniforms: jax.Array) -> jax.Array:
    """Returns an arm drawn from each run's law, int32 [N].

    Args:
      probabilities: [K, N], sums 1 up to rounding.
      uniforms: [N], in [0, 1).
    """
    passed = jnp.cumsum(probabilities, 0) <= uniforms[None]
    return jnp.minimum(passed.sum(0, dtype=jnp.int32), probabilities.shape[0] - 1)
