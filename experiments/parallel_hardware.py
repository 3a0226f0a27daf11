"""Simple work on many cells that do not need each other: who does it how fast? (slides 39 to 43)

    python -m experiments.parallel_hardware --preset=quick --workdir=runs/parallel_hardware

A 4K picture has 3840 x 2160 = 8,294,400 cells. Each is developed by the same tone curve and needs
no other cell; the edges of a layer, 4096 x 4096 for 64 examples, meet only in sums. Both jobs are
done by a plain Python loop (on a part, from which the whole is extrapolated), NumPy, a compiled
program (jit) held on one core, the same on all cores, the function of one cell or one unit under
vmap, all CPU devices with the work sharded over them, and a GPU or TPU if JAX finds one. Further:
what compiling and moving the data takes, from how many cells on the compiled program pays, and how
near the jobs come to the memory bandwidth (STREAM triad, McCalpin, 1995) and the rate of products
that the same devices reach at best (roofline model, Williams et al., 2009,
doi:10.1145/1498765.1498785).

A seed is a round of measurements in which each piece of work is timed --steps times, in turn, on
random data of its own: `training.timing`. All forms write into memory that they have already.

quick takes 45 s on 2 cores; full, by estimate, 5 minutes. Seconds depend on the machine and on what
else runs on it, and so do verdicts. What we did not expect:
- One of XLA's CPU devices spreads a large piece of work over all cores by itself, so that two
  devices with two cores are no faster than one. What is claimed of parallel work is therefore the
  speed-up over the same program held on one core.
- NumPy develops the picture twice as fast as the compiled program, though on one core: XLA's power
  function takes most of the time, four times as long as exp(y log(x)), and NumPy's is as fast as
  that. So the compiled program is 40 times as fast as the plain loop, not 100 times, and from no
  number of cells on faster than NumPy. These claims fail.
- The tone curve lies far below both roofs, because a transcendental function counts as one
  operation, though it costs dozens.
"""

import dataclasses
import functools
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from dl_lectures.errors import UsageError
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.training import timing
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (39, 40, 41, 42, 43)
EXPOSURE, GAMMA = 3.0, 2.2  # of the tone curve
GREY_LEVELS = 255
JOBS = ("frame", "layer")
FLOAT_BYTES = 4
# For so long OpenBLAS's threads wait actively for more work, on a core that others need (measured).
_BLAS_SECONDS = 0.15
_LOOP_OUTPUTS = 16  # of the layer's outputs, for one example, by the plain loop


@dataclasses.dataclass(frozen=True)
class Config:
    """The jobs and their sizes."""

    frame_width: Annotated[int, "cells of a row of the picture"] = 3840
    frame_height: Annotated[int, "rows of the picture"] = 2160
    loop_cells: Annotated[
        int, "cells that the plain Python loop does; the rest is extrapolated"
    ] = 100_000
    layer_size: Annotated[int, "inputs of the layer, and outputs"] = 4096
    batch_size: Annotated[int, "examples that the layer gets at once"] = 64
    max_cells: Annotated[int, "the greatest number of cells, where it is varied"] = 10_000_000
    peak_size: Annotated[int, "rows of the square matrices that give the peak product rate"] = 1024

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(
                    f"--{field.name} must be at least 1, not {getattr(self, field.name)}"
                )
        if self.max_cells < 10:
            raise ValueError(f"--max_cells must be at least 10, not {self.max_cells}")
        if self.layer_size < _LOOP_OUTPUTS:
            raise ValueError(
                f"--layer_size must be at least {_LOOP_OUTPUTS}, not {self.layer_size}"
            )
        if self.loop_cells > self.num_cells:
            raise ValueError(
                f"--loop_cells must be at most the {self.num_cells} cells of the picture, not "
                f"{self.loop_cells}"
            )

    @property
    def num_cells(self) -> int:
        """Cells of the picture."""
        return self.frame_width * self.frame_height


PRESETS = {  # --steps: how often a round times each piece of work
    "smoke": common.Preset(
        Config(
            frame_width=960,
            frame_height=540,
            loop_cells=10_000,
            layer_size=512,
            max_cells=100_000,
            peak_size=512,
        ),
        num_seeds=3,
        steps=3,
        log_every=3,
        eval_every=3,
        checkpoint_every=3,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=8,
        steps=3,
        log_every=3,
        eval_every=3,
        checkpoint_every=3,
    ),
    "full": common.Preset(
        Config(loop_cells=1_000_000, peak_size=2048),
        num_seeds=16,
        steps=7,
        log_every=7,
        eval_every=7,
        checkpoint_every=7,
    ),
}


# The jobs, in several forms. The pictures are linear light, 0 to 1.


