"""The forms of the jobs against each other, where they are done, and the smoke preset."""

import dataclasses
import math
import types

import jax
import numpy as np
import pytest

from dl_lectures.errors import UsageError
from dl_lectures.reporting import plotting
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import common, parallel_hardware

ALWAYS = [
    "cells_are_independent",
    "compiled_beats_loop_on_cells",
    "compiled_beats_loop_on_edges",
    "compiled_beats_numpy_on_cells",
    "one_cell_is_for_python",
    "simplest_work_waits_for_memory",
    "one_example_waits_for_memory",
    "batch_fills_the_hardware",
]
OF_CORES = ["cells_use_all_cores", "edges_use_all_cores"]
OF_ACCELERATORS = ["accelerator_wins_on_cells", "accelerator_wins_on_edges"]


def test_tone_curve_of_a_cell():
    curve = parallel_hardware.tone_curve_of_cell
    assert curve(0.0) == 0.0
    assert curve(1e6) == 1.0
    # An exposure of ln 2 leaves half of the light, and the gamma undoes it.
    half = curve(math.log(2.0) / parallel_hardware.EXPOSURE)
    assert half**parallel_hardware.GAMMA == pytest.approx(0.5)
    # In the dark the exposure is linear.
    assert curve(1e-9) == pytest.approx((3e-9) ** (1 / 2.2), rel=1e-8)


def test_forms_of_the_tone_curve_agree():
    cells = np.concatenate([[0.0, 1e-7, 1.0], np.geomspace(1e-5, 3.0, 1_000)]).astype(np.float32)
    expected = np.array(parallel_hardware.develop(cells.tolist()))
    out = np.full_like(cells, np.nan)
    parallel_hardware.tone_curve_numpy(cells, out)
    # Of a grey level 1e-3 is 4e-6.
    np.testing.assert_allclose(out, expected, atol=5e-7)
    np.testing.assert_allclose(jax.jit(parallel_hardware.tone_curve)(cells), expected, atol=5e-7)
    by_cells = jax.jit(parallel_hardware.by_cells())(cells)
    np.testing.assert_array_equal(by_cells, jax.jit(parallel_hardware.tone_curve)(cells))


def test_forms_of_the_layer_agree():
    xs, w = parallel_hardware.random_layer(0, 3, 5)
    w = w[:, :4]
    expected = [parallel_hardware.units_in_python(x, w.T.tolist()) for x in xs.tolist()]
    np.testing.assert_allclose(np.einsum("bi,io->bo", xs, w), expected, rtol=1e-5)
    np.testing.assert_allclose(parallel_hardware.layer(xs, w), expected, atol=1e-6)
    np.testing.assert_allclose(parallel_hardware.layer_by_units(xs, w), expected, atol=1e-6)


def test_random_data_depends_on_the_seed():
    first, second = (parallel_hardware.random_cells(seed, 100) for seed in (0, 1))
    assert first.min() >= 0 and first.max() < 1 and (first != second).all()
    xs, w = parallel_hardware.random_layer(0, 500, 400)
    assert (xs @ w).std() == pytest.approx(xs.std(), rel=0.05)


