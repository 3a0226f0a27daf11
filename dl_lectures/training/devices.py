"""Devices: the backend, one XLA device per CPU core, several processes, and the mesh of a run."""

import math
import os
import pathlib
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dl_lectures.errors import UsageError
from dl_lectures.training.options import Options


def configure(options: Options) -> None:
    """Chooses the backend, its devices and the compile cache; joins the other processes, if any.

    Must come before the first array. On CPU the default is one XLA device per core, since XLA:CPU
    spreads single operations badly over cores; several processes on CPU take one device each.

    Raises:
      UsageError: no such platform, or fewer devices than asked for.
    """
    jax.config.update("jax_compilation_cache_dir", str(compile_cache()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if options.platform:
        jax.config.update("jax_platforms", options.platform)
    several = bool(options.coordinator_address) or options.num_processes > 1
    num_cpu_devices = options.num_devices or (1 if several else len(os.sched_getaffinity(0)))
    jax.config.update("jax_num_cpu_devices", num_cpu_devices)
    if several:
        try:
            jax.distributed.initialize(
                coordinator_address=options.coordinator_address or None,
                num_processes=options.num_processes or None,
                process_id=None if options.process_id < 0 else options.process_id,
            )
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                "could not join the other processes: give each --coordinator_address, "
                f"--num_processes and its own --process_id ({_first_line(error)})"
            ) from error
    try:
        found = jax.local_device_count()
    except (RuntimeError, AssertionError) as error:  # an unknown platform asserts in jax 0.10
        raise UsageError(
            f"no devices for --platform={options.platform}: is jax installed for it? The README "
            f"says how ({_first_line(error)})"
        ) from error
    if options.num_devices > found:
        raise UsageError(
            f"--num_devices={options.num_devices}, but this process has {found} "
            f"({jax.default_backend()})"
        )


def memory() -> int:
    """Bytes that this process's arrays can have: what its devices hold, on CPU what the machine."""
    found = [device.memory_stats() for device in jax.local_devices()]
    if all(found):
        return sum(stats["bytes_limit"] for stats in found)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def num_bytes(tree: Any) -> int:
    """The size of arrays or their shapes, keys included."""

    def of_leaf(leaf: Any) -> int:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        return leaf.size * leaf.dtype.itemsize

    return sum(map(of_leaf, jax.tree.leaves(tree)))


def compile_cache() -> pathlib.Path:
    """Where compiled programs are kept: $JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    if named := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return pathlib.Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "dl_lectures" / "xla"


def make_mesh(num_seeds: int, num_devices: int = 0, shard_batch: bool = True) -> Mesh:
    """Returns a mesh with the axes `seed` and `batch` over the devices of all processes.

    Seeds are spread first: the axis `seed` is the greatest number of devices that divides both the
    seeds and the devices, and what is left is the axis `batch`. With `shard_batch=False` that rest
    stays idle, for work that is too small to be split.

    Args:
      num_seeds: seeds that train side by side.
      num_devices: devices used of each process; 0 for all.
      shard_batch: whether the steps of the learner split their batches.
    """
    per_process = num_devices or jax.local_device_count()
    devices = []
    for process in range(jax.process_count()):
        devices += [d for d in jax.devices() if d.process_index == process][:per_process]
    seed_axis = math.gcd(num_seeds, len(devices))
    if not shard_batch and jax.process_count() == 1:
        devices = devices[:seed_axis]
    return jax.make_mesh(
        (seed_axis, len(devices) // seed_axis),
        ("seed", "batch"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def over_seeds(mesh: Mesh) -> NamedSharding:
    """Leading axis of every leaf: one entry a seed."""
    return NamedSharding(mesh, PartitionSpec("seed"))


def everywhere(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def on_host(tree: Any) -> Any:
    """Copies arrays that lie `everywhere` to NumPy arrays, in every process."""
    return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), tree)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
