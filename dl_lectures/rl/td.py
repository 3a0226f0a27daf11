"""Temporal-difference errors of one transition; batch with vmap.

All have one signature, so that an algorithm takes any of them. Indices as in Sutton & Barto (2018)
and rlax: the action a_tm1 was taken at time t - 1, reward, discount and the next values are of time
t. `discount_t` is gamma, or 0 where the episode terminated; a time limit leaves it at gamma.
A: actions.
"""

import jax


def q_learning_error(
    q_tm1: jax.Array,
    a_tm1: jax.Array,
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t_target: jax.Array,
    q_t_online: jax.Array,
) -> jax.Array:
    """r_t + discount_t max_a q_t_target[a] - q_tm1[a_tm1]; no gradient flows into the target.

    Watkins & Dayan (1992), doi:10.1007/BF00992698; with the values of an older network as
    `q_t_target`, equation 2 of Mnih et al. (2015), doi:10.1038/nature14236.

    Args:
      q_tm1: [A] values of the old observation.
      a_tm1: [] int, the action taken.
      r_t: [] the reward.
      discount_t: [] the discount of what follows.
      q_t_target: [A] values of the new observation that the target is made of.
      q_t_online: [A] not used.
    """
    del q_t_online
    return jax.lax.stop_gradient(r_t + discount_t * q_t_target.max()) - q_tm1[a_tm1]


def double_q_error(
    q_tm1: jax.Array,
    a_tm1: jax.Array,
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t_target: jax.Array,
    q_t_online: jax.Array,
) -> jax.Array:
    """Like `q_learning_error`, but `q_t_online` chooses the action that `q_t_target` judges.

    A maximum of noisy values is too high on average; one network's noise is not the other's.
    Van Hasselt, Guez & Silver (2016), arXiv:1509.06461, equation 4.
    """
    target = r_t + discount_t * q_t_target[q_t_online.argmax()]
    return jax.lax.stop_gradient(target) - q_tm1[a_tm1]
