import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import environments, value_functions
from dl_lectures.rl.value_functions import Axis, Plane


def test_values_lie_where_their_observations_do():
    plane = Plane(Axis(2, -1.0, 1.0), Axis(0, 10.0, 30.0), size=3)
    found = value_functions.value_map(
        lambda obs: jnp.stack([obs[0] + 100.0 * obs[2], -1e6 + obs[1]]), plane, 3
    )
    np.testing.assert_allclose(found.xs, [-1, 0, 1])
    np.testing.assert_allclose(found.ys, [10, 20, 30])
    np.testing.assert_allclose(found.values, [[-90, 10, 110], [-80, 20, 120], [-70, 30, 130]])


def test_the_best_action_counts_and_other_entries_are_0():
    plane = Plane(Axis(0, -2.0, 2.0), Axis(1, 0.0, 1.0), size=4)
    found = value_functions.value_map(
        lambda obs: jnp.stack([obs[0], -obs[0], obs[2] + obs[3]]), plane, 5
    )
    np.testing.assert_allclose(found.values, np.tile([2.0, 1.0, 0.0, 1.0, 2.0], (5, 1)))


@pytest.mark.parametrize("name", value_functions.PLANES)
def test_planes_fit_their_environments(name):
    import jax

    obs, _ = environments.make(name).reset(jax.random.key(0))
    plane = value_functions.PLANES[name]
    assert obs.shape == (plane.size,)
    for axis in (plane.x, plane.y):  # an episode begins on the plane's picture
        assert axis.low < obs[axis.entry] < axis.high