def tone_curve(x: jax.Array) -> jax.Array:
    """What a cell of linear light, 0 or more, looks like on a screen, 0 to 1; any shape.

    An exposure that saturates like film, and a display's gamma.
    """
    return (-jnp.expm1(-EXPOSURE * x)) ** (1 / GAMMA)


def tone_curve_of_cell(x: float) -> float:
    """The same for one cell in plain Python, double precision."""
    return (-math.expm1(-EXPOSURE * x)) ** (1 / GAMMA)


def tone_curve_numpy(x: np.ndarray, out: np.ndarray) -> None:
    """The same by NumPy, into `out`."""
    np.multiply(x, np.float32(-EXPOSURE), out=out)
    np.expm1(out, out=out)
    np.negative(out, out=out)
    np.power(out, np.float32(1 / GAMMA), out=out)


def develop(cells: list[float]) -> list[float]:
    """The plain Python loop over cells."""
    developed = []
    for cell in cells:
        developed.append(tone_curve_of_cell(cell))
    return developed


def layer(xs: jax.Array, w: jax.Array) -> jax.Array:
    """A layer without its non-linearity: xs [B, I], w [I, O] -> [B, O]."""
    return jnp.matmul(xs, w, precision="highest")  # float32 on every device


def unit(x: jax.Array, w: jax.Array) -> jax.Array:
    """One unit for one example: x [I], w [I] -> scalar."""
    return jnp.dot(x, w, precision="highest")


def layer_by_units(xs: jax.Array, w: jax.Array) -> jax.Array:
    """The layer as one unit and one example, vmapped over both."""
    return jax.vmap(jax.vmap(unit, (None, 1)), (0, None))(xs, w)


def units_in_python(x: list[float], columns: list[list[float]]) -> list[float]:
    """The plain Python loop over edges: each unit's sum for one example."""
    sums = []
    for column in columns:
        total = 0.0
        for value, weight in zip(x, column, strict=True):
            total += value * weight
        sums.append(total)
    return sums


# Where the work is done.


class Hardware(NamedTuple):
    """The devices of a run."""

    cpus: tuple[jax.Device, ...]  # XLA's devices; each uses all cores for large work
    num_cores: int  # that this process may use
    accelerators: tuple[jax.Device, ...]  # GPUs or TPUs of this process, all of one kind


def hardware(options: Options) -> Hardware:
    """Finds the devices; --num_devices counts those of the best platform.

    Raises:
      UsageError: JAX was told to leave the CPU out, with which all is compared.
    """
    try:
        cpus = jax.local_devices(backend="cpu")
    except RuntimeError as error:
        raise UsageError(
            f"--platform={options.platform} leaves the CPU out, with which all is compared: leave "
            "--platform away, and the GPU or TPU is found by itself"
        ) from error
    best = jax.local_devices()
    chosen = best[: options.num_devices or None]
    num_cores = len(os.sched_getaffinity(0))
    if best[0].platform == "cpu":
        return Hardware(tuple(chosen), num_cores, ())
    return Hardware(tuple(cpus), num_cores, tuple(chosen))


def spread(devices: Sequence[jax.Device], size: int) -> list[jax.Device]:
    """As many of the devices as share `size` equally: their greatest common divisor."""
    return list(devices[: math.gcd(size, len(devices))])


class Placed(NamedTuple):
    """Where a function's arguments and its result lie."""

    arguments: tuple[Sharding, ...]
    result: Sharding


def placed(devices: Sequence[jax.Device], *axes: int | None) -> Placed:
    """Arrays over devices: split along one axis each, or the same on all (None).

    Args:
      devices: one or more, which share the length of the axes equally.
      *axes: of each argument, then of the result.
    """
    if len(devices) == 1:
        here = SingleDeviceSharding(devices[0])
        return Placed((here,) * (len(axes) - 1), here)
    mesh = jax.make_mesh((len(devices),), ("part",), axis_types=(AxisType.Auto,), devices=devices)
    shardings = [
        NamedSharding(
            mesh, PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, "part")
        )
        for axis in axes
    ]
    return Placed(tuple(shardings[:-1]), shardings[-1])


class Runner(NamedTuple):
    """A compiled function that writes each result over the last one.

    Otherwise each call would get fresh memory, and touching its pages for the first time would take
    as long as the work. The function goes through jit's own quick call, as users call it.
    """

    function: Callable[..., jax.Array]
    at: Placed
    arguments: tuple[jax.Array, ...]
    memory: list[jax.Array]  # one array: the last result, which the next call consumes

    def __call__(self) -> jax.Array:
        """Does the work and waits for the result."""
        work = _into(self.function, self.at.result)
        self.memory[0] = jax.block_until_ready(work(self.memory[0], *self.arguments))
        return self.memory[0]

    def to_device(self, *arguments: np.ndarray) -> None:
        """Puts arrays where the function takes them, and waits."""
        jax.block_until_ready(tuple(map(jax.device_put, arguments, self.at.arguments)))

    def compile(self) -> Any:
        """Returns the program, traced and compiled anew."""
        work = _into.__wrapped__(self.function, self.at.result)  # one that JAX has not met
        with timing.without_compile_cache():
            return work.lower(self.memory[0], *self.arguments).compile()

    def operations(self) -> float:
        """Operations of the program on one device, by XLA's count; a transcendental is one."""
        counted = self.compile().cost_analysis()
        return counted["flops"] + counted.get("transcendentals", 0.0)


