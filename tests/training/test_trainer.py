import dataclasses
import json
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.errors import Stopped, UsageError
from dl_lectures.learner import Learner, shard_batch
from dl_lectures.training import checkpoint, devices, signals, trainer
from dl_lectures.training.options import Options

NUM_EXAMPLES, NUM_INPUTS, BATCH = 64, 5, 8


class State(NamedTuple):
    w: jax.Array  # [D]
    momentum: jax.Array  # [D]
    key: jax.Array
    t: jax.Array


def make_regression(bad_step: int = -1) -> Learner:
    """Linear regression by momentum on random minibatches; its loss at `bad_step` is NaN."""

    def init(key):
        key_w, key_run = jax.random.split(key)
        w = jax.random.normal(key_w, (NUM_INPUTS,))
        return State(w, jnp.zeros(NUM_INPUTS), key_run, jnp.int32(0))

    def loss_fn(w, xs, ys):
        return ((xs @ w - ys) ** 2).mean()

    def step(state, data):
        key = jax.random.fold_in(state.key, state.t)
        rows = jax.random.randint(key, (BATCH,), 0, NUM_EXAMPLES)
        xs, ys = shard_batch(jax.tree.map(lambda x: x[rows], data))
        loss, grads = jax.value_and_grad(loss_fn)(state.w, xs, ys)
        momentum = 0.9 * state.momentum + grads
        loss = jnp.where(state.t + 1 == bad_step, jnp.nan, loss)
        w = state.w - 0.02 * momentum
        return State(w, momentum, state.key, state.t + 1), {"loss": loss, "size": jnp.abs(w).max()}

    def evaluate(key, state, data):
        noise = jax.random.normal(key)
        return {"error": loss_fn(state.w, *data), "noise": noise}

    return Learner(init, step, evaluate)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(NUM_EXAMPLES, NUM_INPUTS)).astype(np.float32)
    return xs, xs @ np.arange(NUM_INPUTS, dtype=np.float32)


def options_in(workdir, **changes):
    options = Options(
        workdir=str(workdir),
        num_seeds=2,
        steps=60,
        log_every=7,
        eval_every=20,
        checkpoint_every=25,
    )
    return dataclasses.replace(options, **changes)


def read_rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_trains(tmp_path, data):
    trained = trainer.train(make_regression(), options_in(tmp_path, steps=200), data, data)
    assert np.median(trained.evaluation["error"]) < 1e-2
    assert trained.step == 200 and (trained.state.t == 200).all()
    assert set(trained.seconds) == {"compile", "train", "evaluate"}
    assert len(trained.state_sha256) == 64


