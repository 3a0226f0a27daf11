"""Each drawing shows what the state says: positions are read back from what was drawn."""

import numpy as np
import pytest
from PIL import Image

from dl_lectures.reporting import films, plotting

CLASSIC = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1")
POINTS = ("Swimmer-misc", "Reacher-misc", "swimmer")
CELLS = ("Catch-bsuite", "DeepSea-bsuite", "FourRooms-misc")


def film(env, length=3, **changes):
    """An episode that could be one."""
    t = np.arange(length + 1)
    actions, obs = np.ones(length, np.int32), np.zeros((length + 1, 4), np.float32)
    states = {
        "CartPole-v1": {"x": 0.1 * t, "theta": 0.05 * t},
        "Acrobot-v1": {"joint_angle1": 0.3 * t, "joint_angle2": -0.2 * t},
        "MountainCar-v0": {"position": -0.5 + 0.1 * t},
        "Pendulum-v1": {"theta": np.pi - 0.4 * t},
        "Swimmer-misc": {
            "xy": 0.2 * np.stack([t, -t], 1),
            "urchin_xys": np.zeros((length + 1, 5, 2)) + 0.5,
            "goal_xy": np.zeros((length + 1, 2)),
        },
        "Reacher-misc": {
            "angles": np.stack([0.1 * t, 1.0 + 0.1 * t], 1),
            "goal_xy": np.ones((4, 2)),
        },
        "swimmer": {
            "position": 0.1 * np.stack([t, t], 1),
            "angles": np.stack([0 * t, -0.5 + 0 * t, 0.5 + 0 * t], 1),
        },
        "Catch-bsuite": {
            "ball_x": 0 * t + 1,
            "ball_y": t,
            "paddle_x": np.minimum(t, 3) - 2 + 2,
            "paddle_y": 0 * t + 9,
        },
        "DeepSea-bsuite": {"row": t, "column": t},
        "FourRooms-misc": {
            "pos": np.stack([4 + 0 * t, 1 + t], 1),
            "goal": np.tile([8, 9], (length + 1, 1)),
        },
    }.get(env, {})
    if env in films.CHANNELS:
        obs = np.zeros((length + 1, 10, 10, len(films.CHANNELS[env])), bool)
    elif env in CELLS:
        obs = np.zeros((length + 1, *{"Catch-bsuite": (10, 5)}.get(env, (8, 8))))
    return films.Film(env, states, obs, actions, np.ones(length, np.float32))._replace(**changes)


def drawn(shown, t):
    _, ax = plotting.subplots()
    films.draw(ax, shown, t)
    return ax


def lines(ax):
    return [np.column_stack(line.get_data()) for line in ax.lines]


@pytest.mark.parametrize("env", [*CLASSIC, *POINTS, *CELLS, *films.CHANNELS, "MemoryChain-bsuite"])
def test_every_environment_can_be_drawn_in_both_languages(env, font):
    shown = film(env)
    figure = films.strip(shown)
    titles = [ax.get_title() for ax in figure.axes[:4]]
    assert all(str(t) in title for t, title in enumerate(titles))
    assert "return 3" in titles[3] or "収益 3" in titles[3]
    if font == "without the font":
        assert all(title.isascii() for title in titles)
        words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert all(word.isascii() for word in words)


def test_the_pole_leans_the_way_its_angle_says():
    ax = drawn(film("CartPole-v1"), 2)
    pole = next(line for line in lines(ax) if len(line) == 2 and line[0, 1] == 0.3)
    np.testing.assert_allclose(pole, [[0.2, 0.3], [0.2 + np.sin(0.1), 0.3 + np.cos(0.1)]])


def test_the_acrobot_hangs_at_0_and_reaches_its_goal_where_the_rule_says():
    for angles, above in (((0.0, 0.0), False), ((np.pi, 0.0), True), ((2.0, 0.5), True)):
        one, two = (np.full(2, angle) for angle in angles)
        ax = drawn(film("Acrobot-v1", 1, states={"joint_angle1": one, "joint_angle2": two}), 0)
        tip = lines(ax)[2][-1]  # the goal, the first link, the second
        assert (tip[1] > 1.0) == above == (-np.cos(angles[0]) - np.cos(sum(angles)) > 1.0)


def test_the_pendulum_stands_at_0_and_turns_counter_clockwise():
    for theta, tip in ((0.0, (0, 1)), (np.pi / 2, (-1, 0)), (np.pi, (0, -1))):
        ax = drawn(film("Pendulum-v1", 1, states={"theta": np.full(2, theta)}), 0)
        np.testing.assert_allclose(lines(ax)[1][1], tip, atol=1e-12)


