"""SIGINT and SIGTERM as a question that the trainer asks between chunks."""

import signal
from types import FrameType

_received: list[int] = []


def install() -> None:
    """From now on a first signal only asks the run to stop; a second one ends the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _note)


def received() -> bool:
    """Whether a signal has asked the run to stop."""
    return bool(_received)


def _note(number: int, frame: FrameType | None) -> None:
    del frame
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
