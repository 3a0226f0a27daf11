"""The tables are scikit-learn's, scaled as they say."""

import numpy as np
import pytest

from dl_lectures import errors
from dl_lectures.data import tables


@pytest.mark.parametrize(
    ("name", "shape", "num_classes"),
    [("digits", (1797, 64), 10), ("cancer", (569, 30), 2), ("wine", (178, 13), 3)],
)
def test_tables_have_their_rows_and_every_class(name, shape, num_classes):
    table = tables.load(name)
    assert table.x.shape == shape
    assert (table.x.dtype, table.labels.dtype) == (np.float32, np.int32)
    assert (np.unique(table.labels) == np.arange(num_classes)).all()
    assert len(table.classes) == num_classes
    assert table.is_binary == bool(np.isin(table.x, (0, 1)).all())
    if not table.is_binary:
        np.testing.assert_allclose(table.x.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(table.x.std(0), 1, rtol=1e-5)


def test_rows_keep_their_labels():
    from sklearn import datasets

    raw, table = datasets.load_wine(), tables.load("wine")
    np.testing.assert_array_equal(table.labels, raw.target)
    for label in range(3):  # scaling is monotone: the order of the classes' means stays
        assert np.argmax(raw.data[raw.target == label].mean(0) / raw.data.std(0)) == np.argmax(
            table.x[table.labels == label].mean(0) + raw.data.mean(0) / raw.data.std(0)
        )
    digits = datasets.load_digits()
    np.testing.assert_array_equal(tables.load("digits").x, digits.data >= 8)
    np.testing.assert_array_equal(tables.load("digits").labels, digits.target)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(errors.UsageError, match="no table named 'iris'; choose one of: digits"):
        tables.load("iris")
