"""The report, read back by a parser of HTML and, where Chromium is installed, by a browser."""

import base64
import hashlib
import html.parser
import itertools
import json
import pathlib
import re
import select
import shutil
import subprocess
from urllib.parse import unquote

import pytest

from dl_lectures.errors import UsageError
from dl_lectures.reporting import claims, lecture, ledger, report
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.lecture import Words
from dl_lectures.reporting.results import Results

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 9"><rect width="9" height="9"/></svg>'
)
DEPTHS = (-12345.6, -12345.7)
EVIL = "<script>alert('1')</script> & \"two\""
LECTURE = lecture.parse(
    """
[[parts]]
title = {en = "First part", ja = "第一部"}
[[parts.sections]]
slides = [1, 2]
experiments = ["apples", "pears"]
says = {en = "Apples fall.", ja = "りんごは落ちる。"}
[[parts.sections.corrections]]
slides = [2]
shown_by."apples.up" = "fails"
en = "They do not rise."
ja = "上がらない。"
[[parts]]
title = {en = "Second part", ja = "第二部"}
[[parts.sections]]
slides = [3, 4, 5]
experiments = ["plums", "apples"]
says = {en = "Plums fall.", ja = "すももは落ちる。"}
[[parts.sections.corrections]]
slides = [4]
en = "1 + 1 = 2."
ja = "1 + 1 = 2。"
[[parts.sections]]
slides = [6]
experiments = []
says = {en = "Nothing falls.", ja = "何も落ちない。"}
[experiments]
apples.title = {en = "Falling apples", ja = "落ちるりんご"}
apples.figure = {en = "A line.", ja = "線。"}
"""
)


def save(workdir, name="apples", seeds=(1.0, 2.0, 3.5), figure=(".svg", SVG), **changes):
    """An experiment with a claim that holds, one that fails, and one that is inconclusive."""
    words = {"slides": (1, 2), "statement_en": "They fall.", "statement_ja": "落ちる。"}
    words |= changes.pop("words", {})
    made = [
        claims.at_most(id="low", statistic="height, m", per_seed=seeds, threshold=5.5, **words),
        claims.at_least(id="up", statistic="depth", per_seed=DEPTHS, threshold=-1e-7, **words),
        claims.at_least(id="open", statistic="height, m", per_seed=seeds, threshold=2.0, **words),
    ]
    found = {
        "experiment": name,
        "slides": words["slides"],
        "preset": "smoke",
        "seed": 3,
        "num_seeds": len(seeds),
        "steps": 12_000,
        "seconds": {"compile": 0.5, "train": 1.25},
        "metrics": {"height": summarise(seeds)},
        "versions": {"jax": "0.1", "git_commit": None, "device_kind": "abacus"},
        "claims": tuple(made),
    }
    Results(**(found | changes)).write(workdir)
    if figure:
        suffix, content = figure
        (workdir / "figures").mkdir(exist_ok=True)
        (workdir / "figures" / f"{name}{suffix}").write_bytes(content)
    return ledger.read(name, words["slides"], f"python -m experiments.{name} --x=1", workdir)


def missing(name, slides=(3,), error=""):
    path = pathlib.Path("/nowhere") / name
    return ledger.read(name, slides, f"python -m experiments.{name}", path, error)


class Node:
    """An element of a page."""

    def __init__(self, tag, attrs=()):
        self.tag, self.attrs, self.children = tag, dict(attrs), []

    def text(self, language=None):
        """The words, without those in the other language if one is given."""
        if language and self.attrs.get("lang", language) != language:
            return ""
        parts = (c if isinstance(c, str) else c.text(language) for c in self.children)
        return " ".join("".join(parts).split())

    def all(self, tag="", **attrs):
        """The elements below, in order; `class_` is one of the classes."""
        kind = attrs.pop("class_", None)
        for child in self.children:
            if isinstance(child, Node):
                if (
                    tag in ("", child.tag)
                    and all(child.attrs.get(k) == v for k, v in attrs.items())
                    and (not kind or kind in child.attrs.get("class", "").split())
                ):
                    yield child
                yield from child.all(tag, **attrs, **({"class_": kind} if kind else {}))

    def one(self, *args, **kwargs):
        (found,) = self.all(*args, **kwargs)
        return found


