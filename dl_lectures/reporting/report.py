"""The report: the whole lecture with its figures, verdicts and numbers, in one HTML file.

The file needs nothing else: figures, styles and the script are inside, and its content security
policy forbids the browser to load or run anything more. Everything is there in English and in
Japanese; where the script runs, one is shown, and the part of the address after # remembers which.
The same entries give the same bytes.
"""

import base64
import hashlib
import importlib.resources
import os
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jinja2
import markupsafe

from dl_lectures.reporting import lecture as lecture_lib
from dl_lectures.reporting import ledger
from dl_lectures.reporting.files import write_atomically
from dl_lectures.reporting.lecture import Correction, Lecture, Section, Words

MOST_BYTES = 15_000_000  # what mail and teaching platforms still take
_FIGURE_BYTES = 14_000_000  # of them for all figures

# Width of the drawing of an interval, and the margin beside it that text or dots may need.
_PLOT_WIDTH, _PLOT_MARGIN = 200, 10

Place = tuple[int, int]  # of a section: its part's number, and its own in there
NOWHERE: Place = (-1, -1)

_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


class Figure(NamedTuple):
    """A figure as the page holds it."""

    uri: str  # "" where there is none, or no room
    path: pathlib.Path  # without its suffix


class Interval(NamedTuple):
    """Where a claim's interval, value and threshold lie on its drawing, in its units."""

    low: float
    value: float
    high: float
    threshold: float


class Article(NamedTuple):
    """An experiment in the report."""

    entry: ledger.Entry
    title: Words
    alt: Words  # what the figure shows
    figure: Figure
    rows: tuple[ledger.Row, ...]  # its claims; none where there are no results
    seconds: float


class Shown(NamedTuple):
    """A correction, and what this run says about it."""

    correction: Correction
    # "arithmetic", "confirmed" (all verdicts are as said), "differs", or "unmeasured"
    status: str
    rows: tuple[ledger.Row, ...]  # the claims that show it


class Chapter(NamedTuple):
    """A section of the lecture, as far as it was measured."""

    slides: tuple[int, ...]
    says: Words | None  # None for experiments that the lecture's words do not know
    corrections: tuple[Shown, ...]
    articles: tuple[Article, ...]
    elsewhere: tuple[Article, ...]  # that answer it, too, and are shown in another section
    unmeasured: tuple[str, ...]  # experiments of which there is no entry


class Part(NamedTuple):
    """A part of the lecture."""

    title: Words
    chapters: tuple[Chapter, ...]


def write(
    entries: Sequence[ledger.Entry],
    path: os.PathLike | str,
    lecture: Lecture | None = None,
) -> pathlib.Path:
    """Writes the report.

    Of each figure the smaller one of PNG and SVG is taken. Should all together be too large, the
    largest are left out, and the report says so.

    Args:
        entries: experiments with what they left; those without results appear as such.
        path: of the HTML file, at most `MOST_BYTES`.
        lecture: the words of the lecture; those of lecture.toml by default. Experiments that they
            do not know appear under their names.

    Returns:
        `path`.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    return write_atomically(path, render(entries, lecture or lecture_lib.load()).encode())


def render(entries: Sequence[ledger.Entry], lecture: Lecture) -> str:
    """The report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dl_lectures.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "slides": _slides}
    environment.globals |= {"claimed": claimed, "digits": digits, "interval_of": interval_of}
    style, script = _read("report.css"), _read("report.js")
    homes = _homes(entries, lecture)
    articles = _articles(entries, [name for names in homes.values() for name in names], lecture)
    rows = ledger.rows(entries)
    return environment.get_template("report.html.jinja").render(
        parts=_parts(articles, homes, rows, lecture),
        articles=articles,
        verdicts=Counter(row.verdict for row in rows if row.claim_id),
        statuses=Counter(entry.status for entry in entries),
        seconds=sum(article.seconds for article in articles.values()),
        versions=_versions(entries),
        style=markupsafe.Markup(style),
        script=markupsafe.Markup(script),
        style_hash=_content_hash(style),
        script_hash=_content_hash(script),
        plot_width=_PLOT_WIDTH,
    )


def number(value: float, digits: int = 4) -> str:
    """A number as readers want it: rounded to significant digits, and with a true minus."""
    return f"{value:.{digits}g}".replace("-", "−")


def digits(row: ledger.Row) -> int:
    """The significant digits, four or more, that set a row's numbers apart from its threshold.

    Otherwise an interval that ends just below 1.2 would seem to reach it.
    """
    others = [x for x in (row.value, *row.ci95) if x is not None and x != row.threshold]
    for count in range(4, 17):
        if number(row.threshold, count) not in [number(x, count) for x in others]:
            return count
    return 17  # repr's: different numbers differ


def claimed(row: ledger.Row) -> tuple[str, str]:
    """What a row's value is, and the side of the threshold that is claimed, "≤" or "≥"."""
    words, side, _ = row.statistic.rsplit(" ", 2)
    return words, {"<=": "≤", ">=": "≥"}[side]


def interval_of(row: ledger.Row) -> Interval:
    """The drawing of a claim's interval; for one seed the interval is the value."""
    low, high = (row.value if end is None else end for end in row.ci95)
    ends = (low, row.value, high, row.threshold)
    left, right = min(ends), max(ends)
    if left == right:
        return Interval(*[_PLOT_WIDTH / 2] * 4)
    scale = (_PLOT_WIDTH - 2 * _PLOT_MARGIN) / (right - left)
    return Interval(*(round(_PLOT_MARGIN + scale * (end - left), 1) for end in ends))


