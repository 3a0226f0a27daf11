"""The images are what they are said to be, and the split keeps them apart."""

import numpy as np
import pytest

from dl_lectures import errors
from dl_lectures.data import images


def test_digits_are_the_ones_of_scikit_learn():
    from sklearn import datasets

    loaded, raw = images.load("digits"), datasets.load_digits()
    together = np.concatenate([loaded.train, loaded.test])
    np.testing.assert_array_equal(16 * together, raw.images)
    np.testing.assert_array_equal(
        np.concatenate([loaded.train_labels, loaded.test_labels]), raw.target
    )
    assert (len(loaded.train), len(loaded.test)) == (1437, 360)
    assert together.dtype == np.float32
    assert (together.min(), together.max()) == (0.0, 1.0)
    assert np.bincount(loaded.test_labels).min() >= 33  # every digit is held out


def test_no_held_out_digit_is_in_the_training_set():
    loaded = images.load("digits")
    seen = {image.tobytes() for image in loaded.train}
    assert not any(image.tobytes() in seen for image in loaded.test)


def test_loading_twice_gives_the_same():
    for first, second in zip(images.load("digits"), images.load("digits"), strict=True):
        np.testing.assert_array_equal(first, second)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(errors.UsageError, match="no images named 'digit'; choose one of: digits"):
        images.load("digit")
