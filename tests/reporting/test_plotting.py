"""Figures: every glyph is there, labels do not overlap, and the same data gives the same bytes."""

import itertools
import sys

import numpy as np
import pytest

from dl_lectures.reporting import plotting


def draw():
    figure, (left, right) = plotting.subplots(1, 2, width_ratios=[2, 1])
    values = np.random.default_rng(0).normal(size=(20, 8)) / 10 + 4
    plotting.band(left, np.arange(20), values, plotting.text("LSTM", "長短期記憶"))
    for y in (5.38, 3.67, 3.39, 3.46, 3.56):
        plotting.reference_line(left, y, plotting.text(f"baseline {y}", f"基準 {y}"))
    left.set_xlabel(plotting.text("update", "更新回数"))
    left.set_ylabel(plotting.text("nats per character", "1文字あたりのnat"))
    left.set_title(plotting.drawable("イヌがヒトを噛む −1 é"))
    left.legend(loc="upper center")
    plotting.image_grid(right, np.linspace(0, 1, 6 * 64).reshape(6, 8, 8), columns=2)
    return figure, left


def test_no_glyph_is_missing(font, tmp_path):
    figure, _ = draw()  # warnings are errors, and a missing glyph is a warning
    for path in plotting.save(figure, tmp_path / "figure"):
        assert path.stat().st_size > 10_000


def test_missing_glyph_would_be_noticed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib_fontja", None)
    for cache in (plotting.has_japanese, plotting._matplotlib):
        cache.cache_clear()
    figure, ax = plotting.subplots()
    ax.set_title("朝")
    with pytest.warns(UserWarning, match="Glyph .* missing"):
        plotting.save(figure, tmp_path / "figure")
    for cache in (plotting.has_japanese, plotting._matplotlib):
        cache.cache_clear()


def test_words_are_japanese_only_with_the_font(font):
    has_font = font == "with the font" and plotting.has_japanese()
    assert plotting.text("morning", "朝") == ("朝" if has_font else "morning")
    assert plotting.drawable("a 朝") == ("a 朝" if has_font else "a ·")


def test_same_data_gives_the_same_bytes(tmp_path):
    written = [plotting.save(draw()[0], tmp_path / name) for name in ("a", "b")]
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in written[0][1].read_bytes()


def label_extents(ax):
    figure_text = plotting._matplotlib().text.Text
    return [figure_text.get_window_extent(label) for label in ax.texts]


def overlapping(extents):
    return [(a, b) for a, b in itertools.combinations(extents, 2) if a.overlaps(b)]


def test_labels_of_close_lines_do_not_overlap(tmp_path):
    figure, ax = draw()
    figure.draw_without_rendering()
    assert overlapping(label_extents(ax))  # they would, if they stayed beside their lines
    plotting.save(figure, tmp_path / "figure")
    extents = label_extents(ax)
    assert not overlapping(extents)
    box = ax.get_window_extent()
    assert all(box.y0 <= extent.y0 and extent.y1 <= box.y1 for extent in extents)
    order = np.argsort([label.xy[1] for label in ax.texts])
    assert (np.diff([extents[i].y0 for i in order]) > 0).all()  # in the order of their lines
    assert (np.array([label.get_window_extent().x1 for label in ax.texts]) <= 1280).all()


def test_spread_moves_only_what_is_too_close():
    np.testing.assert_allclose(
        plotting.spread([5.0, 1.0, 1.2, 9.0], gap=1.0, low=0.0, high=10.0), [5.0, 0.6, 1.6, 9.0]
    )


def test_spread_is_the_nearest_arrangement():
    # By a search over a grid of all arrangements that keep the gap.
    positions, gap = np.array([0.1, 0.9, 0.2]), 0.5
    grid = np.linspace(-1, 2, 61)
    a, b, c = np.meshgrid(grid, grid, grid, indexing="ij")
    allowed = (c - a >= gap - 1e-9) & (b - c >= gap - 1e-9)
    cost = (a - positions[0]) ** 2 + (b - positions[1]) ** 2 + (c - positions[2]) ** 2
    found = plotting.spread(positions, gap, -9.0, 9.0)
    assert (np.diff(np.sort(found)) >= gap - 1e-9).all()
    assert ((found - positions) ** 2).sum() <= cost[allowed].min() + 1e-9


def test_spread_stays_within_its_bounds():
    found = plotting.spread([0.0, 0.0, 9.9, 10.0], gap=1.0, low=0.5, high=9.5)
    np.testing.assert_allclose(found, [0.5, 1.5, 8.5, 9.5])


