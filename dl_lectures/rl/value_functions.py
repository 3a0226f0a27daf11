"""Learned values on a plane through the space of observations, to be drawn.

    V(obs) = max over a of Q(obs, a)

G: points along an axis, D: numbers of an observation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.rl.environments import Obs


class Axis(NamedTuple):
    """An entry of the observation that is varied."""

    entry: int
    low: float
    high: float


class Plane(NamedTuple):
    """Observations in which two entries are varied and the others are 0."""

    x: Axis
    y: Axis
    size: int  # D


# Where episodes live: a pole falls at 12 degrees (0.2095 rad), the car's world ends at its walls.
PLANES = {
    "CartPole-v1": Plane(Axis(2, -0.2095, 0.2095), Axis(3, -2.5, 2.5), size=4),
    "MountainCar-v0": Plane(Axis(0, -1.2, 0.6), Axis(1, -0.07, 0.07), size=2),
}


class ValueMap(NamedTuple):
    """Values on a plane."""

    xs: jax.Array  # [G]
    ys: jax.Array  # [G]
    values: jax.Array  # [G, G], a row for each y


def grid(plane: Plane, num_points: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The coordinates xs [G] and ys [G], and observations [G, G, D], a row for each y."""
    xs, ys = (jnp.linspace(axis.low, axis.high, num_points) for axis in (plane.x, plane.y))
    columns, rows = jnp.meshgrid(xs, ys)
    obs = jnp.zeros((num_points, num_points, plane.size))
    obs = obs.at[..., plane.x.entry].set(columns).at[..., plane.y.entry].set(rows)
    return xs, ys, obs


def value_map(action_values: Callable[[Obs], jax.Array], plane: Plane, num_points: int) -> ValueMap:
    """Evaluates max_a Q on a plane.

    Args:
      action_values: one observation [D] -> values [A].
      plane: where.
      num_points: G.
    """
    xs, ys, obs = grid(plane, num_points)
    return ValueMap(xs, ys, jax.vmap(jax.vmap(lambda obs: action_values(obs).max()))(obs))
