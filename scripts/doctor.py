"""Says whether this machine is ready for the lecture, what is wrong, and what would mend it.

    python scripts/doctor.py
    python scripts/doctor.py --num_seeds=64

Holds the installed packages against the pins of requirements.txt and looks for releases of jaxlib
with known faults; shows devices, memory, disk, compile cache, fonts, data sets with the line that
installs each, what DQN's replay takes for so many seeds, and how long each experiment should take
here: its seconds on the machine of scripts/minutes.toml, times how many times as slow a probe of
two seconds finds this one. Changes nothing but the compile cache.

Exit codes: 0: nothing essential is wrong. 1: something is. 2: bad usage, one line on stderr.
"""

import configparser
import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).absolute().parents[1]
INSTALL_PINS = f"python -m pip install -r {ROOT / 'requirements.txt'}"
PRESETS = ("smoke", "quick", "full")
_PROBE_SECONDS = 2.0
_LEAST_FREE_BYTES = 1e9  # of disk and memory: less is noted
_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


class Row(NamedTuple):
    """One thing that was looked at."""

    topic: str
    status: str  # ok; note: something is missing that need not be there; wrong: essential
    words: str


class Fault(NamedTuple):
    """What is known to be wrong with some releases of jaxlib."""

    releases: str  # a version specifier
    platforms: tuple[str, ...]  # where; empty: everywhere
    is_essential: bool
    words: str


FAULTS = (
    Fault(
        "==0.11.1",
        ("cpu",),
        True,
        "small writes in place and stacked outputs of a scan take quadratic time on CPU, 13 s for "
        f"0.001 s (jax issue 40101); go back with: {INSTALL_PINS}",
    ),
    Fault(
        ">=0.8.2,<=0.11.0",
        (),
        False,
        "a lax.cond inside a scan copies what it passes through (jax issue 38145): the experiments "
        "keep large arrays out of conds, so should your code",
    ),
)


# The checks -------------------------------------------------------------------------------------


def python(version: str, wanted: str) -> Row:
    """Whether Python is one that the project supports.

    Args:
        version: of Python.
        wanted: a specifier, as in setup.cfg.
    """
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Row("Python", "ok", version)
    return Row("Python", "wrong", f"{version}; the lecture needs {wanted}")


