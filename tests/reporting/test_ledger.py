"""The ledger and the comparison with expected results, on made-up working directories."""

import json

import pytest

from dl_lectures.errors import UsageError
from dl_lectures.reporting import claims, expected, ledger
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results

WORDS = {"slides": (3, 4, 5), "statement_en": "Small | big.", "statement_ja": "小さい。"}
SEEDS = [1.0, 2.0, 3.0]  # mean 2, interval [-0.484, 4.484]


def save(workdir, name="one", seeds=SEEDS, **changes):
    """Writes results with a claim that holds and one that fails."""
    found = {
        "experiment": name,
        "slides": (3, 4, 5),
        "preset": "smoke",
        "seed": 0,
        "num_seeds": len(seeds),
        "steps": 100,
        "seconds": {"compile": 0.5, "train": 1.25},
        "metrics": {"size": summarise(seeds)},
        "versions": {"jax": "0.1"},
        "claims": (
            claims.at_most(id="low", statistic="size (m)", per_seed=seeds, threshold=5.0, **WORDS),
            claims.at_least(id="up", statistic="size (m)", per_seed=seeds, threshold=5.0, **WORDS),
        ),
    }
    Results(**(found | changes)).write(workdir)
    return workdir


def read(workdir, name="one", error=""):
    return ledger.read(name, (3, 4, 5), f"python -m experiments.{name}", workdir, error)


def edit(workdir, change):
    path = workdir / "results.json"
    document = json.loads(path.read_text())
    change(document["claims"][0])
    path.write_text(json.dumps(document))


def verdicts(*entries):
    return [row.verdict for row in ledger.rows(entries)]


def test_rows_say_what_was_saved(tmp_path):
    entry = read(save(tmp_path))
    assert (entry.status, entry.error) == ("done", "")
    low, up = ledger.rows([entry])
    assert (low.experiment, low.claim_id, low.slides) == ("one", "low", (3, 4, 5))
    assert (low.value, low.threshold, low.seconds) == (2.0, 5.0, 1.75)
    assert low.ci95 == pytest.approx((-0.484, 4.484), abs=1e-3)
    assert (low.verdict, up.verdict) == ("holds", "fails")
    assert low.statistic == "size (m) <= 5" and low.statement_ja == "小さい。"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda claim: claim.update(threshold=1.0), "inconclusive"),
        (lambda claim: claim.update(threshold=-1.0), "fails"),
        (lambda claim: claim.update(value=9.0, ci95=[8.0, 10.0]), "fails"),
        (lambda claim: claim.update(ci95=[None, None]), "inconclusive"),
        (lambda claim: claim.update(statistic="size (m) >= 5"), "fails"),
        (lambda claim: claim.update(verdict="fails"), "holds"),  # what it says of itself is nothing
    ],
)
def test_a_changed_number_changes_the_verdict(tmp_path, change, verdict):
    save(tmp_path)
    edit(tmp_path, change)
    assert verdicts(read(tmp_path))[0] == verdict


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda claim: claim.update(value=9.0), "outside"),
        (lambda claim: claim.update(value=None), "missing"),
        (lambda claim: claim.update(threshold=float("nan")), "missing"),
        (lambda claim: claim.update(ci95=[None, 3.0]), "missing"),
        (lambda claim: claim.update(ci95=[3.0]), "values"),
        (lambda claim: claim.update(statistic="size"), "no side"),
        (lambda claim: claim.pop("threshold"), "threshold"),
    ],
)
def test_results_that_contradict_themselves_are_damaged(tmp_path, change, words):
    save(tmp_path)
    edit(tmp_path, change)
    entry = read(tmp_path)
    assert entry.status == "failed" and words in entry.error and entry.results is None
    assert verdicts(entry) == ["failed"]


def test_deleted_results_are_missing(tmp_path):
    save(tmp_path)
    (tmp_path / "results.json").unlink()
    entry = read(tmp_path)
    assert (entry.status, entry.error) == ("missing", "")
    (row,) = ledger.rows([entry])
    assert (row.verdict, row.claim_id, row.value) == ("missing", "", None)
    assert row.slides == (3, 4, 5)


def test_damaged_results_fail_in_one_line(tmp_path):
    (save(tmp_path) / "results.npz").unlink()
    assert read(tmp_path).status == "failed"
    (save(tmp_path) / "results.json").write_text('{\n"experiment":\n')
    entry = read(tmp_path)
    assert entry.status == "failed" and "\n" not in entry.error


def test_results_without_claims_or_of_another_experiment_do_not_pass(tmp_path):
    assert verdicts(read(save(tmp_path / "a", claims=()))) == ["failed"]
    entry = read(save(tmp_path / "b", name="two"))
    assert entry.status == "failed" and "two" in entry.error


def test_an_error_outweighs_what_the_directory_holds(tmp_path):
    entry = read(save(tmp_path), error="ValueError:\n no luck")
    assert (entry.status, entry.error, entry.results) == ("failed", "ValueError: no luck", None)


def test_exit_code(tmp_path):
    low, up = ledger.rows([read(save(tmp_path))])
    assert ledger.exit_code([]) == 0
    assert ledger.exit_code([low, low._replace(verdict="inconclusive")]) == 0
    assert ledger.exit_code([low, up]) == 3
    for verdict in ("missing", "failed"):
        assert ledger.exit_code([low, low._replace(verdict=verdict)]) == 3


