"""What every experiment shares: presets, and the way from a configuration to a finished workdir."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from dl_lectures.errors import UsageError
from dl_lectures.learner import Learner
from dl_lectures.reporting import results as results_lib
from dl_lectures.reporting import workdir as workdir_lib
from dl_lectures.reporting.files import write_atomically
from dl_lectures.reporting.results import Results
from dl_lectures.training import checkpoint, devices, signals, trainer
from dl_lectures.training.options import FREE_TO_CHANGE, Options

# Recurrent cells as figures and reports call them, in English and Japanese.
CELL_LABELS = {
    "rnn": ("tanh RNN", "tanh RNN"),
    "relu": ("ReLU RNN", "ReLU RNN"),
    "irnn": ("IRNN", "IRNN"),
    "gru": ("GRU", "GRU"),
    "lstm": ("LSTM", "LSTM"),
    "min_gru": ("minGRU", "minGRU"),
    "min_lstm": ("minLSTM", "minLSTM"),
    "lstm_no_input_gate": ("LSTM, no input gate", "LSTM,入力ゲートなし"),
    "lstm_no_forget_gate": ("LSTM, no forget gate", "LSTM,忘却ゲートなし"),
    "lstm_no_output_gate": ("LSTM, no output gate", "LSTM,出力ゲートなし"),
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """Defaults of one cost: a configuration and the options that belong to it."""

    config: Any
    num_seeds: int
    steps: int
    log_every: int
    eval_every: int
    checkpoint_every: int


def name_of(module: ModuleType) -> str:
    """Returns an experiment's name, also where its module runs as `__main__`."""
    return pathlib.Path(module.__file__).stem


def preset_of(module: ModuleType, name: str, given: Mapping[str, Any]) -> Preset:
    """Returns an experiment's preset of that name.

    A module whose preset depends on a flag, such as the data set, has `preset_for(name, given)`;
    `given` are the flags on the command line.
    """
    choose = getattr(module, "preset_for", None)
    return choose(name, given) if choose else module.PRESETS[name]


def options_of(preset: Preset) -> dict[str, Any]:
    """Returns the options that a preset sets."""
    fields = {field.name: getattr(preset, field.name) for field in dataclasses.fields(preset)}
    del fields["config"]
    return fields


def numbers_of(config: Any, flag: str, kind: type = int) -> list[Any]:
    """The numbers in a field of a configuration, which have commas between; none if it is empty.

    Raises:
        ValueError: something there is no number.
    """
    text = getattr(config, flag)
    try:
        return [kind(number) for number in text.split(",")] if text else []
    except ValueError as error:
        raise ValueError(f"--{flag} must be numbers with commas between, not {text!r}") from error


def of_first_seed(tree: Any) -> Any:
    """Returns the first seed's part of trained parameters, [S, ...] in each leaf, as NumPy arrays.

    The leaves lie over the mesh of the run, maybe over several processes; all get the result.
    """
    mesh = jax.tree.leaves(tree)[0].sharding.mesh
    first = jax.jit(lambda tree: of_seed(tree, 0), out_shardings=devices.everywhere(mesh))
    return devices.on_host(first(tree))


def execute(module: ModuleType, config: Any, options: Options) -> Results:
    """Runs an experiment into its working directory, or returns what is finished there.

    Locks the directory, settles its config.json, runs, judges the claims, draws the figure and
    writes DONE last. Devices must have been configured.

    Raises:
        UsageError: the directory is in use, holds another configuration, or cannot be written.
        Stopped: a signal came; the same call continues.
    """
    workdir = pathlib.Path(options.workdir)
    if not trainer.is_primary():  # helps to train; what is found is written by the first process
        return module.run(config, options)
    with workdir_lib.locked(workdir):
        record = {
            "experiment": name_of(module),
            "config": dataclasses.asdict(config),
            "options": dataclasses.asdict(options),
            "versions": results_lib.versions(),
        }
        workdir_lib.settle_config(workdir, record, FREE_TO_CHANGE)
        if workdir_lib.is_done(workdir, options.steps):
            with contextlib.suppress(UsageError):  # damaged since: made again from the checkpoint
                return Results.read(workdir)
        (workdir / "DONE").unlink(missing_ok=True)
        results = module.run(config, options)
        results = dataclasses.replace(results, claims=module.claims(results))
        results.write(workdir)
        draw(module, workdir)
        workdir_lib.mark_done(workdir, options.steps)
        return results


def of_all_seeds(tree: Any) -> Any:
    """Returns trained parameters of all seeds, [S, ...] in each leaf, as NumPy arrays.

    The leaves lie over the mesh of the run, maybe over several processes; all get the result.
    """
    mesh = jax.tree.leaves(tree)[0].sharding.mesh
    whole = jax.jit(lambda tree: tree, out_shardings=devices.everywhere(mesh))(tree)
    return devices.on_host(whole)


