import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import gru

T, B, D, H = 6, 2, 3, 5


def linen_gru(params, xs):
    """Linen's cell with our weights; it has the second bias at n alone, as ours."""
    gates = {}
    for name, w_x, w_h, b in zip(
        "rzn", *(np.split(p, 3, axis=-1) for p in params[:3]), strict=True
    ):
        gates[f"i{name}"] = {"kernel": w_x, "bias": b}
        gates[f"h{name}"] = {"kernel": w_h}
    gates["hn"]["bias"] = params.c_n
    return nn.RNN(nn.GRUCell(H), time_major=True).apply({"params": {"cell": gates}}, xs)


def torch_gru(params, xs):
    """PyTorch's layer with our weights."""
    import torch

    layer = torch.nn.GRU(D, H)
    w_x, w_h, b, c_n = (torch.tensor(np.asarray(p)) for p in params)
    b_h = torch.cat([torch.zeros(2 * H), c_n])
    weights = {"weight_ih_l0": w_x.T, "weight_hh_l0": w_h.T, "bias_ih_l0": b, "bias_hh_l0": b_h}
    layer.load_state_dict(weights)
    return layer(torch.tensor(np.asarray(xs)))[0].detach().numpy()


ORACLES = {"linen": linen_gru}
if importlib.util.find_spec("torch"):
    ORACLES["torch"] = torch_gru


@pytest.mark.parametrize("oracle", ORACLES)
def test_equals_other_libraries(oracle):
    params = gru.init(jax.random.key(0), D, H)
    params = params._replace(
        b=jax.random.normal(jax.random.key(1), params.b.shape),
        c_n=jax.random.normal(jax.random.key(2), params.c_n.shape),
    )
    xs = jax.random.normal(jax.random.key(3), (T, B, D))
    _, hs = gru.apply(params, xs)
    np.testing.assert_allclose(hs, ORACLES[oracle](params, xs), rtol=1e-5, atol=1e-6)


def test_an_update_gate_of_one_keeps_the_state():
    params = gru.init(jax.random.key(0), D, H)
    params = params._replace(b=params.b.at[H : 2 * H].set(30.0))
    carry = gru.Carry(h=jnp.linspace(-1.0, 1.0, H))
    last, _ = gru.apply(params, jax.random.normal(jax.random.key(1), (50, D)), carry)
    np.testing.assert_allclose(last.h, carry.h, rtol=1e-5)
