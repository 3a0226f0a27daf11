"""Policies for rewards that an adversary has chosen: EXP3 and EXP3-IX, for rewards in [0, 1].

Both draw an arm from exponential weights of estimated totals, where the reward of the arm that was
pulled is divided by about the probability of pulling it. Regret is against the best single arm in
hindsight.

K: arms, N: runs, T: horizon, p: probabilities. Arrays are [K, N].
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dl_lectures.bandits import arms, checks, policies
from dl_lectures.bandits.policies import Policy


class Weights(NamedTuple):
    """What the arms are drawn by."""

    t: jax.Array  # int32 [], pulls so far
    totals: jax.Array  # [K, N], log w of EXP3, estimated losses of EXP3-IX; up to the same constant


def exp3(gamma: float | None = None, horizon: float | None = None) -> Policy:
    """EXP3: p = (1 - gamma) w / sum(w) + gamma / K, w *= exp(gamma (reward / p) / K) of the arm.

    Auer, Cesa-Bianchi, Freund & Schapire (2002, doi:10.1137/S0097539701398375), figure 1. Weights
    are kept as logarithms, the greatest of which is 0.

    Args:
      gamma: in (0, 1].
      horizon: in place of gamma: sets it to min(1, sqrt(K log K / ((e - 1) horizon))), their
        corollary 3.2 with g = horizon. The regret is then at most 2.63 sqrt(horizon K log K).

    Raises:
      ValueError: an argument is out of its range, or not exactly one is given.
    """
    if (gamma is None) == (horizon is None):
        raise ValueError(f"give either gamma or horizon, not {gamma} and {horizon}")
    if gamma is not None and not 0 < gamma <= 1:
        raise ValueError(f"gamma must lie in (0, 1], not {gamma}")
    if horizon is not None:
        checks.at_least("horizon", horizon, 1)
        horizon = float(horizon)
    return Policy(
        init=Partial(_init_weights),
        draw=Partial(policies.draw_uniform),
        select=Partial(_select_exp3, gamma, horizon),
        update=Partial(_update_exp3, gamma, horizon),
    )


def _init_weights(num_arms: int, num_runs: int) -> Weights:
    return Weights(jnp.int32(0), jnp.zeros((num_arms, num_runs)))


def _exp3_gamma(gamma: float | None, horizon: float | None, num_arms: int) -> float | jax.Array:
    if gamma is not None:
        return gamma
    return jnp.minimum(1.0, jnp.sqrt(num_arms * math.log(num_arms) / ((math.e - 1) * horizon)))


def exp3_probabilities(gamma: float, log_weights: jax.Array) -> jax.Array:
    """Returns the law of the next arm, [K, N], whose sum is 1 and whose least is gamma / K."""
    return (1 - gamma) * jax.nn.softmax(log_weights, axis=0) + gamma / len(log_weights)


def _select_exp3(
    gamma: float | None, horizon: float | None, state: Weights, uniforms: jax.Array
) -> jax.Array:
    gamma = _exp3_gamma(gamma, horizon, len(state.totals))
    return arms.sampled_arm(exp3_probabilities(gamma, state.totals), uniforms)


def _update_exp3(
    gamma: float | None,
    horizon: float | None,
    state: Weights,
    arm: jax.Array,
    reward: jax.Array,
) -> Weights:
    num_arms = len(state.totals)
    gamma = _exp3_gamma(gamma, horizon, num_arms)
    probabilities = exp3_probabilities(gamma, state.totals)
    estimates = importance_weighted(probabilities, arm, reward, 0.0)
    log_weights = state.totals + gamma / num_arms * estimates
    return Weights(state.t + 1, log_weights - log_weights.max(0)[None])


def importance_weighted(
    probabilities: jax.Array, arm: jax.Array, value: jax.Array, bias: float | jax.Array
) -> jax.Array:
    """Returns estimates of all arms' values: value / (p + bias) of the one pulled, 0 of the others.

    Args:
      probabilities: p, [K, N].
      arm: int32 [N], drawn from them.
      value: [N], what the arm paid or cost.
      bias: at least 0; with 0 the mean of the estimates is right, which then vary more.

    Returns:
      [K, N].
    """
    chosen = arms.one_hot(arm, len(probabilities))
    return jnp.where(chosen, value[None] / (probabilities + bias), 0.0)


def exp3_ix(
    eta: float | None = None, gamma: float | None = None, horizon: float | None = None
) -> Policy:
    """EXP3-IX: p proportional to exp(-eta L), L += (1 - reward) / (p + gamma) of the arm pulled.

    Neu (2015, arXiv:1506.03271), algorithm 1 with losses 1 - reward: the bias gamma explores where
    `exp3` mixes in the uniform law, and bounds the regret of almost every run, not of the mean
    alone. Without arguments the rates are eta = 2 gamma = sqrt(log K / (K t)), t the pull that is
    being chosen: the second choice of their theorem 1, which needs no horizon.

    Args:
      eta: positive.
      gamma: at least 0; None: eta / 2.
      horizon: in place of eta: sets eta = 2 gamma = sqrt(2 log K / (K horizon)), the first choice
        of that theorem.

    Raises:
      ValueError: an argument is out of its range, or eta and horizon are both given, or gamma
        without eta.
    """
    if eta is not None and horizon is not None:
        raise ValueError(f"give either eta or horizon, not {eta} and {horizon}")
    if gamma is not None and eta is None:
        raise ValueError(f"gamma = {gamma} needs an eta")
    if eta is not None:
        checks.positive("eta", eta)
        gamma = eta / 2 if gamma is None else gamma
        checks.at_least("gamma", gamma, 0)
    if horizon is not None:
        checks.at_least("horizon", horizon, 1)
        horizon = float(horizon)
    return Policy(
        init=Partial(_init_weights),
        draw=Partial(policies.draw_uniform),
        select=Partial(_select_exp3_ix, eta, gamma, horizon),
        update=Partial(_update_exp3_ix, eta, gamma, horizon),
    )


def _ix_rates(
    eta: float | None, gamma: float | None, horizon: float | None, state: Weights
) -> tuple[float | jax.Array, float | jax.Array]:
    """Returns eta and gamma of the pull that is being chosen."""
    if eta is not None:
        return eta, gamma
    num_arms = len(state.totals)
    pulls = state.t + 1 if horizon is None else horizon / 2
    eta = jnp.sqrt(math.log(num_arms) / num_arms / pulls)
    return eta, eta / 2


def _select_exp3_ix(
    eta: float | None,
    gamma: float | None,
    horizon: float | None,
    state: Weights,
    uniforms: jax.Array,
) -> jax.Array:
    eta, _ = _ix_rates(eta, gamma, horizon, state)
    return arms.sampled_arm(jax.nn.softmax(-eta * state.totals, axis=0), uniforms)


def _update_exp3_ix(
    eta: float | None,
    gamma: float | None,
    horizon: float | None,
    state: Weights,
    arm: jax.Array,
    reward: jax.Array,
) -> Weights:
    eta, gamma = _ix_rates(eta, gamma, horizon, state)
    probabilities = jax.nn.softmax(-eta * state.totals, axis=0)
    losses = state.totals + importance_weighted(probabilities, arm, 1 - reward, gamma)
    return Weights(state.t + 1, losses - losses.min(0)[None])
