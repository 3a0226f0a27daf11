"""Statements of the lecture, held against measurements.

A claim compares a mean over seeds, or the share of seeds that succeed, with a threshold that was
set before the run. It holds when the whole 95 % interval (Student's of a mean, Wilson's of a share)
lies on the right side, fails when the whole interval lies on the wrong side, and is inconclusive
otherwise: more seeds would tell.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dl_lectures.reporting.intervals import summarise, wilson

Verdict = Literal["holds", "fails", "inconclusive"]
_Interval = tuple[float | None, float | None]


class Claim(NamedTuple):
    """A statement with what was measured and what follows."""

    id: str
    slides: tuple[int, ...]
    statement_en: str
    statement_ja: str
    statistic: str  # what `value` is, with its unit and the side of `threshold` that is claimed
    value: float  # the mean over seeds
    ci95: _Interval  # of it; (None, None) for the mean of a single seed
    threshold: float
    verdict: Verdict


def judge(claim: Claim) -> Verdict:
    """The verdict that follows from a claim's interval, threshold and side, whatever it says.

    Raises:
        ValueError: the statistic names no side, the interval or the threshold is no number, or the
            value lies outside of its interval.
    """
    side = claim.statistic.split()[-2:-1]
    if side not in (["<="], [">="]):
        raise ValueError(f"the statistic names no side, <= or >=: {claim.statistic!r}")
    low, high = claim.ci95
    one_seed = low is None and high is None
    numbers = [claim.value, claim.threshold, *(() if one_seed else (low, high))]
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
        raise ValueError(f"a number of {claim.id} is missing: {numbers}")
    # Wilson's bounds round: of 3 of 3 the upper one may lie a last place below 1.
    slack = 1e-9 * max(map(abs, numbers))
    if not one_seed and not low - slack <= claim.value <= high + slack:
        raise ValueError(f"the value of {claim.id}, {claim.value}, lies outside of {claim.ci95}")
    judge_side = _verdict_at_most if side == ["<="] else _verdict_at_least
    return judge_side(claim.ci95, claim.threshold)


def at_most(*, statistic: str, per_seed: ArrayLike, threshold: float, **words: Any) -> Claim:
    """The claim that the mean over seeds of `per_seed`, [S], is at most `threshold`.

    Args:
        statistic: what is measured, with its unit.
        per_seed: its values.
        threshold: as it was set before the run.
        **words: `id`, `slides`, `statement_en` and `statement_ja` of the Claim.

    Raises:
        ValueError: a value of `per_seed` is not finite.
    """
    value, ci95, _ = summarise(per_seed)
    return _claim_at_most(statistic, value, ci95, threshold, words)


def at_least(*, statistic: str, per_seed: ArrayLike, threshold: float, **words: Any) -> Claim:
    """The claim that the mean over seeds of `per_seed`, [S], is at least `threshold`.

    Arguments and errors are those of `at_most`.
    """
    value, ci95, _ = summarise(per_seed)
    return _claim_at_least(statistic, value, ci95, threshold, words)


def share_at_most(*, statistic: str, per_seed: ArrayLike, threshold: float, **words: Any) -> Claim:
    """The claim that at most the share `threshold` of seeds succeeds, by Wilson's interval.

    Arguments are those of `at_most`.

    Raises:
        ValueError: an entry of `per_seed`, [S], is neither 0 nor 1.
    """
    value, ci95 = _share(per_seed)
    return _claim_at_most(statistic, value, ci95, threshold, words)


def share_at_least(*, statistic: str, per_seed: ArrayLike, threshold: float, **words: Any) -> Claim:
    """The claim that at least the share `threshold` of seeds succeeds, by Wilson's interval.

    Arguments are those of `at_most`, errors those of `share_at_most`.
    """
    value, ci95 = _share(per_seed)
    return _claim_at_least(statistic, value, ci95, threshold, words)


def of_table(slides: tuple[int, ...], table: Iterable[tuple[Any, ...]]) -> tuple[Claim, ...]:
    """The claims of a table about the same slides.

    Args:
        slides: of all its claims.
        table: `at_most` or one of its kind, then what it is given: id, statement_en, statement_ja,
            statistic, per_seed, threshold.
    """
    names = ("id", "statement_en", "statement_ja", "statistic", "per_seed", "threshold")
    return tuple(
        judge(slides=slides, **dict(zip(names, given, strict=True))) for judge, *given in table
    )


def _claim_at_most(
    statistic: str, value: float, ci95: _Interval, threshold: float, words: dict[str, Any]
) -> Claim:
    return Claim(
        statistic=f"{statistic} <= {threshold:g}",
        value=value,
        ci95=ci95,
        threshold=threshold,
        verdict=_verdict_at_most(ci95, threshold),
        **words,
    )


def _claim_at_least(
    statistic: str, value: float, ci95: _Interval, threshold: float, words: dict[str, Any]
) -> Claim:
    return Claim(
        statistic=f"{statistic} >= {threshold:g}",
        value=value,
        ci95=ci95,
        threshold=threshold,
        verdict=_verdict_at_least(ci95, threshold),
        **words,
    )


def _share(per_seed: ArrayLike) -> tuple[float, tuple[float, float]]:
    values = np.asarray(per_seed, np.float64)
    if values.ndim != 1 or not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(f"Expected 0 or 1 for each seed, [S], got {per_seed}.")
    return float(values.mean()), wilson(int(values.sum()), values.size)


def _verdict_at_most(ci95: _Interval, threshold: float) -> Verdict:
    """The verdict on "at most", from the interval; a value at the threshold keeps the claim."""
    low, high = ci95
    if low is None or high is None:
        return "inconclusive"
    if high <= threshold:
        return "holds"
    return "fails" if low > threshold else "inconclusive"


def _verdict_at_least(ci95: _Interval, threshold: float) -> Verdict:
    low, high = ci95
    mirrored = (None, None) if low is None or high is None else (-high, -low)
    return _verdict_at_most(mirrored, -threshold)
