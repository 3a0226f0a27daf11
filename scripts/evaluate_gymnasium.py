"""Runs the policies of a DQN run in Gymnasium's own environment, beside gymnax's.

    python scripts/evaluate_gymnasium.py --workdir=runs/dqn

A policy that was trained in gymnax's environment should earn as much in the one that it was made
after (Towers et al., 2024, arXiv:2407.17032). For CartPole-v1, Acrobot-v1 and MountainCar-v0: every
seed's greedy policy plays --num_episodes episodes in each. Reported are both mean returns, and the
difference, with 95 % intervals over the episodes of these policies. They agree where the interval
of the difference holds 0, which of two equal environments 19 of 20 do: another --seed tells.

Exit codes: 0: they agree. 3: they differ. 2: bad usage, or Gymnasium is missing, one line on
stderr. 1: a bug.
"""

import pathlib
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from dl_lectures.errors import UsageError
from dl_lectures.rl import evaluation
from dl_lectures.training import devices
from experiments import dqn, playing

ENVS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")
LEAST_EPISODES = 100  # a policy: intervals are those of a normal distribution
_NORMAL_975 = 1.959964


class Mean(NamedTuple):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


def gymnasium() -> object:
    """The package.

    Raises:
        UsageError: it is missing.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise UsageError(
            "Gymnasium is missing; install it with: python -m pip install gymnasium"
        ) from error
    return gymnasium


def in_gymnasium(
    name: str,
    act: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, int],
    seed: int,
    max_episode_steps: int = 0,
) -> np.ndarray:
    """Returns of E episodes of each of S policies in Gymnasium's environment, [S, E].

    All run side by side, so that a step asks the policies once, for all episodes.

    Args:
        name: of the environment.
        act: from float32 observations [S, E, ...] to actions [S, E].
        shape: S and E.
        seed: each episode begins from a seed of its own that follows from it.
        max_episode_steps: the time limit; 0: the environment's own.
    """
    library = gymnasium()
    count = shape[0] * shape[1]
    limit = {"max_episode_steps": max_episode_steps} if max_episode_steps else {}
    envs = [library.make(name, disable_env_checker=True, **limit) for _ in range(count)]
    seeds = np.random.SeedSequence(seed).generate_state(count)
    obs = np.stack([env.reset(seed=int(s))[0] for env, s in zip(envs, seeds, strict=True)])
    returns, running = np.zeros(count), list(range(count))
    while running:
        actions = np.asarray(act(obs.reshape(*shape, *obs.shape[1:]))).reshape(count)
        still = []
        for i in running:
            obs[i], reward, terminated, truncated, _ = envs[i].step(int(actions[i]))
            returns[i] += reward
            if not (terminated or truncated):
                still.append(i)
        running = still
    for env in envs:
        env.close()
    return returns.reshape(shape)


def in_gymnax(
    player: playing.Player, trained: playing.Trained, seed: int, num_episodes: int
) -> np.ndarray:
    """Returns of E episodes of each of S policies in gymnax's environment, [S, E]."""

    def of_policy(key: jax.Array, state: object) -> jax.Array:
        policy = lambda _, obs: player.act(state, obs)  # noqa: E731
        return evaluation.episode_returns(key, player.environment, policy, num_episodes)

    keys = jax.random.split(jax.random.key(seed), len(trained.seeds))
    return np.asarray(jax.jit(jax.vmap(of_policy))(keys, trained.state), np.float64)


def mean_of(returns: np.ndarray) -> Mean:
    """The mean over policies [S] of the mean over episodes, of returns [S, E].

    The policies are what is asked about, so only the episodes are left to chance.
    """
    return _interval(float(returns.mean()), _variance(returns))


def difference(ours: np.ndarray, theirs: np.ndarray) -> Mean:
    """What `theirs` earns more than `ours`, both [S, E], for the same policies."""
    return _interval(float(theirs.mean() - ours.mean()), _variance(ours) + _variance(theirs))