class Parser(html.parser.HTMLParser):
    """Reads a page whose tags are balanced, and refuses any other."""

    VOID = ("meta", "img")
    BLOCKS = ("p", "div", "ul", "ol", "li", "dl", "pre", "figure", "table", "section", "article")

    def __init__(self):
        super().__init__()
        self.root = Node("")
        self.stack = [self.root]

    def handle_starttag(self, tag, attrs):
        inline = [node.tag for node in self.stack if node.tag in ("p", "span", "a", "h1", "h4")]
        assert not (tag in self.BLOCKS and inline), f"<{tag}> in <{inline}>"
        assert len(dict(attrs)) == len(attrs), attrs
        node = Node(tag, attrs)
        self.stack[-1].children.append(node)
        if tag not in self.VOID:
            self.stack.append(node)

    def handle_startendtag(self, tag, attrs):
        self.stack[-1].children.append(Node(tag, attrs))

    def handle_endtag(self, tag):
        assert self.stack.pop().tag == tag

    def handle_data(self, data):
        self.stack[-1].children.append(data)


def parse(text):
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert parser.stack == [parser.root], "a tag stays open"
    return parser.root


def page(*entries, words=LECTURE):
    return parse(report.render(entries, words))


def test_a_page_that_is_not_balanced_is_noticed():
    for bad in ("<p><b></p></b>", "<div>", "<p><div></div></p>", '<a id="1" id="2"></a>'):
        with pytest.raises(AssertionError):
            parse(bad)


def test_numbers_are_those_of_the_results(tmp_path):
    entry = save(tmp_path)
    document = json.loads((tmp_path / "results.json").read_text())
    article = page(entry).one("article", id="apples")
    shown = {
        item.attrs["id"]: [float(d.attrs["value"]) for d in item.all("data")]
        for item in article.all("li", class_="claim")
    }
    assert shown == {
        f"apples.{claim['id']}": [claim["value"], *claim["ci95"], claim["threshold"]]
        for claim in document["claims"]
    }
    for data in article.all("data"):
        value = float(data.attrs["value"])
        assert float(data.text().replace("−", "-")) == pytest.approx(value, rel=5.1e-4)
    words = article.one(class_="origin").text("en")
    for fact in ("--x=1", "smoke", "3, from 3 on", "12,000", "1.8 (compile 0.5, train 1.2)"):
        assert fact in words
    assert "abacus" in words and "jax 0.1, git_commit None" in words


def test_verdicts_have_words_and_follow_from_the_numbers(tmp_path):
    entry = save(tmp_path)
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace('"verdict": "holds"', '"verdict": "fails"'))
    entry = ledger.read(entry.experiment, entry.slides, entry.command, tmp_path)
    items = {i.attrs["id"]: i for i in page(entry).all("li", class_="claim")}
    expected = {
        "low": ("holds", "HOLDS", "成り立つ"),
        "up": ("fails", "FAILS", "成り立たない"),
        "open": ("inconclusive", "INCONCLUSIVE", "決められない"),
    }
    for claim, (verdict, en, ja) in expected.items():
        badge = items[f"apples.{claim}"].one("span", class_="badge")
        assert verdict in badge.attrs["class"]
        assert (badge.text("en"), badge.text("ja")) == (en, ja)
    claimed = [item.one("dd", class_="claimed").text() for item in items.values()]
    assert claimed == ["≤ 5.5", "≥ −1e−07", "≥ 2"]


def test_every_experiment_and_claim_appears_once_in_each_language(tmp_path):
    entries = [save(tmp_path / name, name) for name in ("apples", "pears", "cherries")]
    document = page(*entries, missing("plums"))
    names = [a.attrs["id"] for a in document.all("article")]
    assert names == ["apples", "pears", "cherries", "plums"]
    ids = [item.attrs["id"] for item in document.all("li", class_="claim")]
    assert ids == [f"{n}.{c}" for n in names[:3] for c in ("low", "up", "open")]
    for item in document.all("li", class_="claim"):
        said = [(p.attrs["lang"], p.text()) for p in item.all("p", class_="t")]
        assert said == [("en", "They fall."), ("ja", "落ちる。")]
    # The ledger has a row for each, which leads there.
    links = [a.attrs["href"] for a in document.one("table").all("a")]
    assert links == [
        f"#{target}" for n in names for target in [n, *[i for i in ids if i.startswith(f"{n}.")]]
    ]


