import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import replay


def test_keeps_the_newest():
    buffer = replay.init(jnp.float32(0), capacity=5)
    add = jax.jit(replay.add)
    for i in range(4):
        buffer = add(buffer, jnp.array([2.0 * i, 2.0 * i + 1]))
        newest = set(range(max(0, 2 * i - 3), 2 * i + 2))
        assert set(buffer.data[: buffer.size].tolist()) == newest
    assert (buffer.size, buffer.cursor) == (5, 3)


def test_rows_of_all_fields_stay_together():
    item = {"obs": jnp.zeros(2), "action": jnp.int32(0)}
    buffer = replay.init(item, capacity=7)
    for i in range(0, 12, 3):
        actions = jnp.arange(i, i + 3)
        obs = jnp.stack([actions, -actions], 1).astype(jnp.float32)
        buffer = replay.add(buffer, {"obs": obs, "action": actions})
    batch = replay.sample(buffer, jax.random.key(0), 50)
    assert batch["action"].dtype == jnp.int32
    np.testing.assert_array_equal(batch["obs"][:, 0], batch["action"])
    np.testing.assert_array_equal(batch["obs"][:, 1], -batch["action"])


def test_sees_only_written_rows():
    buffer = replay.add(replay.init(jnp.float32(0), capacity=100), jnp.ones(3))
    assert replay.sample(buffer, jax.random.key(0), 1000).min() == 1.0


def test_draws_uniformly():
    """n = 10,000 over 10 rows: chi-square with 9 degrees exceeds 33.7 once in 10,000 runs."""
    buffer = replay.add(replay.init(jnp.int32(0), capacity=16), jnp.arange(10))
    counts = np.bincount(replay.sample(buffer, jax.random.key(1), 10_000), minlength=10)
    assert ((counts - 1000) ** 2 / 1000).sum() < 33.7


def test_more_items_than_rows_are_refused():
    with pytest.raises(ValueError, match="3 items do not fit into a buffer of 2 rows"):
        replay.add(replay.init(jnp.float32(0), capacity=2), jnp.ones(3))


def test_seeds_have_their_own_buffers():
    many = jax.vmap(lambda _: replay.init(jnp.float32(0), 4))(jnp.arange(2))
    many = jax.vmap(replay.add)(many, jnp.array([[1.0], [2.0]]))
    np.testing.assert_array_equal(many.data[:, 0], [1.0, 2.0])