def _variance(returns: np.ndarray) -> float:
    """The variance of the mean over [S, E] when the S policies are given."""
    num_policies, num_episodes = returns.shape
    return float(returns.var(axis=1, ddof=1).sum() / num_episodes / num_policies**2)


def _interval(value: float, variance: float) -> Mean:
    half = _NORMAL_975 * variance**0.5
    return Mean(value, value - half, value + half)


def compare(workdir: pathlib.Path, num_episodes: int, seed: int) -> tuple[str, bool]:
    """What to report of a run, and whether the two environments agree.

    Raises:
        UsageError: there is no such run, or its environment is none of `ENVS`.
    """
    gymnasium()  # missing: said before anything is compiled
    if num_episodes < LEAST_EPISODES:
        raise UsageError(f"--num_episodes must be at least {LEAST_EPISODES}, not {num_episodes}")
    if not 0 <= seed < 2**31:
        raise UsageError(f"--seed must lie in 0 ... 2^31 - 1, not {seed}")
    config, options = playing.read_run(dqn, workdir, {})
    if config.env not in ENVS or config.sticky_actions:
        raise UsageError(
            f"{workdir} has --env={config.env} --sticky_actions={config.sticky_actions:g}; "
            f"Gymnasium has {', '.join(ENVS)}, without sticky actions"
        )
    devices.configure(options)
    player = dqn.play(config)
    trained = playing.load(player, options)
    act = jax.jit(jax.vmap(jax.vmap(player.act, in_axes=(None, 0))))
    ours = in_gymnax(player, trained, seed, num_episodes)
    theirs = in_gymnasium(
        config.env,
        lambda obs: act(trained.state, obs),
        (len(trained.seeds), num_episodes),
        seed,
        config.max_episode_steps,
    )
    return report(config.env, trained, ours, theirs)


def report(
    env: str, trained: playing.Trained, ours: np.ndarray, theirs: np.ndarray
) -> tuple[str, bool]:
    """The table, and whether the interval of the difference holds 0."""
    num_policies, num_episodes = ours.shape
    lines = [
        f"{env}, {num_policies} policies after {trained.step} updates, {num_episodes} episodes "
        "of each",
        "",
        f"  {'seed':>6}{'gymnax':>12}{'Gymnasium':>12}",
    ]
    for seed, mine, other in zip(trained.seeds, ours, theirs, strict=True):
        lines.append(f"  {seed:>6}{mine.mean():>12.2f}{other.mean():>12.2f}")
    gap = difference(ours, theirs)
    agree = gap.low <= 0.0 <= gap.high
    lines.append("")
    for words, mean in (
        ("gymnax", mean_of(ours)),
        ("Gymnasium", mean_of(theirs)),
        ("difference", gap),
    ):
        interval = f"95 % interval {mean.low:.2f} to {mean.high:.2f}"
        lines.append(f"  {words:12}{mean.value:>9.2f}   {interval}")
    lines += ["", "AGREE" if agree else "DIFFER: the interval of the difference does not hold 0"]
    return "\n".join(lines), agree


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code."""
    flags.DEFINE_string("workdir", None, "directory of a run of experiments.dqn")
    flags.DEFINE_integer("num_episodes", LEAST_EPISODES, "E, episodes of each policy")
    flags.DEFINE_integer("seed", 0, "seed of the episodes")
    if {"--help", "-help", "-h"} & set(argv[1:]):
        print(__doc__)
        print(flags.FLAGS.main_module_help())
        return 0
    try:
        rest = flags.FLAGS(argv)[1:]
        if rest or not flags.FLAGS.workdir:
            raise UsageError("give --workdir=DIR of a run of experiments.dqn, and nothing else")
        words, agree = compare(
            pathlib.Path(flags.FLAGS.workdir), flags.FLAGS.num_episodes, flags.FLAGS.seed
        )
    except (UsageError, flags.Error) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(words)
    return 0 if agree else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv))