def test_order_is_that_of_the_slides(tmp_path):
    # plums and apples have a home; figs stand with their first slide; nuts nowhere.
    made = [
        save(tmp_path / name, name, words={"slides": slides})
        for name, slides in (
            ("nuts", (99,)),
            ("plums", (3,)),
            ("figs", (5, 6)),
            ("apples", (1, 2)),
        )
    ]
    document = page(*made)
    assert [a.attrs["id"] for a in document.all("article")] == ["apples", "plums", "figs", "nuts"]
    parts = list(document.all("section", class_="part"))
    assert [part.one("h2").text("en") for part in parts] == [
        "First part",
        "Second part",
        "Further experiments",
        "Not measured yet",
    ]
    # apples belong to slides 3 to 5, too, but are shown once.
    assert "See also: Falling apples" in parts[1].text("en")
    assert parts[0].text("ja").startswith("第一部 スライド1–2 りんごは落ちる。")


def test_what_is_not_measured_is_listed(tmp_path):
    document = page(save(tmp_path))
    items = list(list(document.all("section", class_="part"))[-1].all("li"))
    assert [item.text("en") for item in items] == [
        "Slides 1–2 Apples fall. pears",
        "Slides 3–5 Plums fall. plums",
        "Slide 6 Nothing falls.",
    ]


def test_missing_and_failed_experiments_appear(tmp_path):
    document = page(missing("pears"), missing("plums", error=f"ValueError: {EVIL}"))
    pears, plums = (document.one("article", id=name) for name in ("pears", "plums"))
    assert pears.text("en") == "pears pears Slide 3 NOT RUN python -m experiments.pears"
    assert "未実行" in pears.text("ja") and "実行に失敗" in plums.text("ja")
    assert [pre.text() for pre in plums.all("pre")] == [
        f"ValueError: {EVIL}",
        "python -m experiments.plums",
    ]
    tally = document.one("ul", class_="tally").text("en")
    assert tally == "HOLDS 0 FAILS 0 INCONCLUSIVE 0 RUN FAILED 1 NOT RUN 1"


def test_nothing_at_all_is_a_page():
    assert not list(page().all("article"))


def test_one_seed_has_no_interval(tmp_path):
    made = claims.at_most(
        id="one", statistic="m", per_seed=[2.0], threshold=5.0, slides=(1,), statement_en="a",
        statement_ja="b",
    )  # fmt: skip
    item = page(save(tmp_path, claims=(made,))).one("li", class_="claim")
    assert item.one("dd", class_="interval").text("ja") == "なし（シード1個）"
    assert [d.attrs["value"] for d in item.all("data")] == ["2.0", "5.0"]
    assert item.attrs["data-verdict"] == "inconclusive"


def row(value, ci95, threshold):
    return ledger.Row("x", "y", (1,), "", "", "m <= 1", value, ci95, threshold, "holds", 1.0)


def test_digits_set_an_end_apart_from_the_threshold():
    assert report.digits(row(1.1, (1.0, 1.19956), 1.2)) == 5
    assert report.digits(row(1.1, (1.0, 1.2 - 1e-13), 1.2)) == 14
    assert report.digits(row(1.2, (1.2, 1.2), 1.2)) == 4
    assert report.digits(row(0.1 + 0.2, (None, None), 0.3)) == 17
    assert report.number(-12345.6) == "−1.235e+04" and report.number(-1e-7) == "−1e−07"
    assert report.number(1.19956, 5) == "1.1996"


def test_the_drawing_of_an_interval_keeps_the_order():
    at = report.interval_of(row(2.0, (1.0, 3.0), 5.0))
    assert at == (10, 55, 100, 190)
    at = report.interval_of(row(2.0, (None, None), 2.0))
    assert len({*at}) == 1