def of_seed(tree: Any, row: int) -> Any:
    """Returns the part of one seed, the `row`-th, of a tree whose leaves are [S, ...]."""
    return jax.tree.map(lambda leaf: leaf[row], tree)


class Finished(NamedTuple):
    """What `results.make` wants to know of a run that trains nothing."""

    step: int
    seconds: dict[str, float]
    state_sha256: str  # of what was found


def finish(options: Options, seconds: Mapping[str, float], found: Any) -> Finished:
    """The record of a run that trains nothing.

    Args:
        options: of the run.
        seconds: what it took, by what it did.
        found: arrays that vouch for it, a pytree.
    """
    leaves = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(found))
    rounded = {name: round(value, 3) for name, value in seconds.items()}
    return Finished(options.steps, rounded, checkpoint.sha256(leaves))


def check_memory(learner: Learner, options: Options) -> None:
    """Says what the state of all seeds takes, replay and all, before anything is compiled.

    Raises:
        UsageError: more than half of the memory there is, whose other half a checkpoint copies to.
    """
    one = devices.num_bytes(jax.eval_shape(learner.init, jax.random.key(0)))
    needed, limit = one * options.num_seeds, devices.memory() * jax.process_count()
    words = (
        f"the state takes {one / 2**20:,.1f} MiB a seed, {needed / 2**20:,.1f} MiB in all; "
        f"there are {limit / 2**20:,.0f} MiB"
    )
    if needed > limit / 2:
        raise UsageError(
            f"{words}, of which a checkpoint needs half: give a smaller --capacity or fewer "
            "--num_seeds"
        )
    if trainer.is_primary():
        print(words, flush=True)


class Parts(NamedTuple):
    """What the parts of an experiment found, and what `results.make` wants to know of a run."""

    found: dict[str, Results]  # by the part's name
    step: int
    seconds: dict[str, float]  # sums
    state_sha256: str  # over those of the parts

    def metrics(self, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
        """The metrics of the parts of these names, or of all, [S], as `NAME/METRIC`."""
        return {
            f"{name}/{metric}": self.found[name].per_seed(metric)
            for name in (self.found if names is None else names)
            for metric in self.found[name].metrics
        }


def run_parts(options: Options, works: Mapping[str, Callable[[Options], Results]]) -> Parts:
    """Runs an experiment that is made of several runs, one after the other.

    A part has the working directory `parts/NAME` below the experiment's, in which it is continued
    like any run; a part that is finished is only read. The log of all is joined in metrics.jsonl,
    with `NAME/` before each name. A signal is also seen between parts.

    Args:
        options: of the experiment.
        works: from the options of a part to its results, by the part's name.
    """
    found = {}
    for number, (name, work) in enumerate(works.items(), start=1):
        workdir = pathlib.Path(options.workdir) / "parts" / name
        if workdir_lib.is_done(workdir, options.steps):
            with contextlib.suppress(UsageError):  # damaged since: made again
                found[name] = Results.read(workdir)
                continue
        signals.stop_if_received(str(workdir))  # a part may end too soon to ask
        if trainer.is_primary():
            print(f"part {number} of {len(works)}: {name}", flush=True)
        found[name] = work(dataclasses.replace(options, workdir=str(workdir)))
        if trainer.is_primary():
            found[name].write(workdir)
            workdir_lib.mark_done(workdir, options.steps)
    if trainer.is_primary():
        _join_logs(pathlib.Path(options.workdir), list(works))
    seconds: dict[str, float] = {}
    for part in found.values():
        seconds |= {k: round(seconds.get(k, 0.0) + v, 3) for k, v in part.seconds.items()}
    hashes = "".join(part.state_sha256 for part in found.values())
    return Parts(found, options.steps, seconds, hashlib.sha256(hashes.encode()).hexdigest())


def _join_logs(workdir: pathlib.Path, names: list[str]) -> None:
    rows = []
    for name in names:
        path = workdir / "parts" / name / "metrics.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            values = {f"{name}/{k}": v for k, v in row.items() if k not in ("step", "seed")}
            rows.append(json.dumps({"step": row["step"], "seed": row["seed"]} | values))
    if rows:
        write_atomically(workdir / "metrics.jsonl", "".join(f"{r}\n" for r in rows).encode())


def draw(module: ModuleType, workdir: pathlib.Path) -> None:
    """Draws an experiment's figure from the results on disk."""
    from dl_lectures.reporting import plotting

    plotting.save(module.figure(Results.read(workdir)), workdir / "figures" / name_of(module))
