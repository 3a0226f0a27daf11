import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.data.memory_problems import PROBLEMS
from dl_lectures.sequences import memory
from dl_lectures.sequences.cells import CELLS
from dl_lectures.training import trainer
from dl_lectures.training.options import Options


def small(**changes):
    defaults = {"lag": 10, "num_hidden": 6, "batch_size": 4}
    return memory.Config(**(defaults | changes))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_types_are_a_fixed_point_of_step(problem):
    learner = memory.make(small(problem=problem))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, ())
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert set(metrics) == {"loss", "error", "grad_norm"}


def test_keys_are_used_once():
    learner = memory.make(small())
    with jax.debug_key_reuse(True):
        jax.jit(lambda key: learner.step(learner.init(key), ()))(jax.random.key(0))


def test_loss_and_error_by_hand():
    outputs = jnp.array([[[1.0], [0.5]]])  # [K = 1, B = 2, 1]
    loss, error = memory.loss_and_error(PROBLEMS["adding"], outputs, jnp.array([[0.0, 1.0]]))
    assert (loss, error) == (0.625, 0.625)
    # Of two rows of classes, one answer in four is wrong.
    outputs = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.2, 0.6, 0.2]], 2 * [[0.1, 0.1, 0.8]]]))
    answers = jnp.array([[0, 1], [2, 0]])
    loss, error = memory.loss_and_error(PROBLEMS["temporal_order"], outputs, answers)
    np.testing.assert_allclose(loss, -np.log([0.5, 0.6, 0.8, 0.1]).mean(), rtol=1e-6)
    assert error == 0.25


def test_only_the_last_ten_answers_of_a_copy_decide():
    answers = jnp.array(20 * [[0]])
    outputs = jax.nn.one_hot(jnp.array(10 * [[1]] + 9 * [[0]] + [[1]]), 9)
    _, error = memory.loss_and_error(PROBLEMS["copy"], outputs, answers)
    np.testing.assert_allclose(error, 0.1, rtol=1e-6)


def test_answers_come_from_the_last_states():
    config = small(problem="copy", lag=3)
    params = memory.init(config, jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (23, 4, 10))
    _, hs = CELLS["lstm"].apply(params.layer, xs)
    outputs = memory.apply(config, params, xs, 5)
    expected = np.asarray(hs)[-5:] @ np.asarray(params.w_out) + np.asarray(params.b_out)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_solved_is_the_first_update_with_a_low_average_error():
    """The average over the last 2,000 sequences or so, in NumPy, of what each step reports."""
    learner = memory.make(small(lag=2, num_hidden=16, batch_size=250))
    step = jax.jit(learner.step)
    state, average, solved_at = learner.init(jax.random.key(0)), 0.0, 0
    for t in range(1, 201):
        state, metrics = step(state, ())
        average += max(250 / 2_000, 1 / t) * (float(metrics["error"]) - average)
        if not solved_at and t >= 10 and average < 0.01:
            solved_at = t
        np.testing.assert_allclose(state.error, average, rtol=1e-4)
    assert state.solved_at == solved_at and 10 < solved_at < 200
    found = learner.evaluate(jax.random.key(1), state, ())
    assert (found["solved"], found["solved_at"]) == (1.0, solved_at)


@pytest.mark.parametrize("times", [1e2, 1e30])
def test_a_seed_that_explodes_learns_nothing_and_ends_no_run(times):
    """By a gradient that is not finite, or, at 1e30, by a loss that is not."""
    learner = memory.make(small(cell="irnn"))

    def states(times):
        state = learner.init(jax.random.key(0))
        layer = state.params.layer
        layer = layer._replace(w_x=times * layer.w_x, w_h=times * layer.w_h)
        return state._replace(params=state.params._replace(layer=layer))

    step = jax.jit(jax.vmap(learner.step, (0, None)))
    before = jax.vmap(states)(jnp.array([1.0, times]))
    after, metrics = step(before, ())
    assert np.isfinite(metrics["loss"]).all() and np.isfinite(after.error).all()
    assert not np.isfinite(metrics["grad_norm"][1])
    assert (metrics["loss"][1] == np.finfo(np.float32).max) == (times == 1e30)
    for name in ("params", "opt_state"):
        of_both = (getattr(before, name), getattr(after, name))
        jax.tree.map(np.testing.assert_array_equal, *jax.tree.map(lambda x: x[1], of_both))
    assert not np.array_equal(before.params.w_out[0], after.params.w_out[0])
    after = after._replace(error=jnp.zeros(2), t=jnp.full(2, 10))
    after, _ = step(after, ())
    assert after.solved_at[1] == 0 and np.isfinite(after.error).all()
    found = learner.evaluate(jax.random.key(1), jax.tree.map(lambda x: x[1], after), ())
    assert np.isfinite(found["loss"]) and np.isfinite(found["error"])


def test_seeds_draw_their_own_sequences_and_weights():
    learner = memory.make(small())
    states = [learner.init(jax.random.key(seed)) for seed in (0, 1)]
    losses = [float(learner.step(state, ())[1]["loss"]) for state in states]
    assert losses[0] != losses[1]
    assert not np.array_equal(states[0].params.layer.w_x, states[1].params.layer.w_x)


def test_an_lstm_learns_to_add_and_one_without_its_input_gate_is_slower(tmp_path):
    """Median over 8 seeds; the ablation takes several times as long (or fails)."""
    updates = {}
    for cell in ("lstm", "lstm_no_input_gate"):
        config = memory.Config(cell=cell, lag=12, num_hidden=16, batch_size=32)
        options = Options(
            *(str(tmp_path / cell), "smoke"), num_seeds=8, steps=500, log_every=100, eval_every=100
        )
        found = trainer.train(memory.make(config), options).evaluation
        updates[cell] = np.where(found["solved"] > 0, found["solved_at"], 500)
    assert np.median(updates["lstm"]) < 400
    assert np.median(updates["lstm_no_input_gate"]) > 1.2 * np.median(updates["lstm"])


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"num_hidden": 0}, "--num_hidden"),
        ({"batch_size": 0}, "--batch_size"),
        ({"learning_rate": 0.0}, "--learning_rate"),
        ({"lag": 1}, "--lag of adding must be at least 2"),
        ({"problem": "temporal_order", "lag": 9}, "--lag of temporal_order must be at least 10"),
    ],
)
def test_bad_configurations_name_the_flag(wrong, flag):
    with pytest.raises(ValueError, match=flag):
        memory.Config(**wrong)
