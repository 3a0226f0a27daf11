"""Functions of one variable to be learned: smooth, with kinks, with jumps, and faster and faster.

All are functions of x in [-1, 1]. Continued beyond it with period 2, some stay as smooth as they
are, and others jump at the ends; `is_periodic` says so. What a Fourier series can do depends on
that: its coefficients fall faster than any power for a smooth periodic function, like 1/k^2 for one
with kinks and like 1/k for one that jumps (Zygmund, Trigonometric Series, 1935, chapter 2).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Function(NamedTuple):
    """A function on [-1, 1]."""

    fn: Callable[[np.ndarray], np.ndarray]  # x [...] -> y [...]
    is_periodic: bool  # continuous where the ends meet


def smooth(x: ArrayLike) -> np.ndarray:
    """exp(sin(pi x)), smooth and periodic; its cosine and sine coefficients are 2 I_k(1)."""
    return np.exp(np.sin(np.pi * np.asarray(x)))


def kinked(x: ArrayLike) -> np.ndarray:
    """|x|, the triangle wave: 1/2 - sum over odd k of 4 / (pi k)^2 cos(pi k x)."""
    return np.abs(x)


def jumps(x: ArrayLike) -> np.ndarray:
    """The sign of x, the square wave: sum over odd k of 4 / (pi k) sin(pi k x)."""
    return np.sign(x)


def growth(x: ArrayLike) -> np.ndarray:
    """exp(x): as smooth as can be, but its ends do not meet."""
    return np.exp(x)


def chirp(x: ArrayLike) -> np.ndarray:
    """sin(5.6 pi (x + 1)^2): 11.2 oscillations, ever faster; its ends do not meet."""
    return np.sin(5.6 * np.pi * (np.asarray(x) + 1.0) ** 2)


FUNCTIONS = {
    "smooth": Function(smooth, is_periodic=True),
    "kinked": Function(kinked, is_periodic=True),
    "jumps": Function(jumps, is_periodic=False),
    "growth": Function(growth, is_periodic=False),
    "chirp": Function(chirp, is_periodic=False),
}


class Samples(NamedTuple):
    """Values of F functions at N points."""

    xs: np.ndarray  # [N] float64
    ys: np.ndarray  # [F, N] float64


def sample(names: Sequence[str], num_points: int) -> Samples:
    """The named functions in the middles of `num_points` equal parts of [-1, 1], without noise.

    The points of N and those of 4 N parts have none in common, nor is 0 or an end among them if N
    is even.

    Raises:
        ValueError: an unknown name.
    """
    unknown = [name for name in names if name not in FUNCTIONS]
    if unknown:
        raise ValueError(f"no function {unknown[0]!r}; there are {', '.join(FUNCTIONS)}")
    xs = (2.0 * np.arange(num_points) + 1.0) / num_points - 1.0
    return Samples(xs, np.stack([FUNCTIONS[name].fn(xs) for name in names]))