def _articles(
    entries: Sequence[ledger.Entry], order: Sequence[str], lecture: Lecture
) -> dict[str, Article]:
    by_name = {entry.experiment: entry for entry in entries}
    figures = _figures([by_name[name] for name in order])
    return {name: _article(by_name[name], figures[name], lecture) for name in order}


def _article(entry: ledger.Entry, figure: Figure, lecture: Lecture) -> Article:
    name, subject = entry.experiment, lecture.subjects.get(entry.experiment)
    return Article(
        entry=entry,
        title=subject.title if subject else Words(name, name),
        alt=(subject and subject.figure) or Words(f"Figure of {name}.", f"{name}の図。"),
        figure=figure,
        rows=tuple(row for row in ledger.rows([entry]) if row.claim_id),
        seconds=sum(entry.results.seconds.values()) if entry.results else 0.0,
    )


def _homes(entries: Sequence[ledger.Entry], lecture: Lecture) -> dict[Place, list[str]]:
    """Which experiments are shown in which section, in the order of the report.

    An experiment stands in the first section which names it. One that no section names stands with
    its first slide; one whose slides are nowhere stands last, under `NOWHERE`.
    """
    sections = {
        (i, j): section
        for i, part in enumerate(lecture.parts)
        for j, section in enumerate(part.sections)
    }
    homes: dict[Place, list[str]] = {place: [] for place in [*sections, NOWHERE]}
    by_name = {entry.experiment: entry for entry in entries}
    for place, section in sections.items():
        homes[place] += [name for name in section.experiments if by_name.pop(name, None)]
    for name, entry in by_name.items():  # those that are left
        first = min(entry.slides, default=None)
        place = next((p for p, section in sections.items() if first in section.slides), NOWHERE)
        homes[place].append(name)
    return homes


def _parts(
    articles: dict[str, Article],
    homes: dict[Place, list[str]],
    rows: Sequence[ledger.Row],
    lecture: Lecture,
) -> tuple[Part, ...]:
    parts = []
    for i, part in enumerate(lecture.parts):
        chapters = [
            _chapter(section, homes[i, j], articles, rows)
            for j, section in enumerate(part.sections)
        ]
        parts.append(Part(part.title, tuple(chapters)))
    if homes[NOWHERE]:
        others = tuple(articles[name] for name in homes[NOWHERE])
        title = Words("Further experiments", "その他の実験")
        parts.append(Part(title, (Chapter((), None, (), others, (), ()),)))
    return tuple(parts)


def _chapter(
    section: Section, home: list[str], articles: dict[str, Article], rows: Sequence[ledger.Row]
) -> Chapter:
    known = [name for name in section.experiments if name in articles]
    return Chapter(
        slides=section.slides,
        says=section.says,
        corrections=tuple(_shown(correction, rows) for correction in section.corrections),
        articles=tuple(articles[name] for name in home),
        elsewhere=tuple(articles[name] for name in known if name not in home),
        unmeasured=tuple(name for name in section.experiments if name not in articles),
    )


def _slides(slides: tuple[int, ...]) -> str:
    return ledger.slide_words(slides).replace("-", "–")


def _shown(correction: Correction, rows: Sequence[ledger.Row]) -> Shown:
    """What this run says about a correction: its words alone must not contradict the numbers."""
    by_claim = {(row.experiment, row.claim_id): row for row in rows}
    found = tuple(by_claim[claim] for claim in correction.shown_by if claim in by_claim)
    if not correction.shown_by:
        status = "arithmetic"
    elif len(found) < len(correction.shown_by):
        status = "unmeasured"
    elif all(r.verdict == correction.shown_by[r.experiment, r.claim_id] for r in found):
        status = "confirmed"
    else:
        status = "differs"
    return Shown(correction, status, found)


def _figures(entries: Sequence[ledger.Entry]) -> dict[str, Figure]:
    """The figures by experiment, without the largest where all would be too large."""
    found = {}
    for entry in entries:
        path = entry.workdir / "figures" / entry.experiment
        uris = _uris(path) if entry.results else ()
        found[entry.experiment] = Figure(min(uris, key=len, default=""), path)
    by_size = sorted(found, key=lambda name: len(found[name].uri))
    room = _FIGURE_BYTES
    for name in by_size:
        room -= len(found[name].uri)
        if room < 0:
            found[name] = found[name]._replace(uri="")
    return found


def _uris(path: pathlib.Path) -> Iterator[str]:
    for suffix, kind in _TYPES.items():
        file = path.with_name(path.name + suffix)
        if file.exists():
            yield f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _versions(entries: Sequence[ledger.Entry]) -> dict[str, list[str]]:
    """All values that the runs recorded, by name: several where they were made differently."""
    values: dict[str, list[str]] = {}
    for entry in entries:
        for name, value in entry.results.versions.items() if entry.results else ():
            known = values.setdefault(name, [])
            if str(value) not in known:
                known.append(str(value))
    return values


def _read(name: str) -> str:
    path = importlib.resources.files("dl_lectures.reporting").joinpath("templates", name)
    return path.read_text("utf-8")


def _content_hash(text: str) -> Any:
    """A hash as content security policies want it, for the text between the tags."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return markupsafe.Markup(f"'sha256-{digest}'")
