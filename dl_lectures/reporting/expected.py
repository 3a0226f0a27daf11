"""Expected results: what a run of a preset found, kept to be compared with later runs.

A claim has drifted when its verdict or its threshold is another one, or when the two 95 % intervals
lie apart by more than a tolerance. That is the claim's own `tolerance`, in units of its value,
where someone has written one into the file, else `relative_tolerance` times the expected value:
hardware and versions round differently. Without intervals (one seed) a value is compared only where
the claim has a tolerance of its own.
"""

import contextlib
import json
import os
import pathlib
import platform
from collections.abc import Iterable
from typing import Any

from dl_lectures.errors import UsageError
from dl_lectures.reporting import claims
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.files import write_atomically
from dl_lectures.reporting.ledger import Entry
from dl_lectures.reporting.results import Results

_RELATIVE_TOLERANCE = 0.01  # of a new file


def read(path: os.PathLike | str) -> dict[str, Any]:
    """The expected results in a file.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    try:
        document = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        float(document["relative_tolerance"])
        for known in document["experiments"].values():
            for name in ("num_seeds", "steps", "versions", "machine", "claims"):
                known[name]
            for claim in known["claims"].values():
                float(claim["value"]) + float(claim["threshold"]) + len(claim["ci95"])
                claim["verdict"]
    except FileNotFoundError as error:
        raise UsageError(
            f"no expected results {path}: --write_expected makes them of a run"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"cannot read the expected results {path} ({error!r})") from error
    return document


def write(entries: Iterable[Entry], path: os.PathLike | str) -> None:
    """Writes what the entries found as what is expected from now on.

    Experiments in the file that are not among the entries, or have no results, stay; so do
    tolerances. The machine noted is this one.

    Raises:
        UsageError: the file that is there is damaged, or the path cannot be written.
    """
    document = {"relative_tolerance": _RELATIVE_TOLERANCE, "experiments": {}}
    if pathlib.Path(path).exists():
        document = read(path)
    known = document["experiments"]
    for entry in entries:
        if entry.results is not None:
            before = known.get(entry.experiment, {}).get("claims", {})
            known[entry.experiment] = _expect(entry.results, before)
    document["experiments"] = dict(sorted(known.items()))
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
    write_atomically(path, f"{text}\n".encode())


def drift(expected: dict[str, Any], entries: Iterable[Entry]) -> list[str]:
    """What differs from the expected results, a line each; experiments that were not run do not.

    Args:
        expected: as `read` returns it.
        entries: of the run; one without results is a difference.
    """
    lines = []
    for entry in entries:
        name, found = entry.experiment, entry.results
        known = expected["experiments"].get(name)
        if found is None:
            lines.append(f"{name}: {entry.status}{entry.error and f': {entry.error}'}")
        elif known is None:
            lines.append(f"{name}: not among the expected results; --write_expected adds it")
        else:
            differences = _differences(known, found, expected["relative_tolerance"])
            if differences:
                differences += _circumstances(known, found)
            lines += [f"{name}: {words}" for words in differences]
    return lines


def machine() -> dict[str, Any]:
    """The processor's name and the number of cores that this process may use."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0))}


def _expect(found: Results, before: dict[str, Any]) -> dict[str, Any]:
    expectations = {}
    for claim in found.claims:
        expectations[claim.id] = {
            "value": _rounded(claim.value),
            "ci95": [_rounded(bound) for bound in claim.ci95],
            "threshold": claim.threshold,
            "verdict": claims.judge(claim),
        }
        if "tolerance" in before.get(claim.id, {}):
            expectations[claim.id]["tolerance"] = before[claim.id]["tolerance"]
    return {
        "num_seeds": found.num_seeds,
        "steps": found.steps,
        "seconds": round(sum(found.seconds.values()), 1),
        "versions": found.versions,
        "machine": machine(),
        "claims": expectations,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")


def _differences(known: dict[str, Any], found: Results, relative: float) -> list[str]:
    asked = {name: getattr(found, name) for name in ("num_seeds", "steps")}
    changed = [f"{k} is {v}, expected {known[k]}" for k, v in asked.items() if v != known[k]]
    if changed:  # numbers cannot be compared
        return changed
    lines = [
        f"the claim {name} is expected and not there"
        for name in known["claims"].keys() - {claim.id for claim in found.claims}
    ]
    for claim in found.claims:
        expectation = known["claims"].get(claim.id)
        if expectation is None:
            lines.append(f"the claim {claim.id} is not among the expected results")
        else:
            lines += [f"{claim.id}: {words}" for words in _claim(expectation, claim, relative)]
    return sorted(lines)


def _claim(expectation: dict[str, Any], claim: Claim, relative: float) -> list[str]:
    lines = []
    if claim.threshold != expectation["threshold"]:
        lines.append(f"the threshold is {claim.threshold:g}, expected {expectation['threshold']:g}")
    verdict = claims.judge(claim)
    if verdict != expectation["verdict"]:
        lines.append(f"the verdict is {verdict.upper()}, expected {expectation['verdict'].upper()}")
    tolerance = expectation.get("tolerance")
    intervals = (claim.ci95, expectation["ci95"])
    if any(None in interval for interval in intervals):
        if tolerance is None:
            return lines
        intervals = (2 * [claim.value], 2 * [expectation["value"]])
    if tolerance is None:
        tolerance = relative * abs(expectation["value"])
    (low, high), (expected_low, expected_high) = intervals
    if low > expected_high + tolerance or high < expected_low - tolerance:
        lines.append(
            f"the value is {claim.value:.4g} [{low:.4g}, {high:.4g}], expected "
            f"{expectation['value']:.4g} [{expected_low:.4g}, {expected_high:.4g}] "
            f"+- {tolerance:.2g}"
        )
    return lines


def _circumstances(known: dict[str, Any], found: Results) -> list[str]:
    now, before = found.versions | machine(), known["versions"] | known["machine"]
    changed = [
        f"{name} {now.get(name)} (was {before.get(name)})"
        for name in dict.fromkeys([*before, *now])
        if now.get(name) != before.get(name)
    ]
    return [f"what else is different: {', '.join(changed)}"] if changed else []
