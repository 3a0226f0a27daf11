"""Temporal-difference errors and losses of one transition; batch with vmap.

The errors of values have one signature, so that an algorithm takes any of them; distributions of
returns have losses. Indices as in Sutton & Barto (2018) and rlax: the action a_tm1 was taken at
time t - 1, reward, discount and the next values are of time t. `discount_t` is gamma, or 0 where
the episode terminated; a time limit leaves it at gamma. After n steps it is gamma^n.
A: actions, M: atoms or quantiles.
"""

import jax
import jax.numpy as jnp


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


def n_step(
    rewards: jax.Array, discounts: jax.Array, ended: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What n steps earn together, up to the first end among them.

        R = r_0 + d_0 r_1 + d_0 d_1 r_2 + ...,    D = d_0 d_1 d_2 ...

    Sutton & Barto (2018), equation 7.1. The target is R + D max_a q(s)[a] with s the observation
    that step `last` led to: where a time limit cuts, d is gamma and s is what was cut off; where
    the episode terminates, d and so D are 0.

    Args:
      rewards: [n] of consecutive steps of one environment, maybe of two episodes or more.
      discounts: [n] gamma, or 0 where the episode terminated.
      ended: [n] bool, whether the next step belongs to another episode, for whichever reason.

    Returns:
      R [], D [], and the number of the last step that counts, [] int32.
    """
    before = jnp.cumsum(ended) - ended  # ends before each step
    counts = before == 0
    discounts = jnp.where(counts, discounts, 1.0)
    weights = jnp.concatenate([jnp.ones(1), jnp.cumprod(discounts)])
    reward = jnp.where(counts, weights[:-1] * rewards, 0.0).sum()
    return reward, weights[-1], jnp.int32(counts.sum() - 1)


def munchausen_bonus(
    q_tm1_target: jax.Array, a_tm1: jax.Array, temperature: float, scale: float, floor: float
) -> jax.Array:
    """scale [temperature log pi(a_tm1)] clipped to [floor, 0], pi = softmax(q / temperature).

    Added to the reward, it favours the action that the policy was sure of. Vieillard, Pietquin &
    Geist (2020), arXiv:2007.14430, equation 1 and section 3 for the clipping.

    Args:
      q_tm1_target: [A] the target network's values of the old observation.
      a_tm1: [] int, the action taken.
      temperature: tau.
      scale: alpha.
      floor: l_0, below 0.
    """
    log_pi = jax.nn.log_softmax(q_tm1_target / temperature)
    return scale * jnp.clip(temperature * log_pi[a_tm1], floor, 0.0)


def munchausen_error(
    q_tm1: jax.Array,
    a_tm1: jax.Array,
    r_t: jax.Array,
    discount_t: jax.Array,
    q_t_target: jax.Array,
    q_tm1_target: jax.Array,
    temperature: float,
    scale: float,
    floor: float,
) -> jax.Array:
    """r_t + bonus + discount_t sum_a pi(a) (q_t_target[a] - temperature log pi(a)) - q_tm1[a_tm1].

    The sum is temperature logsumexp(q_t_target / temperature), the soft maximum. Arguments are
    those of `q_learning_error` and `munchausen_bonus`.
    """
    r_t += munchausen_bonus(q_tm1_target, a_tm1, temperature, scale, floor)
    soft_max = temperature * jax.nn.logsumexp(q_t_target / temperature)
    return jax.lax.stop_gradient(r_t + discount_t * soft_max) - q_tm1[a_tm1]


def soft_quantiles(quantiles_t_target: jax.Array, temperature: float) -> jax.Array:
    """sum_a pi(a) (quantiles_t_target[a] - temperature log pi(a)), [M], pi by their means.

    What a Munchausen target discounts where a return's law is learned: M-IQN's of Vieillard et al.
    (2020), arXiv:2007.14430, appendix B.

    Args:
      quantiles_t_target: [A, M].
      temperature: tau.
    """
    log_pi = jax.nn.log_softmax(quantiles_t_target.mean(-1) / temperature)
    pi = jnp.exp(log_pi)
    # exp(-inf) * inf where a probability underflows to 0.
    entropy = -jnp.where(pi > 0.0, pi * log_pi, 0.0).sum()
    return pi @ quantiles_t_target + temperature * entropy


def categorical_projection(
    atoms: jax.Array, probabilities: jax.Array, r_t: jax.Array, discount_t: jax.Array
) -> jax.Array:
    """The law of r_t + discount_t Z on the atoms of Z: each mass goes to its two neighbours.

    Bellemare, Dabney & Munos (2017), arXiv:1707.06887, equation 7. What falls outside of the atoms
    goes to the first or the last.

    Args:
      atoms: [M] equally spaced, increasing.
      probabilities: [M] of Z.
      r_t: [].
      discount_t: [].

    Returns:
      [M] probabilities.
    """
    spacing = atoms[1] - atoms[0]
    moved = jnp.clip(r_t + discount_t * atoms, atoms[0], atoms[-1])  # [M], from
    shares = 1.0 - jnp.abs(moved[None, :] - atoms[:, None]) / spacing  # [M, M], to x from
    return jnp.clip(shares, 0.0, 1.0) @ probabilities


def categorical_loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Kullback-Leibler divergence of the predicted law from the target's, [], in nats.

    Its gradient is the cross-entropy's of Bellemare et al. (2017), algorithm 1; unlike that one it
    is 0 where the prediction is right, so that it serves as a priority (Hessel et al., 2018,
    arXiv:1710.02298).

    Args:
      logits: [M] predicted.
      target: [M] probabilities; no gradient flows into them.
    """
    target = jax.lax.stop_gradient(target)
    log_target = jnp.log(jnp.where(target > 0.0, target, 1.0))
    return (target * (log_target - jax.nn.log_softmax(logits))).sum()


def quantile_loss(quantiles: jax.Array, targets: jax.Array, kappa: float) -> jax.Array:
    """Quantile regression of the law that samples `targets` come from, [].

    Dabney et al. (2018), arXiv:1710.10044, equation 10: the sum over quantiles i of the mean over
    targets of |tau_i - [target < quantile_i]| times the Huber loss of their difference over kappa;
    tau_i = (i + 1/2) / M, i from 0.

    Args:
      quantiles: [M] predicted.
      targets: [N] no gradient flows into them.
      kappa: difference from which the loss is linear; 0: it is linear everywhere.
    """
    num_quantiles = quantiles.shape[0]
    levels = (jnp.arange(num_quantiles) + 0.5) / num_quantiles
    errors = jax.lax.stop_gradient(targets)[None, :] - quantiles[:, None]  # [M, N]
    sizes = jnp.abs(errors)
    if kappa > 0.0:
        sizes = jnp.where(sizes < kappa, 0.5 * errors**2 / kappa, sizes - 0.5 * kappa)
    weights = jnp.abs(levels[:, None] - (errors < 0.0))
    return (weights * sizes).mean(1).sum()
