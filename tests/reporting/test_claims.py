"""Verdicts, each from an interval that lies wholly or partly on a side of the threshold."""

import pytest

from dl_lectures.reporting import claims

WORDS = {
    "id": "c",
    "slides": (6,),
    "statement_en": "It is small.",
    "statement_ja": "小さい。",
    "statistic": "size (m)",
}
SEEDS = [1.0, 2.0, 3.0]  # interval [-0.48, 4.48]


@pytest.mark.parametrize(
    ("threshold", "at_most", "at_least"),
    [
        (4.5, "holds", "fails"),
        (4.4, "inconclusive", "inconclusive"),
        (-0.4, "inconclusive", "inconclusive"),
        (-0.5, "fails", "holds"),
    ],
)
def test_verdict_follows_from_the_interval(threshold, at_most, at_least):
    claim = claims.at_most(**WORDS, per_seed=SEEDS, threshold=threshold)
    assert claim.verdict == at_most
    assert claim.statistic == f"size (m) <= {threshold:g}"
    assert claim.value == 2.0
    assert claim.ci95 == pytest.approx((-0.484, 4.484), abs=1e-3)
    claim = claims.at_least(**WORDS, per_seed=SEEDS, threshold=threshold)
    assert claim.verdict == at_least
    assert claim.statistic == f"size (m) >= {threshold:g}"


def test_one_seed_is_inconclusive_however_far_from_the_threshold():
    assert claims.at_most(**WORDS, per_seed=[0.0], threshold=1e9).verdict == "inconclusive"
    assert claims.at_least(**WORDS, per_seed=[0.0], threshold=-1e9).verdict == "inconclusive"


def test_seeds_that_agree_on_the_threshold_keep_the_claim():
    assert claims.at_most(**WORDS, per_seed=[2.0, 2.0], threshold=2.0).verdict == "holds"
    assert claims.at_least(**WORDS, per_seed=[2.0, 2.0], threshold=2.0).verdict == "holds"


def test_value_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        claims.at_least(**WORDS, per_seed=[1.0, float("nan")], threshold=0.0)


@pytest.mark.parametrize(
    ("num_successes", "at_least", "at_most"),
    [(16, "holds", "fails"), (15, "inconclusive", "fails"), (0, "fails", "holds")],
)
def test_shares_of_seeds_have_wilsons_interval(num_successes, at_least, at_most):
    """16 of 16: [0.806, 1]; 15 of 16: [0.717, 0.989]; none: [0, 0.194]."""
    per_seed = num_successes * [1.0] + (16 - num_successes) * [0.0]
    claim = claims.share_at_least(**WORDS, per_seed=per_seed, threshold=0.75)
    assert (claim.verdict, claim.value) == (at_least, num_successes / 16)
    assert claim.statistic == "size (m) >= 0.75"
    claim = claims.share_at_most(**WORDS, per_seed=per_seed, threshold=0.25)
    assert (claim.verdict, claim.statistic) == (at_most, "size (m) <= 0.25")


@pytest.mark.parametrize("bad", [[0.5], [[1.0]], [2.0]])
def test_a_share_is_of_yes_and_no(bad):
    with pytest.raises(ValueError, match="0 or 1"):
        claims.share_at_least(**WORDS, per_seed=bad, threshold=0.5)


@pytest.mark.parametrize("threshold", [-0.5, -0.4, 4.4, 4.5])
@pytest.mark.parametrize("make", [claims.at_most, claims.at_least])
def test_a_claim_is_judged_anew_from_its_numbers(make, threshold):
    claim = make(**WORDS, per_seed=SEEDS, threshold=threshold)
    assert claims.judge(claim._replace(verdict="?")) == claim.verdict


@pytest.mark.parametrize("num_successes", [0, 7, 16])
def test_a_share_is_judged_anew(num_successes):
    per_seed = num_successes * [1.0] + (16 - num_successes) * [0.0]
    for make in (claims.share_at_most, claims.share_at_least):
        claim = make(**WORDS, per_seed=per_seed, threshold=0.5)
        assert claims.judge(claim._replace(verdict="?")) == claim.verdict


def test_one_seed_is_judged_anew():
    claim = claims.at_most(**WORDS, per_seed=[0.0], threshold=1.0)
    assert claims.judge(claim._replace(verdict="holds")) == "inconclusive"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"statistic": "size (m)"}, "side"),
        ({"statistic": ""}, "side"),
        ({"value": 5.0}, "outside"),
        ({"ci95": (None, 1.0)}, "missing"),
        ({"threshold": float("nan")}, "missing"),
    ],
)
def test_a_claim_that_contradicts_itself_is_not_judged(change, words):
    claim = claims.at_most(**WORDS, per_seed=SEEDS, threshold=1.0)
    with pytest.raises(ValueError, match=words):
        claims.judge(claim._replace(**change))


def test_a_table_is_its_lines():
    line = ("id", "en", "ja", "error of x", [0.1, 0.2, 0.3], 1.0)
    table = [(claims.at_most, *line), (claims.at_least, *line)]
    words = dict(zip(("id", "statement_en", "statement_ja"), line, strict=False), slides=(3,))
    numbers = {"statistic": line[3], "per_seed": line[4], "threshold": line[5]}
    assert claims.of_table((3,), table) == (
        claims.at_most(**words, **numbers),
        claims.at_least(**words, **numbers),
    )
    with pytest.raises(ValueError, match="zip"):
        claims.of_table((3,), [(claims.at_most, *line, "one too many")])
