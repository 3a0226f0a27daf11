import collections

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


def test_the_ring_is_a_queue():
    """Against a deque, through several rounds of a ring, with pieces of random sizes."""
    rng = np.random.default_rng(0)
    buffer, queue = replay.init(jnp.int32(0), capacity=7), collections.deque(maxlen=7)
    for _ in range(30):
        items = rng.integers(1000, size=rng.integers(1, 5))
        buffer = replay.add(buffer, jnp.array(items, jnp.int32))
        queue.extend(items.tolist())
        oldest_first = (buffer.cursor - buffer.size + np.arange(buffer.size)) % 7
        assert buffer.data[oldest_first].tolist() == list(queue)


def prioritised(priorities, capacity):
    """A buffer whose row i holds i and has priority i."""
    empty = replay.prioritise(replay.init(jnp.int32(0), capacity))
    rows = jnp.arange(len(priorities))
    filled = replay.add_prioritised(empty, rows)
    return replay.set_priorities(filled, rows, jnp.array(priorities, jnp.float32))


@pytest.mark.parametrize("capacity", [10, 37, 300])
def test_draws_by_priority(capacity):
    """n = 10,000 single draws: chi-square with 9 degrees exceeds 33.7 once in 10,000 runs."""
    buffer = prioritised(np.arange(1, 11), capacity)
    keys = jax.random.split(jax.random.key(0), 10_000)
    items, rows, chances = jax.vmap(lambda key: replay.sample_prioritised(buffer, key, 1))(keys)
    expected = 10_000 * np.arange(1, 11) / 55
    counts = np.bincount(rows[:, 0], minlength=10)
    assert ((counts - expected) ** 2 / expected).sum() < 33.7
    np.testing.assert_array_equal(items, rows)
    np.testing.assert_allclose(chances, (rows + 1) / 55, rtol=1e-6)


def test_a_batch_is_spread_evenly():
    """One draw from each 1,000th of the sum: a row's count misses its share by less than 2."""
    buffer = prioritised(np.arange(1, 11), 16)
    _, rows, chances = replay.sample_prioritised(buffer, jax.random.key(0), 1_000)
    counts = np.bincount(rows, minlength=10)
    assert (np.abs(counts - 1_000 * np.arange(1, 11) / 55) < 2).all()
    np.testing.assert_allclose(chances, (rows + 1) / 55, rtol=1e-6)


def test_rows_without_priority_are_never_drawn():
    """Written rows of priority 0 and unwritten ones, among numbers that add up inexactly."""
    priorities = np.where(np.arange(150) % 3 == 0, 0.1 * np.arange(150) ** 2, 0.0)
    buffer = prioritised(priorities, 200)
    _, rows, chances = replay.sample_prioritised(buffer, jax.random.key(0), 20_000)
    assert (priorities[rows] > 0).all()
    assert (chances > 0).all()


def test_the_tree_holds_sums():
    """After 50 rounds of writing over old rows and changing others, some of them twice."""
    rng = np.random.default_rng(0)
    buffer = replay.prioritise(replay.init(jnp.int32(0), 70))
    add, change = jax.jit(replay.add_prioritised), jax.jit(replay.set_priorities)
    expected, written = np.zeros(70), 0
    largest = 1.0
    for _ in range(50):
        buffer = add(buffer, jnp.arange(3))
        expected[np.arange(written, written + 3) % 70] = largest
        written += 3
        rows = rng.integers(min(written, 70), size=8)
        values = np.float32(rng.exponential(size=70))[rows]
        buffer = change(buffer, jnp.array(rows), jnp.array(values))
        expected[rows] = values
        largest = max(largest, values.max())
    np.testing.assert_allclose(buffer.sums[0][:70], expected, rtol=1e-6)
    assert (buffer.sums[0][70:] == 0).all()
    for below, above in zip(buffer.sums, buffer.sums[1:], strict=False):
        groups = np.asarray(below).reshape(-1, 16).sum(1)
        np.testing.assert_allclose(above[: len(groups)], groups, rtol=1e-5)
    np.testing.assert_allclose(buffer.largest, largest)


def test_one_row_is_always_drawn():
    buffer = prioritised([2.0], 1)
    _, rows, chances = replay.sample_prioritised(buffer, jax.random.key(0), 4)
    assert (rows == 0).all() and (chances == 1).all()
