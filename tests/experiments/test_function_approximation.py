import numpy as np
import pytest

from dl_lectures.reporting.results import Results
from experiments import common, flags
from experiments import function_approximation as experiment


def test_smoke_preset(tmp_path, font):
    given = {"preset": "smoke", "workdir": str(tmp_path)}
    config, options = flags.resolve(experiment, given)
    found = common.execute(experiment, config, options)
    assert found.extra["num_params"] == [13, 61]
    assert found.extra["harmonics"] == [6, 30]
    assert found.extra["shapes"] == {"one0": [4], "two0": [2, 2], "one1": [20], "two1": [6, 6]}
    assert len(found.metrics) == 2 * 2 * len(experiment.NAMES)
    # Smooth and periodic: as good as the numbers it was given, float32.
    assert found.arrays["series_rmse"][1, experiment.NAMES.index("smooth")] < 1e-6
    # Half the variance of |x| is in its first wave, and 1/k^4 of it in the others.
    ks = np.arange(1, 10_001, 2)
    left = (1 / ks[ks > 6] ** 4).sum() / (1 / ks**4).sum()
    kinked = found.arrays["series_rmse"][0, experiment.NAMES.index("kinked")]
    assert kinked == pytest.approx(left**0.5, rel=0.05)
    assert [claim.id for claim in found.claims][:2] == [
        "error_falls_with_size",
        "series_wins_when_smooth_and_periodic",
    ]
    assert (tmp_path / "figures" / "function_approximation.png").stat().st_size > 10_000
    assert "net, 2 hidden layers" in experiment.report(found)
    assert Results.read(tmp_path).claims == found.claims


def test_slope_of_a_power_law():
    sizes = [10, 30, 100]
    rmse = np.array(sizes)[:, None] ** np.array([-1.5, 0.25])
    np.testing.assert_allclose(experiment.slope(sizes, rmse), [-1.5, 0.25])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": "6"}, "--widths=6 must be two or more, and increase"),
        ({"widths": "6,2"}, "--widths=6,2 must be two or more"),
        ({"widths": "2,4"}, "--widths=2,4: no net"),
        ({"widths": "2,x"}, "--widths must be numbers"),
        ({"num_points": 396}, "more than the 397 parameters"),
        ({"num_points": 1_001}, "must be even"),
    ],
)
def test_impossible_settings_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        experiment.Config(**changes)
