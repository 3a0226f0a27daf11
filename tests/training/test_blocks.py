"""A fold over blocks that is stopped and continued gives what an undisturbed one gives."""

from typing import NamedTuple

import numpy as np
import pytest

from dl_lectures.errors import Stopped, UsageError
from dl_lectures.training import blocks, signals
from dl_lectures.training.options import Options

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Tally(NamedTuple):
    sums: np.ndarray
    counts: np.ndarray


def empty():
    return Tally(np.zeros((2, 3)), np.zeros(2, np.int64))


class Work:
    """A fold whose result depends on the order of its blocks and on every bit of the tally."""

    def __init__(self, stop_after=None, monkeypatch=None):
        self.blocks = []
        if stop_after is not None:
            monkeypatch.setattr(signals, "received", lambda: len(self.blocks) == stop_after)

    def __call__(self, block, tally):
        self.blocks.append(block)
        tally.sums[:] = tally.sums / 3 + block + np.arange(3.0)
        tally.counts[block % 2] += 2**40
        return tally


def fold(workdir, work, num_blocks=5, name="fold", start=None):
    options = Options(workdir=str(workdir))
    return blocks.fold(work, start or empty(), num_blocks, options, name)


def test_stopped_and_continued_is_the_same_to_the_bit(tmp_path, monkeypatch, capsys):
    whole = fold(tmp_path / "whole", Work())
    first = Work(stop_after=3, monkeypatch=monkeypatch)
    with pytest.raises(Stopped, match=r"stopped after block 3 of 5; .* the same command continues"):
        fold(tmp_path / "stopped", first)
    monkeypatch.undo()
    second = Work()
    found = fold(tmp_path / "stopped", second)
    assert (first.blocks, second.blocks) == ([0, 1, 2], [3, 4])
    for a, b in zip(found.tally, whole.tally, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert "continuing at block 3 of 5" in capsys.readouterr().out
    assert set(found.seconds) == {"compile", "simulate"}


def test_a_signal_at_the_last_block_ends_the_fold(tmp_path, monkeypatch):
    found = fold(tmp_path, Work(stop_after=5, monkeypatch=monkeypatch))
    assert found.tally.counts.sum() == 5 * 2**40


def test_a_tally_of_another_shape_is_refused_and_another_name_is_not(tmp_path, monkeypatch):
    with pytest.raises(Stopped):
        fold(tmp_path, Work(stop_after=1, monkeypatch=monkeypatch))
    monkeypatch.undo()
    other = Tally(np.zeros((2, 4)), np.zeros(2, np.int64))
    with pytest.raises(UsageError, match="another version of this experiment"):
        fold(tmp_path, Work(), start=other)
    assert fold(tmp_path, Work(), name="other").tally.counts.sum() == 5 * 2**40
