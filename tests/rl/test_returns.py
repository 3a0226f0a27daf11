"""The lambda-return against sums written by hand, and its two extremes."""

import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import returns


def by_definition(rewards, discounts, next_values, ended, trace_decay):
    """The weighted sum of all n-step returns (Sutton & Barto, 2018, equation 12.3), in float64."""
    num_steps = len(rewards)
    found = np.zeros(num_steps)
    for t in range(num_steps):
        n_step, earned, discount = [], 0.0, 1.0
        for k in range(t, num_steps):
            earned += discount * rewards[k]
            discount *= discounts[k]
            n_step.append(earned + discount * next_values[k])
            if ended[k]:
                break
        weights = [(1 - trace_decay) * trace_decay**i for i in range(len(n_step) - 1)]
        found[t] = np.dot([*weights, 1 - sum(weights)], n_step)
    return found


@pytest.mark.parametrize("trace_decay", [0.0, 0.65, 1.0])
def test_equals_the_mixture_of_n_step_returns(trace_decay):
    """Two columns: a termination and a time limit at different steps."""
    rewards, next_values = np.random.default_rng(0).normal(size=(2, 12, 2))
    discounts = np.full((12, 2), 0.9)
    ended = np.zeros((12, 2), bool)
    ended[4, 0], ended[7, 1] = True, True
    discounts[4, 0] = 0.0  # the other end is a time limit
    args = [np.float32(x) for x in (rewards, discounts, next_values)]
    found = returns.lambda_returns(*(jnp.array(x) for x in args), jnp.array(ended), trace_decay)
    for column in range(2):
        of_column = (x[:, column] for x in (*args, ended))
        np.testing.assert_allclose(
            found[:, column], by_definition(*of_column, trace_decay), rtol=1e-5, atol=1e-5
        )


def test_by_hand():
    """Rewards 1, 2, 3, discount 1/2, value 8 at the cut: Monte Carlo 1 + 1 + 3/4 + 1 and so on."""
    ones = jnp.ones(3)
    rewards, values = jnp.array([1.0, 2.0, 3.0]), jnp.array([2.0, 4.0, 8.0])
    never = jnp.zeros(3, bool)
    monte_carlo = returns.lambda_returns(rewards, 0.5 * ones, values, never, 1.0)
    one_step = returns.lambda_returns(rewards, 0.5 * ones, values, never, 0.0)
    np.testing.assert_allclose(monte_carlo, [3.75, 5.5, 7.0])
    np.testing.assert_allclose(one_step, [2.0, 4.0, 7.0])
