"""Films of episodes: each environment drawn from the arrays of its states.

A film knows nothing of environments but arrays by name, the fields of the state. `draw(ax,
film, t)` draws the state after t steps into axes; things that need a name carry a label, from which
the legend is made. What has no drawing of its own is shown as its observation.

T: steps.
"""

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dl_lectures.reporting import plotting
from dl_lectures.reporting.plotting import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    text,
)

_MOST_FRAMES = 200  # of an animation: longer episodes are shown faster
_STRIP = (2, 4)  # rows and columns of the strip
_GREY, _PALE = "#808080", "#B8B8B8"
_EMPTY = (0.94, 0.94, 0.94)  # a cell with nothing in it


class Film(NamedTuple):
    """One episode as NumPy arrays."""

    env: str  # gymnax's name; swimmer: Purcell's
    states: dict[str, np.ndarray]  # the environment's fields, [T + 1, ...]
    obs: np.ndarray  # [T + 1, ...]
    actions: np.ndarray  # [T] or [T, D]
    rewards: np.ndarray  # [T]


class Channel(NamedTuple):
    """What one layer of a picture of cells shows."""

    en: str  # empty: not in the legend
    ja: str
    colour: str


# Layers of gymnax's pictures in their order (Young & Tian, 2019, arXiv:1903.03176).
CHANNELS = {
    "Breakout-MinAtar": (
        Channel("paddle", "パドル", BLUE),
        Channel("ball", "ボール", VERMILION),
        Channel("trail", "軌跡", ORANGE),
        Channel("brick", "ブロック", GREEN),
    ),
    "Asterix-MinAtar": (
        Channel("player", "プレイヤー", BLUE),
        Channel("enemy", "敵", VERMILION),
        Channel("trail", "軌跡", _PALE),
        Channel("gold", "宝", ORANGE),
    ),
    "Freeway-MinAtar": (
        Channel("chicken", "ニワトリ", BLUE),
        Channel("car", "車", BLACK),
        Channel("trail: moves every step", "軌跡:毎ステップ動く", VERMILION),
        Channel("every 2nd step", "2ステップごと", ORANGE),
        Channel("every 3rd", "3ステップごと", YELLOW),
        Channel("every 4th", "4ステップごと", GREEN),
        Channel("every 5th", "5ステップごと", SKY),
    ),
    "Seaquest-MinAtar": (
        Channel("submarine", "潜水艦", BLUE),
        Channel("its back", "その後部", SKY),
        Channel("own bullet", "自分の弾", BLACK),
        Channel("trail", "軌跡", _PALE),
        Channel("enemy bullet", "敵の弾", PURPLE),
        Channel("fish", "魚", ORANGE),
        Channel("enemy submarine", "敵の潜水艦", VERMILION),
        Channel("oxygen left", "残りの酸素", _GREY),
        Channel("divers on board", "乗せたダイバー", "#00573F"),
        Channel("diver", "ダイバー", GREEN),
    ),
    "SpaceInvaders-MinAtar": (
        Channel("cannon", "大砲", BLUE),
        Channel("", "", GREEN),  # every alien, beneath the next two
        Channel("alien, moving left", "エイリアン(左へ)", GREEN),
        Channel("alien, moving right", "エイリアン(右へ)", ORANGE),
        Channel("own bullet", "自分の弾", BLACK),
        Channel("enemy bullet", "敵の弾", VERMILION),
    ),
    "Pong-misc": (
        Channel("paddle", "パドル", BLUE),
        Channel("ball", "ボール", VERMILION),
        Channel("ball before", "直前のボール", ORANGE),
    ),
}
# From the back to the front where two layers meet in a cell; else the first layer is in front.
_ORDER = {
    "SpaceInvaders-MinAtar": (1, 2, 3, 5, 4, 0),
    "Seaquest-MinAtar": (3, 7, 8, 9, 5, 6, 4, 2, 1, 0),
}

# The walls of Sutton et al. (1999), doi:10.1016/S0004-3702(99)00052-1, as gymnax has them.
FOUR_ROOMS = """
#############
#     #     #
#     #     #
#           #
#     #     #
#     #     #
## ####     #
#     ### ###
#     #     #
#     #     #
#           #
#     #     #
#############
""".strip().splitlines()


def draw(ax: "plotting.Axes", film: Film, t: int) -> None:
    """Draws the state after t steps over whatever `ax` shows."""
    ax.clear()
    ax.set_axis_off()
    drawing(film.env)(ax, film, t)
    earned = float(film.rewards[:t].sum())
    number = f"{earned:.0f}" if earned.is_integer() else f"{earned:.3g}"
    ax.set_title(text(f"step {t}, return {number}", f"{t}ステップ,収益 {number}"))


