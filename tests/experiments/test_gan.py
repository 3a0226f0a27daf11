import dataclasses

import jax
import numpy as np
import pytest

from dl_lectures.data import images
from dl_lectures.generative import gan as gan_lib
from dl_lectures.reporting import plotting
from experiments import common, flags, gan


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("gan")


@pytest.fixture(scope="module")
def smoke(workdir):
    config, options = flags.resolve(gan, {"preset": "smoke", "workdir": str(workdir)})
    return common.execute(gan, config, options)


def test_smoke_preset(smoke, workdir, tmp_path, font):
    assert [claim.id for claim in smoke.claims] == [
        "gan_draws_better_than_baselines",
        "vae_draws_better_than_baselines",
        "gan_does_not_copy",
        "gan_policeman_is_fooled",
        "gan_draws_what_it_is_told",
        "gan_best_response_gap_falls",
    ]
    for name in gan.LABELS:
        assert smoke.per_seed(f"{name}_frechet_distance").shape == (2,)
        if name != "independent":
            assert smoke.arrays[name].shape == (16, 8, 8)
    assert smoke.arrays["accuracy"].shape == (2, 2)
    assert (workdir / "parts" / "vae" / "checkpoints" / "60").is_dir()  # updates of its own
    np.testing.assert_array_equal(smoke.arrays["steps"], [20, 40])
    np.testing.assert_allclose(smoke.per_seed("gap_last"), smoke.arrays["gap"][-1], rtol=1e-6)
    for name in ("drawn_seed_0", "drawn_seed_1", "drawn_by_vae_seed_0"):
        for kind in ("", "_nearest"):
            assert (workdir / "figures" / f"{name}{kind}.png").stat().st_size > 1_000
    figure = gan.figure(smoke)
    assert plotting.save(figure, tmp_path / "figure")[0].stat().st_size > 10_000
    assert "held-out images" in gan.report(smoke)


def test_shown_neighbours_are_the_nearest(smoke):
    train = images.load("digits").train
    for picture, neighbour, distance in zip(
        smoke.arrays["gan"],
        smoke.arrays["gan_nearest"],
        smoke.arrays["gan_nearest_distances"],
        strict=False,  # more are shown than have a neighbour beside them
    ):
        distances = [np.linalg.norm(x - picture) for x in train]
        np.testing.assert_allclose(distance, min(distances), rtol=1e-5)
        np.testing.assert_array_equal(neighbour, train[np.argmin(distances)])


def judged(smoke, **changes):
    """The verdicts after some metrics were changed, [S], by the claim."""
    metrics = dict(smoke.metrics)
    for name, values in changes.items():
        mean = float(np.mean(values))
        metrics[name] = metrics[name]._replace(mean=mean, per_seed=tuple(values))
    found = gan.claims(dataclasses.replace(smoke, metrics=metrics))
    return {claim.id: claim.verdict for claim in found}


def test_claims_are_about_the_better_baseline(smoke):
    distances = {
        "gan_frechet_distance": (2.0, 2.1),
        "vae_frechet_distance": (15.0, 15.1),
        "ppca_frechet_distance": (10.0, 10.1),
        "independent_frechet_distance": (40.0, 41.0),
    }
    verdicts = judged(smoke, **distances)
    assert verdicts["gan_draws_better_than_baselines"] == "holds"
    assert verdicts["vae_draws_better_than_baselines"] == "fails"
    distances["ppca_frechet_distance"] = (3.0, 3.1)
    assert judged(smoke, **distances)["gan_draws_better_than_baselines"] == "fails"


def test_claims_of_the_players(smoke):
    better = {"gap_first": (2.0, 2.0), "gap_last": (1.0, 1.01), "accuracy_last": (0.5, 0.51)}
    verdicts = judged(smoke, **better)
    assert verdicts["gan_best_response_gap_falls"] == "holds"
    assert verdicts["gan_policeman_is_fooled"] == "holds"
    worse = {"gap_first": (1.0, 1.0), "gap_last": (1.0, 1.01), "accuracy_last": (0.9, 0.91)}
    verdicts = judged(smoke, **worse)
    assert verdicts["gan_best_response_gap_falls"] == "fails"
    assert verdicts["gan_policeman_is_fooled"] == "fails"


def test_drawings_are_of_the_class_that_was_told():
    """All classes in turn; the same key and other labels give other drawings."""
    config = dataclasses.replace(gan.PRESETS["smoke"].config, num_latents=3)
    game = gan.game_of(config, images.load("digits"))
    init = jax.jit(lambda key: gan_lib.init_players(key, game).generator)
    generator = init(jax.random.key(0))
    drawn = gan.draw(jax.random.key(1), game, generator, 12)
    assert drawn.images.shape == (12, 8, 8)
    assert 0.0 < drawn.images.min() < drawn.images.max() < 1.0
    np.testing.assert_array_equal(drawn.labels, [*range(10), 0, 1])


def test_larger_pictures_have_presets_of_their_own():
    for name in gan.SIDES:
        for preset in ("quick", "full"):
            assert gan.preset_for(preset, {"dataset": name}).config.dataset == name
    assert gan.preset_for("quick", {}) == gan.PRESETS["quick"]
    assert gan.preset_for("smoke", {"dataset": "faces"}) == gan.PRESETS["smoke"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"channels": "8,x"}, "--channels must be whole numbers"),
        ({"dataset": "mnist", "channels": "4,4,4"}, "--channels must have fewer layers than 4,4,4"),
        ({"num_judged": 5}, "--num_judged must be at least 100"),
        ({"pupil_updates": -1}, "--pupil_updates must not be negative"),
        ({"vae_hidden_sizes": "a"}, "--vae_hidden_sizes=a must be"),
        ({"vae_kl_weight": -1.0}, "--vae_kl_weight must not be negative"),
    ],
)
def test_bad_values_are_a_sentence(given, said):
    with pytest.raises(ValueError, match=said):
        gan.Config(**given)
