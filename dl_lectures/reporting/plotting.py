"""The look of every figure, and the only place that knows matplotlib.

A figure fills one 16:9 slide, and its letters are large enough for the last row of a lecture hall.
The colours are those of Okabe and Ito, which colour-blind readers can tell apart
(https://jfly.uni-koeln.de/color/). The same data gives the same bytes on the same versions.

Words are Japanese where the extra `[ja]` brings a Japanese font (matplotlib-fontja), else English.
"""

import functools
import io
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dl_lectures.reporting.files import write_atomically
from dl_lectures.reporting.intervals import summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
# In the order of use: yellow is left out, because lines of it vanish on white.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)

SLIDE_INCHES = (12.8, 7.2)
DOTS_PER_INCH = 150  # 1920 x 1080
FONT_POINTS = 20  # 1/26 of the slide's height
SMALL_POINTS = 16  # ticks, labels of lines, captions

_REFERENCE = "reference"  # marks the labels that `save` moves apart


@functools.cache
def _matplotlib() -> Any:
    """Matplotlib with our style, loaded when the first figure is made."""
    import matplotlib
    import matplotlib.figure
    import matplotlib.text

    families = ["DejaVu Sans"]  # comes with matplotlib
    if has_japanese():
        families.append("IPAexGothic")  # for the glyphs that the first family lacks
    matplotlib.use("agg")
    matplotlib.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": FONT_POINTS,
            "figure.constrained_layout.use": True,
            "figure.figsize": SLIDE_INCHES,
            "figure.titlesize": FONT_POINTS,
            "font.family": families,
            "font.size": FONT_POINTS,
            "grid.color": "0.9",
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "legend.fontsize": SMALL_POINTS,
            "legend.edgecolor": "none",
            "legend.framealpha": 0.9,
            "lines.linewidth": 2.5,
            "savefig.dpi": DOTS_PER_INCH,
            "svg.hashsalt": "dl_lectures",  # otherwise names inside the file are random
            "xtick.labelsize": SMALL_POINTS,
            "ytick.labelsize": SMALL_POINTS,
        }
    )
    return matplotlib


@functools.cache
def has_japanese() -> bool:
    """Whether figures can show Japanese."""
    try:
        import matplotlib_fontja  # noqa: F401  (adds its font on import)
    except ImportError:
        return False
    return True


def text(en: str, ja: str) -> str:
    """The Japanese wording where the figure can show it, else the English one."""
    return ja if has_japanese() else en


def drawable(string: str) -> str:
    """The string with each character that no font of ours has replaced by a middle dot.

    For words that come from data, such as sampled sentences; our own words go through `text`.
    """
    return "".join(c if c.isspace() or ord(c) in _glyphs() else "·" for c in string)


@functools.cache
def _glyphs() -> frozenset[int]:
    """The code points that can be drawn."""
    from matplotlib import font_manager

    families = _matplotlib().rcParams["font.family"]
    paths = [font_manager.findfont(family) for family in families]
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))


def subplots(rows: int = 1, cols: int = 1, **kwargs: Any) -> tuple["Figure", Any]:
    """A figure of the size of a slide.

    Args:
        rows: of axes.
        cols: of axes.
        **kwargs: for `Figure.subplots`, such as `sharex=True` or `width_ratios=[2, 1]`.

    Returns:
        The figure and its axes: one, [cols], [rows], or [rows, cols].
    """
    # Figures made without pyplot are freed like any other object.
    figure = _matplotlib().figure.Figure()
    return figure, figure.subplots(rows, cols, **kwargs)


def mosaic(layout: list[list[str]], **kwargs: Any) -> tuple["Figure", dict[str, Any]]:
    """A figure of the size of a slide with axes that span several cells, by name.

    Args:
        layout: the name at each cell; cells of one name are one axes.
        **kwargs: for `Figure.subplot_mosaic`, such as `width_ratios=[2, 1]`.
    """
    figure = _matplotlib().figure.Figure()
    return figure, figure.subplot_mosaic(layout, **kwargs)


