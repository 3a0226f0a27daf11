"""Experiments that are made of several runs."""

import dataclasses
import functools
import importlib.util
import pathlib

import numpy as np
import pytest

from dl_lectures.errors import Stopped
from dl_lectures.reporting import results
from dl_lectures.training import signals, trainer
from dl_lectures.training.options import Options
from experiments import common

_SPEC = importlib.util.spec_from_file_location("toy", pathlib.Path(__file__).with_name("toy.py"))
toy = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(toy)


def work(rate, options):
    target = np.arange(4, dtype=np.float32)
    trained = trainer.train(toy.make(toy.Config(rate=rate)), options, target, target)
    return results.make("toy", (0,), options, trained, trained.evaluation)


def run(workdir, **changes):
    options = Options(
        workdir=str(workdir),
        num_seeds=2,
        steps=60,
        log_every=10,
        eval_every=30,
        checkpoint_every=30,
    )
    works = {name: functools.partial(work, rate) for name, rate in (("slow", 0.01), ("fast", 0.1))}
    return common.run_parts(dataclasses.replace(options, **changes), works)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, run(workdir)


def test_parts_are_joined(whole):
    workdir, parts = whole
    assert list(parts.found) == ["slow", "fast"] and parts.step == 60
    assert (
        parts.found["slow"].metrics["distance"].mean > parts.found["fast"].metrics["distance"].mean
    )
    for name, seconds in parts.seconds.items():
        assert seconds == pytest.approx(
            sum(p.seconds[name] for p in parts.found.values()), abs=2e-3
        )
    metrics = parts.metrics(["fast"])
    assert metrics.keys() == {"fast/distance"} < parts.metrics().keys()
    np.testing.assert_array_equal(
        metrics["fast/distance"], parts.found["fast"].metrics["distance"].per_seed
    )
    curves = results.read_curves(workdir)
    assert {"slow/loss", "fast/loss", "slow/eval/distance"} <= curves.keys()
    of_part = results.read_curves(workdir / "parts" / "fast")["loss"]
    np.testing.assert_array_equal(curves["fast/loss"].values, of_part.values)
    np.testing.assert_array_equal(curves["fast/loss"].steps, of_part.steps)


def test_stopped_in_its_second_part_it_continues_there(tmp_path, whole, monkeypatch, capsys):
    is_told = lambda: (tmp_path / "parts" / "fast").exists()
    monkeypatch.setattr(signals, "received", is_told)
    with pytest.raises(Stopped, match="parts/fast"):
        run(tmp_path)
    monkeypatch.undo()
    capsys.readouterr()
    parts = run(tmp_path)
    said = capsys.readouterr().out
    assert "part 1 of 2" not in said and "part 2 of 2: fast" in said
    assert parts.state_sha256 == whole[1].state_sha256
    log = (tmp_path / "metrics.jsonl").read_bytes()
    assert log == (whole[0] / "metrics.jsonl").read_bytes()


def test_a_signal_is_seen_between_parts_that_are_too_short_to_ask(tmp_path, monkeypatch):
    """In a part of a single block nobody asks: Ctrl-C once waited for the last part."""
    begun = []

    def work(name, options):
        begun.append(name)
        return common.Results(*("toy", (0,), "smoke", 0, 2, 1, {}, {}), state_sha256=name)

    works = {name: functools.partial(work, name) for name in ("first", "second")}
    options = Options(workdir=str(tmp_path), num_seeds=2, steps=1)
    monkeypatch.setattr(signals, "received", lambda: bool(begun))
    with pytest.raises(Stopped, match="parts/second; .* the same command continues"):
        common.run_parts(options, works)
    monkeypatch.undo()
    common.run_parts(options, works)
    assert begun == ["first", "second"]


def test_numbers_with_commas():
    config = dataclasses.make_dataclass("C", [("lags", str), ("gaps", str)])("3,1", "")
    assert common.numbers_of(config, "lags") == [3, 1]
    assert common.numbers_of(config, "gaps", float) == []
    for bad in ("3,x", "3,,1", ","):
        with pytest.raises(ValueError, match=f"^--lags must be numbers with commas .*'{bad}'$"):
            common.numbers_of(dataclasses.replace(config, lags=bad), "lags")


def test_more_steps_continue_every_part(tmp_path, whole):
    run(tmp_path, steps=30)
    parts = run(tmp_path)
    assert parts.state_sha256 == whole[1].state_sha256
    assert {part.steps for part in parts.found.values()} == {60}


def test_a_damaged_part_is_made_again(tmp_path, whole):
    run(tmp_path)
    path = tmp_path / "parts" / "slow" / "results.json"
    path.write_bytes(path.read_bytes()[:50])
    assert run(tmp_path).state_sha256 == whole[1].state_sha256


def test_the_hash_is_of_all_parts(tmp_path, whole):
    assert run(tmp_path, seed=1).state_sha256 != whole[1].state_sha256