def test_what_comes_from_data_is_escaped(tmp_path):
    words = {"statement_en": EVIL, "statement_ja": EVIL, "slides": (1,)}
    entry = save(tmp_path, words=words, versions={EVIL: EVIL}, preset=EVIL)
    entry = entry._replace(command=EVIL)
    subjects = {"apples": lecture.Subject(Words(EVIL, EVIL), Words(EVIL, EVIL))}
    document = page(entry, words=LECTURE._replace(subjects=subjects))
    assert len(list(document.all("script"))) == 1
    article = document.one("article")
    assert article.one("h4").text("ja") == EVIL
    assert article.one("img").attrs["data-en"] == EVIL
    assert next(article.all("p", class_="t")).text() == EVIL
    assert article.one("pre").text() == EVIL


def test_names_that_are_no_names_still_link(tmp_path):
    name = 'a"b<c>&d%20 é'
    entry = save(tmp_path / "x", name, figure=None)
    check_links(page(entry))


def check_links(document):
    ids = [node.attrs["id"] for node in document.all() if "id" in node.attrs]
    assert len(ids) == len(set(ids))
    links = [a.attrs["href"] for a in document.all("a")]
    links += [use.attrs["href"] for use in document.all("use")]
    assert links and {unquote(link[1:]) for link in links} <= set(ids)
    assert all(link.startswith("#") for link in links)
    assert {n.attrs["aria-labelledby"] for n in document.all() if "aria-labelledby" in n.attrs} <= {
        *ids
    }


