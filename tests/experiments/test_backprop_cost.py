"""Paths by enumeration, gradients by paths, and the experiment at the smoke preset."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest

from dl_lectures.errors import Stopped
from dl_lectures.reporting import plotting
from dl_lectures.reporting.intervals import summarise
from dl_lectures.reporting.results import Results
from dl_lectures.training import signals
from dl_lectures.training.options import Options
from experiments import backprop_cost, common

EXACT = [
    "paths_are_100_oku",
    "learning_costs_all_paths",
    "backpropagation_is_the_sum_over_paths",
    "gradient_is_cheap",
    "gradient_costs_two_forwards",
    "operations_follow_theory",
    "operations_are_linear_in_depth",
    "operations_are_quadratic_in_width",
]
TIMED = [
    "seconds_are_linear_in_depth",
    "seconds_are_quadratic_in_width",
    "gradient_is_cheap_in_seconds",
]


def enumerated(matrices):
    """All ways from an input to an output, each as its nodes, with parallel edges counted."""
    sizes = [len(matrices[0]), *(matrix.shape[1] for matrix in matrices)]
    total = 0
    for nodes in itertools.product(*map(range, sizes)):
        pairs = itertools.pairwise(nodes)
        total += math.prod(int(m[pair]) for m, pair in zip(matrices, pairs, strict=True))
    return total


def test_paths_of_the_slides_net():
    matrices = backprop_cost.adjacencies(backprop_cost.layer_sizes(10, 8))
    assert backprop_cost.num_paths(matrices) == 10**10 == 100 * 10**8
    assert backprop_cost.num_edges(matrices) == 9 * 10 * 10


@pytest.mark.parametrize("sizes", [(3, 4), (1, 1, 1), (2, 3, 4), (3, 1, 3), (2, 2, 2, 2, 2)])
def test_paths_are_those_that_are_enumerated(sizes):
    matrices = backprop_cost.adjacencies(sizes)
    assert backprop_cost.num_paths(matrices) == enumerated(matrices) == math.prod(sizes)
    holes = [
        (np.arange(m.size).reshape(m.shape) + i) % 3 for i, m in enumerate(matrices)
    ]  # no, one or two edges
    assert backprop_cost.num_paths(holes) == enumerated(holes)
    assert backprop_cost.num_edges(holes) == sum(m.sum() for m in holes)


def test_paths_do_not_overflow():
    matrices = backprop_cost.adjacencies([10] * 40)
    assert backprop_cost.num_paths(matrices) == 10**40


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2, 4), (2, 3, 1, 2), (3, 3, 3, 3, 3)])
def test_gradient_by_paths_is_that_of_finite_differences(sizes):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=pair) for pair in itertools.pairwise(sizes)]
    x = rng.normal(size=sizes[0])

    def loss(weights):
        h = x
        for w in weights[:-1]:
            h = np.tanh(h @ w)
        return 0.5 * ((h @ weights[-1]) ** 2).sum()

    walked = backprop_cost.gradient_by_paths(weights, x)
    for k, w in enumerate(weights):
        for index in np.ndindex(w.shape):
            moved = []
            for sign in (1, -1):
                changed = [v.copy() for v in weights]
                changed[k][index] += sign * 1e-6
                moved.append(loss(changed))
            slope = (moved[0] - moved[1]) / 2e-6
            np.testing.assert_allclose(walked.gradients[k][index], slope, rtol=1e-6, atol=1e-8)
    # From each edge's end to the outputs.
    assert walked.num_paths == sum(math.prod(sizes[k:]) for k in range(len(weights)))


def test_gradient_by_paths_is_that_of_backpropagation():
    weights, xs = backprop_cost.random_net(3, 4, 4, 1)
    walked = backprop_cost.gradient_by_paths(weights, np.asarray(xs[0]))
    gradients = jax.grad(backprop_cost.loss)(weights, xs)
    assert backprop_cost.relative_difference(gradients, walked.gradients) < 2e-6
    wrong = [*gradients[:-1], 1.001 * gradients[-1]]
    assert backprop_cost.relative_difference(wrong, walked.gradients) > 1e-5


def test_operations_of_theory_are_those_of_a_loop():
    """Counted in a loop that does each sum and product on its own."""
    num_nodes, num_layers, batch_size = 3, 4, 2
    forward = gradient = 0
    for _ in range(batch_size):
        for layer in range(num_layers):
            for _ in range(num_nodes**2):
                forward += 2  # times the weight, and on the sum
                gradient += 2 + 2  # forward, and the weight's own
                gradient += 2 if layer > 0 else 0  # nobody asks for the gradient of the inputs
    expected = {"forward": forward, "gradient": gradient}
    assert backprop_cost.operations_by_theory(num_nodes, num_layers, batch_size) == expected


def test_nets_grow_by_factors_of_two():
    config = backprop_cost.Config(max_layers=20, max_nodes=512)
    assert list(backprop_cost.nets(config, "depth")) == [(256, 4), (256, 8), (256, 16)]
    assert list(backprop_cost.nets(config, "width")) == [(128, 4), (256, 4), (512, 4)]


def test_smoke_run_writes_results_claims_and_figure(tmp_path, monkeypatch):
    preset = backprop_cost.PRESETS["smoke"]
    options = Options(workdir=str(tmp_path), preset="smoke", **common.options_of(preset))

    # A signal after the first part, which is kept.
    first = tmp_path / "parts" / "paths" / "DONE"
    monkeypatch.setattr(signals, "received", first.exists)
    with pytest.raises(Stopped, match="continues"):
        common.execute(backprop_cost, preset.config, options)
    assert first.exists()
    monkeypatch.setattr(signals, "received", lambda: False)

    found = common.execute(backprop_cost, preset.config, options)
    assert (tmp_path / "figures" / "backprop_cost.png").stat().st_size > 10_000
    read = Results.read(tmp_path)
    assert read.metrics == found.metrics
    verdicts = {claim.id: claim.verdict for claim in read.claims}
    assert list(verdicts) == EXACT + TIMED
    # Exact numbers give the same verdict on any machine; seconds may not, beside other work.
    expected = dict.fromkeys(EXACT, "holds") | {"learning_costs_all_paths": "fails"}
    assert {name: verdicts[name] for name in EXACT} == expected
    assert read.extra["num_paths"] == "10000000000"
    assert read.extra["num_edges"] == 900
    assert read.extra["num_walked_whole"] == 243
    assert read.arrays["paths/forward"][-1] == pytest.approx(1800, rel=0.05)
    assert read.arrays["paths/gradient"][-1] == pytest.approx(3 * 1800 - 200, rel=0.1)
    for what, sizes in (("depth", [4, 8]), ("width", [128, 256])):
        np.testing.assert_array_equal(read.arrays[f"{what}/sizes"], sizes)
        for name in backprop_cost.PASSES:
            seconds = read.arrays[f"{what}/{name}_seconds"]
            assert seconds.shape == (2, 3)
            assert (seconds > 0).all()
            np.testing.assert_allclose(1e3 * seconds[-1], read.per_seed(f"{what}/{name}_ms"))
    assert "10,000,000,000 paths" in backprop_cost.report(read)

    # What was measured is not measured again.
    (tmp_path / "DONE").unlink()
    monkeypatch.setattr(backprop_cost, "programs", None)
    again = common.execute(backprop_cost, preset.config, options)
    assert again.metrics == found.metrics
    assert again.state_sha256 == found.state_sha256


def made_up(depth_power=1.0, width_power=2.0, ratio=3.0, difference=1e-7, num_paths=10**10):
    """Results in which the gradient grows by these powers, and costs so many forward passes."""
    spread = np.array([0.98, 1.0, 1.02])
    metrics = {"paths/relative_difference": summarise(difference * spread)}
    arrays = {
        "paths/hidden": np.array([1, 8]),
        "paths/forward": np.array([400.0, 1_800.0]),
        "paths/gradient": ratio * np.array([400.0, 1_800.0]),
    }
    for what, power, sizes in (
        ("depth", depth_power, np.array([4, 8, 16])),
        ("width", width_power, np.array([128, 256, 512])),
    ):
        arrays[f"{what}/sizes"] = sizes
        for name, factor in (("forward", 1.0), ("gradient", ratio)):
            counts = factor * 1e6 * (sizes / sizes[0]) ** power
            theory = 1e6 * (sizes / sizes[0]) ** {"depth": 1, "width": 2}[what]
            arrays[f"{what}/{name}_operations"] = counts
            arrays[f"{what}/{name}_theory"] = theory * (factor if name == "forward" else 3.0)
            arrays[f"{what}/{name}_seconds"] = 1e-9 * counts[:, None] * spread
            metrics[f"{what}/{name}_exponent"] = summarise(power * spread)
        metrics[f"{what}/ratio"] = summarise(ratio * spread)
    extra = {
        "config": dataclasses.asdict(backprop_cost.Config()),
        "num_paths": str(num_paths),
        "num_edges": 900,
        "num_walked": 360,
        "num_walked_whole": 243,
    }
    return Results(
        *("backprop_cost", (38,), "quick", 0, 3, 5, {}, metrics), extra=extra, arrays=arrays
    )


def verdicts_of(found):
    return {claim.id: claim.verdict for claim in backprop_cost.claims(found)}


def test_claims_hold_where_theory_is_right():
    expected = dict.fromkeys(EXACT + TIMED, "holds") | {"learning_costs_all_paths": "fails"}
    assert verdicts_of(made_up()) == expected


def test_claims_fail_where_it_is_wrong():
    found = made_up(depth_power=2.0, width_power=3.0, ratio=10.0, difference=1e-3, num_paths=10**9)
    wrong = verdicts_of(found)
    assert wrong.pop("gradient_costs_two_forwards") == "holds"
    assert set(wrong.values()) == {"fails"}
    assert verdicts_of(made_up(ratio=1.5))["gradient_costs_two_forwards"] == "fails"
    assert verdicts_of(made_up(num_paths=1_000))["learning_costs_all_paths"] == "holds"


def test_figure(font, tmp_path):
    png, _ = plotting.save(backprop_cost.figure(made_up()), tmp_path / "figure")
    assert png.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("path_nodes", 0),
        ("path_nodes", 100),
        ("path_hidden", 20),
        ("depth_nodes", 0),
        ("max_layers", 7),
        ("max_nodes", 255),
    ],
)
def test_bad_flags_are_named(field, value):
    with pytest.raises(ValueError, match=f"--{field}"):
        dataclasses.replace(backprop_cost.Config(), **{field: value})