def test_the_arm_ends_where_the_reward_measures():
    ax = drawn(film("Reacher-misc"), 0)
    np.testing.assert_allclose(lines(ax)[0][-1], [1 + np.cos(1), np.sin(1)])


def test_the_links_of_the_swimmer_hang_together():
    ax = drawn(film("swimmer"), 0)
    body = next(line for line in lines(ax) if len(line) == 4)
    np.testing.assert_allclose(np.linalg.norm(np.diff(body, axis=0), axis=1), 1 / 3)
    np.testing.assert_allclose(body[1:3].mean(0), [0, 0], atol=1e-12)
    assert body[0, 1] > 0 and body[3, 1] > 0  # rear turned by -0.5, front by 0.5: a bowl


def test_cells_lie_where_the_state_says():
    picture = drawn(film("FourRooms-misc"), 2).images[0].get_array()
    np.testing.assert_allclose(picture[4, 3], films._rgb(plotting.BLUE))
    np.testing.assert_allclose(picture[8, 9], films._rgb(plotting.GREEN))
    assert [len(row) for row in films.FOUR_ROOMS] == [13] * 13
    picture = drawn(film("DeepSea-bsuite"), 3).images[0].get_array()
    np.testing.assert_allclose(picture[3, 3], films._rgb(plotting.BLUE))
    np.testing.assert_allclose(picture[2, 2], films._rgb(plotting.SKY))


def test_a_dive_ends_below_the_last_row():
    ax = drawn(film("DeepSea-bsuite", 8), 8)
    assert not (ax.images[0].get_array() == films._rgb(plotting.BLUE)).all(-1).any()


def test_walls_are_those_of_the_environment():
    import jax

    from dl_lectures.rl import environments

    environment = environments.make("FourRooms-misc")
    _, state = environment.reset(jax.random.key(0))
    walls = np.array([[cell == "#" for cell in row] for row in films.FOUR_ROOMS])
    free = {tuple(map(int, state.pos))}
    frontier = list(free)
    step = jax.jit(jax.vmap(environment.step, in_axes=(0, None, 0)))
    keys = jax.random.split(jax.random.key(1), 64)  # a third of the steps goes elsewhere
    actions = np.arange(64, dtype=np.int32) % 4
    while frontier:
        at = state.replace(pos=np.array(frontier.pop(), np.int32))
        found = {tuple(map(int, pos)) for pos in np.asarray(step(keys, at, actions)[1].pos)}
        frontier += sorted(found - free)
        free |= found
    np.testing.assert_array_equal(np.argwhere(~walls), sorted(free))


@pytest.mark.parametrize("env", films.CHANNELS)
def test_each_layer_has_its_colour(env):
    channels = films.CHANNELS[env]
    layers = np.zeros((1, len(channels), len(channels)), bool)
    layers[0, np.arange(len(channels)), np.arange(len(channels))] = True
    picture = films.compose(env, layers)
    for i, channel in enumerate(channels):
        np.testing.assert_allclose(picture[0, i], films._rgb(channel.colour))
    told = [channel.colour for channel in channels if channel.en]
    assert len(set(told)) == len(told)
    assert (films.compose(env, np.zeros((1, 1, len(channels)))) == films._EMPTY).all()


@pytest.mark.parametrize("env", [env for env in films.CHANNELS])
def test_there_is_a_colour_for_each_layer_of_the_environment(env):
    import jax

    from dl_lectures.rl import environments

    obs = jax.eval_shape(environments.make(env).reset, jax.random.key(0))[0]
    assert obs.shape[-1] == len(films.CHANNELS[env])


def test_times_are_even_and_include_both_ends():
    assert films.frame_times(3, 8) == [0, 1, 2, 3]
    assert films.frame_times(0, 8) == [0]
    times = films.frame_times(500, 200)
    assert (times[0], times[-1], len(times)) == (0, 500, 200)
    assert set(np.diff(times)) <= {2, 3}


def test_files_hold_every_frame(tmp_path):
    animation, strip = films.save(film("Catch-bsuite"), tmp_path / "play")
    with Image.open(animation) as image:
        assert (image.n_frames, image.size) == (4, (768, 432))
    assert strip.name == "play.png" and strip.with_suffix(".svg").exists()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gif", ".png", ".svg"]
