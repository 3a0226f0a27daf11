"""The judge of drawn images: trained once, the same for all seeds, and sound in what it says."""

import numpy as np
import pytest

from dl_lectures.data import images
from dl_lectures.generative import classifier
from dl_lectures.reporting import plotting
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import judging

CONFIG = classifier.Config(num_updates=150, batch_size=32)


@pytest.fixture(scope="module")
def digits():
    return images.load("digits")


@pytest.fixture(scope="module")
def hired(digits, tmp_path_factory):
    """A judge and the options that it was hired with."""
    options = Options(str(tmp_path_factory.mktemp("run")), seed=3, num_seeds=2, steps=7)
    return judging.hire(options, digits, CONFIG), options


def test_it_is_trained_once_and_the_same_for_all_seeds(hired, digits, monkeypatch, tmp_path):
    judge, options = hired
    other = judging.hire(Options(str(tmp_path), seed=9, steps=100), digits, CONFIG)
    assert other.accuracy == judge.accuracy > 0.8
    assert other.heldout == judge.heldout
    # Finished, it is only read.
    monkeypatch.setattr(trainer._Run, "advance", None)
    again = judging.hire(options, digits, CONFIG)
    np.testing.assert_array_equal(again.reference.features, judge.reference.features)
    assert again.independent == judge.independent


def test_each_seed_is_judged_for_itself(hired, digits):
    judge, _ = hired
    assert judge.num_images == 360
    noise = np.random.default_rng(0).uniform(size=digits.test.shape).astype(np.float32)
    found = judging.verdicts(judge, np.stack([digits.test, digits.train[:360], noise]))
    assert set(found) == {*judge.heldout, "copying_excess"} == set(judge.independent)
    assert all(values.shape == (3,) for values in found.values())
    for name, value in judge.heldout.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9)
    unseen, copies, noise = range(3)
    assert found["copied_share"][copies] == found["copying_excess"][copies] == 1.0
    assert found["copied_share"][unseen] == pytest.approx(0.05, abs=0.01)
    assert found["precision"][copies] == 1.0
    assert found["precision"][noise] < 0.5 < found["precision"][unseen]
    distances = found["frechet_distance"]
    assert distances[unseen] < 0.2 * distances[noise]


def test_independent_pixels_are_far_worse_than_unseen_images(hired):
    judge, _ = hired
    assert judge.independent["frechet_distance"] > 5 * judge.heldout["frechet_distance"]
    for name in ("precision", "coverage", "density"):
        assert judge.independent[name] < 0.8 * judge.heldout[name]
    assert judge.independent["copied_share"] < 0.02


def test_a_drawing_stands_beside_what_it_is_a_copy_of(hired, digits, monkeypatch, tmp_path):
    judge, _ = hired
    drawn = np.stack([digits.train[7], np.full((8, 8), 0.5, np.float32)])
    shown = {}
    original = plotting.labelled_images

    def labelled_images(images, labels, columns, is_marked):
        shown.update(images=images, labels=labels, is_marked=is_marked)
        return original(images, labels, columns, is_marked)

    monkeypatch.setattr(plotting, "labelled_images", labelled_images)
    distances = judge.reference.heldout_distances
    judging.save_drawings(drawn, digits.train, distances, tmp_path / "drawn")
    np.testing.assert_array_equal(shown["images"][0, :, :8], digits.train[7])
    np.testing.assert_array_equal(shown["images"][0, :, 9:], digits.train[7])
    nearest = min(np.linalg.norm(x - 0.5) for x in digits.train)
    assert shown["labels"] == ["0.00", f"{nearest:.2f}"]
    np.testing.assert_array_equal(shown["is_marked"], [True, False])
    assert {path.name for path in tmp_path.iterdir()} >= {"drawn.png", "drawn_nearest.png"}