def drawing(env: str) -> Callable[["plotting.Axes", Film, int], None]:
    """What draws an environment's states."""
    if env in CHANNELS:
        return _picture
    return _DRAWINGS.get(env, _observation)


def save(film: Film, path: os.PathLike | str) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes `path`.gif, the episode, and `path`.png with `path`.svg, some of its states.

    Returns:
        The paths of the first two.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    length = len(film.rewards)
    figure, ax = plotting.subplots()
    times = frame_times(length, _MOST_FRAMES)

    def draw_frame(frame: int) -> None:
        draw(ax, film, times[frame])
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))

    animation = plotting.save_gif(figure, draw_frame, len(times), path)
    return animation, plotting.save(strip(film), path)[0]


def strip(film: Film) -> "plotting.Figure":
    """Some states of an episode side by side, from the first to the last."""
    figure, axes = plotting.subplots(*_STRIP)
    figure.get_layout_engine().set(h_pad=0.12)  # inches
    times = frame_times(len(film.rewards), axes.size)
    for ax, t in zip(axes.flat, times, strict=False):
        draw(ax, film, t)
        ax.title.set_fontsize(plotting.SMALL_POINTS)
    for ax in axes.flat[len(times) :]:
        ax.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    return figure


def frame_times(length: int, most: int) -> list[int]:
    """The times 0, ..., `length` to be shown, evenly spaced, first and last among them."""
    return np.unique(np.linspace(0, length, min(most, length + 1)).round().astype(int)).tolist()


# The environments ---------------------------------------------------------------------------------


def _frame(ax: "plotting.Axes", x: tuple[float, float], y: tuple[float, float]) -> None:
    ax.set(xlim=x, ylim=y, aspect="equal")


def _disc(ax: "plotting.Axes", x: float, y: float, radius: float, **how) -> None:
    angles = np.linspace(0, 2 * np.pi, 41)
    ax.fill(x + radius * np.cos(angles), y + radius * np.sin(angles), **how)


def _push(ax: "plotting.Axes", x: float, y: float, length: float) -> None:
    """An arrow of a force that will be applied next."""
    if length:
        arrow = {"arrowstyle": "-|>", "color": VERMILION, "linewidth": 3, "mutation_scale": 20}
        ax.annotate("", xy=(x + length, y), xytext=(x, y), arrowprops=arrow)


def _action(film: Film, t: int) -> np.ndarray | None:
    """The action that follows on the state, None after the last."""
    return film.actions[t] if t < len(film.actions) else None


def _cart_pole(ax: "plotting.Axes", film: Film, t: int) -> None:
    x, theta = (film.states[name][t] for name in ("x", "theta"))
    _frame(ax, (-2.7, 2.7), (-0.5, 1.6))
    ax.plot([-2.4, 2.4], [0, 0], color=_GREY, linewidth=2)
    for end in (-2.4, 2.4):
        ax.plot([end, end], [-0.15, 0.15], color=_GREY, linewidth=2)
    ax.fill(x + np.array([-0.3, 0.3, 0.3, -0.3]), [0.0, 0.0, 0.3, 0.3], color=BLUE)
    for wheel in (-0.18, 0.18):
        _disc(ax, x + wheel, -0.02, 0.08, color=BLACK)
    tip = x + np.sin(theta), 0.3 + np.cos(theta)  # 1 m long, upright at 0
    ax.plot([x, tip[0]], [0.3, tip[1]], color=ORANGE, linewidth=8, solid_capstyle="round")
    action = _action(film, t)
    if action is not None:
        side = 1.0 if action == 1 else -1.0
        _push(ax, x + 0.35 * side, 0.15, 0.45 * side)


def _acrobot(ax: "plotting.Axes", film: Film, t: int) -> None:
    first = film.states["joint_angle1"][t]
    second = first + film.states["joint_angle2"][t]
    _frame(ax, (-2.9, 2.9), (-2.2, 2.2))
    ax.plot([-2.9, 2.9], [1, 1], color=GREEN, linestyle="--", label=text("goal", "目標の高さ"))
    xs = np.cumsum([0.0, np.sin(first), np.sin(second)])  # links of 1 m that hang at 0
    ys = np.cumsum([0.0, -np.cos(first), -np.cos(second)])
    ax.plot(xs[:2], ys[:2], color=BLUE, linewidth=8, solid_capstyle="round")
    ax.plot(xs[1:], ys[1:], color=SKY, linewidth=8, solid_capstyle="round")
    ax.plot(xs[:2], ys[:2], "o", color=BLACK, markersize=8)


