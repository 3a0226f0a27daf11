"""The experiment from flags to figure at the smoke preset."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.data import tables
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import common
from experiments import discriminative_vs_generative as experiment


def options_for(workdir, **changed):
    preset = experiment.PRESETS["smoke"]
    given = common.options_of(preset) | changed
    return preset.config, Options(workdir=str(workdir), preset="smoke", **given)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("smoke")
    return workdir, common.execute(experiment, *options_for(workdir))


def test_smoke_run_writes_results_claims_and_figure(smoke):
    workdir, found = smoke
    assert (workdir / "DONE").exists()
    assert (workdir / "figures" / "discriminative_vs_generative.png").stat().st_size > 10_000
    read = Results.read(workdir)
    assert read.metrics == found.metrics
    assert len(read.claims) == 2 * 2 + 2
    assert read.extra["tables"]["digits"]["sizes"] == [80, 160, 320, 640, 898]
    assert read.extra["tables"]["wine"]["sizes"] == [24, 48, 89]
    for model in experiment.MODELS:
        errors = read.arrays[f"digits/{model}"]
        assert (errors[-1] < 0.18).all()  # chance errs in 90 %
        assert (errors[0] > errors[-1]).all()
        np.testing.assert_allclose(read.per_seed(f"digits/{model}/error_898"), errors[-1])
    assert (read.per_seed("digits/recognised") > 0.8).all()
    assert read.arrays["digits/real"].shape == read.arrays["digits/drawn"].shape == (20, 8, 8)
    assert "naive Bayes" in experiment.report(read)
    assert (workdir / "metrics.jsonl").read_text().count('"seed": 3') == 5 + 3


def test_one_seed_alone_is_the_seed_among_others(smoke, tmp_path):
    config, options = options_for(tmp_path, seed=2, num_seeds=1)
    config = dataclasses.replace(config, tables="")
    alone = common.execute(experiment, config, options)
    for model in experiment.MODELS:
        together = smoke[1].arrays[f"digits/{model}"][:, 2:3]
        np.testing.assert_allclose(alone.arrays[f"digits/{model}"], together, atol=0.003)


def test_figure_in_both_languages(smoke, font):
    figure = experiment.figure(smoke[1])
    words = "".join(text.get_text() for text in figure.findobj(lambda o: hasattr(o, "get_text")))
    assert ("ナイーブベイズ" in words) == (font == "with the font")
    assert ("naive Bayes" in words) == (font == "without the font")


def test_rows_to_learn_from_and_for_the_test_are_apart():
    table = tables.load("wine")
    rows = jnp.arange(len(table.x), dtype=jnp.float32)[:, None]
    data = experiment.split(jax.random.key(0), rows, jnp.asarray(table.labels))
    together = np.concatenate([data.x, data.test_x])[:, 0]
    np.testing.assert_array_equal(np.sort(together), rows[:, 0])
    np.testing.assert_array_equal(data.labels, table.labels[np.asarray(data.x[:, 0], int)])


def test_sizes_double_up_to_half_of_the_rows():
    config = experiment.Config(smallest=50)
    assert experiment.sizes(config, tables.load("digits")).tolist() == [500, 898]
    config = experiment.Config(smallest=1000)  # more than there are
    assert experiment.sizes(config, tables.load("wine")).tolist() == [89, 89]


def test_examples_needed_are_counted_from_the_end():
    errors = np.array([[0.30, 0.10, 0.30], [0.11, 0.30, 0.20], [0.105, 0.10, 0.11], [0.1] * 3])
    found = experiment.needed(errors, np.array([10, 20, 40, 80]))
    np.testing.assert_array_equal(found, [20, 40, 40])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("tables", "iris"), ("tables", "wine,wine"), ("smallest", 0), ("l2", 0.0)),
        *(("smoothing", 0.0), ("variance_floor", -1.0)),
    ],
)
def test_bad_config_names_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name} must"):
        experiment.Config(**{name: value})