def test_the_page_stands_alone_and_is_accessible(tmp_path):
    document = page(save(tmp_path), missing("plums"))
    check_links(document)
    for node in document.all():
        for name in ("src", "href"):
            assert node.attrs.get(name, "#").startswith(("#", "data:"))
        assert "style" not in node.attrs  # the policy forbids it
        assert not [name for name in node.attrs if name.startswith("on")]
    image = document.one("img")
    assert (image.attrs["data-en"], image.attrs["data-ja"]) == ("A line.", "線。")
    assert image.attrs["alt"] == "A line. / 線。"
    levels = [int(n.tag[1]) for n in document.all() if re.fullmatch("h[1-6]", n.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    # Nothing is Japanese without saying so.
    japanese = re.compile("[぀-ヿ一-鿿]")
    assert not japanese.search(document.one("body").text("en"))
    assert document.one("html").attrs["lang"] == "en"


def test_the_policy_allows_the_style_and_the_script_alone(tmp_path):
    text = report.render([save(tmp_path)], LECTURE)
    policy = parse(text).one("meta", **{"http-equiv": "Content-Security-Policy"}).attrs["content"]
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_smaller_format_is_taken(tmp_path):
    small = base64.b64encode(SVG).decode()
    entry = save(tmp_path, figure=(".png", b"x" * 1000))
    assert page(entry).one("img").attrs["src"].startswith("data:image/png;base64,eHh4")
    entry = save(tmp_path)
    assert page(entry).one("img").attrs["src"] == f"data:image/svg+xml;base64,{small}"
    entry = save(tmp_path, figure=(".png", b"x"))
    assert page(entry).one("img").attrs["src"] == "data:image/png;base64,eA=="


def test_a_figure_that_is_not_there_is_named(tmp_path):
    article = page(save(tmp_path, figure=None)).one("article")
    assert not list(article.all("img"))
    assert str(tmp_path / "figures" / "apples.png") in article.one("figure").text("en")


def test_the_file_stays_below_its_limit(tmp_path):
    sizes = {"apples": 3_000_000, "pears": 5_000_000, "plums": 4_000_000}
    entries = [save(tmp_path / n, n, figure=(".png", b"x" * size)) for n, size in sizes.items()]
    path = report.write(entries, tmp_path / "out" / "report.html", LECTURE)
    assert path.stat().st_size < report.MOST_BYTES
    document = parse(path.read_text())
    kept = [a.attrs["id"] for a in document.all("article") if list(a.all("img"))]
    assert kept == ["apples", "plums"]  # the largest gave way


def test_the_same_entries_give_the_same_bytes(tmp_path):
    entries = [save(tmp_path / name, name) for name in ("apples", "cherries")]
    paths = [report.write(entries, tmp_path / name) for name in ("a.html", "b.html")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    # The words of the lecture are the default.
    assert "100億" in paths[0].read_text()


def test_a_report_that_cannot_be_written_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Cannot write"):
        report.write([], tmp_path / "file" / "report.html", LECTURE)


@pytest.mark.parametrize(
    ("expected", "made"),
    [
        ("Measured in this report: They fall. FAILS", lambda path: save(path)),
        ("Not measured in this report.", lambda path: missing("apples")),
        (
            "The measurement in this report does not show it: They fall. HOLDS",
            lambda path: save(path, claims=(save(path).results.claims[0]._replace(id="up"),)),
        ),
    ],
)
def test_corrections_say_what_this_run_shows(tmp_path, expected, made):
    document = page(made(tmp_path))
    first, second = document.all("aside", class_="correction")
    assert first.text("en") == f"Correction to the lecture Slide 2 They do not rise. {expected}"
    assert second.text("ja") == "講義の訂正 スライド4 1 + 1 = 2。 計算による。"


def test_the_words_of_the_lecture_are_complete():
    words = lecture.load()
    sections = [section for part in words.parts for section in part.sections]
    slides = [slide for section in sections for slide in section.slides]
    assert slides == sorted(set(slides))
    # Titles (1, 2, 17, 30, 37) and the end say nothing.
    assert {*range(3, 46)} - {*slides} == {17, 30, 37}
    named = {name for section in sections for name in section.experiments}
    assert named == set(words.subjects)
    corrections = [c for section in sections for c in section.corrections]
    assert {s for c in corrections for s in c.slides} == {11, 38}
    assert all(set(c.slides) <= {*slides} for c in corrections)


def test_the_arithmetic_of_slide_38():
    (words,) = (
        c.words
        for part in lecture.load().parts
        for section in part.sections
        for c in section.corrections
        if not c.shown_by
    )
    paths, edges = 10 ** (8 + 2), (8 + 1) * 10 * 10
    for text in words:
        assert f"{paths:,}" in text and f"{edges}" in text and f"{paths // 10**8}億" in text


def test_corrections_name_claims_of_the_experiments():
    root = pathlib.Path(__file__).parents[2] / "experiments"
    for part in lecture.load().parts:
        for section in part.sections:
            for correction in section.corrections:
                for experiment, claim in correction.shown_by:
                    assert experiment in section.experiments
                    assert f'id="{claim}"' in (root / f"{experiment}.py").read_text()


def test_colours_can_be_read():
    style = (pathlib.Path(report.__file__).parent / "templates" / "report.css").read_text()
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 2  # light and dark
    for theme in themes:
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", theme))
        for front in ("ink", "faint", "link", "holds", "fails", "inconclusive"):
            for back in ("ground", "panel", "correction"):
                ratio = contrast(colours[front], colours[back])
                assert ratio >= 4.5, (front, back, ratio)  # WCAG 2.2, level AA
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def contrast(one, two):
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Browser:
    """Headless Chromium at the ends of two pipes, by its DevTools protocol."""

    def __init__(self, profile):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        # It reads commands from 3 and answers on 4.
        redirect = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'
        self._process = subprocess.Popen(
            ["sh", "-c", redirect, "sh", CHROMIUM, *flags, "about:blank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self.events, self._buffer, self._count, self._session = [], b"", 0, {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **self._session}
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self):
        while b"\0" not in self._buffer:
            answers = self._process.stdout
            assert select.select([answers], [], [], 30)[0], "the browser does not answer"
            received = answers.read(1 << 20)
            assert received, "the browser has died"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression):
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, url, width=1280, height=800, media="", scheme="light"):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        for address in ("about:blank", url):  # or a change after # would not load anew
            self.call("Page.navigate", url=address)
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done() "
            ": addEventListener('load', done))"
        )

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path

    def close(self):
        self._process.terminate()
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    long = {"statement_en": "x" * 500, "statement_ja": "あ" * 500, "slides": (3, 6, 9)}
    entries = [save(path / "apples"), save(path / "figs", "figs", words=long)]
    entries.append(missing("plums", error="y" * 500))
    return report.write(entries, path / "report.html").as_uri()


SHOWN = """[...document.querySelectorAll('.t')].filter(e => e.getClientRects().length)
    .reduce((seen, e) => seen.includes(e.lang) ? seen : [...seen, e.lang], [])"""


def test_the_switch_shows_one_language_and_the_address_remembers_it(browser, address):
    browser.open(f"{address}#lang=en")
    assert browser.evaluate(SHOWN) == ["en"]
    assert browser.evaluate("document.images[0].alt") == "Figure of figs."
    browser.evaluate("document.querySelector('[data-switch=ja]').click()")
    assert browser.evaluate(SHOWN) == ["ja"]
    assert browser.evaluate("document.images[0].alt") == "figsの図。"
    assert browser.evaluate("[document.documentElement.lang, location.hash]") == ["ja", "#lang=ja"]
    assert browser.evaluate("document.title").startswith("実行できる")
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(b => b.textContent)"
    assert browser.evaluate(pressed) == ["日本語"]
    # A link leads to its place and keeps the language, also when the page is opened anew there.
    browser.evaluate("document.querySelector('a[href=\"#figs.low\"]').click()")
    browser.evaluate("new Promise(done => setTimeout(done, 100))")
    hash_ = browser.evaluate("location.hash")
    assert hash_ == "#figs.low&lang=ja"
    browser.open(address + hash_, height=300)
    assert browser.evaluate(SHOWN) == ["ja"]
    assert (
        0 <= browser.evaluate("document.getElementById('figs.low').getBoundingClientRect().y") < 300
    )


def test_without_its_script_both_languages_are_shown(browser, address):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=address)
        for _ in range(100):  # promises do not settle without scripts
            if browser.evaluate("document.readyState") == "complete":
                break
        assert browser.evaluate(SHOWN) == ["en", "ja"]
        assert browser.evaluate("document.querySelector('.switch').getClientRects().length") == 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_fits_a_phone_a_desktop_and_paper_without_errors(browser, address, language, tmp_path):
    browser.events.clear()
    for name, size in (("phone", (375, 812)), ("desktop", (1280, 800))):
        browser.open(f"{address}#lang={language}", *size)
        assert browser.evaluate("innerWidth") == size[0]
        assert browser.evaluate("scrollBy(1, 0), scrollX") == 0
        assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert browser.screenshot(tmp_path / f"{name}.png").stat().st_size > 10_000
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert browser.evaluate(ground) == "rgb(255, 255, 255)"
    browser.open(f"{address}#lang={language}", scheme="dark")
    assert browser.evaluate(ground) == "rgb(20, 23, 27)"
    browser.open(f"{address}#lang={language}", scheme="dark", media="print")
    assert browser.evaluate(ground) == "rgb(255, 255, 255)"
    assert browser.evaluate("document.querySelector('.switch').getClientRects().length") == 0
    methods = {event["method"] for event in browser.events if "method" in event}
    assert not methods & {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    asked = [
        event["params"]["request"]["url"].split(":")[0]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert asked and set(asked) <= {"file", "data", "about"}


# The characters of a text that look like one that no font has.
MISSING = """(text => {
    const context = Object.assign(document.createElement('canvas'), {width: 40, height: 40})
        .getContext('2d', {willReadFrequently: true});
    context.font = '24px ' + getComputedStyle(document.body).fontFamily;
    const drawn = character => {
        context.clearRect(0, 0, 40, 40);
        context.fillText(character, 4, 30);
        return String(context.getImageData(0, 0, 40, 40).data);
    };
    const none = drawn('\\u0378');
    return [...new Set(text)].filter(c => c.trim() && drawn(c) === none).join('');
})"""


def test_no_glyph_is_missing(browser, address):
    browser.open(f"{address}#lang=ja")
    assert browser.evaluate(f"{MISSING}('a\\u0378b')") == "\u0378"
    if browser.evaluate(f"{MISSING}('語')"):
        pytest.skip("no Japanese font is installed: apt-get install fonts-noto-cjk")
    assert browser.evaluate(f"{MISSING}(document.body.textContent)") == ""