def band(
    ax: "Axes", steps: ArrayLike, values: ArrayLike, label: str, color: str | None = None
) -> None:
    """Draws the median over seeds as a line, and 10 % to 90 % of the seeds as a band around it.

    Says so below the figure. Values that are NaN are left out. One seed gives a line alone.

    Args:
        ax: where.
        steps: [N].
        values: [N, S].
        label: for the legend.
        color: the axes' next colour by default.
    """
    steps, values = np.asarray(steps), np.asarray(values, np.float64)
    known = ~np.isnan(values).all(axis=1)
    steps, values = steps[known], values[known]
    low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9], axis=1)  # [N] each
    (line,) = ax.plot(steps, middle, label=label, color=color)
    num_seeds = values.shape[1]
    if num_seeds > 1:
        ax.fill_between(steps, low, high, color=line.get_color(), alpha=0.25, linewidth=0)
        caption(
            ax.figure,
            text(
                f"Line: median of {num_seeds} seeds; band: 10 % to 90 % of them.",
                f"線:{num_seeds}個のシードの中央値,帯:その10%から90%",
            ),
        )


def means(
    ax: "Axes", xs: ArrayLike, values: ArrayLike, label: str, color: str | None = None
) -> None:
    """Draws means over seeds as points on a line, and their 95 % intervals as bars.

    Says so below the figure. One seed gives points without bars.

    Args:
        ax: where.
        xs: [N].
        values: [N, S].
        label: for the legend.
        color: the axes' next colour by default.
    """
    summaries = [summarise(row) for row in np.asarray(values)]
    middle = np.array([summary.mean for summary in summaries])
    bars = None
    if np.shape(values)[1] > 1:
        bars = np.abs(np.array([summary.ci95 for summary in summaries]).T - middle)
        caption(
            ax.figure,
            text(
                "Bars: 95 % intervals of the means, where they show.",
                "縦棒:平均の95%信頼区間(見える場合)",
            ),
        )
    ax.errorbar(xs, middle, yerr=bars, color=color, marker="o", markersize=6, label=label)


def caption(figure: "Figure", words: str) -> None:
    """Adds a line to the words below the figure, unless it is there already."""
    lines = figure.get_supxlabel().split("\n")
    if words not in lines:
        lines = [line for line in [*lines, words] if line]
        figure.supxlabel("\n".join(lines), fontsize=SMALL_POINTS, color="0.3", x=0.99, ha="right")


def reference_line(ax: "Axes", y: float, label: str, color: str = BLACK) -> None:
    """Draws a dashed horizontal line with its label to the right of the axes.

    `save` moves the labels of lines that lie close together apart and joins each to its line.
    """
    ax.axhline(y, color=color, linestyle="--", linewidth=1.5, zorder=1)
    annotation = ax.annotate(
        label,
        xy=(1.0, y),
        xytext=(1.03, y),
        xycoords=ax.get_yaxis_transform(),
        textcoords=ax.get_yaxis_transform(),
        fontsize=SMALL_POINTS,
        color=color,
        verticalalignment="center",
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": color,
            "linewidth": 1,
            "relpos": (0, 0.5),  # from the left end of the words
            "shrinkA": 3,  # points
            "shrinkB": 0,
        },
    )
    annotation.set_gid(_REFERENCE)


