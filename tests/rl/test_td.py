import chex
import jax
import jax.numpy as jnp
import pytest

from dl_lectures.rl import td


def transition(discount):
    return dict(
        q_tm1=jnp.array([2.0, 7.0]),
        a_tm1=0,
        r_t=1.0,
        discount_t=discount,
        q_t_target=jnp.array([9.0, 4.0]),
        q_t_online=jnp.array([0.0, 1.0]),
    )


@pytest.mark.parametrize(
    ("error", "discount", "by_hand"),
    [
        (td.q_learning_error, 0.5, 1.0 + 0.5 * 9.0 - 2.0),
        (td.q_learning_error, 0.0, 1.0 - 2.0),  # terminated
        (td.double_q_error, 0.5, 1.0 + 0.5 * 4.0 - 2.0),  # the online network chooses action 1
        (td.double_q_error, 0.0, 1.0 - 2.0),
    ],
)
def test_by_hand(error, discount, by_hand):
    chex.assert_trees_all_close(error(**transition(discount)), jnp.float32(by_hand))


@pytest.mark.parametrize("error", [td.q_learning_error, td.double_q_error])
def test_no_gradient_flows_into_the_target(error):
    inputs = transition(0.5)
    floats = {name: jnp.float32(x) for name, x in inputs.items() if name != "a_tm1"}
    grads = jax.grad(lambda x: error(a_tm1=inputs["a_tm1"], **x))(floats)
    chex.assert_trees_all_close(grads.pop("q_tm1"), jnp.array([-1.0, 0.0]))
    assert all((grad == 0).all() for grad in grads.values())
