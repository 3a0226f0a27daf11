"""The experiment from flags to figure at the smoke preset."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from dl_lectures.data import images
from dl_lectures.generative import vae as vae_lib
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
        *("vae_beats_independent_pixels", "vae_latent_tells", "vae_bound_tightens"),
        *("vae_linear_finds_ppca", "vae_without_kl_cannot_draw"),
    ]
    np.testing.assert_allclose(read.extra["independent_pixels_nats_per_image"], 24.8, atol=0.05)
    assert read.arrays["heldout"].shape == read.arrays["reconstructed"].shape == (6, 8, 8)
    assert read.arrays["drawn"].shape == read.arrays["drawn_without_kl"].shape == (64, 8, 8)
    assert read.arrays["kl_of_units"].shape == (2, 4)
    np.testing.assert_allclose(
        read.arrays["kl_of_units"].sum(1), read.per_seed("kl_nats_per_image"), rtol=1e-5
    )
    assert (tmp_path / "figures" / "drawn_seed_0_nearest.png").stat().st_size > 1_000
    assert read.extra["num_samples"] == [1, 5, 50]
    of_samples = read.arrays["bounds_nats_per_image"]
    assert (np.diff(of_samples, axis=0) < 0).all()
    np.testing.assert_allclose(of_samples[-1], read.per_seed("bound_nats_per_image"), rtol=1e-6)
    np.testing.assert_array_equal(read.arrays["steps"], [50, 100])
    curve = read.arrays["negative_elbo_nats_per_image"]
    assert (curve[1] < curve[0]).all()  # it has begun to learn
    np.testing.assert_allclose(
        curve[-1], read.metrics["negative_elbo_nats_per_image"].per_seed, rtol=1e-6
    )
    assert re.search(r"independent pixels +24\.80\n", vae.report(read))
    verdicts = {claim.id: claim.verdict for claim in read.claims}
    assert verdicts["vae_beats_independent_pixels"] == "fails"  # 100 steps are too few


GOOD = {
    "negative_elbo_nats_per_image": [18.5, 18.6, 18.7],
    "kl_nats_per_image": [6.0, 6.1, 6.2],
    "one_sample_nats_per_image": [18.5, 18.6, 18.7],
    "bound_nats_per_image": [17.5, 17.6, 17.7],
    "linear/excess_over_ppca_nats_per_image": [0.01, 0.02, 0.01],
    "autoencoder/bound_nats_per_image": [99.0, 98.0, 97.0],
}
BAD = {
    "negative_elbo_nats_per_image": [24.5, 24.6, 24.7],
    "kl_nats_per_image": [0.0, 0.1, 0.2],
    "one_sample_nats_per_image": [24.5, 24.6, 24.7],
    "bound_nats_per_image": [24.5, 24.6, 24.7],
    "linear/excess_over_ppca_nats_per_image": [0.19, 0.2, 0.21],
    "autoencoder/bound_nats_per_image": [24.5, 24.6, 24.7],
}


def test_claims_hold_for_a_good_model_and_fail_for_a_bad_one():
    assert [claim.verdict for claim in vae.claims(results_of(GOOD))] == ["holds"] * 5
    assert [claim.verdict for claim in vae.claims(results_of(BAD))] == ["fails"] * 5


def test_mnist_has_claims_of_its_own():
    good = {name: values for name, values in GOOD.items() if "/" not in name}
    good["bound_nats_per_image"] = [88.0, 88.1, 88.2]
    mnist = {"dataset": "mnist", "pixels": "dynamic", "companions": []}
    for preset, verdict in (("quick", "holds"), ("full", "holds")):
        claim = vae.claims(results_of(good, preset, **mnist))[-1]
        assert (claim.id, claim.verdict) == ("vae_explains_mnist", verdict)
    good["bound_nats_per_image"] = [90.0, 90.1, 90.2]
    verdicts = [
        vae.claims(results_of(good, preset, **mnist))[-1].verdict for preset in ("quick", "full")
    ]
    assert verdicts == ["holds", "fails"]


def results_of(metrics, preset="quick", **extra):
    from dl_lectures.reporting.intervals import summarise

    companions = sorted({name.split("/")[0] for name in metrics if "/" in name})
    return Results(
        *("vae", (31,), preset, 0, 3, 100, {}),
        {name: summarise(values) for name, values in metrics.items()},
        extra={
            "independent_pixels_nats_per_image": 24.8,
            "dataset": "digits",
            "pixels": "binary",
            "num_samples": [1, 5_000],
            "companions": companions,
            **extra,
        },
    )


def test_each_data_set_has_presets_of_its_own():
    assert vae.preset_for("quick", {}) is vae.PRESETS["quick"]
    for dataset in ("mnist", "fashion_mnist", "faces"):
        for name in ("smoke", "quick", "full"):
            preset = vae.preset_for(name, {"dataset": dataset})
            assert preset.config.num_levels == 256
            assert not preset.config.companions
            if name != "smoke":
                assert preset.config.dataset == dataset
                assert preset.config.decay_steps == preset.steps
    assert vae.preset_for("full", {"dataset": "mnist"}).config.num_latents == 50


def test_bounds_do_not_depend_on_how_images_are_cut_into_blocks(tmp_path, monkeypatch):
    config = vae.Config(hidden_sizes="8", num_latents=2)
    net = vae_lib.model(config, 16)
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    params = jax.jit(jax.vmap(lambda k: vae_lib.init_params(k, net)))(keys)
    # Near the prior and near chance, so that the weights are alike.
    params = jax.tree.map(lambda leaf: 0.3 * np.asarray(leaf), params)
    x = np.asarray(jax.random.bernoulli(jax.random.key(1), 0.5, (10, 16)), np.float32)
    options = Options(workdir=str(tmp_path), num_seeds=2)
    numbers = vae.sample_numbers(400)
    assert numbers == (1, 5, 50, 400)
    whole = vae.bounds(net, params, x, numbers, options).tally
    monkeypatch.setattr(vae, "_BLOCK", 4)  # the last one is half full
    cut = vae.bounds(net, params, x, numbers, options).tally
    assert whole.shape == cut.shape == (4, 2, 10)
    # Other draws of z: alike where there are many.
    assert np.abs(whole[0] - cut[0]).max() > 0.01
    np.testing.assert_allclose(whole[-1], cut[-1], atol=0.1)
    alone = vae_lib.importance_weighted_nats(
        *(jax.random.key(9), net, jax.tree.map(lambda leaf: leaf[1], params), x, 4_000)
    )
    np.testing.assert_allclose(whole[-1, 1], alone, atol=0.1)


def test_two_latents_are_decoded_over_the_plane():
    config = dataclasses.replace(vae.PRESETS["smoke"].config, num_latents=2, companions=False)
    net = vae_lib.model(config, 64)
    params = jax.jit(vae_lib.init_params, static_argnums=1)(jax.random.key(0), net)
    x = np.zeros((6, 64), np.float32)
    walk = vae.draw(net, params, 0, x)["walk"].reshape(9, 9, 64)
    z = stats.norm.ppf((np.arange(9) + 0.5) / 9)
    corner = vae_lib.mean_image(net, params, jnp.array([z[-1], z[-1]]))  # upper right
    np.testing.assert_allclose(walk[0, -1], corner, rtol=1e-4)


def test_pixels_are_cut_drawn_rounded_or_left_grey(monkeypatch):
    grey = np.array([[[0.0, 0.25], [0.5, 1.0]]], np.float32)
    loaded = images.Images(grey, np.array([7]), grey, np.array([7]))
    monkeypatch.setattr(images, "load", lambda name: loaded)

    def load(**settings):
        return vae.load(dataclasses.replace(vae.Config(), **settings))

    binary = load()
    for split in (binary.train, binary.test):
        np.testing.assert_array_equal(split, [[0.0, 0.0, 1.0, 1.0]])
        assert split.dtype == np.float32
    np.testing.assert_array_equal(load(pixels="grey").train, grey.reshape(1, 4))
    dynamic = load(pixels="dynamic")
    np.testing.assert_array_equal(dynamic.train, grey.reshape(1, 4))  # drawn by the learner
    assert set(np.unique(dynamic.test)) == {0.0, 1.0}
    np.testing.assert_array_equal(dynamic.test, load(pixels="dynamic").test)
    levels = load(pixels="grey", likelihood="discretized_logistic", num_levels=4).test
    np.testing.assert_allclose(levels, [[0.0, 1 / 3, 2 / 3, 1.0]], rtol=1e-6)
    assert levels.dtype == np.float32