def spread(positions: ArrayLike, gap: float, low: float, high: float) -> np.ndarray:
    """The positions nearest to the given ones, in least squares, that keep `gap` between them.

    Moves are found by pooling neighbours that are too close; then the whole is pushed into
    [low, high], as far as it fits.

    Args:
        positions: [N], in any order.
        gap: the least distance.
        low: the least position.
        high: the greatest position.

    Returns:
        [N], in the order of `positions`.
    """
    positions = np.asarray(positions, np.float64)
    order = np.argsort(positions, kind="stable")
    blocks: list[tuple[float, int]] = []  # mean of (position - rank * gap), number of members
    for rank, position in enumerate(positions[order]):
        mean, size = position - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            last_mean, last_size = blocks.pop()
            mean = (mean * size + last_mean * last_size) / (size + last_size)
            size += last_size
        blocks.append((mean, size))
    ranks = np.arange(len(positions))
    moved = np.repeat([b[0] for b in blocks], [b[1] for b in blocks]) + ranks * gap
    # From both ends: no label leaves the axes unless they are too many for it.
    moved = np.minimum(moved, high - (len(positions) - 1 - ranks) * gap)
    moved = np.maximum(moved, low + ranks * gap)
    result = np.empty_like(positions)
    result[order] = moved
    return result


