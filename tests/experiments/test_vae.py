"""The experiment from flags to figure at the smoke preset."""

import dataclasses

import numpy as np

from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import common, vae


def test_smoke_run_writes_results_claims_and_figure(tmp_path):
    preset = vae.PRESETS["smoke"]
    options = Options(workdir=str(tmp_path), preset="smoke", **common.options_of(preset))
    found = common.execute(vae, preset.config, options)
    assert (tmp_path / "DONE").exists()
    assert (tmp_path / "figures" / "vae.png").stat().st_size > 10_000
    read = Results.read(tmp_path)
    assert read.metrics == found.metrics
    assert [claim.id for claim in read.claims] == [
        *("vae_beats_independent_pixels", "vae_latent_tells"),
    ]
    np.testing.assert_allclose(read.extra["independent_pixels_nats_per_image"], 24.8, atol=0.05)
    assert read.arrays["heldout"].shape == read.arrays["reconstructed"].shape == (6, 8, 8)
    assert read.arrays["drawn"].shape == (24, 8, 8)
    np.testing.assert_array_equal(read.arrays["steps"], [50, 100])
    curve = read.arrays["negative_elbo_nats_per_image"]
    assert (curve[1] < curve[0]).all()  # it has begun to learn
    np.testing.assert_allclose(
        curve[-1], read.metrics["negative_elbo_nats_per_image"].per_seed, rtol=1e-6
    )
    assert "independent pixels                 24.80" in vae.report(read)
    verdicts = {claim.id: claim.verdict for claim in read.claims}
    assert verdicts["vae_beats_independent_pixels"] == "fails"  # 100 steps are too few


def test_claims_hold_for_a_good_model_and_fail_for_a_bad_one():
    good = results_of(negative_elbo=[18.5, 18.6, 18.7], kl=[6.0, 6.1, 6.2])
    assert [claim.verdict for claim in vae.claims(good)] == ["holds", "holds"]
    bad = results_of(negative_elbo=[24.5, 24.6, 24.7], kl=[0.0, 0.1, 0.2])
    assert [claim.verdict for claim in vae.claims(bad)] == ["fails", "fails"]


def results_of(negative_elbo, kl):
    from dl_lectures.reporting.intervals import summarise

    metrics = {
        "negative_elbo_nats_per_image": summarise(negative_elbo),
        "kl_nats_per_image": summarise(kl),
    }
    return Results(
        *("vae", (31,), "quick", 0, 3, 100, {}, metrics),
        extra={"independent_pixels_nats_per_image": 24.8, "pixels": "binary"},
    )


def test_pixels_are_cut_or_left_grey():
    split = np.array([[[0.0, 0.25], [0.5, 1.0]]], np.float32)
    binary = vae._rows(vae.Config(), split)
    np.testing.assert_array_equal(binary, [[0.0, 0.0, 1.0, 1.0]])
    assert binary.dtype == np.float32
    grey = vae._rows(dataclasses.replace(vae.Config(), pixels="grey"), split)
    np.testing.assert_array_equal(grey, [[0.0, 0.25, 0.5, 1.0]])
