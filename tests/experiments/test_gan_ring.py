import dataclasses

import numpy as np
import pytest

from dl_lectures.generative import gan
from dl_lectures.reporting import intervals, plotting
from dl_lectures.reporting.results import Results
from experiments import common, flags, gan_ring


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    given = {"preset": "smoke", "workdir": str(tmp_path_factory.mktemp("gan_ring"))}
    config, options = flags.resolve(gan_ring, given)
    return common.execute(gan_ring, config, options)


def test_smoke_preset(smoke, tmp_path, font):
    assert len(smoke.claims) == 9
    without = smoke.extra | {"runs": ["non_saturating", "r1"]}
    assert gan_ring.claims(dataclasses.replace(smoke, extra=without)) == ()  # nothing to compare
    for name in ("non_saturating", "r1"):
        part = f"ring_{name}"
        curves = {k: smoke.arrays[f"{part}/{k}"] for k in ("accuracy", "gap", "modes")}
        assert {k: v.shape for k, v in curves.items()} == {
            "accuracy": (4, 2),
            "gap": (2, 2),
            "modes": (2, 2),
        }
        np.testing.assert_allclose(smoke.per_seed(f"{part}/gap"), curves["gap"][-1], rtol=1e-6)
        np.testing.assert_allclose(smoke.per_seed(f"{part}/first_gap"), curves["gap"][0])
        peak = smoke.per_seed(f"{part}/peak_accuracy")
        np.testing.assert_allclose(peak, curves["accuracy"].max(0))
        forger = smoke.arrays[f"{part}/generator_loss"]
        np.testing.assert_allclose(smoke.per_seed(f"{part}/first_generator_loss"), forger[1])
        np.testing.assert_array_equal(smoke.arrays[f"film_{name}/steps"], [6, 24, 60])
        assert smoke.arrays[f"film_{name}/samples"].shape == (3, 400, 2)
        assert np.ptp(smoke.arrays[f"film_{name}/field"][-1]) > 0
    figure = gan_ring.figure(smoke)
    assert plotting.save(figure, tmp_path / "figure")[0].stat().st_size > 10_000
    assert "ring of 8, 2 seeds, 60 steps" in gan_ring.report(smoke)


def test_gap_is_what_both_could_gain(smoke):
    for part in ("ring_non_saturating", "ring_r1"):
        both = sum(smoke.per_seed(f"{part}/{who}_gains") for who in ("generator", "discriminator"))
        np.testing.assert_allclose(smoke.per_seed(f"{part}/gap"), both, atol=1e-6)


@pytest.mark.parametrize("name", gan_ring.CHANGES)
def test_every_run_changes_what_it_says(name):
    config = gan_ring.PRESETS["quick"].config
    mine = gan_ring.config_of(config, name)
    assert type(mine) is gan.Config
    changed = {
        field.name
        for field in dataclasses.fields(gan.Config)
        if getattr(mine, field.name) != getattr(config, field.name)
    }
    assert changed == set(gan_ring.CHANGES[name]) - {
        k for k, v in gan_ring.CHANGES[name].items() if v == getattr(config, k)
    }
    assert changed or name == "non_saturating"


GOOD = {
    "saturating": {"modes": 4, "high_quality": 0.0},
    "non_saturating": {
        **{"modes": 3, "high_quality": 0.5, "gap": 0.05},
        **{"first_generator_loss": 0.9, "generator_loss": 1.8},
    },
    "r1": {"modes": 8, "peak_accuracy": 0.9, "accuracy": 0.55, "first_gap": 0.3, "gap": 0.01},
}
BAD = {
    "saturating": {"modes": 8, "high_quality": 0.5},
    "non_saturating": {
        **{"modes": 8, "high_quality": 0.5, "gap": 0.01},
        **{"first_generator_loss": 1.8, "generator_loss": 0.9},
    },
    "r1": {"modes": 7, "peak_accuracy": 0.9, "accuracy": 0.9, "first_gap": 0.3, "gap": 0.3},
}


def found(runs):
    """Results as if each run had these values on every one of 12 seeds, nearly."""
    metrics = {
        f"ring_{run}/{name}": intervals.summarise(
            [value if name == "modes" else value + 1e-4 * s for s in range(12)]
        )
        for run, values in runs.items()
        for name, value in values.items()
    }
    extra = {"targets": ["ring"], "runs": [*runs], "num_response_updates": 60}
    return Results("gan_ring", (32,), "quick", 0, 12, 1, {}, metrics, extra=extra)


def test_claims_hold_for_a_good_game_and_fail_for_a_bad_one():
    good, bad = (gan_ring.claims(found(runs)) for runs in (GOOD, BAD))
    assert [claim.id.removeprefix("gan_ring_") for claim in good] == [
        *("finds_all_modes", "drops_modes", "saturating_drops_modes", "saturating_stalls"),
        *("policeman_falls_behind", "policeman_cannot_tell"),
        *("gap_falls", "gap_tells", "losses_do_not_tell"),
    ]
    assert {claim.verdict for claim in good} == {"holds"}
    assert {claim.verdict for claim in bad} == {"fails"}
    of_grid = dataclasses.replace(found(GOOD), extra={"targets": ["grid"], "runs": [*GOOD]})
    assert gan_ring.claims(of_grid) == ()  # their thresholds are those of the ring


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runs": "r1,wgan"}, "--runs: 'wgan' is none of saturating"),
        ({"runs": "r1,r1"}, "--runs must not name one twice"),
        ({"targets": "moons"}, "--targets: 'moons' is none of ring, grid"),
        ({"num_hidden": 0}, "--num_hidden must be at least 1"),
        ({"num_response_updates": 0}, "--num_response_updates must be at least 1"),
        ({"conditional": True}, "--conditional must be off"),
    ],
)
def test_impossible_settings_are_sentences(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(gan_ring.PRESETS["smoke"].config, **changes)