def image_grid(
    ax: "Axes",
    images: ArrayLike,
    columns: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> None:
    """Draws images side by side with a thin line between them.

    Args:
        ax: where; its ticks and frame are removed.
        images: [N, H, W] grey or [N, H, W, 3] coloured.
        columns: images a row, the least square by default.
        low: drawn black.
        high: drawn white.
    """
    grid = _tiles(images, columns, low, high)
    ax.imshow(grid, vmin=0.0, vmax=1.0)
    ax.set_axis_off()


def save_image_grid(
    images: ArrayLike,
    path: os.PathLike | str,
    columns: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
) -> pathlib.Path:
    """Writes images side by side to `path`.png, for a projector, and returns its path.

    Pixels stay squares, as many dots wide as the height of a screen has room for.

    Args:
        images: [N, H, W] grey or [N, H, W, 3] coloured.
        path: without its suffix.
        columns: images a row, the least square by default.
        low: drawn black.
        high: drawn white.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    _matplotlib()
    from matplotlib import image

    grid = _tiles(images, columns, low, high)
    dots = max(1, round(SLIDE_INCHES[1] * DOTS_PER_INCH) // len(grid))
    grid = grid.repeat(dots, axis=0).repeat(dots, axis=1)
    stream = io.BytesIO()
    image.imsave(
        stream, grid, vmin=0.0, vmax=1.0, cmap="gray", format="png", metadata={"Software": None}
    )
    return write_atomically(f"{os.fspath(path)}.png", stream.getvalue())


def labelled_images(
    images: ArrayLike, labels: Sequence[str], columns: int, is_marked: ArrayLike
) -> "Figure":
    """Draws grey images side by side, each above a label of a few signs, on a slide.

    Args:
        images: [N, H, W] in [0, 1].
        labels: N.
        columns: images a row.
        is_marked: [N], whose labels stand out.
    """
    images = np.asarray(images, np.float64)
    _, height, width = images.shape
    strip = -(-height // 3)  # pixels of the room for a label
    images = np.pad(images, ((0, 0), (0, strip), (0, 0)), constant_values=1.0)
    figure, ax = subplots()
    image_grid(ax, images, columns)
    down, across = height + strip + _line(height + strip), width + _line(height + strip)
    rows = -(-len(images) // columns)
    points = 72 * SLIDE_INCHES[1] * strip / (rows * down)
    for i, (label, marked) in enumerate(zip(labels, np.asarray(is_marked), strict=True)):
        ax.text(
            i % columns * across + (width - 1) / 2,
            i // columns * down + height + (strip - 1) / 2,
            label,
            fontsize=min(SMALL_POINTS, 0.7 * points),
            horizontalalignment="center",
            verticalalignment="center",
            color=VERMILION if marked else BLACK,
        )
    return figure


def _line(height: int) -> int:
    """Pixels between images of so many rows."""
    return max(1, round(height / 14))


def _tiles(images: ArrayLike, columns: int | None, low: float, high: float) -> np.ndarray:
    """Images side by side with a thin grey line between them, in [0, 1]."""
    images = np.asarray(images, np.float64)
    images = np.clip((images - low) / (high - low), 0.0, 1.0)
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    height, width = images.shape[1:3]
    line = _line(height)
    grid = np.full(
        (rows * (height + line) - line, columns * (width + line) - line, *images.shape[3:]), 0.5
    )
    for i, image in enumerate(images):
        row, column = i // columns * (height + line), i % columns * (width + line)
        grid[row : row + height, column : column + width] = image
    return grid


def heat_map(ax: "Axes", xs: ArrayLike, ys: ArrayLike, values: ArrayLike, label: str) -> None:
    """Draws values over a plane in colours with a scale beside them, and lines of equal value.

    Args:
        ax: where.
        xs: [P], evenly spaced.
        ys: [Q], evenly spaced.
        values: [Q, P], finite.
        label: of the scale, with the unit.
    """
    # cividis: the same to colour-blind eyes, and its brightness alone tells the order.
    mesh = ax.pcolormesh(xs, ys, values, shading="gouraud", cmap="cividis", rasterized=True)
    if np.ptp(values) > 0:
        ax.contour(xs, ys, values, levels=8, colors="white", linewidths=1, alpha=0.6)
    ax.grid(False)
    ax.figure.colorbar(mesh, ax=ax, label=label)


def save(figure: "Figure", path: os.PathLike | str) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes `path`.png and `path`.svg and returns their paths.

    The files hold no date and no version, and each is whole or absent.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    _place_reference_labels(figure)
    files = []
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix[1:], metadata=metadata)
        files.append(write_atomically(f"{os.fspath(path)}{suffix}", stream.getvalue()))
    return files[0], files[1]


def save_gif(
    figure: "Figure",
    draw: Callable[[int], None],
    num_frames: int,
    path: os.PathLike | str,
    frames_per_second: int = 25,
    dots_per_inch: int = 60,
) -> pathlib.Path:
    """Writes an animation to `path`.gif, whole or not at all, and returns its path.

    The layout is that of the first frame, so that nothing trembles.

    Args:
        figure: what is filmed.
        draw: draws the frame of a number over the one before it.
        num_frames: how many.
        path: without its suffix.
        frames_per_second: 50 at most, which is all that GIF can say.
        dots_per_inch: 60 makes a slide 768 x 432.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    _matplotlib()
    from matplotlib import animation

    writer = animation.PillowWriter(fps=frames_per_second)
    with tempfile.TemporaryDirectory() as folder:
        film = pathlib.Path(folder) / "film.gif"
        draw(0)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        with writer.saving(figure, film, dots_per_inch):
            for frame in range(num_frames):
                draw(frame)
                writer.grab_frame()
        return write_atomically(f"{os.fspath(path)}.gif", film.read_bytes())


def _place_reference_labels(figure: "Figure") -> None:
    """Moves the labels of `reference_line` apart, now that limits and sizes are known."""
    labels = []
    for ax in figure.axes:
        found = [child for child in ax.texts if child.get_gid() == _REFERENCE]
        if found:
            labels.append((ax, found))
    if not labels:
        return
    figure.draw_without_rendering()  # settles limits and layout
    for ax, found in labels:
        to_pixels = ax.get_yaxis_transform()
        ys = np.array([label.xy[1] for label in found])
        pixels = to_pixels.transform(np.column_stack([np.ones_like(ys), ys]))[:, 1]
        # Of the words alone: an annotation's own extent includes its arrow.
        extents = [_matplotlib().text.Text.get_window_extent(label) for label in found]
        gap = 1.1 * max(extent.height for extent in extents)
        box = ax.get_window_extent()
        moved = spread(pixels, gap, box.y0 + gap / 2, box.y1 - gap / 2)
        points = to_pixels.inverted().transform(np.column_stack([np.ones_like(moved), moved]))
        for label, y in zip(found, points[:, 1], strict=True):
            label.set_position((1.03, y))
