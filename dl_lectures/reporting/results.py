"""What a run found, on disk: results.json, results.npz, and the curves of metrics.jsonl."""

import dataclasses
import importlib.metadata
import io
import json
import math
import os
import pathlib
import platform
import subprocess
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

import dl_lectures
from dl_lectures import errors
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.files import write_atomically
from dl_lectures.reporting.intervals import Metric, summarise

# What reading a damaged file can raise.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, EOFError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True)
class Results:
    """All that the claims, the figure and the report of an experiment are made from.

    `write` puts `arrays` into results.npz and the other fields into results.json.
    """

    experiment: str  # the module's name below `experiments`
    slides: tuple[int, ...]
    preset: str
    seed: int  # the first of the seeds `seed, ..., seed + num_seeds - 1`
    num_seeds: int  # S
    steps: int  # the step of the final state
    seconds: dict[str, float]  # "compile", "train", "evaluate"
    metrics: dict[str, Metric]  # at the final step
    claims: tuple[Claim, ...] = ()
    state_sha256: str = ""  # over the leaves of the final state, all seeds
    versions: dict[str, str | None] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)  # JSON: baselines, samples
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def per_seed(self, metric: str) -> np.ndarray:
        """A metric's values, float64 [S], seeds in increasing order."""
        return np.array(self.metrics[metric].per_seed, np.float64)

    def write(self, workdir: os.PathLike | str) -> None:
        """Writes results.npz, then results.json; each is whole or absent.

        Numbers that are not finite become null, so that any JSON reader takes the file.

        Raises:
            UsageError: the disk is full or the directory cannot be written.
        """
        workdir = pathlib.Path(workdir)
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **self.arrays)
        write_atomically(workdir / "results.npz", stream.getvalue())
        document = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del document["arrays"]
        text = json.dumps(_jsonable(document), ensure_ascii=False, allow_nan=False, indent=2)
        write_atomically(workdir / "results.json", f"{text}\n".encode())

    @classmethod
    def read(cls, workdir: os.PathLike | str) -> "Results":
        """Reads what `write` wrote.

        Raises:
            UsageError: there are no results in `workdir`, or they are damaged.
        """
        path = pathlib.Path(workdir) / "results.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            stream = io.BytesIO(path.with_suffix(".npz").read_bytes())
            with np.load(stream, allow_pickle=False) as archive:
                document["arrays"] = dict(archive)
            document["slides"] = tuple(document["slides"])
            document["metrics"] = {k: _metric(**v) for k, v in document["metrics"].items()}
            document["claims"] = tuple(_claim(**claim) for claim in document["claims"])
            return cls(**document)
        except FileNotFoundError as error:
            raise errors.UsageError(
                f"No {pathlib.Path(error.filename).name} in {workdir}: run the experiment first."
            ) from error
        except _DAMAGE as error:
            raise errors.UsageError(
                f"Cannot read the results in {workdir} ({error}): "
                "delete results.json and DONE there and run the experiment again."
            ) from error


def make(
    experiment: str,
    slides: tuple[int, ...],
    options: Any,
    trained: Any,
    metrics: Mapping[str, ArrayLike],
    extra: Mapping[str, Any] | None = None,
    arrays: Mapping[str, ArrayLike] | None = None,
) -> Results:
    """Results of a trained run.

    Args:
        experiment: the module's name below `experiments`.
        slides: the lecture's slides that the experiment makes run.
        options: has `preset`, `seed` and `num_seeds`.
        trained: has `step`, `seconds` and `state_sha256`.
        metrics: name to one value a seed, [S].
        extra: anything JSON can hold.
        arrays: what the figure needs.

    Raises:
        ValueError: a metric is not finite, or has another shape than [S].
    """
    summaries = {}
    for name, per_seed in metrics.items():
        if np.shape(per_seed) != (options.num_seeds,):
            raise ValueError(
                f"The metric {name} has the shape {np.shape(per_seed)}, "
                f"but there are {options.num_seeds} seeds."
            )
        try:
            summaries[name] = summarise(per_seed)
        except ValueError as error:
            raise ValueError(f"The metric {name}: {error}") from error
    return Results(
        experiment=experiment,
        slides=tuple(slides),
        preset=options.preset,
        seed=options.seed,
        num_seeds=options.num_seeds,
        steps=int(trained.step),
        seconds=dict(trained.seconds),
        metrics=summaries,
        state_sha256=trained.state_sha256,
        versions=versions(),
        extra=dict(extra or {}),
        arrays={name: np.asarray(value) for name, value in (arrays or {}).items()},
    )


