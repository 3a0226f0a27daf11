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
