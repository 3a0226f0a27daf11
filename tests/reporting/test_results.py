"""Results come back as they were written, whole or not at all, in JSON that any reader takes."""

import json
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dl_lectures
from dl_lectures import errors
from dl_lectures.reporting import claims, files, results

OPTIONS = types.SimpleNamespace(preset="smoke", seed=3, num_seeds=2)
TRAINED = types.SimpleNamespace(
    step=np.int32(100),
    seconds={"compile": 1.0, "train": 2.0, "evaluate": 0.5},
    state_sha256="ab" * 32,
)


def make(**changes):
    kwargs = {
        "metrics": {"loss_nats": jnp.array([1.0, 2.0])},
        "extra": {"text": "朝ごはん", "bad": [float("nan"), np.inf], "array": np.arange(2)},
        "arrays": {"image": np.eye(2, dtype=np.float32)},
    }
    found = results.make("word_order", (5, 6), OPTIONS, TRAINED, **(kwargs | changes))
    claim = claims.at_most(
        id="order",
        slides=(6,),
        statement_en="Order matters.",
        statement_ja="順序は大切だ。",
        statistic="loss (nats)",
        per_seed=[1.0, 2.0],
        threshold=9.0,
    )
    return results.dataclasses.replace(found, claims=(claim,))


def test_results_come_back_as_they_were_written(tmp_path):
    written = make(extra={"text": "朝ごはん", "list": [1, 2.5, None, True]})
    written.write(tmp_path / "new" / "directory")
    read = results.Results.read(tmp_path / "new" / "directory")
    np.testing.assert_array_equal(read.arrays["image"], written.arrays["image"])
    assert read.arrays["image"].dtype == np.float32
    arrays = {"arrays": {}}
    assert results.dataclasses.replace(read, **arrays) == results.dataclasses.replace(
        written, **arrays
    )


def test_file_has_exactly_the_promised_keys_in_strict_json(tmp_path):
    make().write(tmp_path)
    refuse = {"parse_constant": lambda name: pytest.fail(f"{name} is not JSON")}
    document = json.loads((tmp_path / "results.json").read_text("utf-8"), **refuse)
    assert list(document) == [
        *("experiment", "slides", "preset", "seed", "num_seeds", "steps", "seconds", "metrics"),
        *("claims", "state_sha256", "versions", "extra"),
    ]
    assert document["steps"] == 100
    assert document["slides"] == [5, 6]
    assert list(document["seconds"]) == ["compile", "train", "evaluate"]
    assert list(document["metrics"]["loss_nats"]) == ["mean", "ci95", "per_seed"]
    assert document["metrics"]["loss_nats"]["per_seed"] == [1.0, 2.0]
    assert list(document["claims"][0]) == [
        *("id", "slides", "statement_en", "statement_ja", "statistic", "value", "ci95"),
        *("threshold", "verdict"),
    ]
    assert document["extra"] == {"text": "朝ごはん", "bad": [None, None], "array": [0, 1]}
    assert "朝ごはん" in (tmp_path / "results.json").read_text("utf-8")  # readable, not escaped


def test_same_results_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        make().write(tmp_path / name)
    for name in ("results.json", "results.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_metric_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match=r"The metric loss: .* seeds: 1"):
        make(metrics={"loss": [0.0, np.nan]})


def test_metric_without_a_value_for_each_seed_is_named():
    with pytest.raises(ValueError, match="The metric loss has the shape"):
        make(metrics={"loss": [0.0, 1.0, 2.0]})


def test_object_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(TypeError, match="of type object"):
        make(extra={"x": object()}).write(tmp_path)


def test_missing_results_say_what_to_do(tmp_path):
    with pytest.raises(errors.UsageError, match=r"No results\.json in .*: run the experiment"):
        results.Results.read(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "results.npz"])
