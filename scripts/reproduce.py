"""Reproduces the figures and the verdicts of the lecture, or of a part of it.

    python scripts/reproduce.py --all
    python scripts/reproduce.py --slides=3,10-16 --preset=smoke --out=runs/memory
    python scripts/reproduce.py --only=vae,dqn --check

Runs what is missing, each experiment in a process of its own, so that one that fails costs only its
own row. The same command again skips what is finished and continues what was stopped or killed. It
ends with the ledger: each claim's slides, what was measured with its 95 % interval, the threshold,
and the verdict.

OUT/ledger.json, ledger.md, report.html  of the experiments chosen
OUT/NAME/      an experiment's working directory, with figures/
OUT/NAME.log   what it printed

Exit codes: 0: nothing fails. 3: a claim fails, or an experiment failed or is missing; inconclusive
claims do not count. With --check: 0: all as expected, claims that fail included; 3: something
drifted. 2: bad usage, one line on stderr. 1: a bug.
"""

import ast
import fcntl
import importlib
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

import rich.console
import rich.progress
from absl import flags
from rich.table import Column

from dl_lectures.errors import UsageError
from dl_lectures.reporting import expected, ledger, report, workdir
from dl_lectures.reporting.ledger import Entry
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import FREE_TO_CHANGE

ROOT = pathlib.Path(__file__).absolute().parents[1]
PRESETS = ("smoke", "quick", "full")
_POLL_SECONDS = 0.1
_STYLES = {"holds": "green", "inconclusive": "yellow"}  # of verdicts; others are red


class Experiment(NamedTuple):
    """A module of `experiments/`."""

    name: str
    slides: tuple[int, ...]


class Job(NamedTuple):
    """An experiment at work."""

    experiment: Experiment
    process: subprocess.Popen
    slot: int  # which part of the cores it has
    start: float  # of time.monotonic, seconds
    task: rich.progress.TaskID


