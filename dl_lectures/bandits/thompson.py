"""Thompson sampling: pull each arm as often as it is likely to be the best one.

Thompson (1933, doi:10.1093/biomet/25.3-4.285); as algorithms in Russo et al. (2018,
arXiv:1707.02038), algorithm 3.2 for Bernoulli rewards.

K: arms, N: runs, B: steps that are drawn at once. Arrays are [K, N].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from dl_lectures.bandits import arms, beta, checks, policies
from dl_lectures.bandits.policies import Averages, Policy


class BetaPosterior(NamedTuple):
    """What is known of each arm's odds: Beta(a, b)."""

    a: jax.Array  # [K, N], prior plus rewards
    b: jax.Array  # [K, N], prior plus what was missing to 1


def thompson(successes: float = 1.0, failures: float = 1.0) -> Policy:
    """Thompson sampling for rewards of 0 or 1, with a Beta prior.

    Rewards between 0 and 1 count as fractions of a success. That is not the randomised rounding of
    Agrawal & Goyal (2012, arXiv:1111.1797), and its posterior is that of no model.

    Args:
      successes: a of the prior Beta(a, b), the same for all arms; positive.
      failures: b of the prior; positive.

    Raises:
      ValueError: an argument is not positive.
    """
    checks.positive("successes", successes)
    checks.positive("failures", failures)
    return Policy(
        init=Partial(_init_beta, successes, failures),
        draw=beta.draw_for(successes, failures),
        select=Partial(_select_beta),
        update=Partial(_update_beta),
    )


def _init_beta(successes: float, failures: float, num_arms: int, num_runs: int) -> BetaPosterior:
    ones = jnp.ones((num_arms, num_runs))
    return BetaPosterior(successes * ones, failures * ones)


def _select_beta(posterior: BetaPosterior, luck: beta.BetaLuck) -> jax.Array:
    return arms.first_best(beta.sample_beta(luck, posterior.a, posterior.b))


def _update_beta(posterior: BetaPosterior, arm: jax.Array, reward: jax.Array) -> BetaPosterior:
    chosen, rewards = arms.one_hot(arm, len(posterior.a)), reward[None]
    return BetaPosterior(posterior.a + chosen * rewards, posterior.b + chosen * (1 - rewards))


def gaussian_thompson(prior_scale: float = 1.0, scale: float = 1.0) -> Policy:
    """Thompson sampling for normal rewards of known variance, with a N(0, prior_scale^2) prior.

    After n rewards of average m an arm's mean is N(n m / (n + r), scale^2 / (n + r)) with
    r = scale^2 / prior_scale^2. Agrawal & Goyal (2013, arXiv:1209.3353), algorithm 2, has r = 1.

    Args:
      prior_scale: standard deviation of the arms' means, positive.
      scale: standard deviation of a reward, positive.

    Raises:
      ValueError: an argument is not positive.
    """
    checks.positive("prior_scale", prior_scale)
    checks.positive("scale", scale)
    return Policy(
        init=Partial(policies.init_averages),
        draw=Partial(policies.draw_normals),
        select=Partial(_select_gaussian, scale**2 / prior_scale**2, scale),
        update=Partial(policies.averaged),
    )


def _select_gaussian(
    pseudo_pulls: float, scale: float, state: Averages, normals: jax.Array
) -> jax.Array:
    weights = 1 / (state.counts + pseudo_pulls)
    means = state.counts * state.means * weights
    return arms.first_best(means + scale * jnp.sqrt(weights) * normals)
