import pathlib
import random
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from dl_lectures.errors import UsageError
from dl_lectures.training import checkpoint

# Tensorstore's callbacks outlive the event loop in which orbax read a file that is not there.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class State(NamedTuple):
    params: dict
    key: jax.Array
    t: jax.Array
    done: jax.Array


@pytest.fixture
def state():
    params = {"w": jnp.arange(600.0).reshape(20, 30), "b": jnp.ones(3, jnp.bfloat16)}
    keys = jax.random.split(jax.random.key(7), 2)
    return State(params, keys, jnp.int32(5), jnp.array([True, False]))


def template_of(state):
    sharding = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)


def save(directory, state, steps):
    with checkpoint.Checkpoints(directory, keep=3) as checkpoints:
        for step in steps:
            tree = state._replace(t=jnp.int32(step))
            checkpoints.save(step, checkpoint.to_host(tree), {"seconds": step / 2})


def restore(directory, state):
    with checkpoint.Checkpoints(directory, keep=3) as checkpoints:
        return checkpoints.restore(template_of(state))


def array_files(directory):
    return [p for p in directory.rglob("*") if p.parent.name == "d" and p.stat().st_size > 100]


def test_everything_comes_back_as_it_was(tmp_path, state):
    save(tmp_path, state, [3, 4])
    restored = restore(tmp_path, state)
    assert (restored.step, restored.notes) == (4, {"seconds": 2.0})
    back = checkpoint.from_host(restored.tree, template_of(state))
    expected = state._replace(t=jnp.int32(4))
    assert jax.tree.map(lambda x: x.dtype, back) == jax.tree.map(lambda x: x.dtype, expected)
    assert checkpoint.sha256(checkpoint.to_host(back)) == checkpoint.sha256(
        checkpoint.to_host(expected)
    )
    assert jax.random.bits(back.key[1]) == jax.random.bits(state.key[1])


def test_keeps_the_newest(tmp_path, state):
    save(tmp_path, state, [1, 2, 3, 4, 5])
    assert sorted(int(p.name) for p in tmp_path.iterdir()) == [3, 4, 5]


def test_nothing_to_restore(tmp_path, state):
    assert restore(tmp_path, state) is None


def flip_a_byte(path, rng):
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def truncate(path, rng):
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, lambda path, rng: path.unlink()])
def test_damaged_arrays_are_named_and_the_one_before_is_used(tmp_path, state, damage):
    """Orbax alone returns some flipped bytes as data."""
    save(tmp_path / "checkpoints", state, [1, 2])
    rng = random.Random(0)
    for path in array_files(tmp_path / "checkpoints" / "2"):
        damage(path, rng)
    with pytest.warns(UserWarning, match="checkpoint 2 is damaged"):
        restored = restore(tmp_path / "checkpoints", state)
    assert restored.step == 1 and restored.tree.t == 1
    assert (tmp_path / "damaged" / "2").is_dir()  # nothing is deleted


@pytest.mark.parametrize("content", [None, "", "{", '{"sha256": "0"}'])
def test_damaged_description(tmp_path, state, content):
    save(tmp_path / "checkpoints", state, [1, 2])
    path = tmp_path / "checkpoints" / "2" / "meta" / "metadata"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.warns(UserWarning, match="checkpoint 2 is damaged"):
        assert restore(tmp_path / "checkpoints", state).step == 1


def test_all_damaged_is_a_new_start(tmp_path, state):
    save(tmp_path / "checkpoints", state, [1])
    for path in array_files(tmp_path / "checkpoints"):
        path.unlink()
    with pytest.warns(UserWarning, match="checkpoint 1 is damaged"):
        assert restore(tmp_path / "checkpoints", state) is None
    save(tmp_path / "checkpoints", state, [1])  # the name is free again
    assert restore(tmp_path / "checkpoints", state).step == 1


def test_another_structure_is_refused_not_set_aside(tmp_path, state):
    save(tmp_path, state, [1])
    other = state._replace(params={"w": jnp.ones((20, 31)), "b": state.params["b"]})
    with pytest.raises(UsageError, match=r"params\.w is \[\[20, 30\].*now"):
        restore(tmp_path, other)
    assert restore(tmp_path, state).step == 1


def test_an_interrupted_save_is_cleared_away(tmp_path, state):
    save(tmp_path, state, [1])
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
    assert restore(tmp_path, state).step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write checkpoints"):
        checkpoint.Checkpoints(tmp_path / "file" / "checkpoints", keep=1)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, state, monkeypatch):
    save(tmp_path, state, [1])
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=3)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", full)
    with pytest.raises(UsageError, match="No space left on device.*already there are intact"):
        checkpoints.save(2, checkpoint.to_host(state), {})
    assert restore(tmp_path, state).step == 1


def test_to_host_is_a_copy(state):
    """On CPU a view would show what the donated buffer is used for next."""
    array = jnp.arange(100.0)
    host = checkpoint.to_host(array)
    jax.jit(lambda x: x + 1, donate_argnums=0)(array).block_until_ready()
    np.testing.assert_array_equal(host, np.arange(100.0))


def test_sha256_sees_values_types_and_shapes():
    x = np.arange(6, dtype=np.float32)
    others = [x.astype(np.int32), x.reshape(2, 3), x + np.float32(1e-7), x[::-1].copy()]
    hashes = {checkpoint.sha256([y]) for y in (x, *others)}
    assert len(hashes) == 5
    assert checkpoint.sha256([x[::-1][::-1]]) == checkpoint.sha256([x])


def test_directories_may_be_relative(tmp_path, state, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(pathlib.Path("here"), state, [1])
    assert (tmp_path / "here" / "1").is_dir()