def packages(
    pins: Iterable[str], optional: dict[str, str], version_of: Callable[[str], str | None]
) -> list[Row]:
    """What differs from the pins: a row each, or one that says that nothing does.

    Args:
        pins: lines of requirements.txt.
        optional: the extra that brings a package, by its normalised name.
        version_of: the installed version of a package, None if there is none.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    rows, num_pins = [], 0
    for line in pins:
        line = line.split("#")[0].strip()
        if not line:
            continue
        pin = Requirement(line)
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        num_pins += 1
        found, extra = version_of(pin.name), optional.get(canonicalize_name(pin.name))
        if found is None and extra:
            words = f"missing; it is optional: {install_extra(extra)}"
            rows.append(Row(pin.name, "note", words))
        elif found is None:
            rows.append(Row(pin.name, "wrong", f"missing; install it: {INSTALL_PINS}"))
        elif not pin.specifier.contains(found, prereleases=True):
            words = f"{found} differs from the pin {pin.specifier}: numbers may, too"
            rows.append(Row(pin.name, "note", words))
    num_good = num_pins - len(rows)
    return [Row("packages", "ok", f"{num_good} of {num_pins} as pinned"), *rows]


def install_extra(extra: str) -> str:
    """The command that adds what an extra of setup.cfg names."""
    return f"python -m pip install -e '{ROOT}[{extra}]'"


def ranges(requirements: Iterable[str], version_of: Callable[[str], str | None]) -> list[Row]:
    """Installed packages that lie outside of the ranges that the project was written for."""
    from packaging.requirements import Requirement

    rows = []
    for line in requirements:
        wanted = Requirement(line)
        found = version_of(wanted.name)
        if found is not None and not wanted.specifier.contains(found, prereleases=True):
            words = f"{found} is outside of {wanted.specifier}; install the pins: {INSTALL_PINS}"
            rows.append(Row(wanted.name, "wrong", words))
    return rows


def jaxlib(version: str | None, backend: str) -> list[Row]:
    """What is known to be wrong with a release of jaxlib, on a backend such as cpu."""
    from packaging.specifiers import SpecifierSet

    rows = []
    for fault in FAULTS if version else ():
        is_here = not fault.platforms or backend in fault.platforms
        if is_here and SpecifierSet(fault.releases).contains(version, prereleases=True):
            status = "wrong" if fault.is_essential else "note"
            rows.append(Row(f"jaxlib {version}", status, fault.words))
    return rows


def devices() -> list[Row]:
    """What JAX computes on, and whether others compute there, too."""
    import jax

    found = jax.devices()
    cores = len(_cores())
    words = f"{len(found)} x {found[0].device_kind}, {cores} cores"
    rows = [Row("devices", "ok", words)]
    load = os.getloadavg()[0]
    if load > cores / 2 + 0.5:
        words = f"others compute here (load {load:.1f} on {cores} cores): expect more seconds"
        rows.append(Row("load", "note", words))
    return rows


def space() -> list[Row]:
    """Free memory, and disk here and where compiled programs are kept."""
    from dl_lectures.training import devices as devices_lib

    rows = []
    memory = free_memory()
    if memory is not None:
        rows.append(Row("memory", _enough(memory), f"{_bytes(memory)} free"))
    free = shutil.disk_usage(os.curdir).free
    rows.append(Row("disk", _enough(free), f"{_bytes(free)} free in {pathlib.Path.cwd()}"))
    cache = devices_lib.compile_cache()
    files = [path for path in cache.rglob("*") if path.is_file()] if cache.is_dir() else []
    words = f"{cache}: {len(files)} files, {_bytes(sum(path.stat().st_size for path in files))}"
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        rows.append(Row("compile cache", "ok", words))
    else:
        words += "; cannot be written, so that each start compiles: set JAX_COMPILATION_CACHE_DIR"
        rows.append(Row("compile cache", "note", words))
    return rows


def free_memory() -> int | None:
    """Bytes that can be had, within the limit of a container; None where nobody says."""
    free = []
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        group = pathlib.Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())  # "max" if there is none
        free.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(free, default=None)


def fonts() -> Row:
    """Whether figures can have Japanese words."""
    from dl_lectures.reporting import plotting

    if plotting.has_japanese():
        return Row("fonts", "ok", "figures are in Japanese")
    words = f"figures are in English; for Japanese: {install_extra('ja')}"
    return Row("fonts", "note", words)


def data_sets() -> list[Row]:
    """Which data sets are there; the loaders say how to get the others."""
    from dl_lectures.data import images, text
    from dl_lectures.errors import UsageError

    rows = []
    for library in (text, images):
        for name in library.NAMES:
            try:
                found = library.load(name)
                words = f"{len(found.train):,} {'characters' if library is text else 'images'}"
                rows.append(Row(f"data {name}", "ok", f"{words} to learn from"))
            except UsageError as error:
                rows.append(Row(f"data {name}", _if_default(name), str(error)))
    return rows


def _if_default(name: str) -> str:
    """A default data set is missed by its experiments; others need not be there."""
    from experiments import language_model, vae

    defaults = (language_model.Config().dataset, vae.Config().dataset)
    return "wrong" if name in defaults else "note"


def replay(num_seeds: int) -> list[Row]:
    """What the state of DQN takes, replay and all, in each preset.

    Args:
        num_seeds: how many; 0: as many as the preset has.
    """
    import jax

    from dl_lectures.rl import dqn
    from dl_lectures.training import devices as devices_lib
    from experiments import dqn as experiment

    memory = free_memory()
    rows = []
    for name, preset in experiment.PRESETS.items():
        init = dqn.make(preset.config).init
        one = devices_lib.num_bytes(jax.eval_shape(init, jax.random.key(0)))
        seeds = num_seeds or preset.num_seeds
        words = f"{_bytes(seeds * one)} for {seeds} seeds"
        status = "ok"
        if memory is not None and seeds * one > memory:
            status, words = "note", f"{words}, more than is free: give fewer --num_seeds"
        rows.append(Row(f"replay, dqn {name}", status, words))
    return rows


# Seconds ----------------------------------------------------------------------------------------


def probe(seconds: float = _PROBE_SECONDS) -> float:
    """Steps a second of a small recurrent net on each device, the best of many tries.

    A step is a product [64, 256] @ [256, 256] and a tanh, in a scan, as most experiments are. The
    best try is the one that other work disturbed least.
    """
    import jax
    import jax.numpy as jnp

    num_steps = 100
    mesh = jax.make_mesh(
        (len(jax.devices()),), ("device",), axis_types=(jax.sharding.AxisType.Auto,)
    )
    by_device = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("device"))

    @jax.jit
    def work(hs: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, num_steps, lambda _, hs: jnp.tanh(hs @ w), hs)

    hs = jax.device_put(jnp.ones((len(mesh.devices), 64, 256)), by_device)
    w = jnp.eye(256)
    work(hs, w).block_until_ready()  # compiles
    end, best = time.perf_counter() + seconds, 0.0
    while (start := time.perf_counter()) < end:
        work(hs, w).block_until_ready()
        best = max(best, num_steps * hs.shape[0] / (time.perf_counter() - start))
    return best


def predictions(table: dict[str, Any], steps_per_second: float) -> dict[str, dict[str, float]]:
    """Expected seconds here by preset and experiment, of those that were measured somewhere.

    Args:
        table: scripts/minutes.toml.
        steps_per_second: of the probe on this machine.
    """
    slower = table["reference"]["steps_per_second"] / steps_per_second
    return {
        preset: {name: slower * seconds for name, seconds in by_name.items()}
        for preset, by_name in table["seconds"].items()
    }


def experiments() -> list[str]:
    """The names of all experiments."""
    paths = sorted((ROOT / "experiments").glob("*.py"))
    return [path.stem for path in paths if "\nPRESETS = " in path.read_text(encoding="utf-8")]


def duration(seconds: float | None) -> str:
    """Words for an expected time."""
    if seconds is None:
        return "not measured"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


# The program ------------------------------------------------------------------------------------


def examine(num_seeds: int) -> list[Row]:
    """All checks. One that fails itself is a row, too, so that the others are seen."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    rows = [python(platform.python_version(), setup["options"]["python_requires"])]
    rows += packages(pins, extras(setup["options.extras_require"]), installed_version)
    rows += ranges(requirement_lines(setup["options"]["install_requires"]), installed_version)
    checks: dict[str, Callable[[], list[Row]]] = {
        "devices": _configured_devices,
        "space": space,
        "fonts": lambda: [fonts()],
        "data": data_sets,
        "replay": lambda: replay(num_seeds),
    }
    for topic, check in checks.items():
        try:
            rows += check()
        except Exception as error:  # whatever it is, it is what the user has to know
            rows.append(Row(topic, "wrong", f"{type(error).__name__}: {error}"))
    return rows


