"""Checkpoints that are either whole or not used: orbax writes them, a hash vouches for them.

Orbax makes a checkpoint appear at once or not at all, but returns a flipped byte of an array file
as data. So each checkpoint carries the SHA-256 of its arrays, and `restore` believes no other.
"""

import hashlib
import logging
import pathlib
import shutil
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from dl_lectures.errors import UsageError

_FORMAT = 1


class Restored(NamedTuple):
    """What a checkpoint held."""

    step: int
    tree: Any  # as the template, with NumPy arrays (typed keys as their data)
    notes: dict[str, Any]


def to_host(tree: Any) -> Any:
    """Copies a pytree to NumPy arrays of its own; typed keys become their data, uint32.

    It is a copy, never a view: on CPU the state's buffers are donated to the next chunk while the
    checkpoint is still being written. With several processes every one gets the whole tree.
    """

    def copy(x: jax.Array) -> np.ndarray:
        if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            x = multihost_utils.process_allgather(x, tiled=True)
        return np.array(x, copy=True)

    return jax.tree.map(copy, tree)


def from_host(tree: Any, template: Any) -> Any:
    """Inverse of `to_host`: lays arrays out as `template` (of `jax.ShapeDtypeStruct`) says."""

    def place(x: np.ndarray, like: jax.ShapeDtypeStruct) -> jax.Array:
        if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
            data = jax.device_put(x, like.sharding)
            return jax.jit(jax.random.wrap_key_data, out_shardings=like.sharding)(data)
        return jax.device_put(x, like.sharding)

    return jax.tree.map(place, tree, template)


def sha256(tree: Any) -> str:
    """Hash of a pytree of NumPy arrays: type, shape and bytes of each leaf, in tree order."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(f"{leaf.dtype.name}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one run; use it in a `with`, which waits for pending writes.

    Only process 0 touches the disk; the others receive what it read.
    """

    def __init__(self, directory: pathlib.Path, keep: int):
        """Opens `directory` and removes what an interrupted save left in it."""
        self.directory = directory.absolute()
        self._manager = None
        self._newest = None
        if jax.process_index() == 0:
            self._manager = _open_manager(self.directory, keep)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._manager is not None:
            try:
                self._manager.close()
            except Exception as error:
                if exception[0] is None:
                    raise _cannot_save(self.directory, error) from error

    @property
    def newest(self) -> int | None:
        """Step of the last checkpoint that was saved or restored here."""
        return self._newest

    def save(self, step: int, tree: Any, notes: dict[str, Any]) -> None:
        """Starts to write `tree` (NumPy arrays); waits for the write before it, if that still runs.

        Args:
          step: name of the checkpoint; one that exists is left as it is.
          tree: what `to_host` returned.
          notes: small JSON values that come back with `restore`.

        Raises:
          UsageError: this or the previous checkpoint could not be written.
        """
        self._newest = step
        if self._manager is None:
            return
        import orbax.checkpoint as ocp

        arrays = _named(tree)
        meta = {
            "format": _FORMAT,
            "sha256": sha256(tree),
            "structure": _structure(arrays),
            "notes": notes,
        }
        try:
            self._manager.wait_until_finished()
            if step not in self._manager.all_steps():
                self._manager.save(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(arrays), meta=ocp.args.JsonSave(meta)
                    ),
                )
        except Exception as error:  # orbax, tensorstore and the system each have their own
            raise _cannot_save(self.directory, error) from error

    def wait(self) -> None:
        """Returns when all that was saved is on disk."""
        if self._manager is not None:
            try:
                self._manager.wait_until_finished()
            except Exception as error:
                raise _cannot_save(self.directory, error) from error

    def restore(self, template: Any) -> Restored | None:
        """Returns the newest intact checkpoint, or None where there is none.

        A damaged one is named in a warning and moved to `damaged/` beside the directory.

        Args:
          template: pytree of `jax.ShapeDtypeStruct`, as the tree that was saved.

        Raises:
          UsageError: a checkpoint is intact but holds another structure.
        """
        restored = None
        if self._manager is not None:
            for step in sorted(self._manager.all_steps(), reverse=True):
                restored = self._read(step, template)
                if restored is not None:
                    break
                self._set_aside(step)
        if jax.process_count() > 1:
            restored = _from_process_0(restored, template)
        self._newest = restored.step if restored else None
        return restored

    def _read(self, step: int, template: Any) -> Restored | None:
        import orbax.checkpoint as ocp

        try:
            meta = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))
            meta = meta["meta"]
            claimed, structure, notes = meta["sha256"], meta["structure"], meta["notes"]
        except Exception as error:
            return _damaged(step, f"its description cannot be read: {_first_line(error)}")
        expected = _structure(_named(jax.tree.map(_abstract, template)))
        if structure != expected:
            raise UsageError(
                f"checkpoint {self.directory / str(step)} was written by another version of this "
                f"experiment ({_difference(structure, expected)}); use another --workdir"
            )
        try:
            arrays = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore())
            )["state"]
            leaves = [np.asarray(arrays[name]) for name in expected]
        except Exception as error:
            return _damaged(step, f"its arrays cannot be read: {_first_line(error)}")
        tree = jax.tree.unflatten(jax.tree.structure(template), leaves)
        if sha256(tree) != claimed:
            return _damaged(step, "its arrays are not those that were saved")
        return Restored(step, tree, notes)

    def _set_aside(self, step: int) -> None:
        target = self.directory.parent / "damaged" / str(step)
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(self.directory / str(step), target)
        self._manager.reload()


def _open_manager(directory: pathlib.Path, keep: int) -> Any:
    logging.getLogger("absl").setLevel(logging.ERROR)
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=False,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="process_0"
        )
        if jax.process_count() > 1
        else ocp.options.MultiprocessingOptions(),
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManager(
            directory,
            options=options,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(
                    multiprocessing_options=options.multiprocessing_options
                ),
                "meta": ocp.JsonCheckpointHandler(
                    multiprocessing_options=options.multiprocessing_options
                ),
            },
        )
    except OSError as error:
        raise _cannot_save(directory, error) from error


def _from_process_0(restored: Restored | None, template: Any) -> Restored | None:
    """Sends what process 0 read to all processes."""
    step = restored.step if restored else -1
    step = int(multihost_utils.broadcast_one_to_all(np.int32(step)))
    if step < 0:
        return None
    blank = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), jax.tree.map(_abstract, template))
    tree = multihost_utils.broadcast_one_to_all(restored.tree if restored else blank)
    return Restored(step, jax.tree.map(np.asarray, tree), restored.notes if restored else {})


def _abstract(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Shape and type that `to_host` gives a leaf."""
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(x.shape, x.dtype))
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _structure(arrays: dict[str, Any]) -> dict[str, list]:
    return {name: [list(x.shape), np.dtype(x.dtype).name] for name, x in arrays.items()}


def _difference(found: dict, expected: dict) -> str:
    for name in (*found, *expected):
        if found.get(name) != expected.get(name):
            return f"{name} is {found.get(name)} there and {expected.get(name)} now"
    return "no difference"


def _damaged(step: int, reason: str) -> None:
    warnings.warn(
        f"checkpoint {step} is damaged ({reason}); it is set aside and an older one is used",
        stacklevel=4,
    )


def _cannot_save(directory: pathlib.Path, error: Exception) -> UsageError:
    return UsageError(
        f"cannot write checkpoints in {directory}: {_first_line(error)}; those already there are "
        "intact, and the same command continues from them"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
