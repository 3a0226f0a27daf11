"""Cohorts of runs, spread over devices: what simulations share.

A cohort is a number of runs that a device plays side by side. Its luck comes from the key of its
seed and its own number, so that it is the same wherever, and beside whatever, it is played.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, PartitionSpec

from dl_lectures.bandits.rewards import Bandit

# (game, key of the seed, number of the cohort, argument of all) -> leaves
Play = Callable[[Any, jax.Array, jax.Array, Any], Any]


def all_devices() -> Mesh:
    """Returns a mesh of all devices of all processes."""
    return jax.make_mesh((jax.device_count(),), ("run",), axis_types=(AxisType.Auto,))


@functools.cache
def program(mesh: Mesh, play: Play) -> Callable[..., Any]:
    """Returns the program that plays on each device its cohorts, one after the other.

    It takes games (stacked, [V, ...]), keys [S], then for each item, [I], the numbers of its game,
    seed and cohort, and an argument of all. I is a multiple of the number of devices. `gather`
    makes NumPy arrays of what it returns, leaves [I, ...].
    """

    def on_one_device(games, keys, values, seeds, cohorts, argument):
        def one(item):
            value, seed, cohort = item
            game = jax.tree.map(lambda leaf: leaf[value], games)
            return play(game, keys[seed], cohort, argument)

        items = (values, seeds, cohorts)
        if len(values) == 1:  # a loop would take longer to compile
            played = one(jax.tree.map(lambda leaf: leaf[0], items))
            return jax.tree.map(lambda leaf: leaf[None], played)
        return jax.lax.map(one, items)

    over_devices, everywhere = PartitionSpec(mesh.axis_names), PartitionSpec()
    on_all = jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(everywhere, everywhere, *[over_devices] * 3, everywhere),
        out_specs=over_devices,
        check_vma=False,
    )
    return jax.jit(on_all)


def gather(tree: Any) -> Any:
    """Copies leaves that lie over the devices to NumPy arrays, in every process.

    On the host: devices do not end together, and a collective of XLA:CPU aborts the process when
    one has to wait for 40 s.
    """

    def one(leaf: jax.Array) -> np.ndarray:
        if not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(one, tree)


def padded(items: list[tuple[int, int, int]], mesh: Mesh) -> np.ndarray:
    """Returns items as int32 [3, I], the last repeated until all devices have as many."""
    missing = -len(items) % mesh.size
    return np.array(items + items[-1:] * missing, np.int32).T


def number(leaf: Any) -> np.ndarray:
    """Returns a hyper-parameter as an array of the type that programs are compiled for."""
    values = np.asarray(leaf)
    return values.astype(np.int32 if values.dtype.kind in "iu" else np.float32)


def count_arms(bandit: Bandit) -> int:
    """Returns the number of a bandit's arms."""

    def means() -> jax.Array:
        key_machines, key_luck = jax.random.split(jax.random.key(0))
        luck = jax.tree.map(lambda x: x[0], bandit.draw(key_luck, 1, 1))
        return bandit.means(bandit.init(key_machines, 1), luck)

    return jax.eval_shape(means).shape[0]
