"""From the command line to a run: flags made from dataclasses, `--help`, and exit codes.

0: done, or stopped by a signal with a checkpoint. 2: bad usage or bad input, one line on stderr.
1: a bug, with its traceback. Flags exist only while an experiment runs as a program.
"""

import dataclasses
import inspect
import shutil
import sys
import textwrap
import typing
import warnings
from types import ModuleType
from typing import Any, Literal

from absl import app, flags, logging

from dl_lectures.errors import Stopped, UsageError
from dl_lectures.training import signals
from dl_lectures.training.options import Options
from experiments import common, playing

_COSTS = ("smoke", "quick", "full")  # presets that every experiment has
_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def launch(module: ModuleType) -> None:
    """Runs an experiment's module as a program; does not return."""
    signals.install()
    warnings.showwarning = _show_warning
    define(Options, module)
    define(config_class(module), module)
    if can_play(module):
        define(playing.Play, module)
    app.run(lambda _: _main(module), flags_parser=lambda argv: _parse(argv, module))


def config_class(module: ModuleType) -> type:
    """Returns the class of an experiment's configurations."""
    return type(module.PRESETS["quick"].config)


def can_play(module: ModuleType) -> bool:
    """Whether an experiment trains an agent that can be watched: `playing` says how."""
    return hasattr(module, "play")


def define(config: type, module: ModuleType) -> None:
    """Defines a flag for every field; its value is None where the preset is to decide."""
    for name, kind, text in documented_fields(config, module):
        if typing.get_origin(kind) is Literal:
            flags.DEFINE_enum(name, None, typing.get_args(kind), text)
        else:
            _DEFINE[kind](name, None, text)


def documented_fields(config: type, module: ModuleType) -> list[tuple[str, Any, str]]:
    """Returns name, type and meaning of each field, `name: Annotated[type, meaning]`.

    The presets that can be named are the experiment's own.
    """
    hints = typing.get_type_hints(config, include_extras=True)
    fields = []
    for field in dataclasses.fields(config):
        kind, text = typing.get_args(hints[field.name])
        if config is Options and field.name == "preset":
            kind = Literal[tuple(module.PRESETS)]
        fields.append((field.name, kind, text))
    return fields


def resolve(module: ModuleType, given: dict[str, Any]) -> tuple[Any, Options]:
    """Returns the configuration and the options: what was given, else what the preset says.

    Raises:
        UsageError: an impossible value or combination.
    """
    name = given.get("preset", Options.preset)
    preset = common.preset_of(module, name, given)
    names = {field.name for field in dataclasses.fields(preset.config)}
    try:
        config = dataclasses.replace(
            preset.config, **{k: v for k, v in given.items() if k in names}
        )
        defaults = {"workdir": f"runs/{common.name_of(module)}-{name}"} | common.options_of(preset)
        options = Options(**(defaults | {k: v for k, v in given.items() if k not in names}))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return config, options


def help_text(module: ModuleType) -> str:
    """Returns what `--help` prints: the experiment's docstring and every flag with its default."""
    name = common.name_of(module)
    sections = [
        inspect.cleandoc(module.__doc__),
        f"python -m experiments.{name} [--flag=value ...]",
        _section(f"Flags of {name}:", config_class(module), module),
        _section("Flags of every experiment:", Options, module),
    ]
    if can_play(module):
        sections.append(_section("To watch what was learned:", playing.Play, module))
    return "\n\n".join(sections)


def _section(title: str, config: type, module: ModuleType) -> str:
    width = min(shutil.get_terminal_size().columns, 100)
    lines = [title]
    for name, kind, text in documented_fields(config, module):
        if typing.get_origin(kind) is Literal:
            shown = "|".join(typing.get_args(kind))
        else:
            shown = kind.__name__
        lines.append(f"  --{name}=<{shown}>" if kind is not bool else f"  --[no]{name}")
        lines += textwrap.wrap(
            f"{text} ({_default(name, module)})",
            width,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
        )
    return "\n".join(lines)


def _default(name: str, module: ModuleType) -> str:
    if name in ("workdir", "preset"):
        return {
            "workdir": f"default: runs/{common.name_of(module)}-PRESET",
            "preset": "default: quick",
        }[name]
    values = {}
    for preset, defaults in module.PRESETS.items():
        holders = (defaults.config, defaults, Options, playing.Play)
        holder = next(h for h in holders if hasattr(h, name))
        values[preset] = getattr(holder, name)
    if len(set(values.values())) == 1:
        return f"default: {next(iter(values.values()))!r}"
    # Of the other presets, such as those of single environments, what differs from the default.
    told = [p for p, value in values.items() if p in _COSTS or value != values["quick"]]
    return ", ".join(f"{preset}: {values[preset]!r}" for preset in told)


def _parse(argv: list[str], module: ModuleType) -> list[str]:
    if {"--help", "-help", "-h", "-?", "--helpfull", "--helpshort"} & set(argv[1:]):
        print(help_text(module))
        sys.exit(0)
    try:
        positional = flags.FLAGS(argv)
    except flags.Error as error:
        _refuse(f"{str(error).strip()}; --help lists the flags")
    if len(positional) > 1:
        _refuse(f"unexpected argument {positional[1]!r}; --help lists the flags")
    return positional


def _main(module: ModuleType) -> int:
    from dl_lectures.training import devices, trainer

    logging.set_verbosity(logging.WARNING)  # silences JAX's notes on absent plug-ins
    given = _given(Options, module) | _given(config_class(module), module)
    to_play = _given(playing.Play, module) if can_play(module) else {}
    try:
        if to_play.pop("play", False):
            print(playing.run(module, given, playing.Play(play=True, **to_play)))
            return 0
        if to_play:
            raise UsageError(f"--{next(iter(to_play))} says how to --play; give that, too")
        config, options = resolve(module, given)
        devices.configure(options)
        if trainer.is_primary():
            print(_header(module, config, options), flush=True)
        results = common.execute(module, config, options)
        if trainer.is_primary():
            print(_closing(module, results, options))
    except Stopped as stopped:
        if trainer.is_primary():
            print(stopped)
    except UsageError as error:
        _refuse(str(error))
    return 0


def _given(config: type, module: ModuleType) -> dict[str, Any]:
    """The flags of a class that were given on the command line."""
    values = {name: flags.FLAGS[name].value for name, *_ in documented_fields(config, module)}
    return {name: value for name, value in values.items() if value is not None}


def _header(module: ModuleType, config: Any, options: Options) -> str:
    import jax

    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    values = " ".join(f"{name}={value!r}" for name, value in dataclasses.asdict(config).items())
    return (
        f"{common.name_of(module)}, preset {options.preset}, in {options.workdir}\n"
        f"seeds {options.seed} to {options.seed + options.num_seeds - 1}, {options.steps} steps, "
        f"on {device}, jax {jax.__version__}\n{values}"
    )


def _closing(module: ModuleType, results: Any, options: Options) -> str:
    lines = [module.report(results), ""]
    for claim in results.claims:
        low, high = claim.ci95
        interval = "one seed: no interval"
        if low is not None:
            interval = f"95 % interval {low:.4g} to {high:.4g}"
        lines.append(f"{claim.verdict.upper()}: {claim.statement_en}")
        lines.append(f"    {claim.statistic}: {claim.value:.4g} ({interval})")
    name = common.name_of(module)
    lines += [
        "",
        f"figure   {options.workdir}/figures/{name}.png",
        f"results  {options.workdir}/results.json",
    ]
    return "\n".join(lines)


def _refuse(text: str) -> None:
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(2)


def _show_warning(message: Warning, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)
