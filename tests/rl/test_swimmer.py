"""The swimmer against the laws of drag and symmetry, and what it must not be able to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.rl import swimmer


@jax.jit
def swim(pose, rates):
    """All poses [K + 1, 5]."""
    _, later = jax.lax.scan(lambda p, r: (swimmer.advance(p, r),) * 2, pose, rates)
    return jnp.concatenate([pose[None], later])


@pytest.fixture(scope="module")
def moving():
    """Ten poses, their joints' rates and velocities."""
    rng = np.random.default_rng(0)
    poses = rng.uniform(-2, 2, (10, 5)).astype(np.float32)
    rates = rng.uniform(-1, 1, (10, 2)).astype(np.float32)
    return poses, rates, np.float64(jax.vmap(swimmer.velocity)(poses, rates))


def points_of(pose, num=200):
    """By hand: middles of short pieces of each link [3, num, 2], directions of the links [3, 2]."""
    x, y, heading, rear, front = np.float64(pose)
    angles = np.array([heading + rear, heading, heading + front])
    along = np.stack([np.cos(angles), np.sin(angles)], -1)
    joint_rear = np.array([x, y]) - along[1] / 6
    joint_front = np.array([x, y]) + along[1] / 6
    starts = np.stack([joint_rear - along[0] / 3, joint_rear, joint_front])
    s = (np.arange(num) + 0.5) / num / 3
    return starts[:, None] + s[None, :, None] * along[:, None], along


def test_no_net_force_and_torque(moving):
    """Drag summed over 200 pieces of each link, whose velocities are finite differences."""
    poses, _, velocities = moving
    for pose, v in zip(poses, velocities, strict=True):
        here, along = points_of(pose)
        h = 1e-6
        moved = (points_of(pose + h * v)[0] - points_of(pose - h * v)[0]) / (2 * h)
        t = along[:, None]
        parallel = (moved * t).sum(-1, keepdims=True) * t
        force = -(parallel + 2.0 * (moved - parallel))
        torque = here[..., 0] * force[..., 1] - here[..., 1] * force[..., 0]
        assert np.abs(force).sum() > 10
        np.testing.assert_allclose(force.mean((0, 1)), 0.0, atol=1e-4)
        np.testing.assert_allclose(torque.mean(), 0.0, atol=1e-4)


def test_the_matrix_of_drag_is_symmetric_and_positive(moving):
    for pose in moving[0]:
        matrix = np.array(swimmer.drag(pose))
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
        assert np.linalg.eigvalsh(matrix).min() > 1e-4


def test_power_is_what_the_joints_give(moving):
    """Torque times rate of the joints alone: nothing else pushes."""
    for pose, rates, v in zip(*moving, strict=True):
        torques = (np.array(swimmer.drag(pose)) @ v)[3:]
        np.testing.assert_allclose(
            swimmer.power(pose, rates), torques @ rates, rtol=1e-3, atol=1e-6
        )


def test_where_it_is_and_where_it_heads_do_not_matter(moving):
    """A rotation by 1 rad and a move turn the velocity with them."""
    poses, rates, v = moving
    turned = poses + np.array([3.0, -1.0, 1.0, 0.0, 0.0], np.float32)
    found = jax.vmap(swimmer.velocity)(turned, rates)
    c, s = np.cos(1.0), np.sin(1.0)
    expected = v.copy()
    expected[:, 0], expected[:, 1] = c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_scallop_does_not_swim():
    """One joint opens and closes, fast and slowly, to an angle of 1.5: all is undone."""
    opens = np.repeat([0.5, 1.0, 0.25], [5, 5, 2])  # sum 7.75 x 0.2 rad
    closes = -np.repeat(opens[::-1], 1)
    there_and_back = jnp.array(np.concatenate([opens, closes]), jnp.float32)
    rates = jnp.stack([jnp.zeros_like(there_and_back), there_and_back], axis=1)
    poses = np.array(swim(jnp.zeros(5), rates))
    assert np.abs(poses[12, :3]).max() > 0.1  # it moved
    np.testing.assert_allclose(poses[-1], 0.0, atol=2e-4)


def test_a_gait_swims_and_its_mirror_image_swims_back():
    rates = jnp.array(swimmer.purcell_stroke(1.0, 3), jnp.float32)
    start = jnp.array([0.0, 0.0, 0.0, -1.0, 1.0])
    forward = np.array(swim(start, rates))[-1]
    assert 0.05 < forward[0] / 3 < 0.07
    np.testing.assert_allclose(forward[1:], [0.0, 0.0, -1.0, 1.0], atol=1e-4)
    back = np.array(swim(start, -rates[::-1]))[-1]
    np.testing.assert_allclose(back[0], -forward[0], atol=1e-3)


def test_small_strokes_gain_by_the_square_of_their_size():
    def gain(amplitude):
        # As many actions for each, so that they differ in size alone.
        rates = np.repeat([[0, -1], [1, 0], [0, 1], [-1, 0]], 10, axis=0) * amplitude
        start = jnp.array([0.0, 0.0, 0.0, -amplitude, amplitude], jnp.float32)
        return float(swim(start, jnp.array(rates, jnp.float32))[-1, 0])

    np.testing.assert_allclose(gain(0.2) / gain(0.1), 4.0, rtol=0.05)


def test_joints_stop_and_do_not_push_further():
    limit = swimmer.MAX_ANGLE
    pose = jnp.array([0.0, 0.0, 0.0, limit, -limit])
    np.testing.assert_allclose(swimmer.advance(pose, jnp.array([1.0, -1.0])), pose, atol=1e-6)


def test_the_reward_is_the_way_gained():
    environment = swimmer.make(num_steps=7)
    obs, state = environment.reset(jax.random.key(0))
    assert obs.shape == (6,)
    first, total = state, 0.0
    step = jax.jit(environment.step)
    actions = np.random.default_rng(1).uniform(-1.5, 1.5, (7, 2)).astype(np.float32)
    for t, action in enumerate(actions):
        obs, state, reward, terminated, truncated = step(jax.random.key(t), state, action)
        total += float(reward)
        assert not terminated and truncated == (t == 6)
    centre = lambda s: np.array(swimmer.shape_of(swimmer.pose_of(s))[0]).mean(0)
    np.testing.assert_allclose(total, 100 * (centre(state) - centre(first))[0], atol=1e-4)
    np.testing.assert_allclose(obs[:3] ** 2 + obs[3:] ** 2, 1.0, rtol=1e-5)


def test_ends_join_the_links():
    pose = jnp.array([0.3, -0.2, 0.4, 1.0, -0.7])
    ends = np.array(swimmer.ends_of(pose))
    np.testing.assert_allclose(np.linalg.norm(np.diff(ends, axis=0), axis=1), 1 / 3, rtol=1e-5)
    np.testing.assert_allclose((ends[1] + ends[2]) / 2, [0.3, -0.2], atol=1e-6)