def test_band_draws_the_median_and_the_tenths():
    figure, ax = plotting.subplots()
    values = np.arange(11.0)[None] * np.array([[1.0], [2.0], [np.nan]])  # [N 3, S 11]
    plotting.band(ax, [1, 2, 3], values, "x")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 5], [2, 10]])
    vertices = ax.collections[0].get_paths()[0].vertices
    for corner in ([1, 1], [1, 9], [2, 2], [2, 18]):
        assert np.isclose(vertices, corner).all(axis=1).any()
    assert "11" in figure.get_supxlabel()
    plotting.band(ax, [1, 2, 3], values, "y")
    assert "\n" not in figure.get_supxlabel()  # said once


def test_band_of_one_seed_is_a_line():
    figure, ax = plotting.subplots()
    plotting.band(ax, [1, 2], [[3.0], [4.0]], "x")
    assert not ax.collections
    assert figure.get_supxlabel() == ""


def test_image_grid_places_each_image():
    _, ax = plotting.subplots()
    images = np.arange(3.0)[:, None, None] * np.ones((3, 2, 4))  # [N 3, H 2, W 4]
    plotting.image_grid(ax, images, columns=2, high=2.0)
    grid = np.asarray(ax.images[0].get_array())
    assert grid.shape == (5, 9)
    np.testing.assert_array_equal(grid[:2, :4], 0.0)
    np.testing.assert_array_equal(grid[:2, 5:], 0.5)
    np.testing.assert_array_equal(grid[3:, :4], 1.0)
    _, ax = plotting.subplots()
    plotting.image_grid(ax, np.zeros((5, 2, 2, 3)))
    assert ax.images[0].get_array().shape == (5, 8, 3)


def test_labels_stand_below_their_images():
    images = np.arange(3.0)[:, None, None] / 4 * np.ones((3, 6, 4))  # [N 3, H 6, W 4]
    figure = plotting.labelled_images(images, ["a", "b", "c"], 2, [False, True, False])
    (ax,) = figure.axes
    grid = np.asarray(ax.images[0].get_array())
    assert grid.shape == (6 + 2 + 1 + 6 + 2, 4 + 1 + 4)
    for text, value, colour in zip(
        ax.texts,
        (0.0, 0.25, 0.5),
        (plotting.BLACK, plotting.VERMILION, plotting.BLACK),
        strict=True,
    ):
        x, y = text.get_position()
        assert grid[int(y), int(x)] == 1.0  # in the white room
        assert grid[int(y) - 2, int(x)] == value  # of the image above
        assert text.get_color() == colour
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]


def test_a_saved_grid_has_square_pixels_and_no_frame(tmp_path):
    from PIL import Image

    images = np.arange(3.0)[:, None, None] * np.ones((3, 2, 4))  # [N 3, H 2, W 4]
    path = plotting.save_image_grid(images, tmp_path / "sub" / "drawn", columns=2, high=2.0)
    assert path == tmp_path / "sub" / "drawn.png"
    with Image.open(path) as image:
        dots = 1080 // 5  # of 2 + 1 + 2 rows
        assert image.size == (9 * dots, 5 * dots)
        grey = np.asarray(image.convert("L"))[dots // 2 :: dots, dots // 2 :: dots]
    np.testing.assert_array_equal(grey[:2, :4], 0)
    np.testing.assert_array_equal(grey[3:, :4], 255)
    assert abs(int(grey[0, 5]) - 127) <= 1  # the second image


def test_mosaic_names_axes_that_span_cells():
    _, axes = plotting.mosaic([["a", "b"], ["a", "c"]])
    assert set(axes) == {"a", "b", "c"}
    assert axes["a"].get_subplotspec().rowspan == range(2)


def test_a_film_has_its_frames_in_order(tmp_path):
    from PIL import Image

    figure, ax = plotting.subplots()

    def draw(frame):
        ax.clear()
        ax.set_axis_off()
        ax.imshow(np.full((2, 2), frame / 3), vmin=0.0, vmax=1.0, aspect="auto")

    path = plotting.save_gif(figure, draw, 4, tmp_path / "sub" / "film", frames_per_second=10)
    assert path == tmp_path / "sub" / "film.gif"
    assert [p.name for p in path.parent.iterdir()] == ["film.gif"]
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (4, (768, 432), 100)
        middles = []
        for frame in range(4):
            image.seek(frame)
            middles.append(image.convert("L").getpixel((384, 216)))
    np.testing.assert_allclose(middles, [0, 85, 170, 255], atol=3)


def test_a_heat_map_shows_each_value_where_it_belongs():
    figure, ax = plotting.subplots()
    values = np.arange(12.0).reshape(3, 4)
    plotting.heat_map(ax, np.arange(4), np.array([10, 20, 30]), values, "value, m")
    (mesh,) = [c for c in ax.collections if hasattr(c, "get_coordinates")]
    points = mesh.get_coordinates()
    np.testing.assert_array_equal(points[2, 1], [1, 30])
    np.testing.assert_array_equal(mesh.get_array(), values)
    assert figure.axes[1].get_ylabel() == "value, m"
    plotting.heat_map(ax, np.arange(2), np.arange(2), np.ones((2, 2)), "flat")  # has no contours