def discover(folder: pathlib.Path) -> list[Experiment]:
    """The experiments in a folder, by slides: its modules that assign SLIDES and PRESETS.

    They are read, not imported. One that Python cannot parse is among them, without slides: whether
    it is an experiment shows when it runs.

    Raises:
        UsageError: SLIDES is not a tuple of numbers.
    """
    found = []
    for path in sorted(folder.glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            found.append(Experiment(path.stem, ()))
            continue
        assigned = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        if {"SLIDES", "PRESETS"} <= assigned.keys():
            try:
                slides = tuple(int(slide) for slide in ast.literal_eval(assigned["SLIDES"]))
            except (ValueError, TypeError) as error:
                raise UsageError(f"SLIDES in {path} must be a tuple of numbers") from error
            found.append(Experiment(path.stem, slides))
    return sorted(found, key=lambda experiment: (not experiment.slides, experiment.slides))


def choose(
    experiments: list[Experiment], is_all: bool, only: list[str], slides: str
) -> list[Experiment]:
    """The experiments that were asked for, in their order.

    Args:
        experiments: those there are.
        is_all: --all.
        only: --only, names.
        slides: --slides, such as "3,5,10-16"; chooses what makes at least one of them run.

    Raises:
        UsageError: not exactly one of the three, an unknown name, or slides of no experiment.
    """
    if is_all + bool(only) + bool(slides) != 1:
        raise UsageError("give one of --all, --only=NAME,... and --slides=10-16; see --help")
    if only:
        names = [experiment.name for experiment in experiments]
        if unknown := [name for name in only if name not in names]:
            raise UsageError(f"--only: no experiment {unknown[0]!r}; there are {', '.join(names)}")
        return [experiment for experiment in experiments if experiment.name in only]
    if slides:
        wanted = parse_slides(slides)
        chosen = [experiment for experiment in experiments if wanted & set(experiment.slides)]
        if not chosen:
            known = tuple(slide for experiment in experiments for slide in experiment.slides)
            raise UsageError(
                f"--slides={slides}: no experiment for these; there are some for "
                f"{ledger.slide_words(known)}"
            )
        return chosen
    return experiments


def parse_slides(text: str) -> set[int]:
    """The numbers in a list of numbers and ranges, such as "3,5,10-16".

    Raises:
        UsageError: it is not such a list.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:\s*-\s*(\d{1,4}))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"--slides must be like 3,5,10-16, not {text!r}")
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def is_finished(name: str, preset: str, directory: pathlib.Path) -> bool:
    """Whether a directory holds the intact results of what the preset asks for today."""
    from experiments import flags as experiment_flags

    try:
        stored = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        module = importlib.import_module(f"experiments.{name}")
        config, options = experiment_flags.resolve(
            module, {"preset": preset, "workdir": str(directory)}
        )
        if not workdir.is_done(directory, options.steps):
            return False
        now = json.loads(json.dumps({"config": vars(config), "options": vars(options)}))
        for free in FREE_TO_CHANGE:
            now["options"].pop(free, None)
            stored["options"].pop(free, None)
        Results.read(directory)
    except Exception:  # the experiment itself says what is wrong, when it runs
        return False
    return now == {name: stored[name] for name in now}


def error_line(log: str, return_code: int) -> str:
    """The line that says why a process failed."""
    if return_code < 0:
        name = signal.Signals(-return_code).name
        return f"ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if line.startswith("error: ") or re.match(r"[\w.]*(Error|Exception|Interrupt)(:|$)", line)
    ]
    last = (telling or lines or ["no output"])[-1]
    return f"{last.removeprefix('error: ')} (exit code {return_code})"


class Runner:
    """Runs experiments, some at a time, until all are done or a signal has stopped them."""

    def __init__(
        self, out: pathlib.Path, preset: str, jobs: int, console: rich.console.Console
    ) -> None:
        self._out, self._preset, self._console = out, preset, console
        cores = sorted(os.sched_getaffinity(0))
        self._slots = [cores[i::jobs] or [cores[i % len(cores)]] for i in range(jobs)]
        self._signals: list[int] = []  # received and not yet passed on
        self._running: dict[int, Job] = {}  # by slot
        self._errors: dict[str, str] = {}
        self.is_stopped = False

    def run(self, experiments: list[Experiment]) -> dict[str, str]:
        """Returns the errors, one line each, by the name of the experiment."""
        before = {
            number: signal.signal(number, lambda number, _: self._signals.append(number))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with self._progress() as progress:
                self._run(self._unfinished(experiments), len(experiments), progress)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._errors

    def _run(self, pending: list[Experiment], count: int, progress: rich.progress.Progress) -> None:
        task = progress.add_task("all", total=None, note="")
        waits_for = None
        while True:
            self._pass_signals_on()
            for job in list(self._running.values()):
                if job.process.poll() is None:
                    progress.update(job.task, note=_last_line(self._log(job.experiment)))
                else:
                    self._finish(job, progress)
            if self.is_stopped:
                pending = []
            if not pending and not self._running:
                return
            free = [slot for slot in range(len(self._slots)) if slot not in self._running]
            startable = [e for e in pending if not _is_in_use(self._out / e.name)]
            if free and startable:
                pending.remove(startable[0])
                self._start(startable[0], free[0], progress)
            elif not self._running and waits_for != pending[0].name:
                waits_for = pending[0].name
                self._say(f"{waits_for}: waiting for the process that works on it")
            left = len(pending) + len(self._running)
            done = f"{count - left} of {count} finished"
            progress.update(task, note="stopping" if self.is_stopped else done)
            progress.refresh()
            time.sleep(_POLL_SECONDS)

    def _unfinished(self, experiments: list[Experiment]) -> list[Experiment]:
        pending = []
        for experiment in experiments:
            directory = self._out / experiment.name
            if (directory / "DONE").exists() and is_finished(
                experiment.name, self._preset, directory
            ):
                self._say(f"{experiment.name}: finished before")
            else:
                pending.append(experiment)
        return pending

    def _start(self, experiment: Experiment, slot: int, progress: rich.progress.Progress) -> None:
        self._say(f"{experiment.name}: started")
        command = [sys.executable, *command_of(experiment, self._preset, self._out)[1:]]
        environment = dict(os.environ, PYTHONUNBUFFERED="1")
        if len(self._slots) > 1:  # else each would reserve most of a GPU's memory
            environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        with self._log(experiment).open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C reaches it once, through us
            )
        if len(self._slots) > 1:
            os.sched_setaffinity(process.pid, self._slots[slot])
        task = progress.add_task(experiment.name, total=None, note="")
        self._running[slot] = Job(experiment, process, slot, time.monotonic(), task)

    def _finish(self, job: Job, progress: rich.progress.Progress) -> None:
        del self._running[job.slot]
        progress.remove_task(job.task)
        name, code = job.experiment.name, job.process.returncode
        seconds = time.monotonic() - job.start
        if (self._out / name / "DONE").exists() and code == 0:
            self._say(f"{name}: finished in {seconds:.1f} s")
        elif self.is_stopped:
            self._say(f"{name}: stopped after {seconds:.1f} s")
        elif code == 0:
            self._errors[name] = "it was stopped before its end; the same command continues it"
        else:
            log = self._log(job.experiment).read_text(encoding="utf-8", errors="replace")
            self._errors[name] = error_line(log, code)
        if name in self._errors:
            self._say(f"{name}: failed after {seconds:.1f} s: {self._errors[name]}")

    def _pass_signals_on(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if not self.is_stopped:
                self._say("stopping; experiments at work write their checkpoints")
            self.is_stopped = True
            for job in self._running.values():
                job.process.send_signal(number)

    def _progress(self) -> rich.progress.Progress:
        return rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn(
                "{task.fields[note]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            expand=True,
            console=self._console,
            transient=True,
            auto_refresh=False,  # no second thread: children are started from this one
            disable=not self._console.is_terminal,
        )

    def _log(self, experiment: Experiment) -> pathlib.Path:
        return self._out / f"{experiment.name}.log"

    def _say(self, line: str) -> None:
        say(self._console, line)


def replot(
    experiments: list[Experiment], out: pathlib.Path, console: rich.console.Console
) -> dict[str, str]:
    """Draws the figures of what has results.

    Returns:
        The errors, one line each, by the name of the experiment.
    """
    from experiments import common

    errors = {}
    for experiment in experiments:
        directory = out / experiment.name
        if not (directory / "results.json").exists():
            continue
        try:
            common.draw(importlib.import_module(f"experiments.{experiment.name}"), directory)
            say(console, f"{experiment.name}: drawn")
        except Exception as error:  # whatever it is costs this experiment's row alone
            errors[experiment.name] = f"{type(error).__name__}: {error}"
            say(console, f"{experiment.name}: failed: {errors[experiment.name]}")
    return errors


def command_of(experiment: Experiment, preset: str, out: pathlib.Path) -> list[str]:
    """The command that makes an experiment's results."""
    module = f"experiments.{experiment.name}"
    return ["python", "-m", module, f"--preset={preset}", f"--workdir={out / experiment.name}"]


def say(console: rich.console.Console, line: str, style: str | None = None) -> None:
    """Prints a line as it is, however long."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def show(entries: list[Entry], console: rich.console.Console) -> None:
    """Prints the ledger."""
    rows = ledger.rows(entries)
    for row in rows:
        style = _STYLES.get(row.verdict, "red")
        slides = ledger.slide_words(row.slides)
        say(console, f"{row.verdict.upper():13} {slides:8} {row.experiment}", style)
        say(console, f"    {row.statement_en}")
        if row.value is not None:
            measured = f"{row.statistic}: {ledger.number_words(row)}"
            say(console, f"    {measured}; {row.seconds:.1f} s")
    counts = Counter(row.verdict for row in rows)
    say(console, ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))


def define_flags() -> flags.FlagValues:
    """The flags, in a set of their own: they exist only while this runs."""
    values = flags.FlagValues()
    own: dict[str, Any] = {"flag_values": values}
    flags.DEFINE_bool("all", False, "every experiment", **own)
    flags.DEFINE_list("only", [], "the experiments of these names", **own)
    flags.DEFINE_string("slides", "", "the experiments for these slides, like 3,5,10-16", **own)
    flags.DEFINE_enum("preset", "quick", PRESETS, "set of defaults, by cost", **own)
    flags.DEFINE_bool("replot", False, "only draw figures, from saved results", **own)
    flags.DEFINE_integer(
        "jobs",
        1,
        "experiments at a time, each on its part of the cores; their seconds are then not "
        "comparable, and numbers may differ in the last places",
        lower_bound=1,
        **own,
    )
    flags.DEFINE_string("out", "", "directory of all results; default: runs/PRESET", **own)
    flags.DEFINE_bool("check", False, "compare with scripts/expected_PRESET.json", **own)
    flags.DEFINE_bool(
        "write_expected", False, "write what was found to scripts/expected_PRESET.json", **own
    )
    return values


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    values = define_flags()
    if {"--help", "-help", "-h", "-?", "--helpfull", "--helpshort"} & set(argv[1:]):
        print(f"{__doc__}\n{values.get_help()}")
        return 0
    try:
        positional = values(argv)
        if len(positional) > 1:
            raise UsageError(f"unexpected argument {positional[1]!r}; --help lists the flags")
        return reproduce(values)
    except flags.Error as error:
        text = f"{str(error).strip()}; --help lists the flags"
    except UsageError as error:
        text = str(error)
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return 2


def reproduce(values: flags.FlagValues) -> int:
    """Does what the flags ask for; returns the exit code.

    Raises:
        UsageError: bad flags, a directory in use, or no expected results to compare with.
    """
    if values.check and values.write_expected:
        raise UsageError("--check and --write_expected exclude each other")
    experiments = choose(
        discover(ROOT / "experiments"), values["all"].value, values.only, values.slides
    )
    preset = values.preset
    path = ROOT / "scripts" / f"expected_{preset}.json"
    known = expected.read(path) if values.check else {}
    out = pathlib.Path(values.out or f"runs/{preset}")
    console = rich.console.Console()
    try:
        with workdir.locked(out):
            return _reproduce(experiments, values, out, path, known, console)
    except UsageError as error:
        raise UsageError(str(error).replace("--workdir", "--out")) from error


def _reproduce(
    experiments: list[Experiment],
    values: flags.FlagValues,
    out: pathlib.Path,
    path: pathlib.Path,  # of the expected results
    known: dict[str, Any],  # what it holds, with --check
    console: rich.console.Console,
) -> int:
    preset, is_stopped = values.preset, False
    if values.replot:
        errors = replot(experiments, out, console)
    else:
        if values.jobs > 1:
            say(console, f"{values.jobs} jobs share the cores: seconds are not comparable")
        runner = Runner(out.absolute(), preset, values.jobs, console)
        errors = runner.run(experiments)
        is_stopped = runner.is_stopped
    entries = []
    for experiment in experiments:
        command = shlex.join(command_of(experiment, preset, out))
        rest = (experiment.slides, command, out / experiment.name)
        entry = ledger.read(experiment.name, *rest, errors.get(experiment.name, ""))
        if entry.results is not None and entry.results.preset != preset:
            error = f"{entry.workdir} holds results of --preset={entry.results.preset}"
            entry = ledger.read(experiment.name, *rest, error)
        entries.append(entry)
    ledger.write(entries, out)
    report.write(entries, out / "report.html")
    say(console, "")
    show(entries, console)
    say(console, f"ledger  {out / 'ledger.md'}\nreport  {out / 'report.html'}")
    code = ledger.exit_code(ledger.rows(entries))
    if values.write_expected:
        expected.write(entries, path)
        say(console, f"expected results  {path}")
    if values.check:
        lines = expected.drift(known, entries)
        say(console, f"\n{len(lines)} differences from {path}" if lines else f"\nas in {path}")
        for line in lines:
            say(console, f"DRIFT {line}", "red")
        code = 3 if lines else 0
    if is_stopped:
        say(console, f"stopped; continue with: {shlex.join(['python', *sys.argv])}")
        code = 3
    return code


def _is_in_use(directory: pathlib.Path) -> bool:
    """Whether a process works there: one that survived when we were killed, or somebody's."""
    try:
        with (directory / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # never run, or it will say what is wrong
        return False
    return False


def _last_line(log: pathlib.Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2_000))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # `experiments`, also where the project is not installed
    sys.exit(main(sys.argv))
