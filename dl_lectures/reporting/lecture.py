"""The words of the lecture, from lecture.toml: what its slides say, who answers, what is wrong."""

import importlib.resources
import tomllib
from typing import Any, NamedTuple

from dl_lectures.reporting.claims import Verdict


class Words(NamedTuple):
    """The same in two languages."""

    en: str
    ja: str


class Correction(NamedTuple):
    """An error of a slide."""

    slides: tuple[int, ...]
    words: Words
    # ("experiment", "claim") to the verdict that shows the error; empty where arithmetic shows it.
    shown_by: dict[tuple[str, str], Verdict]


class Section(NamedTuple):
    """Slides that make one statement."""

    slides: tuple[int, ...]
    says: Words
    experiments: tuple[str, ...]  # that answer it, some of which may not exist yet
    corrections: tuple[Correction, ...]


class Part(NamedTuple):
    """One of the parts of the lecture."""

    title: Words
    sections: tuple[Section, ...]


class Subject(NamedTuple):
    """The words of an experiment."""

    title: Words
    figure: Words | None  # what the figure shows, for those who cannot see it


class Lecture(NamedTuple):
    """The lecture in the order of its slides."""

    parts: tuple[Part, ...]
    subjects: dict[str, Subject]  # by the experiment's name


def load() -> Lecture:
    """The lecture that this project makes run."""
    text = importlib.resources.files("dl_lectures.reporting").joinpath("lecture.toml")
    return parse(text.read_text("utf-8"))


def parse(text: str) -> Lecture:
    """A lecture from TOML; lecture.toml says in its head how it is written.

    Raises:
        KeyError: something is missing.
        tomllib.TOMLDecodeError: it is not TOML.
    """
    document = tomllib.loads(text)
    return Lecture(
        tuple(
            Part(Words(**part["title"]), tuple(map(_section, part["sections"])))
            for part in document["parts"]
        ),
        {name: _subject(subject) for name, subject in document["experiments"].items()},
    )


def _section(section: dict[str, Any]) -> Section:
    return Section(
        tuple(section["slides"]),
        Words(**section["says"]),
        tuple(section["experiments"]),
        tuple(map(_correction, section.get("corrections", ()))),
    )


def _correction(correction: dict[str, Any]) -> Correction:
    shown_by = {}
    for name, verdict in correction.get("shown_by", {}).items():
        experiment, _, claim = name.partition(".")
        shown_by[experiment, claim] = verdict
    words = Words(correction["en"], correction["ja"])
    return Correction(tuple(correction["slides"]), words, shown_by)


def _subject(subject: dict[str, Any]) -> Subject:
    figure = Words(**subject["figure"]) if "figure" in subject else None
    return Subject(Words(**subject["title"]), figure)
