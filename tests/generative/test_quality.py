"""Measures of drawn images against closed forms, plain loops, and cases whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist

from dl_lectures.data import images
from dl_lectures.generative import classifier, quality


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def frechet(a, b):
    return quality.frechet_distance(quality.gaussian(a), quality.gaussian(b))


# The distance of Gaussians.


def test_frechet_distance_of_equal_gaussians_is_zero():
    x = normal(0, 50, 6) @ normal(1, 6, 6)
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet(x, x[::-1]) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_of_shifted_and_scaled_gaussians_is_the_closed_form():
    x, shift = normal(0, 50, 6), np.arange(6.0)
    assert frechet(x, x + shift) == pytest.approx(55.0, rel=1e-9)
    # |shift|^2 + tr(A) (1 - s)^2 where the second covariance is s^2 A.
    expected = 55.0 + np.trace(np.cov(x.T)) * 0.25
    centred = x - x.mean(0)
    assert frechet(centred, 1.5 * centred + shift) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [1, 5, 20])
def test_frechet_distance_is_that_of_scipy_s_matrix_root(size):
    a = normal(0, 60, size) @ normal(1, size, size)
    b = normal(2, 40, size) @ normal(3, size, size) + 0.3
    cov_a, cov_b = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    root = linalg.sqrtm(cov_a @ cov_b).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_singular_covariances():
    """Of rank one: the root of s^2 u u^T t^2 v v^T has the trace s t |u^T v|."""
    u, v = np.array([3.0, 4.0, 0.0]) / 5, np.array([0.0, 0.6, 0.8])
    scales = np.array([-1.0, 0.0, 1.0])[:, None]  # variance 1
    expected = 4 + 9 - 2 * 2 * 3 * (u @ v)
    assert frechet(2 * scales * u, 3 * scales * v) == pytest.approx(expected, rel=1e-7)
    few = normal(0, 4, 30)  # fewer images than features
    assert frechet(few, few) == pytest.approx(0.0, abs=1e-9)
    assert frechet(few, few + 1.0) == pytest.approx(30.0, rel=1e-9)
    assert frechet(np.zeros((3, 2)), np.zeros((3, 2))) == 0.0


def test_frechet_distance_is_symmetric_and_blind_to_rotations_and_order():
    a, b = normal(0, 30, 4), 2 * normal(1, 40, 4) + 1
    rotation = stats.ortho_group.rvs(4, random_state=np.random.default_rng(2))
    distance = frechet(a, b)
    assert distance > 1.0
    for other in (frechet(b, a), frechet(a @ rotation, b @ rotation), frechet(a[::-1], b)):
        assert other == pytest.approx(distance, rel=1e-9)


def test_one_image_has_no_covariance():
    with pytest.raises(ValueError, match="two images or more, not 1"):
        quality.gaussian(np.zeros((1, 3)))


# Neighbourhoods.


def by_loops(real, generated):
    """Precision, recall, density and coverage, as their papers define them, image by image."""

    def radius(x, i, k):
        return sorted(np.linalg.norm(x[i] - x[j]) for j in range(len(x)) if j != i)[k - 1]

    def inside(y, x, k):
        return [np.linalg.norm(y - x[i]) <= radius(x, i, k) for i in range(len(x))]

    in_real = np.array([inside(y, real, 5) for y in generated])  # [G, N]
    return quality.Overlap(
        precision=np.mean([any(inside(y, real, 3)) for y in generated]),
        recall=np.mean([any(inside(x, generated, 3)) for x in real]),
        density=in_real.sum() / (5 * len(generated)),
        coverage=in_real.any(0).mean(),
    )


def test_overlap_is_that_of_plain_loops():
    real, generated = normal(0, 24, 3), normal(1, 15, 3) + 1.3
    found = quality.overlap(real, generated)
    np.testing.assert_allclose(found, by_loops(real, generated), rtol=1e-12)
    assert all(0.1 < value < 0.95 for value in found)  # the case tells


def test_blocks_change_nothing(monkeypatch):
    real, generated = normal(0, 24, 3), normal(1, 15, 3) + 1.3
    whole = quality.overlap(real, generated), quality.copying(real, real[:9] + 0.1, generated)
    radii = quality.neighbour_radii(real, (1, 4))
    for block in (1, 55, 24 * 7):
        monkeypatch.setattr(quality, "_BLOCK", block)
        pieces = quality.overlap(real, generated), quality.copying(real, real[:9] + 0.1, generated)
        np.testing.assert_allclose(np.concatenate(pieces), np.concatenate(whole), rtol=1e-6)
        np.testing.assert_allclose(quality.neighbour_radii(real, (1, 4)), radii, rtol=1e-12)


def test_order_changes_nothing():
    real, generated = normal(0, 24, 3), normal(1, 15, 3) + 1.3
    found = quality.overlap(real, generated)
    assert quality.overlap(real[::-1], generated) == found
    assert quality.overlap(real, generated[::-1]) == found


def test_neighbour_radii_of_points_on_a_line():
    x = np.array([[0.0], [1.0], [3.0], [7.0]])
    radii = quality.neighbour_radii(x, (1, 3))
    np.testing.assert_allclose(radii, [[1, 1, 2, 4], [7, 6, 4, 7]])
    twins = np.array([[0.0], [0.0], [5.0]])  # a twin is a neighbour, too
    np.testing.assert_allclose(quality.neighbour_radii(twins, (1,)), [[0, 0, 5]])
    with pytest.raises(ValueError, match="4 neighbours need more than 4 images"):
        quality.neighbour_radii(x, (4,))


def test_a_copied_training_set_overlaps_wholly():
    x = normal(0, 40, 5)
    found = quality.overlap(x, x)
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    assert found.density >= 1.0  # each is also within its own neighbourhood


def test_a_dropped_class_is_missed_by_recall_and_coverage_alone():
    centres = 20 * np.eye(4)
    labels = np.arange(400) % 4
    real = centres[labels] + normal(0, 400, 4)
    all_drawn = centres[labels] + normal(1, 400, 4)
    kept = centres[labels % 3] + normal(2, 400, 4)  # never the last one
    whole, dropped = quality.overlap(real, all_drawn), quality.overlap(real, kept)
    for name in ("recall", "coverage"):
        assert getattr(dropped, name) < 0.8 * getattr(whole, name)
    assert dropped.recall <= 0.75 and dropped.coverage <= 0.75
    assert dropped.precision > 0.95 * whole.precision
    assert dropped.density > 0.9 * whole.density


def test_far_outliers_cost_precision_and_not_recall():
    real, drawn = normal(0, 200, 4), normal(1, 200, 4)
    before = quality.overlap(real, drawn)
    drawn[::4] += 100.0
    after = quality.overlap(real, drawn)
    assert after.precision == pytest.approx(0.75 * before.precision, abs=0.05)
    assert after.recall > 0.8 * before.recall


def test_density_and_coverage_of_equal_distributions_are_those_expected():
    """100 pairs of 60 points: bounds of four standard errors, failing once in 15,000 seeds."""
    n, k = 60, 5
    found = np.array([quality.overlap(normal(i, n, 3), normal(1000 + i, n, 3)) for i in range(100)])
    coverage = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    for name, expected in (("density", 1.0), ("coverage", coverage)):
        values = found[:, quality.Overlap._fields.index(name)]
        error = values.std(ddof=1) / len(values) ** 0.5
        assert error < 0.02
        assert abs(values.mean() - expected) < 4 * error


# Copies.


def test_the_nearest_are_scipy_s_and_a_copy_is_at_zero():
    x, others = normal(0, 13, 6).astype(np.float32), normal(1, 21, 6).astype(np.float32)
    found = quality.nearest(x, others)
    np.testing.assert_allclose(found.distances, cdist(x, others).min(1), rtol=1e-6)
    np.testing.assert_array_equal(found.which, cdist(x, others).argmin(1))
    copies = quality.nearest(others[::-1].reshape(21, 2, 3), others.reshape(21, 2, 3))
    np.testing.assert_array_equal(copies.which, np.arange(21)[::-1])
    assert (copies.distances == 0.0).all()


def test_copies_are_found():
    train, heldout = normal(0, 200, 8), normal(1, 100, 8)
    copies = quality.copying(train, heldout, train[:50])
    assert copies == (0.0, 1.0, 1.0, 1.0)
    half = quality.copying(train, heldout, np.concatenate([train[:50], heldout[:50]]))
    assert half.share == pytest.approx(0.5, abs=0.05)
    far = quality.copying(train, heldout, train[:50] + 50.0)
    assert far.share == far.auc == 0.0
    assert far.distance > 50.0


def test_fresh_draws_are_no_copies_and_blurred_ones_fool_all_but_the_excess():
    """40 data sets: bounds of four standard errors, failing once in 15,000 seeds."""
    fresh, blurred = [], []
    for i in range(40):
        train, heldout, drawn = (normal(3 * i + j, n, 6) for j, n in enumerate((200, 100, 100)))
        fresh.append(quality.copying(train, heldout, drawn))
        blurred.append(quality.copying(train, heldout, 0.3 * drawn))
    fresh, blurred = np.array(fresh), np.array(blurred)
    error = fresh.std(0, ddof=1) / len(fresh) ** 0.5
    expected = {"share": 0.05, "auc": 0.5, "excess": 0.0}
    for name, value in expected.items():
        column = quality.Copying._fields.index(name)
        assert error[column] < 0.05
        # The quantile lies between two of 100 distances: that is a bias of 0.01 at most.
        allowed = 4 * error[column] + (0.01 if name == "share" else 0.0)
        assert abs(fresh[:, column].mean() - value) < allowed
    auc, excess = (blurred[:, quality.Copying._fields.index(name)] for name in ("auc", "excess"))
    assert auc.mean() > 0.75
    assert abs(excess.mean()) < 4 * excess.std(ddof=1) / len(excess) ** 0.5


def test_auc_is_the_statistic_of_mann_and_whitney_with_ties():
    train = np.array([[0.0]])
    heldout, drawn = np.array([[1.0], [2.0], [2.0], [5.0]]), np.array([[2.0], [0.5], [9.0]])
    u = stats.mannwhitneyu(heldout[:, 0], drawn[:, 0]).statistic  # held-out above drawn
    assert quality.copying(train, heldout, drawn).auc == pytest.approx(u / 12)
    assert u / 12 == pytest.approx((0.5 * 2 + 1 + 4) / 12)


# All together.


def test_judge_says_what_its_parts_say():
    train, heldout, drawn = normal(0, 50, 2, 3), normal(1, 20, 2, 3), normal(2, 30, 2, 3)
    features, of_drawn = normal(3, 50, 4), normal(4, 30, 4)
    reference = quality.refer(train, features, heldout, max_neighbourhoods=40)
    found = quality.judge(reference, drawn, of_drawn)
    near = quality.overlap(features[:40], of_drawn)
    rows = [x.reshape(len(x), 6).astype(np.float32) for x in (train, heldout, drawn)]
    copies = quality.copying(*rows)
    assert found == {
        "frechet_distance": frechet(features, of_drawn),
        **near._asdict(),
        "nearest_training_distance": copies.distance,
        "copied_share": copies.share,
        "copying_auc": copies.auc,
        "copying_excess": copies.excess,
    }
    assert all(isinstance(value, float) for value in found.values())


def test_shapes_that_do_not_fit_are_refused():
    train, features, heldout = normal(0, 10, 6), normal(0, 10, 4), normal(0, 5, 6)
    for bad in ((train, features[1:], heldout), (train, features, heldout[:, 1:])):
        with pytest.raises(ValueError, match="do not fit"):
            quality.refer(*bad)
    reference = quality.refer(train, features, heldout)
    for bad in ((train[1:], features), (train[:, 1:], features)):
        with pytest.raises(ValueError, match="do not fit"):
            quality.judge(reference, *bad)


# The classifier that has seen only drawn images, and the least of generators.


def test_accuracy_of_a_classifier_of_drawn_images_falls_with_wrong_labels():
    digits = images.load("digits")
    config = classifier.Config(num_updates=200)
    heldout = classifier.Data(digits.test, digits.test_labels)

    def score(labels):
        drawn = classifier.Data(jnp.asarray(digits.train), jnp.asarray(labels))
        return quality.classifier_accuracy_score(jax.random.key(0), config, drawn, heldout, 10)

    assert score(digits.train_labels) > 0.8
    assert score(np.roll(digits.train_labels, 1)) < 0.3
    merged = score(np.where(digits.train_labels == 9, 3, digits.train_labels))  # no 9 is drawn
    assert 0.6 < merged < 0.91  # 37 of 360 are nines


def test_independent_pixels_keep_the_marginals_and_nothing_else():
    rng = np.random.default_rng(0)
    pixel = rng.integers(0, 4, (500, 1, 1)) / 3
    train = np.concatenate([pixel, 1 - pixel / 2], axis=2).astype(np.float32)  # [N, 1, 2]
    drawn = quality.independent_pixels(jax.random.key(1), train, 4_000)
    assert drawn.shape == (4_000, 1, 2) and drawn.dtype == np.float32
    for j in range(2):
        values, counts = np.unique(train[:, 0, j], return_counts=True)
        found, found_counts = np.unique(drawn[:, 0, j], return_counts=True)
        np.testing.assert_array_equal(found, values)
        # Four standard deviations of a binomial share of about a quarter, below 0.03.
        np.testing.assert_allclose(found_counts / 4_000, counts / 500, atol=0.03)
    assert np.corrcoef(train[:, 0].T)[0, 1] == pytest.approx(-1.0)
    assert abs(np.corrcoef(drawn[:, 0].T)[0, 1]) < 4 / 4_000**0.5
    again = quality.independent_pixels(jax.random.key(1), train, 4_000)
    np.testing.assert_array_equal(drawn, again)
