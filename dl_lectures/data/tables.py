"""Labelled tables by name: rows of features with the class of each, in scikit-learn's wheel.

digits: 1,797 handwritten digits of 8 x 8 pixels, ink or none (at least half of a cell inked);
    `data.images` says whose they are.
cancer: 569 breast tumours, malignant or benign, by 30 measures of the nuclei of their cells;
    W. Wolberg, O. Mangasarian, N. Street and W. Street (1993), UCI Machine Learning Repository,
    doi:10.24432/C5DW2B, CC BY 4.0.
wine: 178 wines of three growers by 13 chemical measures; S. Aeberhard and M. Forina (1992), UCI
    Machine Learning Repository, doi:10.24432/C5PC7J, CC BY 4.0.

Measured features come in units of their own, seconds beside millimetres. They are scaled to mean 0
and variance 1 over all rows, whose labels are not looked at.

N: rows, D: features, K: classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dl_lectures.data import images
from dl_lectures.errors import UsageError


class Table(NamedTuple):
    """Rows and their classes, in no particular order."""

    x: np.ndarray  # [N, D] float32
    labels: np.ndarray  # [N] int32 in 0 ... K - 1, each of them present
    classes: tuple[str, ...]  # [K] names
    is_binary: bool  # features are 0 or 1


def load(name: str) -> Table:
    """The table of that name, the same at every call.

    Raises:
        UsageError: there is no such table.
    """
    if name not in _LOADERS:
        raise UsageError(f"There is no table named {name!r}; choose one of: {', '.join(NAMES)}.")
    return _LOADERS[name]()


def _digits() -> Table:
    digits = images.load("digits")
    x = np.concatenate([digits.train, digits.test])
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    ink = (x.reshape(len(x), -1) >= 0.5).astype(np.float32)
    return Table(ink, labels, tuple("0123456789"), is_binary=True)


def _cancer() -> Table:
    from sklearn import datasets  # slow to import

    return _measured(datasets.load_breast_cancer())


def _wine() -> Table:
    from sklearn import datasets  # slow to import

    return _measured(datasets.load_wine())


def _measured(bunch) -> Table:
    scaled = (bunch.data - bunch.data.mean(0)) / bunch.data.std(0)
    classes = tuple(str(name) for name in bunch.target_names)
    return Table(scaled.astype(np.float32), bunch.target.astype(np.int32), classes, is_binary=False)


_LOADERS: dict[str, Callable[[], Table]] = {"digits": _digits, "cancer": _cancer, "wine": _wine}
NAMES = tuple(_LOADERS)