def _configured_devices() -> list[Row]:
    import jax

    from dl_lectures.training import devices as devices_lib
    from dl_lectures.training.options import Options

    devices_lib.configure(Options(workdir=os.curdir))
    return [*jaxlib(installed_version("jaxlib"), jax.default_backend()), *devices()]


def installed_version(name: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirement_lines(block: str) -> list[str]:
    """The requirements in a value of setup.cfg, without its comments."""
    lines = [line.split("#")[0].strip() for line in block.splitlines()]
    return [line for line in lines if line]


def extras(section: Any) -> dict[str, str]:
    """The extra that brings a package, by its normalised name, from a section of setup.cfg."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    for extra, block in section.items():
        for line in requirement_lines(block):
            found.setdefault(canonicalize_name(Requirement(line).name), extra)
    return found


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _enough(free: float) -> str:
    return "ok" if free >= _LEAST_FREE_BYTES else "note"


def _bytes(number: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return f"{number / 1e3:,.1f} kB"


def show(rows: list[Row], console: Any) -> None:
    """Prints the table of what was looked at."""
    import rich.markup
    import rich.table

    table = rich.table.Table(show_edge=False)
    for heading in ("what", "", "found"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        status = f"[{_STYLES[row.status]}]{row.status}[/]"
        table.add_row(row.topic, status, rich.markup.escape(row.words))
    console.print(table, highlight=False)


def show_predictions(console: Any) -> None:
    """Measures the probe and prints how long each experiment should take."""
    import rich.table

    table = tomllib.loads((ROOT / "scripts" / "minutes.toml").read_text(encoding="utf-8"))
    reference, rate = table["reference"], probe()
    seconds = predictions(table, rate)
    shown = rich.table.Table(
        show_edge=False,
        caption=f"probe: {rate:,.0f} steps/s, {rate / reference['steps_per_second']:.2f} times "
        f"the {reference['steps_per_second']:,.0f} of {reference['machine']}. A rough "
        "guide: experiments differ in what they wait for.",
        caption_justify="left",
    )
    for heading in ("experiment", *PRESETS):
        shown.add_column(heading, justify="left" if heading == "experiment" else "right")
    for name in experiments():
        found = [duration(seconds.get(preset, {}).get(name)) for preset in PRESETS]
        shown.add_row(name, *found)
    console.print(shown, highlight=False)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    try:
        import packaging.requirements  # noqa: F401
        import rich.console
        from absl import flags
    except ImportError as error:
        print(f"error: the package {error.name} is missing; {INSTALL_PINS}", file=sys.stderr)
        return 1
    values = flags.FlagValues()
    flags.DEFINE_integer(
        "num_seeds",
        0,
        "seeds for the memory of replay; 0: as many as each preset has",
        lower_bound=0,
        flag_values=values,
    )
    if {"--help", "-help", "-h", "-?", "--helpfull", "--helpshort"} & set(argv[1:]):
        print(f"{__doc__}\n{values.get_help()}")
        return 0
    try:
        positional = values(argv)
    except flags.Error as error:
        text = " ".join(str(error).split())
        print(f"error: {text}; --help lists the flags", file=sys.stderr)
        return 2
    if len(positional) > 1:
        print(f"error: unexpected argument {positional[1]!r}; --help", file=sys.stderr)
        return 2
    console = rich.console.Console()
    if not console.is_terminal:  # a file has room
        console.width = 160
    rows = examine(values.num_seeds)
    show(rows, console)
    console.print()
    wrong = [row.topic for row in rows if row.status == "wrong"]
    if "devices" not in wrong:
        show_predictions(console)
        console.print()
    if wrong:
        console.print(f"wrong: {', '.join(wrong)}", style=_STYLES["wrong"], highlight=False)
        return 1
    console.print("nothing essential is wrong", style=_STYLES["ok"])
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # `experiments`, also where the project is not installed
    sys.exit(main(sys.argv))
