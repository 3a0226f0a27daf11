"""Long work that is a fold over blocks: a progress bar, checkpoints, signals, exact continuation.

For work that trains nothing, such as the simulation of many runs: each block adds to a tally, and
what was folded before an interruption is not computed again.
"""

import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from dl_lectures.errors import Stopped
from dl_lectures.training import checkpoint, metrics, signals
from dl_lectures.training.options import Options
from dl_lectures.training.trainer import is_primary

Tally = Any  # a pytree of NumPy arrays whose elements have 4 or 8 bytes


class Folded(NamedTuple):
    """A finished fold."""

    tally: Tally
    seconds: dict[str, float]  # compile (the first block of each start), simulate; sums


def fold(
    step: Callable[[int, Tally], Tally], tally: Tally, num_blocks: int, options: Options, name: str
) -> Folded:
    """Folds all blocks, or those that an earlier call left over.

    Its checkpoints, below `options.workdir`/checkpoints/NAME, are written after every
    `options.checkpoint_seconds` and when a signal comes; blocks are no steps of `options`.

    Args:
      step: (number of the block, tally of those before it) -> tally; may change it in place.
      tally: of no block.
      num_blocks: how many there are.
      options: where, how often.
      name: of this fold; another one for blocks of another shape.

    Raises:
      Stopped: a signal came; a checkpoint was written.
      UsageError: nothing can be written, or a checkpoint does not fit.
    """
    directory = pathlib.Path(options.workdir) / "checkpoints" / name
    seconds = {"compile": 0.0, "simulate": 0.0}
    done = 0
    with checkpoint.Checkpoints(directory, options.keep_checkpoints) as checkpoints:
        template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), _words(tally))
        restored = checkpoints.restore(template)
        if restored is not None:
            tally = jax.tree.map(lambda x, like: x.copy().view(like.dtype), restored.tree, tally)
            done = restored.step
            seconds |= restored.notes["seconds"]
            if is_primary():
                print(f"continuing at block {done} of {num_blocks}", flush=True)
        last_save = time.monotonic()
        with metrics.Progress(num_blocks, done, silent=not is_primary(), unit="block") as progress:
            progress.say("compiling")
            clock = "compile"
            for block in range(done, num_blocks):
                begin = time.perf_counter()
                tally = step(block, tally)
                seconds[clock] += time.perf_counter() - begin
                clock = "simulate"
                progress.update(block + 1, sum(seconds.values()))
                if block + 1 == num_blocks:  # who asked for the fold keeps what was found
                    break
                is_late = 0 < options.checkpoint_seconds < time.monotonic() - last_save
                stop, is_late = signals.agree(is_late)
                if stop or is_late:
                    checkpoints.save(block + 1, _words(tally), {"seconds": seconds})
                    last_save = time.monotonic()
                if stop:
                    checkpoints.wait()
                    raise Stopped(
                        f"stopped after block {block + 1} of {num_blocks}; its checkpoint is in "
                        f"{options.workdir}, and the same command continues from it"
                    )
    return Folded(tally, {name: round(value, 3) for name, value in seconds.items()})


def _words(tally: Tally) -> Tally:
    """A copy as words of 32 bits: jax, which may have to send it, has no numbers of 64."""
    return jax.tree.map(lambda x: np.array(x, copy=True).view(np.uint32), tally)
