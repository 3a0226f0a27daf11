"""Mixtures of Gaussians in the plane, on which one sees what a generative model leaves out.

The ring is that of Metz et al. (2017), arXiv:1611.02163, appendix A: eight on a circle of radius 2,
of standard deviation 0.02. Srivastava et al. (2017), arXiv:1705.07761, and Lin et al. (2018),
arXiv:1712.04086, have half of both numbers, which is the same on another scale. The grid is theirs:
five by five, 2 apart, of standard deviation 0.05. All components weigh the same.

M: components (modes), N: points.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Mixture(NamedTuple):
    """Round Gaussians of one size and one weight."""

    centres: np.ndarray  # [M, 2] float32
    std: float  # of either coordinate


def ring(num_modes: int = 8, radius: float = 2.0, std: float = 0.02) -> Mixture:
    """Components on a circle about the origin, the first at angle 0."""
    angles = 2.0 * np.pi * np.arange(num_modes) / num_modes
    centres = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return Mixture(centres.astype(np.float32), std)


def grid(side: int = 5, spacing: float = 2.0, std: float = 0.05) -> Mixture:
    """`side` times `side` components about the origin."""
    line = spacing * (np.arange(side) - (side - 1) / 2)
    centres = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    return Mixture(centres.astype(np.float32), std)


MIXTURES = {"ring": ring, "grid": grid}


def draw(key: jax.Array, mixture: Mixture, num_points: int) -> jax.Array:
    """Points, float32 [N, 2]; the key is consumed."""
    key_mode, key_noise = jax.random.split(key)
    modes = jax.random.randint(key_mode, (num_points,), 0, len(mixture.centres))
    noise = jax.random.normal(key_noise, (num_points, 2))
    return jnp.asarray(mixture.centres)[modes] + mixture.std * noise


def log_density(mixture: Mixture, x: jax.Array) -> jax.Array:
    """log p(x) in nats, [...], of points x, [..., 2]."""
    centres = jnp.expand_dims(mixture.centres, range(x.ndim - 1))  # [..., M, 2]
    squared = jnp.square((x[..., None, :] - centres) / mixture.std).sum(-1)  # [..., M]
    log_normal = -0.5 * squared - jnp.log(2.0 * jnp.pi * mixture.std**2)
    return jax.nn.logsumexp(log_normal, axis=-1) - jnp.log(float(len(mixture.centres)))
