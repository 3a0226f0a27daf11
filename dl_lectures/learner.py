"""The one contract: a learning problem as three pure functions.

An algorithm's module has `make(config, ...) -> Learner`; `dl_lectures.training.trainer` runs any
Learner without knowing which. This module imports nothing else of the project.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import PartitionSpec

Key = jax.Array  # a typed key, `jax.random.key`
State = Any  # a NamedTuple that holds everything the future depends on
Data = Any  # a pytree of arrays; travels as an argument, never as a closure
Metrics = dict[str, jax.Array]  # float32 scalars by name; units in the name where there are any


class Learner(NamedTuple):
    """A learning problem as pure functions: everything the trainer knows about any algorithm.

    `State` has the fields `key` (constant) and `t` (int32 []); step t draws from
    `fold_in(state.key, state.t)`, so that a run that was stopped, cut into other chunks or
    lengthened is the same run. The metrics of `step` have the entry "loss", which the trainer shows
    and whose first non-finite value ends the run.
    """

    init: Callable[[Key], State]  # the key is consumed
    step: Callable[[State, Data], tuple[State, Metrics]]  # one update; state types are fixed
    evaluate: Callable[[Key, State, Data], Metrics]  # on held-out data or fresh episodes


def shard_batch(batch: Any) -> Any:
    """Lays the leading axis of every leaf over the mesh axis `batch`; without a mesh, does nothing.

    A leaf whose leading axis the number of devices does not divide is left as it is.
    """
    mesh = jax.sharding.get_abstract_mesh()
    num_shards = dict(mesh.shape).get("batch", 1)
    if num_shards == 1:
        return batch

    def constrain(x: jax.Array) -> jax.Array:
        if x.ndim == 0 or x.shape[0] % num_shards:
            return x
        return jax.lax.with_sharding_constraint(x, PartitionSpec("batch"))

    return jax.tree.map(constrain, batch)