@pytest.mark.parametrize("num_devices", [1, 2])
def test_runner_does_the_work_in_the_same_memory(num_devices):
    devices = jax.local_devices()[:num_devices]
    xs, w = parallel_hardware.random_layer(0, 3, 8)
    at = parallel_hardware.placed(devices, None, 1, 1)
    runner = parallel_hardware.runner(parallel_hardware.layer, at, xs, w)
    first = runner()
    np.testing.assert_allclose(first, xs @ w, atol=1e-6)
    assert [shard.data.shape for shard in first.addressable_shards] == [
        (3, 8 // num_devices)
    ] * num_devices
    second = runner()
    assert first.is_deleted()  # its memory holds the second
    np.testing.assert_allclose(second, xs @ w, atol=1e-6)
    runner.to_device(xs, w)
    assert len({shard.device for shard in second.addressable_shards}) == num_devices
    assert runner.operations() == 2 * 3 * 8 * 8 / num_devices


def test_operations_of_the_tone_curve_grow_with_its_cells():
    at = parallel_hardware.placed(jax.local_devices()[:1], 0, 0)
    counts = []
    for size in (100, 1_000):
        cells = parallel_hardware.random_cells(0, size)
        runner = parallel_hardware.runner(parallel_hardware.tone_curve, at, cells)
        counts.append(runner.operations() / size)
    # A product, a change of sign, two transcendental functions.
    np.testing.assert_allclose(counts, [4.0, 4.0], rtol=0.02)


def test_work_is_spread_where_it_divides():
    devices = list(range(6))
    assert parallel_hardware.spread(devices, 8_294_400) == devices
    assert parallel_hardware.spread(devices, 4) == [0, 1]
    assert parallel_hardware.spread(devices, 7) == [0]


def test_hardware_is_found(monkeypatch, tmp_path):
    def options(**given):
        return Options(workdir=str(tmp_path), **given)

    cpus = tuple(jax.local_devices())
    assert len(cpus) == 2
    found = parallel_hardware.hardware(options())
    assert found.cpus == cpus and not found.accelerators and found.num_cores >= 1
    assert parallel_hardware.hardware(options(num_devices=1)).cpus == cpus[:1]

    gpus = [types.SimpleNamespace(platform="gpu", name=i) for i in range(4)]
    monkeypatch.setattr(
        jax, "local_devices", lambda backend=None: list(cpus) if backend == "cpu" else gpus
    )
    found = parallel_hardware.hardware(options(num_devices=3))
    assert found.cpus == cpus and found.accelerators == tuple(gpus[:3])

    def no_cpu(backend=None):
        raise RuntimeError("Unknown backend cpu")

    monkeypatch.setattr(jax, "local_devices", no_cpu)
    with pytest.raises(UsageError, match="--platform=cuda leaves the CPU out"):
        parallel_hardware.hardware(options(platform="cuda"))


def test_sizes_are_powers_of_ten():
    config = dataclasses.replace(parallel_hardware.Config(), max_cells=1_500)
    assert parallel_hardware.sizes(config) == [1, 10, 100, 1_000]
    assert parallel_hardware.sizes(parallel_hardware.Config())[-1] == 10**7


def test_smoke_run_writes_results_claims_and_figure(tmp_path, monkeypatch):
    preset = parallel_hardware.PRESETS["smoke"]
    options = Options(workdir=str(tmp_path), preset="smoke", **common.options_of(preset))
    found = common.execute(parallel_hardware, preset.config, options)
    assert (tmp_path / "figures" / "parallel_hardware.png").stat().st_size > 10_000
    read = Results.read(tmp_path)
    assert read.metrics == found.metrics
    claims = {claim.id: claim for claim in read.claims}
    has_cores = read.extra["num_cores"] > 1
    assert sorted(claims) == sorted(ALWAYS + OF_CORES * has_cores)
    # Numbers, and differences that no other work on the machine can undo.
    assert claims["cells_are_independent"].verdict == "holds"
    assert max(read.per_seed("layer/difference")) < 1e-4
    assert claims["one_cell_is_for_python"].value > 1
    assert claims["compiled_beats_loop_on_edges"].value > 10
    for job in parallel_hardware.JOBS:
        for form in ("python", "numpy", "one_core", "jit", "vmap", "devices", "compile"):
            assert (parallel_hardware.seconds(read, job, form) > 0).all()
        # A program that is compiled indeed takes longer than to be looked up.
        assert parallel_hardware.seconds(read, job, "compile").min() > 2e-3
    np.testing.assert_array_equal(read.arrays["sizes/cells"], [1, 10, 100, 1_000, 10**4, 10**5])
    is_timed = ~np.isnan(read.arrays["sizes/python"]).any(1)
    np.testing.assert_array_equal(is_timed, [True] * 5 + [False])  # up to loop_cells
    is_shared = ~np.isnan(read.arrays["sizes/devices"]).any(1)
    np.testing.assert_array_equal(is_shared, [False] + [True] * 5)  # one cell is not
    np.testing.assert_allclose(
        read.arrays["roofs/intensities"],
        [1 / 8, 4 / 8, 0.5 * 512 / 514, 0.5 * 64 * 512 / (512 + 128)],
        rtol=0.02,
    )
    text = parallel_hardware.report(read)
    assert "picture, 960 x 540 cells" in text and "GPUs or TPUs: none" in text

    # What was measured is not measured again.
    (tmp_path / "DONE").unlink()
    monkeypatch.setattr(parallel_hardware.timing, "in_turn", None)
    again = common.execute(parallel_hardware, preset.config, options)
    assert again.metrics == found.metrics
    assert again.state_sha256 == found.state_sha256


TINY = parallel_hardware.Config(
    frame_width=20,
    frame_height=10,
    loop_cells=100,
    layer_size=16,
    batch_size=2,
    max_cells=100,
    peak_size=16,
)


@pytest.mark.parametrize("has_accelerator", [False, True])
def test_one_device_alone_or_beside_an_accelerator(has_accelerator, tmp_path, monkeypatch):
    """A second CPU device stands in for the accelerator."""
    cpus = jax.local_devices()
    there = parallel_hardware.Hardware((cpus[0],), 1, tuple(cpus[1:] if has_accelerator else ()))
    monkeypatch.setattr(parallel_hardware, "hardware", lambda options: there)
    options = Options(workdir=str(tmp_path), num_seeds=2, steps=1)
    found = common.execute(parallel_hardware, TINY, options)
    claims = [claim.id for claim in found.claims]
    assert sorted(claims) == sorted(ALWAYS + OF_ACCELERATORS * has_accelerator)
    assert ("frame/accelerator_ms" in found.metrics) == has_accelerator
    assert ("accelerator" in found.extra["sizes_forms"]) == has_accelerator
    assert max(found.per_seed("frame/difference")) < 4e-6


def made_up(factor=1.0, num_cores=2, accelerator=True):
    """Results in which parallel work is as fast as claimed, times a factor."""
    spread = np.array([0.98, 1.0, 1.02])
    forms = {"python": 4_000.0, "numpy": 40.0, "one_core": 38.0, "compile": 50.0}
    forms |= {"to_device": 1.0, "to_host": 1.0, "vmap": 20.0}
    forms |= dict.fromkeys(("jit", "devices"), 20.0 / factor)
    if accelerator:
        forms["accelerator"] = 20.0 / factor / min(factor, 1.0) * (0.1 if factor >= 1 else 1)
    metrics = {}
    for job in parallel_hardware.JOBS:
        metrics |= {f"{job}/{form}_ms": summarise(ms * spread) for form, ms in forms.items()}
        metrics[f"{job}/difference"] = summarise(1e-7 / factor**4 * spread)
    metrics["sizes/python_one_cell_us"] = summarise(0.2 / factor**3 * spread)
    metrics["sizes/numpy_one_cell_us"] = summarise(3.0 * spread)
    metrics["sizes/jit_one_cell_us"] = summarise(10.0 * spread)
    cells = 10 ** np.arange(8)
    arrays = {"sizes/cells": cells}
    for form, start, rate in (
        ("python", 0.0, 2e-7),
        ("numpy", 3e-6, 5e-9),
        ("jit", 1e-5, 2e-9),
        ("devices", 1e-4, 1e-9),
    ):
        arrays[f"sizes/{form}"] = (start + rate * cells)[:, None] * np.ones(3)
    arrays["sizes/python"][6:] = np.nan
    arrays["sizes/devices"][0] = np.nan
    arrays["roofs/intensities"] = np.array([0.125, 0.5, 0.5, 31.0])
    metrics["roofs/bandwidth_gb_per_s"] = summarise(20.0 * spread)
    metrics["roofs/peak_gflop_per_s"] = summarise(180.0 * spread)
    for name, rate, roof in (
        ("gain", 2.4 * factor, 2.5),
        ("tone", 1.2, 10.0),
        ("one", 8.0 / factor**3, 10.0),
        ("batch", 140.0 * factor, 180.0),
    ):
        metrics[f"roofs/{name}_gflop_per_s"] = summarise(rate * spread)
        metrics[f"roofs/{name}_of_roof"] = summarise(rate / roof * spread)
        metrics[f"roofs/{name}_of_peak"] = summarise(rate / 180.0 * spread)
    extra = {
        "config": dataclasses.asdict(parallel_hardware.Config()),
        "num_cores": num_cores,
        "num_cpu_devices": num_cores,
        "accelerators": ["made up"] * accelerator,
        "sizes_forms": ["python", "numpy", "jit", "devices"],
    }
    return Results(
        *("parallel_hardware", parallel_hardware.SLIDES, "quick", 0, 3, 3, {}, metrics),
        extra=extra,
        arrays=arrays,
    )


def verdicts_of(found):
    return {claim.id: claim.verdict for claim in parallel_hardware.claims(found)}


def test_claims_hold_where_the_lecture_is_right():
    verdicts = verdicts_of(made_up())
    assert sorted(verdicts) == sorted(ALWAYS + OF_CORES + OF_ACCELERATORS)
    assert set(verdicts.values()) == {"holds"}


def test_claims_fail_where_it_is_wrong():
    verdicts = verdicts_of(made_up(factor=0.05))
    # Jit is slower in these results, and so is the loop on one cell.
    assert set(verdicts.values()) == {"fails"}


def test_claims_need_what_they_are_about():
    assert sorted(verdicts_of(made_up(num_cores=1, accelerator=False))) == sorted(ALWAYS)


def test_crossovers():
    found = parallel_hardware.crossovers(made_up())
    # Where the straight lines of time against cells cross, interpolated: 15, 51 and 2,333.
    np.testing.assert_allclose(found["numpy_over_python"], 15.4, rtol=0.2)
    np.testing.assert_allclose(found["jit_over_python"], 50.5, rtol=0.2)
    np.testing.assert_allclose(found["jit_over_numpy"], 7e-6 / 3e-9, rtol=0.2)


def test_figure(font, tmp_path):
    png, _ = plotting.save(parallel_hardware.figure(made_up()), tmp_path / "figure")
    assert png.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frame_width", 0),
        ("frame_height", 0),
        ("loop_cells", 0),
        ("loop_cells", 10**8),
        ("layer_size", 15),
        ("batch_size", 0),
        ("max_cells", 9),
        ("peak_size", 0),
    ],
)
def test_bad_flags_are_named(field, value):
    with pytest.raises(ValueError, match=f"--{field} "):
        dataclasses.replace(parallel_hardware.Config(), **{field: value})
