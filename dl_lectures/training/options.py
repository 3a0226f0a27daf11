"""How to run, apart from what to run: the options that every experiment shares."""

import dataclasses
from typing import Annotated

from dl_lectures.errors import UsageError

# What may differ when a working directory is continued: none of it changes what is computed, save
# that another number of devices rounds differently.
FREE_TO_CHANGE = frozenset(
    {
        "workdir",
        "steps",
        "checkpoint_every",
        "checkpoint_seconds",
        "keep_checkpoints",
        "platform",
        "num_devices",
        "coordinator_address",
        "num_processes",
        "process_id",
        "tensorboard",
    }
)


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a run. Counts of steps are updates of one seed."""

    workdir: Annotated[str, "directory of this run; the same command again continues it"]
    preset: Annotated[str, "set of defaults; smoke, quick and full differ in cost"] = "quick"
    seed: Annotated[int, "first seed; the run trains seeds seed, seed + 1, ..."] = 0
    num_seeds: Annotated[int, "independent runs, vmapped"] = 1
    steps: Annotated[int, "updates; may be raised later in the same workdir"] = 1000
    log_every: Annotated[int, "steps between lines of metrics.jsonl, which hold means"] = 100
    eval_every: Annotated[int, "steps between evaluations"] = 500
    checkpoint_every: Annotated[int, "steps between checkpoints"] = 500
    checkpoint_seconds: Annotated[float, "also after so many seconds; 0: never"] = 300.0
    keep_checkpoints: Annotated[int, "checkpoints kept, the newest"] = 3
    platform: Annotated[str, "cpu, cuda, tpu; empty: the best there is"] = ""
    num_devices: Annotated[int, "devices of this process to use; 0: all (CPU: one per core)"] = 0
    coordinator_address: Annotated[str, "host:port of process 0 when there are several"] = ""
    num_processes: Annotated[
        int, "processes that train together; 0: one, or as the cluster says"
    ] = 0
    process_id: Annotated[int, "number of this process; -1: as the cluster says"] = -1
    tensorboard: Annotated[bool, "also write event files; needs the extra [tensorboard]"] = False

    def __post_init__(self):
        for name in ("num_seeds", "steps", "log_every", "eval_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1, not {getattr(self, name)}")
        for name in ("checkpoint_seconds", "num_devices", "num_processes"):
            if getattr(self, name) < 0:
                raise UsageError(f"--{name} must not be negative, not {getattr(self, name)}")
        if self.keep_checkpoints < 1:
            raise UsageError("--keep_checkpoints must be at least 1: a stopped run needs one")
        if not 0 <= self.seed < 2**31 - self.num_seeds:
            raise UsageError(f"--seed must lie in 0 ... 2^31 - num_seeds, not {self.seed}")
        if not self.workdir:
            raise UsageError("--workdir must name a directory")
