import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.reporting import plotting
from dl_lectures.rl import swimmer
from experiments import common, flags, locomotion


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke preset on two of the tasks, one of ours and one of gymnax's: results, workdir."""
    workdir = tmp_path_factory.mktemp("locomotion")
    given = {"preset": "smoke", "workdir": str(workdir), "env": "swimmer,Pendulum-v1"}
    return common.execute(locomotion, *flags.resolve(locomotion, given)), workdir


def test_smoke_preset(smoke):
    found, workdir = smoke
    assert [claim.id for claim in found.claims] == [
        "locomotion_swims",
        "locomotion_as_fast_as_purcell",
        "locomotion_efficient",
        "locomotion_swings_up",
    ]
    np.testing.assert_array_equal(found.arrays["swimmer/env_steps"], [1_600, 3_200])
    assert found.arrays["swimmer/poses"].shape == (501, 5)
    # Gymnasium's random policy earns about -1,200 +- 300 an episode; 4 of them.
    assert -1_900 < found.metrics["Pendulum-v1/random_return"].mean < -500
    speed = found.metrics["swimmer/learned_measure"].mean
    way = found.metrics["swimmer/learned_return"].mean / 100
    np.testing.assert_allclose(speed, way / (500 * swimmer.TIME_STEP), rtol=1e-3, atol=1e-6)
    assert (workdir / "figures" / "locomotion.png").stat().st_size > 10_000
    assert "Purcell's stroke" in locomotion.report(found)


def test_figure_in_both_languages(smoke, font, tmp_path):
    png, _ = plotting.save(locomotion.figure(smoke[0]), tmp_path / "figure")
    assert png.stat().st_size > 10_000


def test_a_cycle_ends_where_it_began():
    """A gait of 36 steps, seen from its middle on."""
    angle = 2 * np.pi * np.arange(201) / 36
    poses = np.stack([*np.zeros((3, 201)), np.sin(angle), np.cos(angle)], axis=1)
    assert locomotion.cycle_of(poses) == (100, 136)


def test_an_arm_that_touches_its_goal_or_points_at_it():
    """Goal (1, 1) within reach and touched; goal (3, 0) out of reach and pointed at: both 0."""
    measure = locomotion.TASKS["Reacher-misc"].measure

    class States:
        def __init__(self, angles, goal):
            self.angles, self.goal_xy = jnp.array([angles]), jnp.array([goal])

    rewards = jnp.zeros(1)
    quarter = np.pi / 2
    np.testing.assert_allclose(measure(States([0.0, quarter], [1.0, 1.0]), rewards), 0.0, atol=1e-6)
    np.testing.assert_allclose(measure(States([0.0, 0.0], [3.0, 0.0]), rewards), 0.0, atol=1e-6)
    np.testing.assert_allclose(measure(States([0.0, 0.0], [0.0, 3.0]), rewards), 8**0.5, rtol=1e-6)


def test_the_best_stroke_of_purcell():
    """No other amplitude is faster; its efficiency is the 0.7 % that is known of it."""
    best = locomotion.best_purcell_stroke()

    @jax.jit
    def way(pose, rates):
        return jax.lax.scan(lambda p, r: (swimmer.advance(p, r), None), pose, rates)[0][0]

    def speed(amplitude):
        rates = np.zeros((80, 2), np.float32)
        stroke = swimmer.purcell_stroke(amplitude, 1)
        rates[: len(stroke)] = stroke
        pose = jnp.array([0.0, 0.0, 0.0, -amplitude, amplitude], jnp.float32)
        return float(way(pose, rates)) / (len(stroke) * swimmer.TIME_STEP)

    np.testing.assert_allclose(speed(best["amplitude"]), best["speed"], rtol=1e-4)
    assert best["speed"] > 0.98 * max(speed(amplitude) for amplitude in np.arange(0.25, 2.0, 0.15))
    assert 0.005 < best["efficiency"] < 0.01


def test_an_unknown_task_is_a_sentence():
    with pytest.raises(ValueError, match="'Ant' is none of swimmer"):
        locomotion.Config(env="swimmer,Ant")
