"""The working directory of a run: one process at a time, one configuration, DONE at the end.

config.json   what the run was asked for     metrics.jsonl  its log
checkpoints/  where it can be continued      results.json, results.npz, figures/  what it found
DONE          written last
"""

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from dl_lectures.errors import UsageError
from dl_lectures.reporting.files import write_atomically


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Makes the directory and holds it for this process; the lock ends with the process.

    Raises:
        UsageError: another process holds it, or it cannot be made or written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("a+")
    except OSError as error:
        raise UsageError(
            f"cannot write in {workdir}: {error.strerror}; choose another --workdir"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UsageError(
                f"{workdir} is in use by process {file.read().strip() or '?'}; wait for it, or "
                "choose another --workdir"
            ) from error
        with contextlib.suppress(OSError):  # on a full disk the lock holds without its owner's name
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def settle_config(workdir: pathlib.Path, record: dict[str, Any], free: Collection[str]) -> None:
    """Writes config.json, or checks that the one there asks for the same.

    Args:
        workdir: the directory.
        record: {"experiment": name, "config": {flag: value}, "options": {flag: value}, ...}.
        free: flags that may differ from the stored ones.

    Raises:
        UsageError: other flags differ, or config.json is damaged.
    """
    path = workdir / "config.json"
    stored = _read(path)
    if stored is not None:
        before = {"experiment": stored["experiment"], **stored["options"], **stored["config"]}
        now = {"experiment": record["experiment"], **record["options"], **record["config"]}
        differing = [
            f"--{name} is {now.get(name)!r} now and was {before.get(name)!r}"
            for name in dict.fromkeys([*before, *now])
            if name not in free and before.get(name) != now.get(name)
        ]
        if differing:
            raise UsageError(
                f"{workdir} holds a run of another configuration: {'; '.join(differing)}; "
                "choose another --workdir"
            )
    if stored != record:
        text = json.dumps(record, ensure_ascii=False, indent=2)
        write_atomically(path, f"{text}\n".encode())


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
    """What `settle_config` wrote.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    stored = _read(workdir / "config.json")
    if stored is None:
        raise UsageError(f"no run in {workdir}; train there first, or give the --workdir of a run")
    return stored


def is_done(workdir: pathlib.Path, steps: int) -> bool:
    """Whether the directory holds the finished run of so many steps."""
    try:
        return (workdir / "DONE").read_text().strip() == str(steps)
    except OSError:
        return False


def mark_done(workdir: pathlib.Path, steps: int) -> None:
    """Writes DONE, the last file of a run."""
    write_atomically(workdir / "DONE", f"{steps}\n".encode())


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not {"experiment", "config", "options"} <= stored.keys():
            raise ValueError("it lacks entries")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"cannot read {path} ({error}); choose another --workdir") from error
    return stored
