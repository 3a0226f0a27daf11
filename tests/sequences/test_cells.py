import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import irnn, lstm, recurrence, rnn
from dl_lectures.sequences.cells import CELLS

T, B, D, H = 6, 2, 3, 4


@pytest.fixture(scope="module")
def problem():
    params = lstm.init(jax.random.key(0), D, H)
    params = params._replace(b=params.b + jax.random.normal(jax.random.key(1), params.b.shape))
    return params, jax.random.normal(jax.random.key(2), (T, B, D))


def by_hand(params, xs, gate):
    """The LSTM in NumPy, one gate replaced by 1."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    w_x, w_h, b = (np.asarray(p, np.float64) for p in params)
    h = c = np.zeros((B, H))
    hs = []
    for x in np.asarray(xs, np.float64):
        z = np.split(x @ w_x + h @ w_h + b, 4, axis=-1)
        i, f, o = (
            1.0 if name == gate else sigmoid(z[k]) for name, k in (("i", 0), ("f", 1), ("o", 3))
        )
        c = f * c + i * np.tanh(z[2])
        h = o * np.tanh(c)
        hs.append(h)
    return np.stack(hs)


@pytest.mark.parametrize("gate", ["input", "forget", "output"])
def test_an_lstm_without_a_gate_has_one_in_its_place(problem, gate):
    params, xs = problem
    cell = CELLS[f"lstm_no_{gate}_gate"]
    expected = by_hand(params, xs, gate[0])
    _, hs = cell.apply(params, xs)
    np.testing.assert_allclose(hs, expected, rtol=1e-5, atol=1e-6)
    _, hs = recurrence.scan(cell.cell, params, xs, cell.initial_carry(params, (B,)))
    np.testing.assert_allclose(hs, expected, rtol=1e-5, atol=1e-6)
    _, hs = cell.apply_projected(params, cell.project(params, xs))
    np.testing.assert_allclose(hs, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(hs - by_hand(params, xs, None)).max() > 0.01


@pytest.mark.parametrize("gate", ["input", "forget", "output"])
def test_no_gradient_reaches_the_weights_of_a_gate_that_is_not_there(problem, gate):
    params, xs = problem
    grads = jax.grad(lambda params: CELLS[f"lstm_no_{gate}_gate"].apply(params, xs)[1].sum())(
        params
    )
    of_gates = [np.abs(grads.w_h[:, H * k : H * (k + 1)]).max() for k in range(4)]
    of_gates[2:3] = []  # g is no gate
    expected = [name != gate[0] for name in "ifo"]
    assert [size > 0 for size in of_gates] == expected


def test_the_plain_relu_net_is_the_irnn_with_another_start():
    relu = CELLS["relu"]
    params = relu.init(jax.random.key(0), D, H)
    expected = rnn.init(jax.random.key(0), D, H)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    xs = jnp.ones((T, D))
    _, hs = relu.apply(params, xs)
    np.testing.assert_array_equal(hs, irnn.apply(irnn.Params(*params), xs)[1])
    assert hs.min() == 0 < hs.max()
