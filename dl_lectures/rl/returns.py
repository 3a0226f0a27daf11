"""Returns over a piece of experience: what its actions earned, bootstrapped where it is cut."""

import jax
import jax.numpy as jnp


def lambda_returns(
    rewards: jax.Array,
    discounts: jax.Array,
    next_values: jax.Array,
    ended: jax.Array,
    trace_decay: float,
) -> jax.Array:
    """The lambda-return of each step, Sutton & Barto (2018), equation 12.18.

        G_t = r_t + d_t ((1 - l_t) v_t + l_t G_{t+1}),    l_t = trace_decay, or 0 at an end

    With trace_decay 0 it is the one-step target, with 1 the Monte Carlo return. Less the values of
    the states acted in, it is generalised advantage estimation (Schulman et al., 2016,
    arXiv:1506.02438). The last step is cut, not ended: it bootstraps from its next value.

    Args:
      rewards: [T, ...] of the actions.
      discounts: [T, ...] gamma, or 0 where the episode terminated; a time limit leaves gamma.
      next_values: [T, ...] v_t, values of the states that the actions led to, never of a reset's.
      ended: [T, ...] bool, whether step t + 1 belongs to another episode, for whichever reason.
      trace_decay: lambda in [0, 1].

    Returns:
      [T, ...] float32.
    """
    traces = jnp.where(ended, 0.0, trace_decay)

    def backwards(later: jax.Array, step: tuple[jax.Array, ...]):
        reward, discount, value, trace = step
        now = reward + discount * ((1.0 - trace) * value + trace * later)
        return now, now

    steps = (rewards, discounts, next_values, traces)
    return jax.lax.scan(backwards, next_values[-1], steps, reverse=True)[1]
