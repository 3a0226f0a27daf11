"""The unit against enumeration of all sequences, a loop over time, and finite differences."""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import carousel

CONFLICTS = ("input", "output")
PARAMS = carousel.Params(*map(jnp.float32, (0.4, -0.3, 1.5, -0.7, 0.6)))


def all_sequences(config, length, codes):
    """What the weight sees over all sequences of the alphabet, each once, [K^T, T]."""
    xs = np.array(list(itertools.product(codes, repeat=length)), np.float32)
    return xs if config.conflict == "input" else np.repeat(xs[:, :1], length, axis=1)


def zeros_but(w):
    return carousel.Params(jnp.float32(w), *[jnp.float32(0)] * 4)


def slide_codes():
    return np.array([3.0, -1.0, -2.0]) / np.sqrt(14 / 3)


# The theorems, on every sequence there is.


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_gradients_of_the_copies_are_the_closed_forms(conflict):
    config = carousel.Config(conflict=conflict, gate=False)
    codes = np.array([2.0, -0.5, -1.5])
    variance = np.square(codes).mean()
    xs = all_sequences(config, 4, codes)
    for w in (-0.5, 0.0, 0.25, 0.8, 1.3):
        _, _, grads_w = carousel.untied_gradients(config, zeros_but(w), xs, 4)
        by_hand = variance * np.array([w - 1, w, w, w])
        np.testing.assert_allclose(grads_w, by_hand, atol=2e-5)
        np.testing.assert_allclose(
            carousel.expected_gradients(w, 4, variance), by_hand, rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("conflict", CONFLICTS)
@pytest.mark.parametrize("length", [2, 3, 6])
def test_pushes_cancel_at_the_least_error_of_any_weights(conflict, length):
    config = carousel.Config(conflict=conflict, gate=False)
    xs = all_sequences(config, length, slide_codes())
    w = carousel.stalled_weight(length)
    value, grads, grads_w = carousel.untied_gradients(config, zeros_but(w), xs, length)
    np.testing.assert_allclose(2 * value, carousel.stalled_error(length), rtol=1e-5)
    # That it is the least is least squares on the two features of the weights.
    is_first = np.eye(length)[0]
    if conflict == "input":
        features = np.stack([xs.sum(1), np.ones(len(xs))], axis=1)
        targets = xs[:, 0]
    else:
        features = np.stack([xs.ravel(), np.tile(is_first, len(xs))], axis=1)
        targets = (xs * is_first).ravel()
    best, residuals, *_ = np.linalg.lstsq(features.astype(np.float64), targets, rcond=None)
    np.testing.assert_allclose(best, [w, 0.0], atol=1e-6)
    np.testing.assert_allclose(residuals[0] / len(xs), carousel.stalled_error(length), rtol=1e-5)
    chex.assert_trees_all_close(grads, zeros_but(0.0), atol=1e-6)
    pushed = carousel.pushes(grads_w, length)
    np.testing.assert_allclose(pushed.first, 1 - w, rtol=1e-5)
    np.testing.assert_allclose(pushed.later, -(1 - w), rtol=1e-5)
    np.testing.assert_allclose(pushed.gross, 2 * (1 - w), rtol=1e-5)
    assert pushed.net < 1e-5 and pushed.opposing_share == 1.0


def test_codes_with_a_mean_stall_the_input_weight_at_the_same_place():
    config = carousel.Config(conflict="input", gate=False)
    xs = all_sequences(config, 4, slide_codes() + 0.7)
    _, grads, grads_w = carousel.untied_gradients(config, zeros_but(1 / 4), xs, 4)
    chex.assert_trees_all_close(grads, zeros_but(0.0), atol=1e-5)
    np.testing.assert_allclose(grads_w, carousel.expected_gradients(1 / 4, 4), atol=1e-5)


def test_single_sequence_of_the_slide_pushes_as_the_slide_says():
    config = carousel.Config(conflict="input", gate=False)
    xs = carousel.encode("AGCCCG")[None]
    np.testing.assert_allclose(xs[0], slide_codes()[[0, 1, 2, 2, 2, 1]], rtol=1e-6)
    _, _, grads_w = carousel.untied_gradients(config, zeros_but(1 / 6), xs, 6)
    # By hand, in units of 1 / sqrt(14 / 3): the sum of the codes is -5, so the error is -5/6 - 3.
    by_hand = -23 / 6 * np.array([3, -1, -2, -2, -2, -1]) / (14 / 3)
    np.testing.assert_allclose(grads_w, by_hand, rtol=1e-5)
    assert grads_w[0] < 0 and (grads_w[1:] > 0).all()
    with pytest.raises(ValueError, match="substring"):
        carousel.encode("AGT")


def test_a_later_symbol_of_the_first_one_s_sign_pushes_with_it():
    config = carousel.Config(conflict="input", gate=False)
    xs = carousel.encode("AAGCCG")[None]
    _, _, grads_w = carousel.untied_gradients(config, zeros_but(1 / 6), xs, 6)
    assert carousel.pushes(grads_w, 6).opposing_share == pytest.approx(4 / 5)


# The unit, written again as a loop over time, where the marked step is drawn.


def loop_loss(config, params, ws, xs, marked):
    """The mean loss in plain Python; copy k belongs to the step k after the marked one."""
    num_rows, length = xs.shape
    total = 0.0
    for row in range(num_rows):
        s, target, start = 0.0, xs[row, marked[row]], marked[row]
        for t in range(length):
            m = 1.0 if t == start else 0.0
            x = xs[row, t]
            net = params.gate_marker * m + params.gate_bias + params.gate_symbol * x
            if config.conflict == "output" and not config.peephole:
                net = net - params.gate_symbol * x
            opened = 1 / (1 + np.exp(-net)) if config.gate else 1.0
            r = opened * (ws[(t - start) % length] * x + params.u * m)
            if config.conflict == "input":
                s += r
            else:
                total += 0.5 * (r - m * x) ** 2
        if config.conflict == "input":
            total += 0.5 * (s - target) ** 2
    return total / num_rows


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize(
    ("conflict", "peephole"), [("input", False), ("output", False), ("output", True)]
)
def test_loss_and_gradients_equal_a_loop_and_its_finite_differences(conflict, peephole, gate):
    config = carousel.Config(conflict=conflict, gate=gate, peephole=peephole)
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(5, 4))
    marked = np.zeros(5, int)
    if conflict == "output":
        xs = np.repeat(xs[:, :1], 4, axis=1)
        marked = rng.integers(4, size=5)  # drawn, as `carousel` need not
    params = jax.tree.map(float, PARAMS)
    value, grads, grads_w = carousel.untied_gradients(config, PARAMS, jnp.float32(xs), 4)
    of_loop = functools.partial(loop_loss, config, xs=xs, marked=marked)
    np.testing.assert_allclose(value, of_loop(params, np.full(4, params.w)), rtol=1e-5)

    def difference(change):  # of a number from -h to h
        return (change(1e-5) - change(-1e-5)) / 2e-5

    for k in range(4):
        direction = np.eye(4)[k]
        found = difference(lambda h, d=direction: of_loop(params, params.w + h * d))
        np.testing.assert_allclose(grads_w[k], found, rtol=1e-4, atol=1e-6)
    for name in ("u", "gate_marker", "gate_bias", "gate_symbol"):

        def moved(h, name=name):
            nudged = params._replace(**{name: getattr(params, name) + h})
            return of_loop(nudged, np.full(4, params.w))

        np.testing.assert_allclose(getattr(grads, name), difference(moved), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_copies_sum_to_the_gradient_of_the_tied_weight(conflict):
    config = carousel.Config(conflict=conflict)
    xs = all_sequences(config, 3, slide_codes())

    def tied(params):
        return carousel.loss(config, params, jnp.broadcast_to(params.w, (3,)), xs, 3)

    value, grads, grads_w = carousel.untied_gradients(config, PARAMS, xs, 3)
    expected_value, expected = jax.value_and_grad(tied)(PARAMS)
    chex.assert_trees_all_close((value, grads), (expected_value, expected), rtol=1e-5)
    np.testing.assert_allclose(grads_w.sum(), expected.w, rtol=1e-5)


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_gate_that_opens_at_the_marker_and_shuts_is_exact(conflict):
    config = carousel.Config(conflict=conflict)
    shutting = zeros_but(1.0)._replace(gate_marker=jnp.float32(200), gate_bias=jnp.float32(-100))
    xs = all_sequences(config, 4, slide_codes())
    np.testing.assert_array_equal(
        carousel.gates(config, shutting, xs), np.broadcast_to([1.0, 0, 0, 0], xs.shape)
    )
    value, _, grads_w = carousel.untied_gradients(config, shutting, xs, 4)
    assert value == 0.0 and (grads_w == 0.0).all()
    ungated = dataclasses.replace(config, gate=False)
    assert carousel.loss(ungated, shutting, jnp.ones(4), xs, 4) > 0.5


@pytest.mark.parametrize("conflict", CONFLICTS)
@pytest.mark.parametrize("gate", [False, True])
def test_padding_changes_nothing(conflict, gate):
    config = carousel.Config(conflict=conflict, gate=gate)
    xs = all_sequences(config, 3, slide_codes())
    padded = np.concatenate([xs, np.full((len(xs), 4), 9.0, np.float32)], axis=1)
    value, grads, grads_w = carousel.untied_gradients(config, PARAMS, xs, 3)
    of_padded = carousel.untied_gradients(config, PARAMS, padded, 3)
    chex.assert_trees_all_close(of_padded[:2], (value, grads), rtol=1e-5)
    np.testing.assert_allclose(of_padded[2], [*grads_w, 0, 0, 0, 0], rtol=1e-5)
    chex.assert_trees_all_close(
        carousel.pushes(of_padded[2], 3), carousel.pushes(grads_w, 3), rtol=1e-5
    )


def test_pushes_by_hand():
    pushed = carousel.pushes(jnp.array([-2.0, 0.5, 1.0, -0.25, 0.0]), 4)
    expected = carousel.Pushes(first=2.0, later=-1.25, gross=3.75, net=0.75, opposing_share=2 / 3)
    chex.assert_trees_all_close(pushed, carousel.Pushes(*map(jnp.float32, expected)))


# What is drawn.


def test_standardised_codes_have_mean_0_and_variance_1():
    codes = carousel.standardise(jnp.array([3.0, 5.0, 1.0, 100.0]), 3)
    np.testing.assert_allclose(codes[:3].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(np.square(codes[:3]).mean(), 1, rtol=1e-6)
    np.testing.assert_allclose(codes, [0, np.sqrt(1.5), -np.sqrt(1.5), 0], atol=1e-6)


def test_random_problems_differ_and_keep_to_their_limits():
    config = carousel.Config(alphabet="random", max_length=5, max_symbols=4)
    keys = jax.random.split(jax.random.key(0), 200)
    problems = jax.jit(jax.vmap(functools.partial(carousel.draw_problem, config=config)))(keys)
    # A value that is missing in 200 draws of 3 or 4: below once in 10^24 runs.
    assert set(np.asarray(problems.num_symbols)) == {2, 3, 4}
    assert set(np.asarray(problems.length)) == {2, 3, 4, 5}
    assert len(np.unique(problems.codes, axis=0)) > 100  # two symbols are always -1 and 1
    np.testing.assert_allclose(problems.codes.sum(1), 0, atol=1e-5)
    np.testing.assert_allclose(
        np.square(problems.codes).sum(1) / problems.num_symbols, 1, rtol=1e-5
    )


def test_symbols_are_uniform_independent_and_held():
    config = carousel.Config(batch_size=20_000, length=3)
    problem = carousel.draw_problem(jax.random.key(0), config)
    xs = np.asarray(carousel.draw_symbols(jax.random.key(1), config, problem))
    assert xs.shape == (20_000, 3)
    symbols = (xs[:, :, None] == np.asarray(problem.codes)).argmax(2)
    counts = np.bincount(symbols @ [9, 3, 1], minlength=27)
    # Chi-squared with 26 degrees of freedom exceeds 62 once in 10,000 keys.
    expected = 20_000 / 27
    assert (np.square(counts - expected) / expected).sum() < 62
    held = carousel.draw_symbols(
        jax.random.key(1), dataclasses.replace(config, conflict="output"), problem
    )
    assert (held == held[:, :1]).all() and len(np.unique(held)) == 3


def test_profile_on_fresh_sequences_agrees_with_all_sequences():
    config = carousel.Config(length=3, batch_size=500, num_eval_batches=40)
    problem = carousel.draw_problem(jax.random.key(0), config)
    value, grads_w = carousel.profile(jax.random.key(2), config, PARAMS, problem)
    xs = all_sequences(config, 3, slide_codes())
    expected_value, _, expected = carousel.untied_gradients(config, PARAMS, xs, 3)
    # 20,000 sequences of deviation below 2: five standard errors.
    np.testing.assert_allclose(grads_w, expected, atol=0.07)
    np.testing.assert_allclose(value, expected_value, atol=0.07)
    assert np.abs(expected).max() > 0.2


# The learner.

SMALL = carousel.Config(batch_size=64, learning_rate=0.05, num_eval_batches=16)


@functools.cache
def trained(conflict, gate, alphabet="slide"):
    """The states of 16 seeds after 250 updates, and their evaluations."""
    config = dataclasses.replace(SMALL, conflict=conflict, gate=gate, alphabet=alphabet)
    learner = carousel.make(config)

    def run(keys):
        states = jax.vmap(learner.init)(keys)
        step = jax.vmap(lambda state: learner.step(state, ())[0])
        states = jax.lax.fori_loop(0, 250, lambda _, states: step(states), states)
        return states, jax.vmap(lambda k, s: learner.evaluate(k, s, ()))(keys, states)

    return jax.jit(run)(jax.random.split(jax.random.key(5), 16))


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_learns_with_a_gate_and_stalls_without(conflict):
    _, gated = trained(conflict, True)
    states, ungated = trained(conflict, False)
    assert np.median(gated["relative_error"]) < 0.01 and np.median(gated["solved"]) == 1
    assert np.median(gated["gross_push"]) < 0.1
    assert not ungated["solved"].any() and not ungated["solved_at_update"].any()
    np.testing.assert_allclose(np.median(ungated["relative_error"]), 5 / 6, rtol=0.05)
    np.testing.assert_allclose(np.median(states.params.w), 1 / 6, atol=0.05)
    assert np.median(ungated["surviving_share"]) < 0.2
    assert np.median(ungated["opposing_share"]) == 1
    assert (states.progress.halfway_at == 0).all()
    chex.assert_trees_all_equal(states.halfway, states.params)  # halfway was never reached


def test_halfway_is_where_half_of_the_error_is_gone():
    states, _ = trained("input", True)
    config = dataclasses.replace(SMALL, conflict="input")
    keys = jax.random.split(jax.random.key(6), 16)
    values, _ = jax.vmap(carousel.profile, (0, None, 0, 0))(
        keys, config, states.halfway, states.problem
    )
    at = states.progress
    assert np.median(at.halfway_at) > 0 and (at.halfway_at[at.solved_at > 0] < 250).all()
    assert (at.halfway_at < at.solved_at)[at.solved_at > 0].all()
    # The average lags behind by some ten updates.
    assert 0.2 < np.median(2 * values) < 0.5


def test_learns_random_problems():
    states, gated = trained("input", True, "random")
    assert np.median(gated["solved"]) == 1
    np.testing.assert_array_equal(gated["length"], states.problem.length)


def test_progress_by_hand():
    config = carousel.Config(averaging=0.5, solved_below=0.2)
    progress = carousel.no_progress()
    pushed = carousel.Pushes(*map(jnp.float32, (2.0, -1.0, 3.0, 1.0, 1.0)))
    seen = []
    for t, error in enumerate([0.5, 0.1, 0.05, 0.0, 8.0, 0.0]):
        progress = carousel.advance(config, progress, jnp.float32(error), pushed, jnp.int32(t))
        seen.append([float(progress.average), int(progress.halfway_at), int(progress.solved_at)])
    # 1 -> 0.75 -> 0.425 -> 0.2375 -> 0.11875: the first time counts, whatever follows.
    np.testing.assert_allclose(
        seen[:4], [[0.75, 0, 0], [0.425, 2, 0], [0.2375, 2, 0], [0.11875, 2, 4]], rtol=1e-5
    )
    assert [row[1:] for row in seen[4:]] == [[2, 4], [2, 4]]
    assert progress.sum_net == 6.0 and progress.sum_gross == 18.0


def test_step_keeps_types_and_uses_no_key_twice():
    learner = carousel.make(dataclasses.replace(SMALL, alphabet="random"))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, ())
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert all(x.shape == () and x.dtype == jnp.float32 for x in metrics.values())
    with jax.debug_key_reuse(True):
        state = jax.jit(learner.init)(jax.random.key(0))
        state, _ = jax.jit(learner.step)(state, ())
    assert state.t == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("length", 1),
        ("max_length", 1),
        ("max_symbols", 1),
        ("batch_size", 0),
        ("num_eval_batches", 0),
        ("learning_rate", 0.0),
        ("init_scale", -1.0),
        ("solved_below", 1.0),
        ("averaging", 1.0),
    ],
)
def test_impossible_settings_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"--{field}"):
        carousel.Settings(**{field: value})