def test_log_holds_the_means_since_the_last_line(tmp_path, data):
    """Against a loop of single steps, one seed at a time."""
    learner = make_regression()
    trainer.train(learner, options_in(tmp_path, steps=16, seed=3), data, data)
    rows = {(row["step"], row["seed"]): row for row in read_rows(tmp_path)}
    assert sorted(rows) == [(7, 3), (7, 4), (14, 3), (14, 4), (16, 3), (16, 4)]
    step = jax.jit(learner.step)
    for seed in (3, 4):
        key_init, key_evaluate = jax.random.split(jax.random.key(seed))
        state, losses = learner.init(key_init), []
        for _ in range(16):
            state, metrics = step(state, data)
            losses.append(metrics["loss"])
        np.testing.assert_allclose(rows[7, seed]["loss"], np.mean(losses[:7]), rtol=1e-4)
        np.testing.assert_allclose(rows[14, seed]["loss"], np.mean(losses[7:14]), rtol=1e-4)
        np.testing.assert_allclose(rows[16, seed]["loss"], np.mean(losses[14:]), rtol=1e-4)
        expected = learner.evaluate(jax.random.fold_in(key_evaluate, 16), state, data)
        np.testing.assert_allclose(rows[16, seed]["eval/error"], expected["error"], rtol=1e-4)
        np.testing.assert_allclose(rows[16, seed]["eval/noise"], expected["noise"], rtol=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, trainer.train(make_regression(), options_in(workdir), data, data)


@pytest.mark.parametrize("chunk_seconds", [0.0, 1e9])
def test_any_chunking_gives_the_same_bits(tmp_path, data, whole, chunk_seconds, monkeypatch):
    monkeypatch.setattr(trainer, "_CHUNK_SECONDS", chunk_seconds)
    trained = trainer.train(make_regression(), options_in(tmp_path), data, data)
    assert trained.state_sha256 == whole[1].state_sha256
    assert read_rows(tmp_path) == read_rows(whole[0])


def test_a_lengthened_run_is_the_same_run(tmp_path, data, whole):
    for steps in (22, 23, 60):
        trained = trainer.train(make_regression(), options_in(tmp_path, steps=steps), data, data)
    assert trained.state_sha256 == whole[1].state_sha256
    extra_ends = [row for row in read_rows(tmp_path) if row["step"] not in (22, 23)]
    assert extra_ends == read_rows(whole[0])


def test_a_signal_saves_and_the_same_call_continues(tmp_path, data, whole, monkeypatch):
    answers = iter([False, False, True])
    monkeypatch.setattr(signals, "received", lambda: next(answers, False))
    with pytest.raises(Stopped, match=r"stopped at step \d+ of 60.*the same command continues"):
        trainer.train(make_regression(), options_in(tmp_path), data, data)
    stopped_at = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert 0 < stopped_at < 60
    trained = trainer.train(make_regression(), options_in(tmp_path), data, data)
    assert trained.state_sha256 == whole[1].state_sha256
    assert read_rows(tmp_path) == read_rows(whole[0])


def test_a_damaged_checkpoint_costs_time_and_no_bits(tmp_path, data, whole):
    trainer.train(make_regression(), options_in(tmp_path, steps=55), data, data)
    for path in (tmp_path / "checkpoints" / "55").rglob("*"):
        if path.is_file() and path.stat().st_size > 100:
            path.write_bytes(path.read_bytes()[:-50])
    with pytest.warns(UserWarning, match="checkpoint 55 is damaged"):
        trained = trainer.train(make_regression(), options_in(tmp_path), data, data)
    assert trained.state_sha256 == whole[1].state_sha256
    assert read_rows(tmp_path) == read_rows(whole[0])


def test_finished_training_is_not_trained_again(tmp_path, data, whole):
    trainer.train(make_regression(), options_in(tmp_path), data, data)
    rows = read_rows(tmp_path)
    again = trainer.train(make_regression(), options_in(tmp_path), data, data)
    assert again.state_sha256 == whole[1].state_sha256
    np.testing.assert_array_equal(again.evaluation["error"], whole[1].evaluation["error"])
    assert read_rows(tmp_path) == rows


def test_a_run_ends_when_an_evaluation_is_enough(tmp_path, data, whole):
    asked = []

    def until(evaluation):
        asked.append(evaluation["error"].copy())
        return len(asked) >= 2

    trained = trainer.train(make_regression(), options_in(tmp_path), data, data, until=until)
    assert trained.step == 40 and len(asked) == 2  # evaluated at 20 and 40
    np.testing.assert_array_equal(trained.evaluation["error"], asked[-1])
    expected = [row for row in read_rows(whole[0]) if row["step"] <= 40]
    assert read_rows(tmp_path) == expected
    # Asked again where it ended, it goes on only for a no.
    again = trainer.train(make_regression(), options_in(tmp_path), data, data, until=until)
    assert again.step == 40 and again.state_sha256 == trained.state_sha256
    np.testing.assert_array_equal(again.evaluation["error"], trained.evaluation["error"])
    never = lambda evaluation: False
    last = trainer.train(make_regression(), options_in(tmp_path), data, data, until=never)
    assert last.step == 60 and last.state_sha256 == whole[1].state_sha256
    assert read_rows(tmp_path) == read_rows(whole[0])


def test_fewer_steps_than_trained_are_refused(tmp_path, data):
    trainer.train(make_regression(), options_in(tmp_path), data, data)
    with pytest.raises(UsageError, match="has already trained 60 steps; give --steps=60 or more"):
        trainer.train(make_regression(), options_in(tmp_path, steps=59), data, data)


def test_evaluation_changes_nothing(tmp_path, data, whole):
    trained = trainer.train(make_regression(), options_in(tmp_path, eval_every=1), data, data)
    assert trained.state_sha256 == whole[1].state_sha256


def test_a_loss_that_is_not_finite_names_step_seed_and_checkpoint(tmp_path, data):
    options = options_in(tmp_path, seed=5)
    with pytest.raises(UsageError, match=r"at step 52 of seed 5; last good.*checkpoints/50;"):
        trainer.train(make_regression(bad_step=52), options, data, data)
    assert max(row["step"] for row in read_rows(tmp_path)) <= 51


def test_a_step_without_loss_is_a_bug(tmp_path, data):
    learner = make_regression()
    without = learner._replace(step=lambda state, data: (learner.step(state, data)[0], {}))
    with pytest.raises(ValueError, match="need 'loss'"):
        trainer.train(without, options_in(tmp_path), data, data)


def test_seed_i_alone_is_seed_i_of_many(tmp_path, data):
    many = trainer.train(make_regression(), options_in(tmp_path / "many"), data, data)
    one = options_in(tmp_path / "one", seed=1, num_seeds=1)
    alone = trainer.train(make_regression(), one, data, data)
    np.testing.assert_allclose(alone.state.w[0], many.state.w[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        jax.random.key_data(alone.state.key)[0], jax.random.key_data(many.state.key)[1]
    )


@pytest.mark.parametrize("num_seeds", [1, 2, 3])
def test_one_device_and_two_agree(tmp_path, data, num_seeds):
    """Two devices share seeds, or, with one seed, its batch."""
    states = []
    for num_devices in (1, 2):
        options = options_in(
            tmp_path / str(num_devices), num_seeds=num_seeds, num_devices=num_devices
        )
        states.append(trainer.train(make_regression(), options, data, data).state)
    np.testing.assert_allclose(states[0].w, states[1].w, rtol=1e-4, atol=1e-5)


def test_one_trace(tmp_path, data):
    learner = make_regression()
    traces = []

    def step(state, data):
        traces.append(None)
        return learner.step(state, data)

    trainer.train(learner._replace(step=step), options_in(tmp_path), data, data)
    assert len(traces) <= 2  # once for the names of its metrics, once to compile


def test_mesh_spreads_seeds_first_then_batches():
    shape = lambda mesh: dict(mesh.shape)
    assert shape(devices.make_mesh(4)) == {"seed": 2, "batch": 1}
    assert shape(devices.make_mesh(1)) == {"seed": 1, "batch": 2}
    assert shape(devices.make_mesh(3)) == {"seed": 1, "batch": 2}
    assert shape(devices.make_mesh(4, num_devices=1)) == {"seed": 1, "batch": 1}
    assert shape(devices.make_mesh(1, shard_batch=False)) == {"seed": 1, "batch": 1}


def test_shard_batch_is_only_a_layout(data):
    xs = jnp.arange(12.0).reshape(6, 2)
    chex.assert_trees_all_equal(shard_batch({"x": xs}), {"x": xs})
    with jax.set_mesh(devices.make_mesh(1)):
        sharded = jax.jit(shard_batch)((xs, jnp.ones(3), jnp.float32(1)))
        assert not sharded[0].sharding.is_fully_replicated
        assert sharded[1].sharding.is_fully_replicated  # 3 rows, 2 devices
    chex.assert_trees_all_equal(sharded, (xs, jnp.ones(3), jnp.float32(1)))


def test_hash_is_of_the_state(data, whole):
    trained = whole[1]
    assert checkpoint.sha256(checkpoint.to_host(trained.state)) == trained.state_sha256
