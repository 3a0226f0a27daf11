"""SIGINT and SIGTERM as a question that a run asks between its chunks."""

import signal
from types import FrameType

import jax
import numpy as np
from jax.experimental import multihost_utils

from dl_lectures.errors import Stopped

_received: list[int] = []


def install() -> None:
    """From now on a first signal only asks the run to stop; a second one ends the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _note)


def received() -> bool:
    """Whether a signal has asked the run to stop."""
    return bool(_received)


def agree(is_late: bool) -> tuple[bool, bool]:
    """Whether any process was asked to stop, and whether process 0 finds a checkpoint due.

    All processes get the same answers; each must ask at the same place of its run.

    Args:
      is_late: whether this process finds a checkpoint due.
    """
    stop = received()
    if jax.process_count() == 1:
        return stop, is_late
    answers = multihost_utils.process_allgather(np.array([stop, is_late]))  # [P, 2]
    return bool(answers[:, 0].any()), bool(answers[0, 1])


def stop_if_received(workdir: str) -> None:
    """Ends a run that has nothing to save: between pieces of work that are kept when finished.

    All processes must ask at the same place.

    Args:
      workdir: of what is not finished.

    Raises:
      Stopped: a signal has come.
    """
    stop, _ = agree(is_late=False)
    if stop:
        raise Stopped(
            f"stopped before {workdir}; what is finished is kept, and the same command continues"
        )


def _note(number: int, frame: FrameType | None) -> None:
    del frame
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