def test_files(tmp_path):
    entries = [read(save(tmp_path / "one")), read(tmp_path / "two", "two")]
    ledger.write(entries, tmp_path)
    document = json.loads((tmp_path / "ledger.json").read_text())
    assert [e["status"] for e in document["experiments"]] == ["done", "missing"]
    assert document["experiments"][0]["versions"] == {"jax": "0.1"}
    assert [row["verdict"] for row in document["claims"]] == ["holds", "fails", "missing"]
    assert document["claims"][0]["value"] == 2.0
    lines = (tmp_path / "ledger.md").read_text().splitlines()
    (line,) = [line for line in lines if "HOLDS" in line]
    assert line == (
        "| 3-5 | one | Small \\| big.<br>小さい。 | 2 \\[-0.4841, 4.484\\] | size (m) &lt;= 5 "
        "| HOLDS | 1.8 |"
    )
    assert "    python -m experiments.two" in lines


@pytest.mark.parametrize(
    ("slides", "words"), [((6, 9, 35), "6, 9, 35"), ((5, 3, 4, 11, 4), "3-5, 11"), ((), "")]
)
def test_slides_in_words(slides, words):
    assert ledger.slide_words(slides) == words


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "expected.json"
    expected.write([read(save(tmp_path / "known"))], path)
    return expected.read(path)


def test_the_same_run_has_not_drifted(tmp_path, known):
    assert expected.drift(known, [read(save(tmp_path / "x"))]) == []
    assert known["experiments"]["one"]["claims"]["low"]["verdict"] == "holds"
    assert known["experiments"]["one"]["versions"] == {"jax": "0.1"}
    assert known["experiments"]["one"]["machine"]["cores"] >= 1


def test_other_intervals_are_as_expected_while_they_meet(tmp_path, known):
    assert expected.drift(known, [read(save(tmp_path / "x", seeds=[1.5, 2.0, 2.5]))]) == []


def test_drift_is_named(tmp_path, known):
    lines = expected.drift(known, [read(save(tmp_path / "x", seeds=[10.0, 10.1, 10.2]))])
    text = "\n".join(lines)
    assert "one: low: the verdict is FAILS, expected HOLDS" in text
    assert "one: low: the value is 10.1 [9.852, 10.35], expected 2 [-0.4841, 4.484] +- 0.02" in text
    assert "one: up: the verdict is HOLDS, expected FAILS" in text


def test_other_circumstances_are_told_with_a_drift(tmp_path, known):
    found = {"seeds": [10.0, 10.1, 10.2], "versions": {"jax": "0.2"}}
    assert "jax 0.2 (was 0.1)" in expected.drift(known, [read(save(tmp_path / "x", **found))])[-1]


def test_tolerance(tmp_path, known):
    """Of an interval without width at 2 and another at 2.03: 1 % is too little."""
    claim = known["experiments"]["one"]["claims"]["low"]
    claim["ci95"] = [2.0, 2.0]
    entry = read(save(tmp_path / "x", seeds=3 * [2.03]))
    assert any("low: the value" in line for line in expected.drift(known, [entry]))
    claim["tolerance"] = 0.05
    assert expected.drift(known, [entry]) == []


def test_one_seed_is_compared_only_with_a_tolerance_of_its_own(tmp_path, known):
    claim = known["experiments"]["one"]["claims"]["low"]
    known["experiments"]["one"]["num_seeds"] = 1
    for expectation in known["experiments"]["one"]["claims"].values():
        expectation |= {"ci95": [None, None], "verdict": "inconclusive"}
    entry = read(save(tmp_path / "x", seeds=[3.0]))
    assert expected.drift(known, [entry]) == []
    claim["tolerance"] = 0.5
    assert "one: low: the value is 3 " in expected.drift(known, [entry])[0]


def test_everything_else_that_drifts(tmp_path, known):
    def drift(entry):
        return "\n".join(expected.drift(known, [entry]))

    entry = read(save(tmp_path / "x"))
    assert drift(read(tmp_path / "nothing")) == "one: missing"
    assert drift(read(tmp_path / "x", error="no luck")) == "one: failed: no luck"
    assert "two: not among" in drift(read(save(tmp_path / "two", "two"), "two"))
    assert "steps is 50, expected 100" in drift(read(save(tmp_path / "steps", steps=50)))
    assert "num_seeds is 2" in drift(read(save(tmp_path / "seeds", seeds=[1.0, 2.0])))
    claim = known["experiments"]["one"]["claims"].pop("low")
    assert "the claim low is not among" in drift(entry)
    known["experiments"]["one"]["claims"] |= {"low": claim | {"threshold": 4.9}, "gone": claim}
    assert "the claim gone is expected and not there" in drift(entry)
    assert "low: the threshold is 5, expected 4.9" in drift(entry)


def test_writing_anew_keeps_other_experiments_and_tolerances(tmp_path):
    path = tmp_path / "expected.json"
    one, two = read(save(tmp_path / "one")), read(save(tmp_path / "two", "two"), "two")
    expected.write([one, two], path)
    document = expected.read(path)
    document["relative_tolerance"] = 0.5
    document["experiments"]["one"]["claims"]["low"]["tolerance"] = 0.25
    path.write_text(json.dumps(document))
    changed = read(save(tmp_path / "one", seeds=[7.0, 8.0, 9.0]))
    expected.write([changed, read(tmp_path / "nothing", "two")], path)
    anew = expected.read(path)
    assert anew["relative_tolerance"] == 0.5
    assert anew["experiments"]["two"] == document["experiments"]["two"]
    low = anew["experiments"]["one"]["claims"]["low"]
    assert (low["value"], low["verdict"], low["tolerance"]) == (8.0, "fails", 0.25)


def test_expected_results_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="write_expected"):
        expected.read(tmp_path / "none.json")
    path = tmp_path / "bad.json"
    for text in ("{", "[]", '{"relative_tolerance": 0.1, "experiments": {"one": {}}}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="cannot read"):
            expected.read(path)