def _mountain_car(ax: "plotting.Axes", film: Film, t: int) -> None:
    def height(x):
        return 0.45 * np.sin(3 * x) + 0.55

    xs = np.linspace(-1.2, 0.6, 200)
    _frame(ax, (-1.25, 0.65), (-0.05, 1.3))
    ax.fill_between(xs, height(xs), -0.05, color="0.9")
    ax.plot(xs, height(xs), color=_GREY)
    top = height(0.5)
    ax.plot([0.5, 0.5], [top, top + 0.2], color=BLACK)
    ax.fill([0.5, 0.62, 0.5], [top + 0.2, top + 0.15, top + 0.1], color=GREEN)
    x = film.states["position"][t]
    _disc(ax, x, height(x) + 0.05, 0.05, color=BLUE)
    action = _action(film, t)
    if action is not None:
        side = float(action) - 1.0
        _push(ax, x + 0.06 * side, height(x) + 0.05, 0.15 * side)


def _pendulum(ax: "plotting.Axes", film: Film, t: int) -> None:
    theta = film.states["theta"][t]
    _frame(ax, (-1.8, 1.8), (-1.3, 1.3))
    ax.plot([0, 0], [0, 1], color=GREEN, linestyle="--", label=text("goal: upright", "目標:直立"))
    tip = -np.sin(theta), np.cos(theta)  # counter-clockwise, upright at 0
    ax.plot([0, tip[0]], [0, tip[1]], color=VERMILION, linewidth=12, solid_capstyle="round")
    _disc(ax, 0, 0, 0.05, color=BLACK)


def _reacher(ax: "plotting.Axes", film: Film, t: int) -> None:
    angles = film.states["angles"][t]  # of each link against the x axis
    reach = 1.15 * len(angles)
    _frame(ax, (-reach, reach), (-reach, reach))
    _disc(ax, 0, 0, len(angles), color="0.95")
    xs = np.concatenate([[0.0], np.cumsum(np.cos(angles))])
    ys = np.concatenate([[0.0], np.cumsum(np.sin(angles))])
    ax.plot(xs, ys, color=BLUE, linewidth=7, solid_capstyle="round")
    ax.plot(xs, ys, "o", color=BLACK, markersize=7)
    ax.plot(
        *film.states["goal_xy"][t],
        "*",
        color=GREEN,
        markersize=24,
        label=text("goal", "目標"),
    )


def _swimmer(ax: "plotting.Axes", film: Film, t: int) -> None:
    path = film.states["xy"]
    far = 1.1 * max(1.0, float(np.abs(path).max()))
    _frame(ax, (-far, far), (-far, far))
    ax.plot(
        *film.states["urchin_xys"][t].T,
        "X",
        color=BLACK,
        markersize=14,
        label=text("urchin", "ウニ"),
    )
    ax.plot(*film.states["goal_xy"][t], "*", color=GREEN, markersize=24, label=text("goal", "目標"))
    ax.plot(*path[: t + 1].T, color=SKY)
    ax.plot(*path[t], "o", color=BLUE, markersize=14, label=text("swimmer", "スイマー"))


def _purcell_swimmer(ax: "plotting.Axes", film: Film, t: int) -> None:
    """Three links of a third of a body length; the picture goes with the body."""
    (x, y), (heading, rear, front) = (film.states[name][t] for name in ("position", "angles"))
    path = film.states["position"][: t + 1]
    directions = np.array([heading + rear, heading, heading + front])
    along = np.stack([np.cos(directions), np.sin(directions)], axis=-1) / 3.0  # [3, 2]
    tail = np.array([x, y]) - along[1] / 2 - along[0]
    ends = np.concatenate([tail[None], tail + np.cumsum(along, axis=0)])
    _frame(ax, (x - 1.2, x + 1.2), (y - 0.8, y + 0.8))
    for mark in range(int(np.ceil(x - 1.2)), int(np.floor(x + 1.2)) + 1):
        ax.plot([mark, mark], [y - 0.8, y + 0.8], color="0.9", linewidth=1)
        ax.text(mark, y - 0.78, f" {mark}", fontsize=plotting.SMALL_POINTS, color=_GREY)
    ax.plot(*path.T, color=SKY, linewidth=1.5)
    ax.plot(*ends.T, color=BLUE, linewidth=8, solid_capstyle="round", solid_joinstyle="round")
    ax.plot(*ends[1:3].T, "o", color=BLACK, markersize=7)
    ax.plot(*ends[3], "o", color=VERMILION, markersize=10, label=text("front", "前端"))