def versions() -> dict[str, str | None]:
    """What the numbers depend on beside the flags: software, commit and kind of device.

    `git_commit` ends in "-dirty" where tracked files were changed, and is None outside a clone.
    Asking for the device starts JAX's backend, so call this after the flags have been applied.
    """
    import jax  # files can be read without it

    return {
        "python": platform.python_version(),
        "dl_lectures": dl_lectures.__version__,
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
        "git_commit": _git_commit(),
        "device_kind": jax.devices()[0].device_kind,
    }


class Curve(NamedTuple):
    """A metric over the run."""

    steps: np.ndarray  # [N] int64, increasing
    values: np.ndarray  # [N, S] float64, seeds in increasing order; NaN where the file has null


def read_curves(workdir: os.PathLike | str) -> dict[str, Curve]:
    """The curves of metrics.jsonl by name.

    Each row is `{"step": ..., "seed": ..., name: value, ...}`; different steps may have different
    names. A last line without its end is ignored, and so is a step that lacks a seed: the run was
    stopped while it wrote them.

    Raises:
        UsageError: the file is missing or damaged.
    """
    path = pathlib.Path(workdir) / "metrics.jsonl"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise errors.UsageError(
            f"Cannot read {path} ({error.strerror}): run the experiment first."
        ) from error
    table: dict[str, dict[int, dict[int, float]]] = {}  # name -> step -> seed -> value
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is partial
        try:
            row = json.loads(line)
            step, seed = row.pop("step"), row.pop("seed")
            for name, value in row.items():
                of_step = table.setdefault(name, {}).setdefault(step, {})
                of_step[seed] = math.nan if value is None else float(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise errors.UsageError(
                f"Line {number} of {path} is damaged: {line[:60]!r}."
            ) from error
    return {name: _curve(by_step) for name, by_step in table.items()}


def _curve(by_step: dict[int, dict[int, float]]) -> Curve:
    seeds = sorted(set().union(*by_step.values()))
    steps = [step for step in sorted(by_step) if len(by_step[step]) == len(seeds)]
    values = [[by_step[step][seed] for seed in seeds] for step in steps]
    return Curve(
        np.array(steps, np.int64), np.array(values, np.float64).reshape(len(steps), len(seeds))
    )


def _jsonable(value: Any) -> Any:
    """The value in JSON's own types; a number that is not finite becomes None."""
    if isinstance(value, (str, bool)) or value is None:
        return value
    if hasattr(value, "_asdict"):
        return _jsonable(value._asdict())
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if hasattr(value, "tolist"):  # arrays and their scalars, of NumPy and of JAX
        return _jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value
    raise TypeError(f"JSON cannot hold a value of type {type(value).__name__}.")


def _metric(mean: float, ci95: list, per_seed: list) -> Metric:
    return Metric(mean, tuple(ci95), tuple(per_seed))


def _claim(*, slides: list, ci95: list, **fields: Any) -> Claim:
    return Claim(slides=tuple(slides), ci95=tuple(ci95), **fields)


def _git_commit() -> str | None:
    root = pathlib.Path(dl_lectures.__file__).parents[1]
    if not (root / ".git").exists():  # installed somewhere inside a clone of something else
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            [*command, "--abbrev=40"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git, no commit yet, or not our files
        return None
    return done.stdout.strip()
