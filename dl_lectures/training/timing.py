"""Seconds as what is measured: work that is timed in turn, and exponents of growth.

Other work on a machine slows all that is timed at that moment. So the works of an experiment are
timed one after the other, again and again, and medians are taken.

In an experiment on seconds a seed is one round: it has random inputs of its own, which do not
change how long the work takes, and in it each work is timed --steps times in turn with the others;
the median of these is the seed's value. Intervals over seeds are thus intervals over rounds: they
tell how well this machine was measured while it ran, and nothing of other machines. Nothing is
trained, so log_every, eval_every and checkpoint_every have no meaning.
"""

import contextlib
import itertools
import math
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from dl_lectures.training import signals
from dl_lectures.training.options import Options

_LEAST_SECONDS = 1e-3  # shorter work is repeated so long, as a clock and a call take time, too


class Work(NamedTuple):
    """What is timed."""

    run: Callable[..., Any]  # to its end: it waits for the device
    # Makes an argument of `run` that serves only once; not timed.
    prepare: Callable[[], Any] | None = None
    # Surroundings in which `run` is timed, such as `on_cores`.
    within: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext


def in_turn(
    works_of: Callable[[int], Mapping[str, Work]], options: Options
) -> dict[str, np.ndarray]:
    """Times works in rounds, one round a seed.

    Args:
      works_of: from a seed to its works, the same names for each.
      options: `seed` and `num_seeds` are those of the rounds; in a round each work is timed `steps`
        times.

    Returns:
      Seconds of one run of each work, medians of the rounds, float64 [S] by name.

    Raises:
      Stopped: a signal came.
    """
    rounds = []
    for seed in range(options.seed, options.seed + options.num_seeds):
        works = works_of(seed)
        # The very first run compiles, and the first of each round fills buffers.
        counts = {name: _warm_up(work, 1 if rounds else 2) for name, work in works.items()}
        samples: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(options.steps):
            signals.stop_if_received(options.workdir)
            for name, work in works.items():
                samples[name].append(_time(work, counts[name]))
        rounds.append({name: statistics.median(values) for name, values in samples.items()})
    return {name: np.array([of_round[name] for of_round in rounds]) for name in rounds[0]}


def _warm_up(work: Work, times: int) -> int:
    """Runs a work and returns how many runs make a sample."""
    for _ in range(times):
        seconds = _time(work, 1)
    return 1 if work.prepare else max(1, math.ceil(_LEAST_SECONDS / seconds))


def _time(work: Work, count: int) -> float:
    """Mean seconds of `count` runs."""
    arguments = (work.prepare(),) if work.prepare else ()
    with work.within():
        start = time.perf_counter()
        for _ in range(count):
            work.run(*arguments)
        return (time.perf_counter() - start) / count


@contextlib.contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Holds all threads of this process on some CPU cores (Linux)."""
    before = os.sched_getaffinity(0)
    _move_threads(itertools.repeat(cores))
    try:
        yield
    finally:
        # Left to itself the scheduler takes a while to spread threads that sit on one core.
        _move_threads({core} for core in itertools.cycle(sorted(before)))
        _move_threads(itertools.repeat(before))


def _move_threads(places: Iterable[Collection[int]]) -> None:
    threads = sorted(int(path.name) for path in pathlib.Path("/proc/self/task").iterdir())
    for thread, cores in zip(threads, places, strict=False):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(thread, cores)


@contextlib.contextmanager
def then_rest(seconds: float) -> Iterator[None]:
    """Sleeps after what is timed, for threads that go on for a while although it is done."""
    yield
    time.sleep(seconds)


@contextlib.contextmanager
def without_compile_cache() -> Iterator[None]:
    """Compiles anew what is compiled within, whatever lies in the persistent cache."""
    from jax.experimental.compilation_cache import compilation_cache

    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # whether there is a cache is asked once, and again after this
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def exponent(sizes: ArrayLike, costs: ArrayLike) -> np.ndarray:
    """The power of its size with which a cost grows: the slope in a doubly logarithmic plot.

    Args:
      sizes: [N], positive, two or more different ones.
      costs: [N, ...], positive.

    Returns:
      The slopes by least squares, float64 [...].
    """
    log_sizes = np.log(np.asarray(sizes, np.float64))
    log_sizes = log_sizes - log_sizes.mean()
    log_costs = np.log(np.asarray(costs, np.float64))
    return np.tensordot(log_sizes, log_costs, axes=1) / (log_sizes @ log_sizes)


def crossover(sizes: ArrayLike, ours: ArrayLike, theirs: ArrayLike) -> float:
    """The size from which on `ours` takes less time than `theirs`, up to the greatest size.

    Between two sizes, by straight lines in a doubly logarithmic plot.

    Args:
      sizes: [N], increasing.
      ours: seconds, [N].
      theirs: seconds, [N].

    Returns:
      The size; the smallest one if ours always wins, infinity if it does not win at the greatest.
    """
    sizes = np.asarray(sizes, np.float64)
    lead = np.log(np.asarray(theirs, np.float64)) - np.log(np.asarray(ours, np.float64))
    behind = np.flatnonzero(lead <= 0)
    if not behind.size:
        return float(sizes[0])
    last = behind[-1]
    if last == len(sizes) - 1:
        return float("inf")
    share = -lead[last] / (lead[last + 1] - lead[last])
    return float(sizes[last] * (sizes[last + 1] / sizes[last]) ** share)