def runner(function: Callable[..., jax.Array], at: Placed, *arguments: np.ndarray) -> Runner:
    """Puts the arguments where `at` says, and takes memory for the result."""
    shape = jax.eval_shape(function, *arguments)
    return Runner(
        function,
        at,
        tuple(map(jax.device_put, arguments, at.arguments)),
        [jax.device_put(np.zeros(shape.shape, shape.dtype), at.result)],
    )


@functools.cache
def _into(function: Callable[..., jax.Array], result: Sharding) -> Any:
    """The jitted function with the memory of its result as first argument."""

    def write(memory: jax.Array, *arguments: jax.Array) -> jax.Array:
        del memory  # donated
        return function(*arguments)

    return jax.jit(write, donate_argnums=0, keep_unused=True, out_shardings=result)


@functools.cache
def by_cells() -> Callable[[jax.Array], jax.Array]:
    """The tone curve of one cell, vmapped over cells."""
    return jax.vmap(tone_curve)


_CELLS = (0, 0)  # the axes over which devices share arguments and result
_UNITS = (None, 1, 1)  # each device has its own units, and all the inputs


def runners(
    found: Hardware,
    functions: dict[str, Callable[..., jax.Array]],
    axes: Sequence[int | None],
    size: int,
    arguments: Sequence[np.ndarray],
) -> dict[str, Runner]:
    """The compiled forms of a job.

    Args:
      found: the devices.
      functions: "jit" and "vmap", two ways to write it.
      axes: over which devices share it.
      size: the length of those axes.
      arguments: of the functions.
    """
    one = placed(found.cpus[:1], *axes)
    made = {name: runner(function, one, *arguments) for name, function in functions.items()}
    everywhere = {"devices": found.cpus, "accelerator": found.accelerators}
    for name, devices in everywhere.items():
        if devices:
            at = placed(spread(devices, size), *axes)
            made[name] = runner(functions["jit"], at, *arguments)
    return made


def works_of_runners(made: dict[str, Runner], arguments: Sequence[np.ndarray]) -> dict[str, Any]:
    """What is timed of the compiled forms: on one core, on all, and the ways to and fro."""
    core = {min(os.sched_getaffinity(0))}
    works = {name: timing.Work(work) for name, work in made.items()}
    works["one_core"] = timing.Work(made["jit"], within=lambda: timing.on_cores(core))
    best = made.get("accelerator", made["devices"])
    works["to_device"] = timing.Work(functools.partial(best.to_device, *arguments))
    # An array that was fetched keeps its copy, so each is fetched once.
    works["to_host"] = timing.Work(np.asarray, prepare=best)
    works["compile"] = timing.Work(best.compile)
    return works


# The parts.


def run(config: Config, options: Options) -> Results:
    """Times the picture, the layer, the number of cells, and what the devices reach at best."""
    works: dict[str, Callable[[Options], Results]] = {
        name: functools.partial(part, config)
        for name, part in (
            ("frame", _frame),
            ("layer", _layer),
            ("sizes", _sizes),
            ("roofs", _roofs),
        )
    }
    parts = common.run_parts(options, works)
    found = hardware(options)
    return results.make(
        "parallel_hardware",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={
            "config": dataclasses.asdict(config),
            "num_cores": found.num_cores,
            "num_cpu_devices": len(found.cpus),
            "accelerators": [device.device_kind for device in found.accelerators],
            "sizes_forms": parts.found["sizes"].extra["forms"],
        },
        arrays={
            f"{name}/{array}": value
            for name, part in parts.found.items()
            for array, value in part.arrays.items()
        },
    )


def random_cells(seed: int, num_cells: int) -> np.ndarray:
    """Linear light, float32 [N] in [0, 1)."""
    return np.asarray(jax.random.uniform(jax.random.key(seed), (num_cells,)))


