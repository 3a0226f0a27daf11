"""What deep Q-learning stands on: replay, a target network, time limits; and what adds (slide 23).

    python -m experiments.dqn_ablations --preset=quick --workdir=runs/dqn_ablations

Learning a value function from trial and error by a deep net works because of a few inventions. Each
run here lacks one, or has one of Rainbow's: without replay (the net learns from what was just
collected alone), without a target network (it moves with every update), with time limits taken for
deaths; double, dueling, n_step, prioritized, c51, qr, noisy, munchausen, and six together. All else
is the same, step sizes included, so that this is no race of tuned algorithms.

Two more runs, `short` and `short_is_death`, learn from episodes that are cut after `short_limit`
steps, and are judged on whole ones: what is learned from cut episodes is right where a cut
bootstraps (Pardo et al., 2018, arXiv:1712.00378).

The pole may stand for 200 steps, as in CartPole-v0. A run's return is the mean over all its
evaluations, so that who learns sooner has more, and a difference is taken seed by seed.

quick: 33,000 environment steps, 16 seeds, 15 runs. Mean return 186 of 200 for DQN, 106 without
replay, 113 without a target network. Time limits taken for deaths cost no return on CartPole, where
the claim that they do fails: cut after 50 steps, 161 against 157, although the values of what is
replayed are 43 instead of 113 (a pole that stands for ever is worth 100); the order of actions
survives. 3 steps (+7) and priorities (+5) help; double, dueling and Munchausen make no difference
that shows; c51 (-15), noisy nets (-13), quantiles (-42) and all six together (-22) learn later than
DQN in so short a run with DQN's step sizes, so that the claim for Rainbow fails, too.

How it was set up: in a pilot (seeds 100 to 107, a limit of 500 steps, the target moved every 100
updates) a target network was worth nothing (return 241 with it, 252 without) and replay 80. The
limit, the target's period, the length and the statistic were then changed, a second pilot with the
same seeds gave differences of 94 and 98, and after it the thresholds were set, before seeds 0 to 15
were run. So that a target network matters holds for this setting, not for any.
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import intervals, plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.rl import dqn
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (23,)

_C51 = {"distribution": "c51", "value_min": 0.0, "value_max": 100.0}
# What differs from plain DQN, by the name of the run.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "no_replay": {"replay": False},
    "no_target": {"target_every": 1},
    "death": {"time_limit_is_death": True},
    "double": {"double": True},
    "dueling": {"dueling": True},
    "n_step": {"n_step": 3},
    "prioritized": {"prioritized": True},
    "c51": _C51,
    "qr": {"distribution": "qr"},
    "noisy": {"noisy": True},
    "munchausen": {"munchausen": True},
    "rainbow": {
        "double": True,
        "dueling": True,
        "n_step": 3,
        "prioritized": True,
        "noisy": True,
        **_C51,
    },
    "short": {},
    "short_is_death": {"time_limit_is_death": True},
}
_ABLATIONS = ("no_replay", "no_target", "death")
_SHORT = ("short", "short_is_death")
_LABELS = {
    "plain": ("DQN", "DQN"),
    "no_replay": ("no replay", "リプレイなし"),
    "no_target": ("no target network", "標的ネットなし"),
    "death": ("time limit = death", "時間切れ=死"),
    "double": ("double", "double"),
    "dueling": ("dueling", "dueling"),
    "n_step": ("3 steps", "3ステップ"),
    "prioritized": ("prioritised", "優先度つき"),
    "c51": ("C51", "C51"),
    "qr": ("quantiles", "分位点(QR)"),
    "noisy": ("noisy nets", "ノイズ層"),
    "munchausen": ("Munchausen", "Munchausen"),
    "rainbow": ("Rainbow", "Rainbow"),
    "short": ("cut episodes", "打ち切り"),
    "short_is_death": ("cut = death", "打ち切り=死"),
}


@dataclasses.dataclass(frozen=True)
class Config(dqn.Config):
    """DQN, which each run changes in its own way."""

    runs: Annotated[str, f"which, of {', '.join(CHANGES)}; commas between"] = ",".join(CHANGES)
    short_limit: Annotated[int, "steps after which training cuts episodes of the short runs"] = 50

    def __post_init__(self):
        super().__post_init__()
        names = self.runs.split(",")
        for name in names:
            if name not in CHANGES:
                raise ValueError(f"--runs: {name!r} is none of {', '.join(CHANGES)}")
        if len(set(names)) < len(names):
            raise ValueError(f"--runs={self.runs} names one twice")
        if self.short_limit < 1:
            raise ValueError(f"--short_limit={self.short_limit} must be at least 1.")


_TUNED = Config(
    max_episode_steps=200,
    num_envs=4,
    hidden_sizes="64,64",
    capacity=50_000,
    prefill=1_000,
    batch_size=32,
    learning_rate=1e-3,
    learning_rate_end=1e-4,
    decay_steps=8_000,
    target_every=50,
    epsilon_steps=10_000,
    num_atoms=21,
    num_eval_episodes=8,
)

PRESETS = {
    "smoke": common.Preset(
        dataclasses.replace(
            _TUNED,
            runs="plain,no_replay,short",
            hidden_sizes="8",
            capacity=500,
            prefill=100,
            batch_size=8,
            decay_steps=100,
            num_eval_episodes=2,
        ),
        num_seeds=2,
        steps=100,
        log_every=25,
        eval_every=25,
        checkpoint_every=50,
    ),
    "quick": common.Preset(
        _TUNED,
        num_seeds=16,
        steps=8_000,
        log_every=500,
        eval_every=500,
        checkpoint_every=4_000,
    ),
    "full": common.Preset(
        dataclasses.replace(
            _TUNED, hidden_sizes="120,84", batch_size=64, decay_steps=50_000, num_atoms=51
        ),
        num_seeds=64,
        steps=50_000,
        log_every=2_500,
        eval_every=2_500,
        checkpoint_every=10_000,
    ),
}


def config_of(config: Config, name: str) -> dqn.Config:
    """The settings of a run."""
    changes = dict(CHANGES[name])
    if name in _SHORT:
        changes["max_episode_steps"] = config.short_limit
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(dqn.Config)}
    return dqn.Config(**(fields | changes))


def run(config: Config, options: Options) -> Results:
    """Trains each of the runs."""
    names = config.runs.split(",")
    parts = common.run_parts(
        options, {name: functools.partial(_run_one, config, name) for name in names}
    )
    return results.make(
        "dqn_ablations",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={"env": config.env, "runs": names, "short_limit": config.short_limit},
        arrays={
            f"{name}/{array}": part.arrays[array]
            for name, part in parts.found.items()
            for array in ("env_steps", "greedy_return")
        },
    )


def _run_one(config: Config, name: str, options: Options) -> Results:
    mine = config_of(config, name)
    learner = dqn.make(mine)
    if name in _SHORT:  # judged on whole episodes
        whole = dqn.make(dataclasses.replace(mine, max_episode_steps=config.max_episode_steps))
        learner = learner._replace(evaluate=whole.evaluate)
    common.check_memory(learner, options)
    # An update is too small to be split over devices.
    trained = trainer.train(learner, options, shard_batch=False)
    curves = results.read_curves(options.workdir)
    curve = curves["eval/greedy_return"]
    return results.make(
        "dqn_ablations",
        SLIDES,
        options,
        trained,
        {
            "mean_return": curve.values.mean(0),
            "greedy_return": trained.evaluation["greedy_return"],
            "value": curves["q_value"].values[-1],  # of the last minibatches
        },
        arrays={"env_steps": mine.env_steps(curve.steps), "greedy_return": curve.values},
    )


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the presets were run; they suppose returns up to 200."""
    short = found.extra["short_limit"]
    table = [
        (
            *("dqn_needs_replay", "mean_return", "plain", "no_replay", 30.0),
            "Learning from old experience again is what makes it work: without replay return is "
            "lost.",
            "過去の経験を繰り返し学ぶことが要:リプレイなしでは収益が失われる。",
        ),
        (
            *("dqn_needs_target_network", "mean_return", "plain", "no_target", 30.0),
            "A target that stands still for a while makes it stable: without a target network "
            "return is lost.",
            "しばらく動かない標的で安定する:標的ネットなしでは収益が失われる。",
        ),
        (
            *("time_limit_is_no_death_values", "value", "short", "short_is_death", 20.0),
            f"Who takes a time limit ({short} steps) for a death learns other values: those of "
            "standing poles are too low.",
            f"時間切れ({short}ステップ)を死とみなすと別の価値を学ぶ:立つ棒の価値が低すぎる。",
        ),
        (
            *("time_limit_is_no_death_returns", "mean_return", "short", "short_is_death", 10.0),
            "And acts worse in whole episodes.",
            "そして全長のエピソードでの行動も悪くなる。",
        ),
        (
            *("rainbow_beats_dqn", "mean_return", "rainbow", "plain", 0.0),
            "Six improvements together earn more than DQN, untuned.",
            "6つの改良を合わせると,調整なしでもDQNより多く稼ぐ。",
        ),
    ]
    words = {"mean_return": "mean greedy return", "value": "mean value of replayed actions"}
    return tuple(
        claims_lib.at_least(
            id=claim_id,
            slides=SLIDES,
            statement_en=statement_en,
            statement_ja=statement_ja,
            statistic=f"{words[metric]} on {found.extra['env']}, {better} less {worse}",
            per_seed=found.per_seed(f"{better}/{metric}") - found.per_seed(f"{worse}/{metric}"),
            threshold=threshold,
        )
        for claim_id, metric, better, worse, threshold, statement_en, statement_ja in table
        if {better, worse} <= set(found.extra["runs"])
    )


