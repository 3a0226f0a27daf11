"""Image data sets by name: grey values in [0, 1], split into training and held-out images.

digits: 1,797 handwritten digits of 8 x 8 pixels with 17 grey levels, in scikit-learn's wheel
    (BSD-3); E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI
    Machine Learning Repository, doi:10.24432/C50P49. A grey level counts the inked cells of a
    4 x 4 block of the scan.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dl_lectures.errors import UsageError

_NUM_DIGITS_HELD_OUT = 360  # a fifth, 33 to 38 of each digit


class Images(NamedTuple):
    """A data set of N training and M held-out images."""

    train: np.ndarray  # [N, H, W] float32 in [0, 1], 1 is ink
    train_labels: np.ndarray  # [N] int32
    test: np.ndarray  # [M, H, W] float32 in [0, 1]
    test_labels: np.ndarray  # [M] int32


def load(name: str) -> Images:
    """The data set of that name, the same at every call.

    Raises:
        UsageError: there is no such data set.
    """
    if name not in _LOADERS:
        raise UsageError(f"There are no images named {name!r}; choose one of: {', '.join(NAMES)}.")
    return _LOADERS[name]()


def _digits() -> Images:
    from sklearn import datasets  # slow to import

    digits = datasets.load_digits()
    images = (digits.images / 16.0).astype(np.float32)
    labels = digits.target.astype(np.int32)
    # The last ones, unshuffled: neighbours in the file resemble each other.
    split = len(images) - _NUM_DIGITS_HELD_OUT
    return Images(images[:split], labels[:split], images[split:], labels[split:])


_LOADERS: dict[str, Callable[[], Images]] = {"digits": _digits}
NAMES = tuple(_LOADERS)
