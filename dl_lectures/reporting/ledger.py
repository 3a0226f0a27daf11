"""The ledger: every claim of every experiment with its verdict, from what is saved on disk alone.

A verdict is judged anew from the saved interval and threshold, so that nobody has to believe what
the run said of itself.
"""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from dl_lectures.errors import UsageError
from dl_lectures.reporting import claims
from dl_lectures.reporting.files import write_atomically
from dl_lectures.reporting.results import Results

Status = Literal["done", "missing", "failed"]
Verdict = Literal["holds", "fails", "inconclusive", "missing", "failed"]


class Entry(NamedTuple):
    """An experiment and what its working directory holds."""

    experiment: str  # the module's name below `experiments`
    slides: tuple[int, ...]
    status: Status  # "missing": not run, or stopped; "failed": it crashed, or its files are damaged
    error: str  # one line; "" if none
    command: str  # the command that makes it
    workdir: pathlib.Path
    results: Results | None  # None unless done


class Row(NamedTuple):
    """A claim with its verdict, or an experiment that has no results."""

    experiment: str
    claim_id: str  # "" where there are no results, and then also the statistic
    slides: tuple[int, ...]
    statement_en: str  # the error, or that there is nothing, where there are no results
    statement_ja: str
    statistic: str  # what `value` is, with its unit and the side of `threshold` that is claimed
    value: float | None  # the mean over seeds; None where there are no results
    ci95: tuple[float | None, float | None]  # of it; (None, None) for one seed
    threshold: float | None
    verdict: Verdict
    seconds: float | None  # that the whole experiment computed; its claims share them


def read(
    experiment: str,
    slides: tuple[int, ...],
    command: str,
    workdir: os.PathLike | str,
    error: str = "",
) -> Entry:
    """What an experiment has left in its working directory; never raises.

    Args:
        experiment: the module's name below `experiments`.
        slides: the slides of the lecture that it makes run.
        command: the command that makes it.
        workdir: its working directory.
        error: one line, if its run has failed; what the directory holds is then not its result.
    """
    workdir = pathlib.Path(workdir)
    found = None
    try:
        if not error and (workdir / "results.json").exists():
            found = _checked(Results.read(workdir), experiment)
    except (UsageError, ValueError, TypeError, AttributeError) as problem:
        error = f"{workdir / 'results.json'}: {problem}"
    status: Status = "failed" if error else "done" if found else "missing"
    return Entry(experiment, slides, status, " ".join(error.split()), command, workdir, found)


def rows(entries: Iterable[Entry]) -> list[Row]:
    """The claims of all experiments, in their order; one row of an experiment without results."""
    found = []
    for entry in entries:
        if entry.results is None:
            found.append(_row_without_results(entry))
            continue
        seconds = round(sum(entry.results.seconds.values()), 3)
        found += [
            Row(
                experiment=entry.experiment,
                claim_id=claim.id,
                slides=claim.slides,
                statement_en=claim.statement_en,
                statement_ja=claim.statement_ja,
                statistic=claim.statistic,
                value=claim.value,
                ci95=claim.ci95,
                threshold=claim.threshold,
                verdict=claims.judge(claim),
                seconds=seconds,
            )
            for claim in entry.results.claims
        ]
    return found


def exit_code(rows: Iterable[Row]) -> int:
    """0 if nothing fails, else 3.

    An experiment that failed or is missing counts as a claim that fails. A claim that is
    inconclusive does not: more seeds would tell.
    """
    return 3 if any(row.verdict in ("fails", "failed", "missing") for row in rows) else 0


def write(entries: Iterable[Entry], directory: os.PathLike | str) -> None:
    """Writes ledger.json and ledger.md; each is whole or absent.

    ledger.json holds `experiments`, the entries without their arrays, and `claims`, the rows.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    entries = list(entries)
    directory = pathlib.Path(directory)
    document = {
        "experiments": [_experiment(entry) for entry in entries],
        "claims": [row._asdict() for row in rows(entries)],
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
    write_atomically(directory / "ledger.json", f"{text}\n".encode())
    write_atomically(directory / "ledger.md", _markdown(entries).encode())


def slide_words(slides: tuple[int, ...]) -> str:
    """Slides as a reader wants them, "3, 5, 10-12"."""
    runs: list[list[int]] = []
    for slide in sorted(set(slides)):
        if runs and slide == runs[-1][-1] + 1:
            runs[-1].append(slide)
        else:
            runs.append([slide])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def number_words(row: Row) -> str:
    """A row's value with its interval, "0.12 [0.1, 0.14]"; "" where there is none."""
    if row.value is None:
        return ""
    low, high = row.ci95
    interval = "one seed" if low is None or high is None else f"{low:.4g}, {high:.4g}"
    return f"{row.value:.4g} [{interval}]"


def _checked(found: Results, experiment: str) -> Results:
    if found.experiment != experiment:
        raise ValueError(f"it holds results of {found.experiment}")
    if not found.claims:
        raise ValueError("it holds no claims")
    for claim in found.claims:
        claims.judge(claim)
    return found


def _row_without_results(entry: Entry) -> Row:
    missing = entry.status == "missing"
    return Row(
        experiment=entry.experiment,
        claim_id="",
        slides=entry.slides,
        statement_en="no results yet" if missing else entry.error,
        statement_ja="まだ結果がない" if missing else entry.error,
        statistic="",
        value=None,
        ci95=(None, None),
        threshold=None,
        verdict="missing" if missing else "failed",
        seconds=None,
    )


def _experiment(entry: Entry) -> dict[str, Any]:
    document = entry._asdict() | {"workdir": str(entry.workdir)}
    del document["results"]
    found = entry.results
    if found is not None:
        names = ("preset", "seed", "num_seeds", "steps", "seconds", "state_sha256", "versions")
        document |= {name: getattr(found, name) for name in names}
    return document


def _markdown(entries: list[Entry]) -> str:
    lines = [
        "# Ledger",
        "",
        "| slides | experiment | statement | measured | claimed | verdict | s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows(entries):
        statement = row.statement_en
        if row.statement_ja != row.statement_en:
            statement += f"\n{row.statement_ja}"
        cells = (
            slide_words(row.slides),
            row.experiment,
            statement,
            number_words(row),
            row.statistic,
            row.verdict.upper(),
            "" if row.seconds is None else f"{row.seconds:.1f}",
        )
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    lines += ["", "Made by", ""]
    lines += [f"    {entry.command}" for entry in entries]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    for character in "\\`*_|[]":
        text = text.replace(character, f"\\{character}")
    return text.replace("<", "&lt;").replace("\n", "<br>")