@pytest.mark.parametrize("keep", [0, 60])
def test_truncated_results_say_what_to_do(tmp_path, name, keep):
    make().write(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(errors.UsageError, match="Cannot read the results"):
        results.Results.read(tmp_path)


def test_failed_write_is_one_line_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = files.write_atomically(tmp_path / "x", b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(errors.UsageError, match="No space left on device") as error:
        files.write_atomically(path, b"new")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]  # no temporary file is left


def test_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UsageError, match="Cannot write"):
        files.write_atomically(tmp_path / "file" / "x", b"")


def test_versions_name_what_the_numbers_depend_on():
    found = results.versions()
    assert found["jax"] == jax.__version__
    assert found["numpy"] == np.__version__
    assert found["dl_lectures"] == dl_lectures.__version__
    assert found["device_kind"] == "cpu"
    assert set(found) == {
        *("python", "dl_lectures", "jax", "jaxlib", "numpy", "git_commit", "device_kind")
    }


def test_git_commit_is_of_our_files_or_none(monkeypatch, tmp_path):
    git = results.subprocess.run
    run = {"check": True, "capture_output": True}
    package = tmp_path / "clone" / "dl_lectures" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.touch()
    monkeypatch.setattr(results.dl_lectures, "__file__", str(package))
    assert results._git_commit() is None  # no clone
    at = ["git", "-C", str(package.parents[1])]
    git([*at, "init"], **run)
    assert results._git_commit() is None  # no commit yet
    git([*at, "add", "."], **run)
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    git([*at, *author, "commit", "-m", "x"], **run)
    commit = git([*at, "rev-parse", "HEAD"], **run).stdout.decode().strip()
    assert results._git_commit() == commit
    package.write_text("x = 1\n")
    assert results._git_commit() == f"{commit}-dirty"
    package.parents[1].joinpath(".git").rename(tmp_path / ".git")  # a clone of something else
    assert results._git_commit() is None


def write_rows(directory: pathlib.Path, *rows, tail: str = "") -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (directory / "metrics.jsonl").write_text(lines + tail)


def test_curves_have_their_own_steps_and_one_column_a_seed(tmp_path):
    write_rows(
        tmp_path,
        {"step": 10, "seed": 4, "loss": 1.0},
        {"step": 10, "seed": 3, "loss": 2.0},
        {"step": 20, "seed": 3, "loss": 3.0, "eval/loss": 7.0},
        {"step": 20, "seed": 4, "loss": None, "eval/loss": 8.0},
    )
    curves = results.read_curves(tmp_path)
    assert list(curves) == ["loss", "eval/loss"]
    np.testing.assert_array_equal(curves["loss"].steps, [10, 20])
    np.testing.assert_array_equal(curves["loss"].values, [[2.0, 1.0], [3.0, np.nan]])
    np.testing.assert_array_equal(curves["eval/loss"].steps, [20])
    np.testing.assert_array_equal(curves["eval/loss"].values, [[7.0, 8.0]])


@pytest.mark.parametrize("tail", ["", '{"step": 20, "se', '{"step": 20, "seed": 1, "loss": 4.0}'])
def test_curves_leave_out_a_step_that_was_being_written(tmp_path, tail):
    rows = [{"step": 10, "seed": s, "loss": float(s)} for s in (0, 1)]
    write_rows(tmp_path, *rows, {"step": 20, "seed": 0, "loss": 2.0}, tail=tail)
    curve = results.read_curves(tmp_path)["loss"]
    np.testing.assert_array_equal(curve.steps, [10])
    np.testing.assert_array_equal(curve.values, [[0.0, 1.0]])


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"step": 1}', '{"step": 1, "seed": 0, "x": {}}'])
def test_damaged_line_in_the_middle_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "seed": 0, "x": 1.0}}\n{line}\n')
    with pytest.raises(errors.UsageError, match=r"Line 2 of .*metrics\.jsonl is damaged"):
        results.read_curves(tmp_path)


def test_missing_curves_say_what_to_do(tmp_path):
    with pytest.raises(errors.UsageError, match="run the experiment first"):
        results.read_curves(tmp_path)