def random_layer(seed: int, batch_size: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [B, I] in [-1, 1) and weights [I, O], of which a sum is about as large."""
    key_xs, key_w = jax.random.split(jax.random.key(seed))
    xs = jax.random.uniform(key_xs, (batch_size, size), minval=-1.0)
    w = jax.random.uniform(key_w, (size, size), minval=-1.0) * math.sqrt(3 / size)
    return np.asarray(xs), np.asarray(w)


def _frame(config: Config, options: Options) -> Results:
    start = time.perf_counter()
    found = hardware(options)
    differences: dict[str, list[float]] = {}

    def works_of(seed: int) -> dict[str, timing.Work]:
        cells = random_cells(seed, config.num_cells)
        part = cells[: config.loop_cells].tolist()
        out = np.zeros_like(cells)
        made = runners(found, {"jit": tone_curve, "vmap": by_cells()}, _CELLS, len(cells), (cells,))
        expected = np.array(develop(part))
        tone_curve_numpy(cells, out)
        developed = {"numpy": out} | {name: np.asarray(work()) for name, work in made.items()}
        for name, values in developed.items():
            difference = np.abs(values[: len(part)] - expected).max()
            differences.setdefault(name, []).append(float(difference))
        return {
            "python": timing.Work(functools.partial(develop, part)),
            "numpy": timing.Work(functools.partial(tone_curve_numpy, cells, out)),
            **works_of_runners(made, (cells,)),
        }

    timed = timing.in_turn(works_of, options)
    timed["python"] *= config.num_cells / config.loop_cells  # extrapolated
    return _job(options, start, timed, differences)


def _layer(config: Config, options: Options) -> Results:
    start = time.perf_counter()
    found = hardware(options)
    differences: dict[str, list[float]] = {}

    def works_of(seed: int) -> dict[str, timing.Work]:
        xs, w = random_layer(seed, config.batch_size, config.layer_size)
        x, columns = xs[0].tolist(), w[:, :_LOOP_OUTPUTS].T.tolist()
        out = np.zeros((config.batch_size, config.layer_size), np.float32)
        functions = {"jit": layer, "vmap": layer_by_units}
        made = runners(found, functions, _UNITS, config.layer_size, (xs, w))
        expected = np.array(units_in_python(x, columns))
        np.matmul(xs, w, out=out)
        computed = {"numpy": out} | {name: np.asarray(work()) for name, work in made.items()}
        for name, values in computed.items():
            difference = np.abs(values[0, :_LOOP_OUTPUTS] - expected).max()
            differences.setdefault(name, []).append(float(difference))
        return {
            "python": timing.Work(functools.partial(units_in_python, x, columns)),
            "numpy": timing.Work(
                functools.partial(np.matmul, xs, w, out=out),
                within=lambda: timing.then_rest(_BLAS_SECONDS),
            ),
            **works_of_runners(made, (xs, w)),
        }

    timed = timing.in_turn(works_of, options)
    timed["python"] *= config.batch_size * config.layer_size / _LOOP_OUTPUTS  # extrapolated
    return _job(options, start, timed, differences)


def _job(
    options: Options,
    start: float,
    timed: dict[str, np.ndarray],
    differences: dict[str, list[float]],
) -> Results:
    """Results of one job: seconds by form, and the greatest difference from the plain loop's."""
    metrics = {f"{name}_ms": 1e3 * seconds for name, seconds in timed.items()}
    metrics["difference"] = np.max(list(differences.values()), axis=0)
    finished = common.finish(options, {"measure": time.perf_counter() - start}, timed)
    return results.make("parallel_hardware", SLIDES, options, finished, metrics)


def sizes(config: Config) -> list[int]:
    """Numbers of cells: 1, 10, ..., up to `max_cells`."""
    return [10**i for i in range(int(math.log10(config.max_cells) + 1e-9) + 1)]


def _sizes(config: Config, options: Options) -> Results:
    start = time.perf_counter()
    found = hardware(options)
    places = {"jit": found.cpus[:1], "devices": found.cpus, "accelerator": found.accelerators}

    def works_of(seed: int) -> dict[str, timing.Work]:
        works = {}
        cells = random_cells(seed, sizes(config)[-1])
        for size in sizes(config):
            part, out = cells[:size], np.zeros(size, np.float32)
            works[f"numpy/{size}"] = timing.Work(functools.partial(tone_curve_numpy, part, out))
            if size <= config.loop_cells:
                works[f"python/{size}"] = timing.Work(functools.partial(develop, part.tolist()))
            for name, devices in places.items():
                if devices and size % len(devices) == 0:
                    at = placed(devices, *_CELLS)
                    works[f"{name}/{size}"] = timing.Work(runner(tone_curve, at, part))
        return works

    timed = timing.in_turn(works_of, options)
    forms = ["python", "numpy", *(name for name, devices in places.items() if devices)]
    arrays = {"cells": np.array(sizes(config))}
    unknown = np.full(options.num_seeds, np.nan)
    for form in forms:  # [N, S]; NaN where it was not timed
        arrays[form] = np.stack([timed.get(f"{form}/{size}", unknown) for size in sizes(config)])
    metrics = {
        f"{form}_one_cell_us": 1e6 * timed[f"{form}/1"] for form in ("python", "numpy", "jit")
    }
    finished = common.finish(options, {"measure": time.perf_counter() - start}, arrays)
    return results.make(
        "parallel_hardware", SLIDES, options, finished, metrics, {"forms": forms}, arrays
    )


def triad(b: jax.Array, c: jax.Array) -> jax.Array:
    """STREAM's triad, which only moves memory: two numbers read, one written, two operations."""
    return b + 3.0 * c


def gain(x: jax.Array) -> jax.Array:
    """The simplest work on a cell: brightness."""
    return 1.5 * x


def products(left: jax.Array, right: jax.Array) -> jax.Array:
    """Square products, one for each device: [D, N, N] each."""
    return jnp.matmul(left, right, precision="highest")


def _roofs(config: Config, options: Options) -> Results:
    start = time.perf_counter()
    found = hardware(options)
    devices = list(found.accelerators or found.cpus)
    num_cells, size = config.num_cells, config.layer_size
    over_cells, over_units = spread(devices, num_cells), spread(devices, size)
    made: dict[str, Runner] = {}

    def works_of(seed: int) -> dict[str, timing.Work]:
        cells = random_cells(seed, num_cells)
        xs, w = random_layer(seed, config.batch_size, size)
        square = random_layer(seed, 1, config.peak_size)[1]
        squares = np.stack([square] * len(devices))
        of_cells = placed(over_cells, *_CELLS)
        made.update(
            bandwidth=runner(triad, placed(over_cells, 0, 0, 0), cells, cells[::-1].copy()),
            peak=runner(products, placed(devices, 0, 0, 0), squares, squares),
            gain=runner(gain, of_cells, cells),
            tone=runner(tone_curve, of_cells, cells),
            one=runner(layer, placed(over_units, *_UNITS), xs[:1], w),
            batch=runner(layer, placed(over_units, *_UNITS), xs, w),
        )
        return {name: timing.Work(work) for name, work in made.items()}

    timed = timing.in_turn(works_of, options)
    tone_operations = made["tone"].operations() * len(over_cells)
    num_bytes = {
        "gain": 2 * FLOAT_BYTES * num_cells,
        "tone": 2 * FLOAT_BYTES * num_cells,
        "one": FLOAT_BYTES * (size**2 + 2 * size),
        "batch": FLOAT_BYTES * (size**2 + 2 * config.batch_size * size),
    }
    num_operations = {
        "gain": num_cells,
        "tone": tone_operations,
        "one": 2 * size**2,
        "batch": 2 * config.batch_size * size**2,
    }
    bandwidth = 3 * FLOAT_BYTES * num_cells / timed["bandwidth"]  # bytes a second
    peak = 2 * config.peak_size**3 * len(devices) / timed["peak"]  # operations a second
    metrics = {"bandwidth_gb_per_s": bandwidth / 1e9, "peak_gflop_per_s": peak / 1e9}
    intensities = []
    for name in WORKLOADS:
        intensity = num_operations[name] / num_bytes[name]
        rate = num_operations[name] / timed[name]
        intensities.append(intensity)
        metrics[f"{name}_gflop_per_s"] = rate / 1e9
        metrics[f"{name}_of_roof"] = rate / np.minimum(intensity * bandwidth, peak)
        metrics[f"{name}_of_peak"] = rate / peak
    arrays = {"intensities": np.array(intensities)}  # [4] operations a byte
    finished = common.finish(options, {"measure": time.perf_counter() - start}, timed)
    return results.make("parallel_hardware", SLIDES, options, finished, metrics, arrays=arrays)


# What follows.

WORKLOADS = {  # of the roofline: English, Japanese, colour
    "gain": ("brightness", "明るさ", plotting.GREEN),
    "tone": ("tone curve", "トーンカーブ", plotting.VERMILION),
    "one": ("layer, 1 example", "層,1例", plotting.PURPLE),
    "batch": ("layer, batch", "層,バッチ", plotting.BLUE),
}


def seconds(found: Results, job: str, form: str) -> np.ndarray:
    """Seconds of a job in one form, [S]."""
    return found.per_seed(f"{job}/{form}_ms") / 1e3


def crossovers(found: Results) -> dict[str, np.ndarray]:
    """Cells from which on one form beats another, [S]; infinity where it does not."""
    cells = found.arrays["sizes/cells"]

    def between(ours: str, theirs: str) -> np.ndarray:
        pair = [found.arrays[f"sizes/{form}"] for form in (ours, theirs)]
        known = ~np.isnan(pair).any(axis=(0, 2))
        return np.array(
            [
                timing.crossover(cells[known], *(values[known, i] for values in pair))
                for i in range(found.num_seeds)
            ]
        )

    pairs = (("numpy", "python"), ("jit", "python"), ("jit", "numpy"))
    return {f"{ours}_over_{theirs}": between(ours, theirs) for ours, theirs in pairs}


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the presets were run. One value a seed, that is a round.

    That NumPy is beaten was made a claim, with the only threshold that suggests itself, after a
    first run had shown that it is not.

    What is said of cores is left out where there is one, and what is said of a GPU or TPU where
    there is none.
    """

    def times_as_fast(job: str, ours: str, theirs: str) -> np.ndarray:
        return seconds(found, job, theirs) / seconds(found, job, ours)

    at_least, at_most = claims_lib.at_least, claims_lib.at_most
    num_cores = found.extra["num_cores"]
    statements = [
        (
            at_most,
            "cells_are_independent",
            "Each cell is independent: one after the other, all at once or spread over devices, "
            "the picture is the same to a thousandth of a grey level.",
            "各画素は独立している:1つずつでも,一斉でも,複数のデバイスに分けても,"
            "階調1段の1000分の1まで同じ画像になる。",
            f"greatest difference from the plain loop, in grey levels (of {GREY_LEVELS})",
            GREY_LEVELS * found.per_seed("frame/difference"),
            1e-3,
        ),
        (
            at_least,
            "compiled_beats_loop_on_cells",
            "Compiled, the picture is developed a hundred times as fast as by a plain Python loop.",
            "コンパイルすると,画像の処理はPythonの素朴なループの100倍以上速い。",
            "seconds of the plain loop (extrapolated) / of jit, picture",
            times_as_fast("frame", "jit", "python"),
            100.0,
        ),
        (
            at_least,
            "compiled_beats_loop_on_edges",
            "So is the layer.",
            "層の計算も同様である。",
            "seconds of the plain loop (extrapolated) / of jit, layer",
            times_as_fast("layer", "jit", "python"),
            100.0,
        ),
        (
            at_least,
            "compiled_beats_numpy_on_cells",
            "Compiled, the picture is developed faster than by NumPy, which works on one core.",
            "コンパイルすると,1コアで動くNumPyより速く画像を処理できる。",
            "seconds of NumPy / of jit, picture",
            times_as_fast("frame", "jit", "numpy"),
            1.0,
        ),
        (
            at_least,
            "one_cell_is_for_python",
            "Many cells are needed: for a single one the plain loop is faster than a compiled "
            "program.",
            "速さには数が要る:1画素だけなら,素朴なループの方がコンパイル済みのプログラムより速い。",
            "seconds of jit / of the plain loop, one cell",
            found.per_seed("sizes/jit_one_cell_us") / found.per_seed("sizes/python_one_cell_us"),
            1.0,
        ),
    ]
    if num_cores > 1:
        form = "devices" if found.extra["num_cpu_devices"] > 1 else "jit"
        for job, name, en, ja in (
            (
                "frame",
                "cells_use_all_cores",
                "Independent cells are shared by the cores: three quarters or more of each core's "
                "speed arrive.",
                "独立した画素はコアで分担できる:各コアの速さの4分の3以上が生きる。",
            ),
            (
                "layer",
                "edges_use_all_cores",
                "A layer's edges are shared by the cores likewise.",
                "層の辺も,同じようにコアで分担できる。",
            ),
        ):
            statements.append(
                (
                    at_least,
                    name,
                    en,
                    ja,
                    f"seconds on one core / on all, per core ({num_cores} cores), {job}",
                    times_as_fast(job, form, "one_core") / num_cores,
                    0.75,
                )
            )
    if found.extra["accelerators"]:
        for job, name, en, ja in (
            (
                "frame",
                "accelerator_wins_on_cells",
                "A GPU or TPU develops the picture faster than all CPU cores, once it has it.",
                "転送後の計算では,画像の処理はGPUやTPUの方がCPUの全コアより速い。",
            ),
            (
                "layer",
                "accelerator_wins_on_edges",
                "It also computes the layer faster.",
                "層の計算も,GPUやTPUの方が速い。",
            ),
        ):
            statements.append(
                (
                    at_least,
                    name,
                    en,
                    ja,
                    f"seconds of all CPU devices / of the accelerators, {job}",
                    times_as_fast(job, "accelerator", "devices"),
                    1.0,
                )
            )
    statements += [
        (
            at_least,
            "simplest_work_waits_for_memory",
            "The simplest work on a cell waits for memory: it reaches seven tenths of the rate at "
            "which memory can be moved.",
            "最も単純な画素の処理はメモリ待ちである:メモリ転送の最大速度の7割以上に達する。",
            "achieved fraction of the memory roof, brightness",
            found.per_seed("roofs/gain_of_roof"),
            0.7,
        ),
        (
            at_most,
            "one_example_waits_for_memory",
            "So does a layer that gets one example: its product runs at a quarter of the peak "
            "rate or less.",
            "1例だけの層もメモリ待ちである:積の速度は最大の4分の1以下にとどまる。",
            "achieved fraction of the peak product rate, one example",
            found.per_seed("roofs/one_of_peak"),
            0.25,
        ),
        (
            at_least,
            "batch_fills_the_hardware",
            "With a batch each weight is used many times, and the layer reaches half of the peak "
            "rate or more.",
            "バッチにすれば各重みが何度も使われ,最大速度の半分以上に達する。",
            "achieved fraction of the peak product rate, batch",
            found.per_seed("roofs/batch_of_peak"),
            0.5,
        ),
    ]
    return claims_lib.of_table(SLIDES, statements)


_FORMS = {  # English, Japanese, colour
    "python": ("Python loop", "Pythonのループ", plotting.BLACK),
    "numpy": ("NumPy", "NumPy", plotting.ORANGE),
    "one_core": ("jit, 1 core", "jit,1コア", plotting.SKY),
    "jit": ("jit", "jit", plotting.BLUE),
    "vmap": ("jit of vmap", "vmapのjit", plotting.PURPLE),
    "devices": ("all CPU devices", "全CPUデバイス", plotting.GREEN),
    "accelerator": ("GPU or TPU", "GPU・TPU", plotting.VERMILION),
    "compile": ("to compile", "コンパイル", plotting.BLACK),
    "to_device": ("to the device", "デバイスへ転送", plotting.BLACK),
    "to_host": ("back", "戻す転送", plotting.BLACK),
}


def figure(found: Results) -> Any:
    """Time against the number of cells; the roofline; time of both jobs by form."""
    figure, axes = plotting.mosaic([["sizes", "jobs"], ["roofs", "jobs"]])
    _draw_sizes(axes["sizes"], found)
    _draw_roofs(axes["roofs"], found)
    _draw_jobs(axes["jobs"], found)
    plotting.caption(
        figure,
        plotting.text(
            f"Medians of {found.num_seeds} rounds. Python loop: extrapolated from a part (dashed).",
            f"{found.num_seeds}回の中央値。Pythonのループは一部からの外挿(破線)",
        ),
    )
    return figure


def _draw_sizes(ax: Any, found: Results) -> None:
    cells = found.arrays["sizes/cells"]
    for form in found.extra["sizes_forms"]:
        en, ja, color = _FORMS[form]
        values = 1e3 * found.arrays[f"sizes/{form}"]
        known = ~np.isnan(values).any(1)
        middle = np.median(values[known], axis=1)
        ax.plot(cells[known], middle, "o-", markersize=5, color=color, label=plotting.text(en, ja))
        if form == "python" and not known.all():
            rest = cells[cells >= cells[known][-1]]
            ax.plot(rest, middle[-1] * rest / rest[0], "--", color=color)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(cells[::2], [f"$10^{round(math.log10(n))}$" for n in cells[::2]])
    ax.minorticks_off()
    ax.set_xlabel(plotting.text("cells", "画素数"))
    ax.set_ylabel(plotting.text("time, ms", "時間(ミリ秒)"))
    ax.set_ylim(top=ax.get_ylim()[1] * 3_000)  # room for the legend
    ax.legend(loc="upper left", ncols=2, handlelength=1.2, labelspacing=0.2, columnspacing=1)


def _draw_roofs(ax: Any, found: Results) -> None:
    bandwidth = found.metrics["roofs/bandwidth_gb_per_s"].mean
    peak = found.metrics["roofs/peak_gflop_per_s"].mean
    intensities = found.arrays["roofs/intensities"]
    low, high = min(intensities.min(), peak / bandwidth) / 3, max(intensities.max(), 3) * 10
    xs = np.geomspace(low, high, 200)
    ax.plot(xs, np.minimum(bandwidth * xs, peak), color=plotting.BLACK)
    ax.annotate(
        f"{bandwidth:,.0f} GB/s, {peak:,.0f} GFLOP/s",
        (low, peak),
        xytext=(0, 6),
        textcoords="offset points",
        fontsize=plotting.SMALL_POINTS,
        verticalalignment="bottom",
    )
    rates = [found.metrics[f"roofs/{name}_gflop_per_s"].mean for name in WORKLOADS]
    for (name, (en, ja, color)), intensity, rate in zip(
        WORKLOADS.items(), intensities, rates, strict=True
    ):
        of_roof = found.metrics[f"roofs/{name}_of_roof"].mean
        ax.plot(
            intensity,
            rate,
            "o",
            color=color,
            markersize=11,
            label=f"{plotting.text(en, ja)} {100 * of_roof:.0f} %",
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(min(rates) / 5, 8 * peak)
    ax.minorticks_off()
    ax.set_xlabel(plotting.text("operations a byte", "1バイトあたりの演算数"))
    ax.set_ylabel("GFLOP/s")
    ax.legend(loc="lower right", handlelength=0.8, labelspacing=0.2)


def _draw_jobs(ax: Any, found: Results) -> None:
    forms = [form for form in _FORMS if f"frame/{form}_ms" in found.metrics][::-1]
    rows = np.arange(len(forms))
    config = found.extra["config"]
    for job, shift, color, en, ja in (
        ("frame", 0.2, plotting.VERMILION, "picture", "画像"),
        ("layer", -0.2, plotting.BLUE, "layer", "層"),
    ):
        milliseconds = [np.median(found.per_seed(f"{job}/{form}_ms")) for form in forms]
        ax.barh(rows + shift, milliseconds, 0.38, color=color, label=plotting.text(en, ja))
        for row, value in zip(rows, milliseconds, strict=True):
            ax.annotate(
                _short(value),
                (value, row + shift),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=plotting.SMALL_POINTS - 2,
                verticalalignment="center",
            )
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * (high / low) ** 0.2)  # room for the numbers
    ax.set_yticks(rows, [plotting.text(*_FORMS[form][:2]) for form in forms])
    ax.grid(visible=False, axis="y")
    ax.minorticks_off()
    ax.set_xlabel(plotting.text("time, ms", "時間(ミリ秒)"))
    width, height = config["frame_width"], config["frame_height"]
    size, batch_size = config["layer_size"], config["batch_size"]
    ax.set_title(
        plotting.text(
            f"picture: {width} × {height} cells\n"
            f"layer: {size} × {size} edges, {batch_size} examples",
            f"画像:{width}×{height}画素\n層:{size}×{size}辺,{batch_size}例",
        ),
        fontsize=plotting.SMALL_POINTS,
    )
    ax.legend(loc="lower right")


def _short(value: float) -> str:
    """A number of milliseconds with two digits or all before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def report(found: Results) -> str:
    """The tables and what to try next."""
    config, extra = found.extra["config"], found.extra
    accelerators = ", ".join(extra["accelerators"]) or "none"
    lines = [
        f"{extra['num_cores']} cores, {extra['num_cpu_devices']} CPU devices of XLA; "
        f"GPUs or TPUs: {accelerators}",
        f"ms, medians of {found.num_seeds} rounds (10 % to 90 % of them); times as fast as the "
        "plain loop,",
        f"which did {config['loop_cells']:,} cells, and {_LOOP_OUTPUTS} outputs for one example; "
        "the rest of it is extrapolated",
    ]
    titles = {
        "frame": f"picture, {config['frame_width']} x {config['frame_height']} cells",
        "layer": f"layer, {config['layer_size']} x {config['layer_size']} edges, "
        f"{config['batch_size']} examples",
    }
    for job in JOBS:
        lines += ["", titles[job]]
        loop = np.median(seconds(found, job, "python"))
        for form, (en, *_) in _FORMS.items():
            if f"{job}/{form}_ms" not in found.metrics:
                continue
            low, middle, high = np.quantile(1e3 * seconds(found, job, form), [0.1, 0.5, 0.9])
            line = f"  {en:20}{middle:12.3f}  ({low:.3f} to {high:.3f})"
            if form not in ("compile", "to_device", "to_host"):
                line = f"{line:58}{1e3 * loop / middle:10,.1f}"
            lines.append(line)
        lines.append(f"  greatest difference from the plain loop: {_worst(found, job):.1e}")
    lines += ["", "tone curve: cells from which on the first is faster (median)"]
    for name, values in crossovers(found).items():
        lines.append(f"  {name.replace('_', ' '):20}{np.median(values):12,.0f}")
    lines += [
        "",
        f"roofs: {found.metrics['roofs/bandwidth_gb_per_s'].mean:.1f} GB/s (triad), "
        f"{found.metrics['roofs/peak_gflop_per_s'].mean:.0f} GFLOP/s (square products)",
        f"  {'':20}{'ops/byte':>10}{'GFLOP/s':>10}{'% of its roof':>15}",
    ]
    for (name, (en, *_)), intensity in zip(
        WORKLOADS.items(), found.arrays["roofs/intensities"], strict=True
    ):
        rate = found.metrics[f"roofs/{name}_gflop_per_s"].mean
        of_roof = found.metrics[f"roofs/{name}_of_roof"].mean
        lines.append(f"  {en:20}{intensity:10.3f}{rate:10.1f}{100 * of_roof:15.0f}")
    preset = "full" if found.preset == "quick" else "quick"
    lines += ["", f"next: python -m experiments.parallel_hardware --preset={preset}"]
    return "\n".join(lines)


def _worst(found: Results, job: str) -> float:
    return max(found.per_seed(f"{job}/difference"))


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
