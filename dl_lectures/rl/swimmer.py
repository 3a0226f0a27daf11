"""Purcell's three-link swimmer: a body that can move only by the order of its strokes.

Purcell (1977), "Life at low Reynolds number", doi:10.1119/1.10903. Where friction with the water is
all and inertia is nothing, as for a bacterium, a movement that is taken back takes the body back: a
swimmer with one joint cannot leave its place, whatever it does (the scallop theorem). Three links
with two joints are the least that can. Motors set the rates of both joints; the body's own velocity
is the one at which the water's drag on all links is in balance. Drag of a slender rod: Becker,
Koehler & Stone (2003), doi:10.1017/S0022112003005184, resistive-force theory.

Lengths are in body lengths, angles in radians; a unit of time is what a joint takes for a radian at
full rate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.learner import Key
from dl_lectures.rl.environments import Environment

NUM_LINKS = 3
LINK = 1.0 / NUM_LINKS  # body lengths
TIME_STEP = 0.2  # of an action
MAX_ANGLE = 2.0 * np.pi / 3.0  # of a joint to either side: the outer links do not touch
_NORMAL_DRAG, _TANGENTIAL_DRAG = 2.0, 1.0  # of a slender rod, to a common factor
_MAX_FIRST = 0.5  # heading and joints at the start lie within this of straight ahead, rad


class State(NamedTuple):
    """Where the swimmer is."""

    position: jax.Array  # [2] centre of the middle link, body lengths
    angles: jax.Array  # [3] heading of the middle link; joints to the rear and to the front link
    time: jax.Array  # [] int32, actions taken


def shape_of(pose: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Centres [3, 2] and directions [3] of the links, rear to front.

    Args:
      pose: [5] position of the middle link, its heading, and the joints' angles.
    """
    x, y, heading, rear, front = pose
    directions = jnp.stack([heading + rear, heading, heading + front])
    along = LINK / 2 * jnp.stack([jnp.cos(directions), jnp.sin(directions)], axis=-1)
    middle = jnp.stack([x, y])
    centres = jnp.stack([middle - along[1] - along[0], middle, middle + along[1] + along[2]])
    return centres, directions


def ends_of(pose: jax.Array) -> jax.Array:
    """The ends of the links, [4, 2], rear to front."""
    centres, directions = shape_of(pose)
    along = LINK / 2 * jnp.stack([jnp.cos(directions), jnp.sin(directions)], axis=-1)
    return jnp.concatenate([(centres - along)[:1], centres + along])


def pose_of(state: State) -> jax.Array:
    """The pose [5] of `shape_of`."""
    return jnp.concatenate([state.position, state.angles])


def drag(pose: jax.Array) -> jax.Array:
    """The symmetric matrix [5, 5] from velocities of the pose to the forces that they take.

    A rod of length l whose centre moves at v and which turns at w is held back by
    l (c_t (v t) t + c_n (v n) n), t along and n across it, and by the torque c_n l^3 w / 12.
    """
    centres, directions = jax.jacfwd(shape_of)(pose)  # [3, 2, 5], [3, 5]
    angles = shape_of(pose)[1]
    along = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)  # [3, 2]
    across = jnp.stack([-jnp.sin(angles), jnp.cos(angles)], axis=-1)
    v_along = jnp.einsum("ic,icq->iq", along, centres)  # [3, 5]
    v_across = jnp.einsum("ic,icq->iq", across, centres)
    return LINK * (
        _TANGENTIAL_DRAG * v_along.T @ v_along
        + _NORMAL_DRAG * v_across.T @ v_across
        + _NORMAL_DRAG * LINK**2 / 12 * directions.T @ directions
    )


def velocity(pose: jax.Array, rates: jax.Array) -> jax.Array:
    """The velocity [5] of a pose whose joints turn at `rates` [2], rad: no net force or torque."""
    matrix = drag(pose)
    body = -_solve(matrix[:3, :3], matrix[:3, 3:] @ rates)
    return jnp.concatenate([body, rates])


def power(pose: jax.Array, rates: jax.Array) -> jax.Array:
    """What the motors give to the water in a unit of time, []."""
    moving = velocity(pose, rates)
    return moving @ drag(pose) @ moving


def _solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Cramer's rule for [3, 3]: a call of LAPACK for each swimmer would take most of the time."""
    a, b, c = matrix  # rows; also columns, by symmetry
    cofactors = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])
    return cofactors @ right / (a @ cofactors[0])


def advance(pose: jax.Array, rates: jax.Array) -> jax.Array:
    """The pose after an action, by the midpoint rule; a joint at its stop does not turn further."""
    joints = jnp.clip(pose[3:] + TIME_STEP * rates, -MAX_ANGLE, MAX_ANGLE)
    rates = (joints - pose[3:]) / TIME_STEP
    middle = pose + TIME_STEP / 2 * velocity(pose, rates)
    after = pose + TIME_STEP * velocity(middle, rates)
    return jnp.concatenate([after[:3], joints])


def make(num_steps: int = 500) -> Environment:
    """Returns the swimmer, which is to swim in the direction x.

    Actions are the joints' rates [2], 1 being full rate. An observation [6] is the cosine and sine
    of the heading, and of each joint's angle. The reward is the distance that the centre of the
    body gained, in hundredths of a body length; its sum is what a time limit of `num_steps` leaves.
    """

    def observe(state: State) -> jax.Array:
        return jnp.concatenate([jnp.cos(state.angles), jnp.sin(state.angles)])

    def reset(key: Key) -> tuple[jax.Array, State]:
        angles = jax.random.uniform(key, (3,), minval=-_MAX_FIRST, maxval=_MAX_FIRST)
        state = State(jnp.zeros(2), angles, jnp.int32(0))
        return observe(state), state

    def step(key: Key, state: State, action: jax.Array):
        del key  # nothing is left to chance
        before = pose_of(state)
        after = advance(before, jnp.clip(action, -1.0, 1.0))
        gained = (shape_of(after)[0] - shape_of(before)[0])[:, 0].mean()
        state = State(after[:2], after[2:], state.time + 1)
        never = jnp.bool_(False)
        return observe(state), state, 100.0 * gained, never, state.time >= num_steps

    return Environment(reset, step, num_actions=0, low=(-1.0, -1.0), high=(1.0, 1.0))


def purcell_stroke(amplitude: float, num_cycles: int) -> np.ndarray:
    """The rates [K, 2] of Purcell's stroke from the pose (-amplitude, amplitude): one joint a time.

    The joints' angles go around a square: front down, rear up, front up, rear down. A cycle is
    8 amplitude / TIME_STEP actions, rounded up to whole ones of equal rate.
    """
    num_actions = int(np.ceil(2 * amplitude / TIME_STEP))
    rate = 2 * amplitude / (TIME_STEP * num_actions)
    sides = rate * np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    return np.tile(np.repeat(sides, num_actions, axis=0), (num_cycles, 1))