def _earned(found: Results, name: str) -> np.ndarray:
    return found.per_seed(f"{name}/mean_return")


def figure(found: Results) -> Any:
    """Curves of what lacks something; the return of every run with its interval."""
    figure, (left, right) = plotting.subplots(1, 2, width_ratios=[3, 2])
    names = found.extra["runs"]
    for name in names:
        if name == "plain" or name in _ABLATIONS:
            arrays = (found.arrays[f"{name}/{x}"] for x in ("env_steps", "greedy_return"))
            plotting.band(left, *arrays, plotting.text(*_LABELS[name]))
    env = found.extra["env"]
    left.set_xlim(left=0)
    left.set_ylim(0, 1.3 * left.get_ylim()[1])  # room for the legend
    left.set_xlabel(plotting.text("environment steps", "環境のステップ数"))
    left.set_ylabel(plotting.text("return of an episode", "1エピソードの収益"))
    left.set_title(plotting.text(f"{env}: what it stands on", f"{env}:何に支えられるか"))
    left.legend(loc="upper center", ncols=2)

    for row, name in enumerate(names):
        metric = intervals.summarise(_earned(found, name))
        low, high = metric.ci95 if metric.ci95[0] is not None else (metric.mean, metric.mean)
        right.plot([low, high], [row, row], color=plotting.BLACK, linewidth=2)
        right.plot([metric.mean], [row], "o", color=plotting.BLACK)
    if "plain" in names:
        right.axvline(_earned(found, "plain").mean(), color=plotting.BLACK, linestyle="--")
    right.set_yticks(range(len(names)), [plotting.text(*_LABELS[name]) for name in names])
    right.invert_yaxis()
    right.set_xlim(left=0)
    right.set_xlabel(plotting.text("mean return", "収益の平均"))
    right.set_title(plotting.text("each change", "変更ごと"))
    plotting.caption(
        figure,
        plotting.text(
            "Right: means and their 95 % intervals; dashed: DQN.",
            "右:平均とその95%区間,破線:DQN",
        ),
    )
    return figure


def report(found: Results) -> str:
    """The mean return of every run, and its difference from plain DQN's."""
    lines = [f"{found.extra['env']}: greedy return, mean over all evaluations"]
    for name in found.extra["runs"]:
        earned = _earned(found, name)
        words = f"  {name:<16}{earned.mean():8.1f}"
        if "plain" in found.extra["runs"] and name != "plain":
            difference = intervals.summarise(earned - _earned(found, "plain"))
            words += f"   {difference.mean:+8.1f} to plain"
            if difference.ci95[0] is not None:
                words += f" (95 % {difference.ci95[0]:+.1f} to {difference.ci95[1]:+.1f})"
        lines.append(words)
    lines += [
        "",
        "next: python -m experiments.dqn --preset=rainbow --workdir=runs/rainbow",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
