"""What the experiments on bandits share: from policies to curves over time, part by part.

In these experiments --steps is the horizon T, the pulls of a run, and --num_runs how many runs each
seed averages over: a seed is one repetition of the whole simulation. Nothing is trained, so
--eval_every and --checkpoint_every have no meaning; checkpoints come with --checkpoint_seconds.
"""

import functools
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dl_lectures.bandits import simulate
from dl_lectures.bandits.policies import Policy
from dl_lectures.bandits.rewards import Bandit
from dl_lectures.bandits.simulate import Summary
from dl_lectures.errors import UsageError
from dl_lectures.reporting import results
from dl_lectures.reporting.results import Results
from dl_lectures.training import blocks, devices, metrics, trainer
from dl_lectures.training.options import Options
from experiments import common

# Policies as figures and reports call them, in English and Japanese.
POLICY_LABELS = {
    "explore": ("only explore", "探索のみ"),
    "commit": ("commit after 100", "各20回試して固定"),
    "greedy": ("greedy", "グリーディ"),
    "epsilon": ("ε-greedy 0.1", "ε-グリーディ 0.1"),
    "weighted_epsilon": ("ε-greedy, step 0.1", "ε-グリーディ,幅0.1"),
    "ucb1": ("UCB1", "UCB1"),
    "moss": ("MOSS", "MOSS"),
    "kl_ucb": ("KL-UCB", "KL-UCB"),
    "bayes_ucb": ("Bayes-UCB", "Bayes-UCB"),
    "thompson": ("Thompson", "トンプソン"),
    "gaussian_thompson": ("Thompson, normal", "トンプソン(正規)"),
    "discounted_ucb": ("discounted UCB", "割引UCB"),
    "sliding_window_ucb": ("window UCB", "窓UCB"),
    "cusum_ucb": ("CUSUM-UCB", "CUSUM-UCB"),
    "discounted_thompson": ("disc. Thompson", "割引トンプソン"),
}

_QUANTILES = (0.1, 0.5, 0.9)


def names_of(config: Any, flag: str, known: Collection[str]) -> list[str]:
    """The names in a field of a configuration, which have commas between; none if it is empty.

    Raises:
      ValueError: a name is unknown, or stands there twice.
    """
    names = [name for name in getattr(config, flag).split(",") if name]
    if not set(names) <= set(known) or len(set(names)) < len(names):
        raise ValueError(f"--{flag}={','.join(names)} must name some of {', '.join(known)}, once")
    return names


class Games(NamedTuple):
    """One sweep: policies of one kind by their labels, on one bandit or each on its own."""

    bandit: Bandit | Sequence[Bandit]
    policies: Mapping[str, Policy]
    num_points: int | None = None  # of the curves; see `simulate.simulate`
    horizon: int | None = None  # None: --steps


def run(
    experiment: str,
    slides: tuple[int, ...],
    options: Options,
    num_runs: int,
    games: Mapping[str, Games],
) -> common.Parts:
    """Simulates the sweeps one after the other; a finished one is only read.

    A part's metrics, one value a seed, are PART/LABEL/regret at the horizon, and PART/LABEL/reward
    and PART/LABEL/optimal of the last tenth of the steps and PART/LABEL/total over all. Its arrays
    are times [C], and reward, optimal, regret and regret_variance, [V, S, C], and quantiles, the
    regret of 10, 50 and 90 % of the runs at tenths of the horizon, [V, S, 10, 3].

    Raises:
      UsageError: a number that makes no simulation.
    """
    return common.run_parts(
        options,
        {
            name: functools.partial(_simulate, experiment, slides, game, num_runs)
            for name, game in games.items()
        },
    )


def _simulate(
    experiment: str, slides: tuple[int, ...], games: Games, num_runs: int, options: Options
) -> Results:
    horizon = games.horizon or options.steps
    begun, folded = [], []

    def drive(step: simulate.Fold, tally: simulate.Tally, num_blocks: int) -> simulate.Tally:
        begun.append(True)
        folded.append(blocks.fold(step, tally, num_blocks, options, f"{horizon}_pulls"))
        return folded[-1].tally

    mesh = devices.make_mesh(options.num_seeds, options.num_devices)
    try:
        summary = simulate.sweep(
            [jax.random.key(options.seed + i) for i in range(options.num_seeds)],
            games.bandit,
            list(games.policies.values()),
            horizon,
            num_runs,
            games.num_points,
            mesh,
            drive,
        )
    except ValueError as error:
        if begun:  # a bug, not a number that the user gave
            raise
        raise UsageError(str(error)) from error
    tally, seconds = folded[0]
    arrays = {
        name: getattr(summary, name).astype(np.float32)
        for name in ("reward", "optimal", "regret", "regret_variance")
    }
    arrays["times"] = summary.times
    arrays["quantiles"] = np.stack([summary.quantile(q) for q in _QUANTILES], -1)
    found = results.make(
        experiment,
        slides,
        options,
        common.finish(options, seconds, tally),
        _metrics(summary, list(games.policies)),
        arrays=arrays,
    )
    _log(summary, list(games.policies), options)
    return found


def _metrics(summary: Summary, labels: Sequence[str]) -> dict[str, np.ndarray]:
    lengths = np.diff(summary.times, prepend=0)
    is_last = summary.times > 0.9 * summary.times[-1]
    found = {}
    for i, label in enumerate(labels):
        found[f"{label}/regret"] = summary.regret[i, :, -1]
        found[f"{label}/total"] = (summary.reward[i] * lengths).sum(-1)
        for name in ("reward", "optimal"):
            values = getattr(summary, name)[i]
            found[f"{label}/{name}"] = np.average(
                values[:, is_last], axis=-1, weights=lengths[is_last]
            )
    return found


def _log(summary: Summary, labels: Sequence[str], options: Options) -> None:
    """Writes the curves as lines of metrics.jsonl, one at most every --log_every steps."""
    seeds = np.arange(options.seed, options.seed + options.num_seeds)
    workdir = pathlib.Path(options.workdir)
    with metrics.open_log(workdir, 0, options.tensorboard, trainer.is_primary()) as log:
        last = 0
        for point, t in enumerate(summary.times):
            if t - last < options.log_every and t < summary.times[-1]:
                continue
            last = t
            values = {
                f"{label}/{name}": getattr(summary, name)[i, :, point]
                for i, label in enumerate(labels)
                for name in ("reward", "optimal", "regret")
            }
            log.write(int(t), seeds, values)
        log.sync()
