"""What users give to bandits and policies: refused with one line that names it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def numbers(name: str, values: Any, ndim: int = 1, fewest: int = 2) -> np.ndarray:
    """Returns float32 numbers of so many axes; a list of one number an arm has at least `fewest`.

    Raises:
      ValueError: they are none, or not finite, or too few.
    """
    try:
        with np.errstate(over="ignore"):  # too large a number is infinite, and refused below
            numbers = np.asarray(values, np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be numbers, not {values!r}") from error
    if numbers.ndim != ndim or not numbers.size:
        raise ValueError(f"{name} must have {ndim} axes, not the shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite, not {shown(numbers)}")
    if ndim == 1 and len(numbers) < fewest:
        raise ValueError(f"{name} must name at least {fewest} arms, not {len(numbers)}")
    return numbers


def positive_means(means: Sequence[float]) -> np.ndarray:
    """Returns mean rewards, [K].

    Raises:
      ValueError: one is not positive.
    """
    means = numbers("means", means)
    if means.min() <= 0:
        raise ValueError(f"means must be positive, not {shown(means)}")
    return means


def num_arms(num_arms: int) -> None:
    """Raises ValueError for fewer than two arms, or no whole number of them."""
    whole("num_arms", num_arms)
    if num_arms < 2:
        raise ValueError(f"a bandit needs at least 2 arms, not {num_arms}")


def whole(name: str, value: float) -> None:
    """Raises ValueError for a number with a fraction, or none, or infinite."""
    if not (math.isfinite(value) and value == int(value)):
        raise ValueError(f"{name} must be a whole number, not {value}")


def count(name: str, value: float) -> None:
    """Raises ValueError for what is no whole number of at least 1."""
    if not (math.isfinite(value) and value == int(value) and value >= 1):
        raise ValueError(f"{name} must be a whole number of at least 1, not {value}")


def positive(name: str, value: float) -> None:
    """Raises ValueError for a number that is not positive, or none."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, not {value}")


def at_least(name: str, value: float, least: float) -> None:
    """Raises ValueError for a number below `least`, or none."""
    if not least <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least {least}, not {value}")


def probability(name: str, value: float) -> None:
    """Raises ValueError for a number outside of 0 ... 1, or none."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in 0 ... 1, not {value}")


def shown(values: np.ndarray) -> str:
    """Returns at most eight of the numbers as text, on one line."""
    flat = values.ravel()
    return ", ".join(f"{x:g}" for x in flat[:8]) + (", ..." if flat.size > 8 else "")


def finite(name: str, value: float) -> None:
    """Raises ValueError for a number that is none, or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value}")
