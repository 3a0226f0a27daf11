import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import lstm

T, B, D, H = 6, 2, 3, 5


def linen_lstm(cell, params, xs):
    """Linen's cell with our weights; linen names each gate's two products."""
    gates = {}
    for name, w_x, w_h, b in zip("ifgo", *(np.split(p, 4, axis=-1) for p in params), strict=True):
        gates[f"i{name}"] = {"kernel": w_x}
        gates[f"h{name}"] = {"kernel": w_h, "bias": b}
    return nn.RNN(cell(H), time_major=True).apply({"params": {"cell": gates}}, xs)


def torch_lstm(params, xs):
    """PyTorch's layer with our weights: the same order of gates, two biases."""
    import torch

    layer = torch.nn.LSTM(D, H)
    w_x, w_h, b = (torch.tensor(np.asarray(p)) for p in params)
    weights = {"weight_ih_l0": w_x.T, "weight_hh_l0": w_h.T, "bias_ih_l0": b, "bias_hh_l0": 0 * b}
    layer.load_state_dict(weights)
    return layer(torch.tensor(np.asarray(xs)))[0].detach().numpy()


ORACLES = {
    "linen LSTMCell": lambda params, xs: linen_lstm(nn.LSTMCell, params, xs),
    "linen OptimizedLSTMCell": lambda params, xs: linen_lstm(nn.OptimizedLSTMCell, params, xs),
}
if importlib.util.find_spec("torch"):
    ORACLES["torch"] = torch_lstm


@pytest.mark.parametrize("oracle", ORACLES)
def test_equals_other_libraries(oracle):
    params = lstm.init(jax.random.key(0), D, H)
    params = params._replace(b=params.b + jax.random.normal(jax.random.key(1), params.b.shape))
    xs = jax.random.normal(jax.random.key(2), (T, B, D))
    _, hs = lstm.apply(params, xs)
    np.testing.assert_allclose(hs, ORACLES[oracle](params, xs), rtol=1e-5, atol=1e-6)


def test_starts_with_an_open_forget_gate():
    params = lstm.init(jax.random.key(0), D, H)
    np.testing.assert_array_equal(params.b.reshape(4, H), np.outer([0, 1, 0, 0], np.ones(H)))
    assert (params.w_x.shape, params.w_h.shape) == ((D, 4 * H), (H, 4 * H))


def test_one_step_by_hand():
    """One unit, no input: i = f = o = 1/2 and g = 0 halve the memory."""
    params = lstm.Params(w_x=jnp.zeros((1, 4)), w_h=jnp.zeros((1, 4)), b=jnp.zeros(4))
    carry, h = lstm.cell(params, lstm.Carry(h=jnp.ones(1), c=jnp.ones(1)), jnp.ones(1))
    np.testing.assert_allclose(carry.c, [0.5], rtol=1e-6)
    np.testing.assert_allclose(h, [0.5 * np.tanh(0.5)], rtol=1e-6)


def test_a_shut_input_gate_and_an_open_forget_gate_keep_the_memory():
    """The constant error carousel: dc_T / dc_0 is 1 over any number of steps."""
    b = jnp.array([-30.0, 30.0, 0.0, 0.0])
    params = lstm.Params(w_x=jnp.ones((1, 4)), w_h=jnp.zeros((1, 4)), b=b)
    xs = jax.random.normal(jax.random.key(0), (100, 1))

    def last_memory(c):
        return lstm.apply(params, xs, lstm.Carry(h=jnp.zeros(1), c=c))[0].c[0]

    value, slope = jax.value_and_grad(last_memory)(jnp.full(1, 0.7))
    np.testing.assert_allclose([value, slope[0]], [0.7, 1.0], rtol=1e-5)
