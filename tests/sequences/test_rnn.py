import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import irnn, rnn

T, B, D, H = 6, 2, 3, 5
CELLS = {"tanh": rnn, "relu": irnn}


def linen_rnn(activation, params, xs):
    """Linen's cell with our weights."""
    function = {"tanh": jnp.tanh, "relu": jax.nn.relu}[activation]
    weights = {
        "i": {"kernel": params.w_x, "bias": params.b},
        "h": {"kernel": params.w_h},
    }
    cell = nn.SimpleCell(H, activation_fn=function)
    return nn.RNN(cell, time_major=True).apply({"params": {"cell": weights}}, xs)


def torch_rnn(activation, params, xs):
    """PyTorch's layer with our weights."""
    import torch

    layer = torch.nn.RNN(D, H, nonlinearity=activation)
    w_x, w_h, b = (torch.tensor(np.asarray(p)) for p in params)
    weights = {"weight_ih_l0": w_x.T, "weight_hh_l0": w_h.T, "bias_ih_l0": b, "bias_hh_l0": 0 * b}
    layer.load_state_dict(weights)
    return layer(torch.tensor(np.asarray(xs)))[0].detach().numpy()


ORACLES = {"linen": linen_rnn}
if importlib.util.find_spec("torch"):
    ORACLES["torch"] = torch_rnn


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("activation", CELLS)
def test_equals_other_libraries(activation, oracle):
    params = rnn.init(jax.random.key(0), D, H)
    params = params._replace(b=jax.random.normal(jax.random.key(1), params.b.shape))
    xs = jax.random.normal(jax.random.key(2), (T, B, D))
    _, hs = CELLS[activation].apply(params, xs)
    expected = ORACLES[oracle](activation, params, xs)
    np.testing.assert_allclose(hs, expected, rtol=1e-5, atol=1e-6)


def test_irnn_starts_as_a_sum_of_its_inputs():
    """U = I and b = 0: while no unit is cut off, the state is the sum of the projected inputs."""
    params = irnn.init(jax.random.key(0), D, H)
    np.testing.assert_array_equal(params.w_h, np.eye(H))
    assert not params.b.any()
    params = params._replace(w_x=jnp.abs(params.w_x))
    xs = jnp.abs(jax.random.normal(jax.random.key(1), (T, D)))
    _, hs = irnn.apply(params, xs)
    np.testing.assert_allclose(hs, np.cumsum(xs @ params.w_x, axis=0), rtol=1e-5)


def test_irnn_input_weights_are_small():
    w_x = irnn.init(jax.random.key(0), 100, 100).w_x
    # 10,000 draws: the standard error of the deviation is 0.7 % of it.
    np.testing.assert_allclose([w_x.mean(), w_x.std()], [0.0, 1e-3], atol=5e-5)