def _cells(ax: "plotting.Axes", picture: np.ndarray) -> None:
    """Coloured cells [H, W, 3] with lines between them."""
    ax.imshow(picture)
    height, width = picture.shape[:2]
    for x in np.arange(width + 1) - 0.5:
        ax.plot([x, x], [-0.5, height - 0.5], color="white", linewidth=0.5)
    for y in np.arange(height + 1) - 0.5:
        ax.plot([-0.5, width - 0.5], [y, y], color="white", linewidth=0.5)
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _square(ax: "plotting.Axes", colour: str, words: str) -> None:
    """An entry of the legend for cells of a colour."""
    ax.plot([], [], "s", color=colour, markersize=14, label=words)


def compose(env: str, layers: np.ndarray) -> np.ndarray:
    """The colours [H, W, 3] of a picture of layers [H, W, C], 0 where there is nothing."""
    picture = np.full((*layers.shape[:2], 3), _EMPTY)
    channels = CHANNELS[env]
    for i in _ORDER.get(env, range(len(channels) - 1, -1, -1)):
        picture[layers[..., i] > 0] = _rgb(channels[i].colour)
    return picture


def _picture(ax: "plotting.Axes", film: Film, t: int) -> None:
    _cells(ax, compose(film.env, film.obs[t]))
    for channel in CHANNELS[film.env]:
        if channel.en:
            _square(ax, channel.colour, text(channel.en, channel.ja))


def _catch(ax: "plotting.Axes", film: Film, t: int) -> None:
    picture = np.full((*film.obs.shape[1:], 3), _EMPTY)
    ball, paddle = (
        (film.states[f"{name}_y"][t], film.states[f"{name}_x"][t]) for name in ("ball", "paddle")
    )
    picture[paddle] = _rgb(BLUE)
    picture[ball] = _rgb(GREEN if ball == paddle else VERMILION)
    _cells(ax, picture)
    _square(ax, VERMILION, text("ball", "ボール"))
    _square(ax, BLUE, text("paddle", "パドル"))
    _square(ax, GREEN, text("caught", "捕球"))


def _deep_sea(ax: "plotting.Axes", film: Film, t: int) -> None:
    size = film.obs.shape[1]
    picture = np.full((size, size, 3), _EMPTY)
    picture[-1, -1] = _rgb(ORANGE)
    rows, columns = film.states["row"], film.states["column"]
    for i in range(t + 1):  # below the last row the dive is over
        if rows[i] < size:
            picture[rows[i], columns[i]] = _rgb(BLUE if i == t else SKY)
    _cells(ax, picture)
    _square(ax, BLUE, text("diver", "ダイバー"))
    _square(ax, SKY, text("path", "経路"))
    _square(ax, ORANGE, text("treasure", "宝"))


def _four_rooms(ax: "plotting.Axes", film: Film, t: int) -> None:
    walls = np.array([[cell == "#" for cell in row] for row in FOUR_ROOMS])
    picture = np.where(walls[..., None], 0.35, np.array(_EMPTY)[None, None])
    positions = film.states["pos"]
    for position in positions[:t]:
        picture[tuple(position)] = 0.5 + 0.5 * np.array(_rgb(SKY))
    picture[tuple(film.states["goal"][t])] = _rgb(GREEN)
    picture[tuple(positions[t])] = _rgb(BLUE)
    _cells(ax, picture)
    _square(ax, BLUE, text("agent", "エージェント"))
    _square(ax, GREEN, text("goal", "目標"))


def _observation(ax: "plotting.Axes", film: Film, t: int) -> None:
    """A picture as it is, or a bar for each number."""
    obs = film.obs[t].astype(float)
    if obs.ndim >= 2 and min(obs.shape[:2]) > 1:
        flat = obs.reshape(*obs.shape[:2], -1).max(-1)
        ax.imshow(flat, vmin=film.obs.min(), vmax=max(film.obs.max(), film.obs.min() + 1))
        return
    ax.set_axis_on()
    ax.bar(np.arange(obs.size), obs.ravel(), color=BLUE)
    low, high = min(0.0, float(film.obs.min())), max(0.0, float(film.obs.max()))
    room = 0.05 * (high - low or 1.0)
    ax.set_ylim(low - room, high + room)
    ax.set_xlabel(text("entry of the observation", "観測の成分"))


_DRAWINGS = {
    "Acrobot-v1": _acrobot,
    "CartPole-v1": _cart_pole,
    "Catch-bsuite": _catch,
    "DeepSea-bsuite": _deep_sea,
    "FourRooms-misc": _four_rooms,
    "MountainCar-v0": _mountain_car,
    "Pendulum-v1": _pendulum,
    "Reacher-misc": _reacher,
    "Swimmer-misc": _swimmer,
    "swimmer": _purcell_swimmer,
}
