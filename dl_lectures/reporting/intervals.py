"""The mean over seeds and its confidence interval."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Metric(NamedTuple):
    """One number of an experiment over its seeds."""

    mean: float
    ci95: tuple[float | None, float | None]  # of the mean; (None, None) for a single seed
    per_seed: tuple[float, ...]  # [S]


def summarise(per_seed: ArrayLike) -> Metric:
    """The mean over seeds with its 95 % interval by Student's t, S - 1 degrees of freedom.

    The interval takes the seeds' values as independent and roughly normal. Seeds that all agree
    give an interval of width zero; one seed says nothing about the spread and gives none.

    Args:
        per_seed: [S], finite.

    Raises:
        ValueError: no seed, another rank than 1, or a value that is not finite.
    """
    values = np.asarray(per_seed, np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"Expected one value a seed, [S], got the shape {values.shape}.")
    if not np.isfinite(values).all():
        seeds = ", ".join(map(str, np.flatnonzero(~np.isfinite(values))))
        raise ValueError(f"The value is not finite for these seeds: {seeds}.")
    mean = float(values.mean())
    if values.size == 1:
        return Metric(mean, (None, None), (mean,))
    from scipy import stats  # slow to import, and only the end of a run needs it

    quantile = stats.t.ppf(0.975, values.size - 1)
    half_width = float(quantile * values.std(ddof=1) / np.sqrt(values.size))
    return Metric(mean, (mean - half_width, mean + half_width), tuple(values.tolist()))


def wilson(num_successes: int, num_trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, doi:10.1080/01621459.1927.10502953.

    Unlike the mean's interval it has a width where all trials agree.

    Raises:
        ValueError: no trial, or successes outside 0 ... `num_trials`.
    """
    if not 0 <= num_successes <= num_trials or not num_trials:
        raise ValueError(f"Expected some of the trials, got {num_successes} of {num_trials}.")
    from scipy import stats  # slow to import, and only the end of a run needs it

    interval = stats.binomtest(num_successes, num_trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
