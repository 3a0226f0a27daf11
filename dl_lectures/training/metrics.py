"""Where logged values go: metrics.jsonl, TensorBoard, and a progress bar or plain lines."""

import json
import math
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np

from dl_lectures.errors import UsageError

_SECONDS_BETWEEN_LINES = 5.0


class JsonLines:
    """metrics.jsonl: one object a logged step and seed, {"step", "seed", name: value, ...}.

    Opened at a step, it forgets every later row and a half-written last one, so that a run which
    continues from that step leaves neither gap nor repeat.
    """

    def __init__(self, path: pathlib.Path, step: int):
        """Opens the file and keeps its rows up to and including `step`."""
        self._path = path
        try:
            self._file = path.open("a+b")
            self._file.truncate(_end_of(path, step))
        except OSError as error:
            raise self._cannot_write(error) from error

    def write(self, step: int, seeds: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Appends a row for every seed; `values` are [S] by name."""
        rows = []
        for i, seed in enumerate(seeds):
            row = {"step": step, "seed": int(seed)}
            for name, value in values.items():
                x = float(value[i])
                row[name] = x if math.isfinite(x) else None
            rows.append(json.dumps(row) + "\n")
        try:
            self._file.write("".join(rows).encode())
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from error

    def sync(self) -> None:
        """Returns when the rows are on disk: a checkpoint may not be newer than they are."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Closes the file."""
        try:
            self._file.close()
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> UsageError:
        return UsageError(
            f"cannot write {self._path}: {error.strerror}; what was written before is intact, and "
            "the same command continues from it"
        )


def _end_of(path: pathlib.Path, step: int) -> int:
    """Returns the length in bytes of the rows up to `step`."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError):
                break
            end += len(line)
    return end


class TensorBoard:
    """Event files below `directory`, one point a logged step: the mean over seeds."""

    def __init__(self, directory: pathlib.Path, step: int):
        """Opens the event files; points after `step` are purged."""
        try:
            import tensorboardX
        except ImportError as error:
            raise UsageError(
                "--tensorboard needs an extra: pip install -e '.[tensorboard]'"
            ) from error
        self._writer = tensorboardX.SummaryWriter(str(directory), purge_step=step + 1)

    def write(self, step: int, seeds: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Adds one point for every name."""
        del seeds
        for name, value in values.items():
            self._writer.add_scalar(name, float(np.mean(value)), step)

    def sync(self) -> None:
        """Writes what is buffered."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()


class Log:
    """All writers as one; use it in a `with`."""

    def __init__(self, writers: list[JsonLines | TensorBoard]):
        """Writes to all of `writers`; to none in processes other than the first."""
        self._writers = writers

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception: Any) -> None:
        for writer in self._writers:
            writer.close()

    def write(self, step: int, seeds: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Writes the `values`, [S] by name, of a step."""
        for writer in self._writers:
            writer.write(step, seeds, values)

    def sync(self) -> None:
        """Returns when everything is on disk."""
        for writer in self._writers:
            writer.sync()


def open_log(workdir: pathlib.Path, step: int, tensorboard: bool, is_primary: bool) -> Log:
    """Opens the log of a run that goes on at `step`."""
    if not is_primary:
        return Log([])
    writers = [JsonLines(workdir / "metrics.jsonl", step)]
    if tensorboard:
        writers.append(TensorBoard(workdir / "tensorboard", step))
    return Log(writers)


class Progress:
    """A bar on a terminal, plain lines elsewhere; the estimate of the time left knows no compiling.

    Use it in a `with`.
    """

    def __init__(self, steps: int, first_step: int, silent: bool = False, unit: str = "step"):
        """Shows nothing yet. A silent one never does."""
        self._steps, self._first = steps, first_step
        self._silent, self._unit = silent, unit
        self._bar = None
        self._seconds: float | None = None  # of training, up to step `first`
        self._last_line = 0.0

    def __enter__(self) -> "Progress":
        if not self._silent and sys.stdout.isatty():
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[text]}"),
            )
            self._task = self._bar.add_task(
                "train", total=self._steps, completed=self._first, text=""
            )
            self._bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Shows what is going on between steps, such as compiling."""
        if self._bar is not None:
            self._bar.update(self._task, text=text)
        elif not self._silent:
            print(text, flush=True)

    def update(self, step: int, seconds: float, words: str = "") -> None:
        """Shows the step just done; `seconds` is the time spent on steps in all."""
        if self._seconds is None:  # the first chunk warms up
            self._first, self._seconds = step, seconds
            return
        rate = (step - self._first) / max(seconds - self._seconds, 1e-9)
        left = time.strftime("%H:%M:%S", time.gmtime((self._steps - step) / max(rate, 1e-9)))
        text = "  ".join(filter(None, [words, f"{rate:.3g} {self._unit}s/s", f"{left} left"]))
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=text)
        elif not self._silent:
            now = time.monotonic()
            if step == self._steps or now - self._last_line >= _SECONDS_BETWEEN_LINES:
                self._last_line = now
                print(f"{self._unit} {step}/{self._steps}  {text}", flush=True)
