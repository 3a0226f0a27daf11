import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import gates, lstm

T, D, H = 9, 3, 4


@pytest.fixture(scope="module")
def problem():
    params = lstm.init(jax.random.key(0), D, H)
    params = params._replace(b=params.b + jax.random.normal(jax.random.key(1), params.b.shape))
    return params, jax.random.normal(jax.random.key(2), (T, D))


def test_trace_is_what_the_lstm_does(problem):
    params, xs = problem
    read = gates.trace(params, xs)
    carry, hs = lstm.apply(params, xs)
    np.testing.assert_allclose(read.h, hs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read.c[-1], carry.c, rtol=1e-5, atol=1e-6)
    c_before = np.concatenate([np.zeros((1, H)), read.c[:-1]])
    np.testing.assert_allclose(read.c, read.f * c_before + read.i * read.g, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read.h, read.o * np.tanh(read.c), rtol=1e-5, atol=1e-6)


def test_impulse_responses_against_one_impulse_at_a_time(problem):
    """In NumPy, double precision, by hand."""
    params, xs = problem
    w_x, w_h, b = (np.asarray(p, np.float64) for p in params)
    size, num_steps = 0.01, 4

    def memories(time, cell, amount):
        h = c = np.zeros(H)
        kept = []
        for t, x in enumerate(np.asarray(xs, np.float64)):
            z = np.split(x @ w_x + h @ w_h + b, 4)
            i, f, o = (1 / (1 + np.exp(-z[k])) for k in (0, 1, 3))
            c = f * c + i * np.tanh(z[2])
            if t == time:
                c = c + amount * np.eye(H)[cell]
            h = o * np.tanh(c)
            kept.append(c[cell])
        return np.array(kept[time : time + num_steps + 1])

    times = np.array([0, 4], np.int32)
    found = gates.impulse_responses(params, xs, times, num_steps, size)
    assert found.shape == (2, num_steps + 1, H)
    for n, time in enumerate(times):
        for cell in range(H):
            expected = (memories(time, cell, size) - memories(time, cell, 0.0)) / size
            np.testing.assert_allclose(found[n, :, cell], expected, atol=1e-4)


def test_without_a_way_round_the_forget_gate_is_all(problem):
    """Recurrent weights of zero: what is said moves no gate."""
    params, xs = problem
    params = params._replace(w_h=jnp.zeros_like(params.w_h))
    times = jnp.array([1, 3])
    found = gates.impulse_responses(params, xs, times, 5, size=0.1)
    f = gates.trace(params, xs).f
    curves = gates.forgetting_curves(f, times, 5)
    np.testing.assert_allclose(found, curves, atol=2e-6)
    np.testing.assert_allclose(curves[1, 2], f[4] * f[5], rtol=1e-6)
    assert (curves[:, 0] == 1).all()


def test_half_lives_of_constant_gates():
    f = np.tile([0.5, 0.5**0.1, 0.25, 1.0], (7, 1))
    np.testing.assert_allclose(gates.half_lives(f), [1.0, 10.0, 0.5, np.inf])
    # Of gates that change, it is the geometric mean that counts.
    assert gates.half_lives(np.array([[0.25], [1.0]])) == pytest.approx(1.0)


@pytest.mark.parametrize("half_life", [0.4, 1.0, 3.7, 19.0])
def test_time_to_half_of_a_decay_is_its_half_life(half_life):
    curves = 0.5 ** (np.arange(21)[:, None] / half_life)
    np.testing.assert_allclose(gates.time_to_half(curves), [half_life], rtol=1e-6)


def test_time_to_half_is_at_most_the_time_of_observation():
    curves = np.stack([np.ones(6), np.array([1, 0.9, 0.8, 0.7, 0.6, 0.55])], axis=1)
    np.testing.assert_array_equal(gates.time_to_half(curves), [5.0, 5.0])
    # A response that changes its sign at once has lost its half within the step.
    assert 0 < gates.time_to_half(np.array([[1.0], [-0.2]]))[0] < 0.1
