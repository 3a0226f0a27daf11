"""What of a mixture of Gaussians a model's samples cover.

As in Srivastava et al. (2017), arXiv:1705.07761, section 4.1: a sample is of high quality if it
lies within three standard deviations of the nearest centre, and a mode is covered if it is the
nearest one of a sample of high quality. A model that drops all but one mode may have samples of
high quality, and one that fills the plane covers all modes: only both together say something.

M: modes, N: samples.
"""

import jax
import jax.numpy as jnp

from dl_lectures.data.mixtures import Mixture
from dl_lectures.learner import Metrics

_NEAR = 3.0  # standard deviations; of the mixture itself 1 - exp(-9 / 2) = 98.9 % lie within


def nearest(mixture: Mixture, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The number of the nearest mode, int32 [N], and the distance to it, [N], of points [N, 2]."""
    squared = jnp.square(x[:, None] - mixture.centres[None]).sum(-1)  # [N, M]
    return squared.argmin(-1).astype(jnp.int32), jnp.sqrt(squared.min(-1))


def coverage(mixture: Mixture, x: jax.Array) -> Metrics:
    """How much of a mixture samples cover, and how well.

    Args:
        mixture: what was to be learned.
        x: samples of the model, [N, 2].

    Returns:
        `modes`: covered ones, 0 to M. `high_quality`: share of samples, 0 to 1.
        `reverse_kl_nats`: KL from the shares of samples nearest to each mode to equal shares, 0 to
        log M (Lin et al., 2018, arXiv:1712.04086). All [] float32.
    """
    mode, distance = nearest(mixture, x)
    num_modes = len(mixture.centres)
    is_good = distance <= _NEAR * mixture.std
    of_mode = jax.nn.one_hot(mode, num_modes)  # [N, M]
    covered = (of_mode * is_good[:, None]).max(0)
    shares = of_mode.mean(0)
    entropy = -jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1.0)), 0.0)
    return {
        "modes": covered.sum(),
        "high_quality": is_good.mean(),
        "reverse_kl_nats": jnp.log(float(num_modes)) - entropy.sum(),
    }
