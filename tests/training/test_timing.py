"""Work that is timed in turn, cores, exponents and crossovers."""

import contextlib
import os
import pathlib
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.errors import Stopped
from dl_lectures.training import signals, timing
from dl_lectures.training.options import Options


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only pass when a work says so."""
    now = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def takes(*durations):
        """A work that takes these seconds in turn."""
        queue = iter(durations)

        def run():
            now[0] += next(queue)

        return run

    return takes


def test_medians_of_rounds_in_turn(clock, tmp_path):
    options = Options(workdir=str(tmp_path), seed=5, num_seeds=2, steps=3)
    runs = {  # two runs to warm up in the first round, one in the second; then three samples
        "a": clock(9.0, 0.1, 1.0, 7.0, 2.0, 9.0, 3.0, 3.0, 5.0),
        "b": clock(9.0, 0.1, 0.1, 0.2, 0.3, 9.0, 0.4, 0.4, 0.4),
    }
    seeds, order = [], []

    def works_of(seed):
        seeds.append(seed)
        return {
            name: timing.Work(lambda name=name: (order.append(name), runs[name]())) for name in runs
        }

    found = timing.in_turn(works_of, options)
    assert seeds == [5, 6]
    np.testing.assert_allclose(found["a"], [2.0, 3.0])
    np.testing.assert_allclose(found["b"], [0.2, 0.4])
    assert "".join(order) == "aabb" + "ab" * 3 + "ab" + "ab" * 3


def test_short_work_is_repeated_and_counted_once(clock, tmp_path):
    options = Options(workdir=str(tmp_path), num_seeds=1, steps=1)
    calls = []
    short = clock(*[3e-4] * 100)
    work = timing.Work(lambda: (calls.append(1), short()))
    found = timing.in_turn(lambda seed: {"short": work}, options)
    assert len(calls) == 2 + 4  # a millisecond or more
    np.testing.assert_allclose(found["short"], [3e-4])


def test_what_is_prepared_is_used_once_and_not_timed(clock, tmp_path):
    options = Options(workdir=str(tmp_path), num_seeds=1, steps=2)
    prepare, run = clock(*[50.0] * 4), clock(*[1e-6] * 4)
    arguments, used = iter(range(4)), []
    work = timing.Work(
        lambda argument: (used.append(argument), run()),
        prepare=lambda: (prepare(), next(arguments))[1],
    )
    found = timing.in_turn(lambda seed: {"work": work}, options)
    assert used == [0, 1, 2, 3]
    np.testing.assert_allclose(found["work"], [1e-6], rtol=1e-3)


def test_a_signal_stops(monkeypatch, tmp_path):
    monkeypatch.setattr(signals, "received", lambda: True)
    with pytest.raises(Stopped, match="continues"):
        timing.in_turn(
            lambda seed: {"work": timing.Work(lambda: None)}, Options(workdir=str(tmp_path))
        )


def test_all_threads_are_held_on_cores_and_let_go():
    before = os.sched_getaffinity(0)
    core = {max(before)}
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with contextlib.suppress(KeyError), timing.on_cores(core):
            for task in pathlib.Path("/proc/self/task").iterdir():
                assert os.sched_getaffinity(int(task.name)) == core
            raise KeyError
        for tid in (0, thread.native_id):
            assert os.sched_getaffinity(tid) == before
    finally:
        done.set()
        thread.join()


def test_without_compile_cache_nothing_is_read_or_written(monkeypatch, tmp_path):
    from jax.experimental.compilation_cache import compilation_cache

    directory = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    compilation_cache.reset_cache()
    try:
        with timing.without_compile_cache():
            jax.jit(lambda x: jnp.sin(x) + 3).lower(1.0).compile()
        assert not list(tmp_path.iterdir())
        jax.jit(lambda x: jnp.sin(x) + 3).lower(1.0).compile()
        assert list(tmp_path.iterdir())  # so the cache works, and works again
    finally:
        jax.config.update("jax_compilation_cache_dir", directory)
        compilation_cache.reset_cache()


def test_exponent():
    sizes = [2, 4, 8, 16]
    costs = np.stack([np.power(sizes, 1.5), 7 * np.power(sizes, -0.5)], axis=1)
    np.testing.assert_allclose(timing.exponent(sizes, costs), [1.5, -0.5])


def test_crossover():
    sizes = [1, 10, 100, 1000]
    theirs = np.array([1.0, 10.0, 100.0, 1000.0])  # in proportion
    ours = np.full(4, 30.0)  # a constant: equal at 30
    assert timing.crossover(sizes, ours, theirs) == pytest.approx(30.0)
    assert timing.crossover(sizes, np.full(4, 0.5), theirs) == 1.0
    assert timing.crossover(sizes, np.full(4, 2000.0), theirs) == np.inf
    # Who wins, loses and wins again has crossed over for good the second time.
    again = np.array([0.5, 0.5, 1000.0, 100.0])
    assert timing.crossover(sizes, again, theirs) == pytest.approx(10**2.5)


def test_rest_is_not_timed(tmp_path):
    options = Options(workdir=str(tmp_path), num_seeds=1, steps=1)
    work = timing.Work(lambda: None, within=lambda: timing.then_rest(0.05))
    assert timing.in_turn(lambda seed: {"work": work}, options)["work"][0] < 0.01
