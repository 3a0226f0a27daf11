"""`--play`: an episode of a trained agent, greedy, as an animation and a strip of pictures.

An experiment whose module has the function `play(config)` gets the flags of `Play`. The function
returns a Player, or a tuple of them where the experiment is made of several parts.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from dl_lectures.errors import UsageError
from dl_lectures.learner import Learner, State
from dl_lectures.reporting import films
from dl_lectures.reporting import workdir as workdir_lib
from dl_lectures.rl import environments, evaluation
from dl_lectures.training import trainer
from dl_lectures.training.options import FREE_TO_CHANGE, Options
from experiments import common


@dataclasses.dataclass(frozen=True)
class Play:
    """What to show of a trained run."""

    play: Annotated[
        bool, "film an episode of the run in --workdir, finished or not; no training"
    ] = False
    play_seed: Annotated[int, "seed of the episode"] = 0
    play_policy: Annotated[int, "whose policy plays, a seed of the run; -1: the first"] = -1
    play_steps: Annotated[int, "the film ends after so many steps at the latest"] = 1000

    def __post_init__(self):
        if self.play_steps < 1:
            raise UsageError(f"--play_steps must be at least 1, not {self.play_steps}")
        if not 0 <= self.play_seed < 2**31:
            raise UsageError(f"--play_seed must lie in 0 ... 2^31 - 1, not {self.play_seed}")


class Player(NamedTuple):
    """How the agent of a configuration acts once it is trained."""

    env: str  # the environment's name
    environment: environments.Environment
    learner: Learner  # as it was trained: says what a checkpoint holds
    act: Callable[[State, environments.Obs], jax.Array]  # greedy; state of the learner, one seed
    part: str = ""  # of an experiment made of several: the name of this one


class Trained(NamedTuple):
    """What a run has learned so far."""

    state: State  # of the learner, leaves [S, ...]
    step: int
    seeds: np.ndarray  # [S]


def read_run(
    module: ModuleType, workdir: pathlib.Path, given: Mapping[str, Any]
) -> tuple[Any, Options]:
    """Configuration and options of the run in a directory.

    Args:
        module: its experiment.
        workdir: the directory.
        given: the flags on the command line; those that say what is computed must be the run's.

    Raises:
        UsageError: no run, one of another experiment, of other flags or of another version.
    """
    stored = workdir_lib.read_config(workdir)
    name = common.name_of(module)
    if stored["experiment"] != name:
        raise UsageError(
            f"{workdir} holds a run of experiments.{stored['experiment']}, not of {name}"
        )
    flags = {**stored["options"], **stored["config"]}
    for flag, value in given.items():
        if flag not in FREE_TO_CHANGE and flags.get(flag) != value:
            raise UsageError(
                f"{workdir} holds a run of another configuration: --{flag} is {value!r} now and "
                f"was {flags.get(flag)!r}; leave it out, or choose another --workdir"
            )
    kind = type(module.PRESETS["quick"].config)
    names = {field.name for field in dataclasses.fields(kind)}
    if names != stored["config"].keys():
        differing = ", ".join(sorted(f"--{n}" for n in names ^ stored["config"].keys()))
        raise UsageError(
            f"{workdir} was written by another version of {name}, which differs in {differing}; "
            "train again in another --workdir"
        )
    try:
        config = kind(**stored["config"])
        options = Options(
            workdir=str(workdir),
            platform=given.get("platform", ""),
            **{flag: stored["options"][flag] for flag in ("preset", "seed", "num_seeds", "steps")},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"cannot use {workdir / 'config.json'} ({error})") from error
    return config, options


def load(player: Player, options: Options) -> Trained:
    """What was trained, by the newest intact checkpoint.

    Raises:
        UsageError: there is none, it does not fit, or the run is under way.
    """
    workdir = pathlib.Path(options.workdir)
    with workdir_lib.locked(workdir):  # a save that is under way looks like one that was killed
        options = dataclasses.replace(options, workdir=str(_of_part(workdir, player)))
        state, step = trainer.load(player.learner, options)
    return Trained(state, step, trainer.seeds_of(options))


def _of_part(workdir: pathlib.Path, player: Player) -> pathlib.Path:
    return workdir / "parts" / player.part if player.part else workdir


def film(player: Player, state: State, seed: int, num_steps: int) -> films.Film:
    """An episode.

    Args:
        player: who plays.
        state: the learner's, of one seed.
        seed: of the episode.
        num_steps: its greatest length.
    """

    def episode(key: jax.Array, state: State) -> evaluation.Episode:
        policy = lambda _, obs: player.act(state, obs)  # noqa: E731
        return evaluation.play_episode(key, player.environment, policy, num_steps)

    played = jax.device_get(jax.jit(episode)(jax.random.key(seed), state))
    length = int(played.length)
    states = {name: values[: length + 1] for name, values in fields_of(played.states).items()}
    return films.Film(
        player.env,
        states,
        played.obs[: length + 1],
        played.actions[:length],
        played.rewards[:length],
    )


def fields_of(state: Any) -> dict[str, np.ndarray]:
    """The arrays of an environment's state by name, beneath what wraps it."""
    while type(state) is tuple:  # `environments.sticky` and its like: the inner state is first
        state = state[0]
    if hasattr(state, "_asdict"):
        return {name: np.asarray(value) for name, value in state._asdict().items()}
    if not dataclasses.is_dataclass(state):
        return {}
    return {
        field.name: np.asarray(getattr(state, field.name)) for field in dataclasses.fields(state)
    }


def run(module: ModuleType, given: Mapping[str, Any], play: Play) -> str:
    """Films an episode below figures/ of the run, and returns what to say about it.

    Raises:
        UsageError: there is nothing to be played.
    """
    from dl_lectures.training import devices

    if "workdir" not in given:
        raise UsageError("--play needs the --workdir of a run")
    workdir = pathlib.Path(given["workdir"])
    config, options = read_run(module, workdir, given)
    devices.configure(options)
    policy = options.seed if play.play_policy < 0 else play.play_policy
    if not options.seed <= policy < options.seed + options.num_seeds:
        raise UsageError(
            f"--play_policy={policy} must be a seed of the run, {options.seed} to "
            f"{options.seed + options.num_seeds - 1}"
        )
    players = module.play(config)
    players = (players,) if isinstance(players, Player) else players
    begun = [player for player in players if (_of_part(workdir, player) / "checkpoints").is_dir()]
    lines = []
    for player in begun or players[:1]:  # that one says what is missing
        trained = load(player, options)
        state = common.of_seed(trained.state, policy - options.seed)
        shown = film(player, state, play.play_seed, play.play_steps)
        name = "_".join(
            ["play", *filter(None, [player.part]), f"policy{policy}", f"seed{play.play_seed}"]
        )
        animation, strip = films.save(shown, workdir / "figures" / name)
        lines += [
            f"{player.env} by the policy of seed {policy} after {trained.step} of "
            f"{options.steps} steps, episode of seed {play.play_seed}: "
            f"{len(shown.rewards)} steps, return {shown.rewards.sum():.4g}",
            f"  film     {animation}",
            f"  strip    {strip}",
        ]
    return "\n".join(lines)
