"""When the odds change, whoever has concentrated too much is ruined (slide 21).

    python -m experiments.bandit_drift --preset=quick

Five coins whose odds change twice: the best becomes the worst, and another takes its place. No
policy is told when, or that they change at all. Beside them the same coins without a change, which
show what it costs to be prepared, and coins that are all exchanged at random moments.

quick: 8,000 runs of each policy, 35 seconds on 2 cores. Who committed to the best of 20 pulls each
earns 0.11 a pull after the first change, who only explores 0.42, discounted Thompson 0.74 of 0.8.
Regret on coins that stay and change: Thompson 20 and 514, discounted Thompson 194 and 239, UCB1 107
and 154: it never grows sure enough to be ruined, so that the claim that who forgets loses less than
who trusts all data fails. Discounted UCB explores too much with the constants of its paper.
Where policies forget, how fast is their one number, a memory of a hundred or two hundred pulls. It
was not tuned to these changes.
"""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from dl_lectures.bandits import changing, policies, rewards, thompson, ucb
from dl_lectures.bandits.policies import Policy
from dl_lectures.errors import UsageError
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import bandit_runs, common
from experiments.bandit_runs import POLICY_LABELS

SLIDES = (21,)
ODDS = (  # of each third of the steps
    (0.8, 0.5, 0.4, 0.3, 0.2),
    (0.1, 0.5, 0.4, 0.3, 0.8),
    (0.4, 0.8, 0.5, 0.3, 0.1),
)


# Those that trust all they have seen, then those that forget.
STEADY = {
    "commit": lambda: policies.explore_then_commit(20),
    "epsilon": lambda: policies.epsilon_greedy(0.1),
    "ucb1": ucb.ucb1,
    "thompson": thompson.thompson,
}
FORGETFUL = {
    "weighted_epsilon": lambda: policies.epsilon_greedy(0.1, 0.1),
    "discounted_ucb": lambda: changing.discounted_ucb(0.995),
    "sliding_window_ucb": lambda: changing.sliding_window_ucb(200),
    "cusum_ucb": lambda: changing.cusum_ucb(20, tolerance=0.1, threshold=8.0, exploration=0.05),
    "discounted_thompson": lambda: changing.discounted_thompson(0.99),
}
_ALWAYS = ("commit", "discounted_thompson")  # a claim is about them
_CHOICES = [name for name in (*STEADY, *FORGETFUL) if name not in _ALWAYS]


@dataclasses.dataclass(frozen=True)
class Config:
    """Who plays, how many runs, and how often coins are exchanged where that is random."""

    policies: Annotated[
        str,
        f"policies beside {' and '.join(_ALWAYS)}, of {', '.join(_CHOICES)}; may be empty",
    ] = ",".join(_CHOICES)
    num_runs: Annotated[int, "runs that a seed averages over"] = 1_000
    period: Annotated[int, "mean number of pulls between random exchanges"] = 500

    def __post_init__(self):
        bandit_runs.names_of(self, "policies", _CHOICES)
        for flag in ("num_runs", "period"):
            if getattr(self, flag) < 1:
                raise ValueError(f"--{flag} must be at least 1, not {getattr(self, flag)}")


PRESETS = {
    "smoke": common.Preset(
        Config(policies="ucb1", num_runs=100, period=100),
        num_seeds=2,
        steps=300,
        log_every=100,
        eval_every=300,
        checkpoint_every=300,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=8,
        steps=3_000,
        log_every=300,
        eval_every=3_000,
        checkpoint_every=3_000,
    ),
    "full": common.Preset(
        Config(num_runs=5_000, period=1_000),
        num_seeds=16,
        steps=10_000,
        log_every=1_000,
        eval_every=10_000,
        checkpoint_every=10_000,
    ),
}


def chosen_policies(config: Config) -> dict[str, Policy]:
    """The policies that play, by name."""
    names = {*_ALWAYS, *bandit_runs.names_of(config, "policies", _CHOICES)}
    factories = STEADY | FORGETFUL
    return {"explore": policies.explore_only()} | {
        name: make() for name, make in factories.items() if name in names
    }


def run(config: Config, options: Options) -> Results:
    """Simulates every policy on coins that stay, change, and are exchanged."""
    if options.steps < 30:
        raise UsageError(f"--steps must be at least 30 for two changes, not {options.steps}")
    changes = change_times(options.steps)
    coins = [rewards.piecewise(odds, changes) for odds in ((ODDS[0],) * len(ODDS), ODDS)]
    exchanged = rewards.switching(len(ODDS[0]), 1 / config.period)
    players, sweeps = chosen_policies(config), {}
    for name, policy in players.items():
        sweeps[name] = bandit_runs.Games(coins, {"still": policy, "changing": policy}, 90)
        sweeps[f"{name}_exchanged"] = bandit_runs.Games(exchanged, {"exchanged": policy}, 90)
    parts = bandit_runs.run("bandit_drift", SLIDES, options, config.num_runs, sweeps)
    arrays = {f"{name}/reward": parts.found[name].arrays["reward"][1] for name in players}
    arrays["times"] = parts.found["explore"].arrays["times"]
    metrics = {}
    for name in players:
        for part in (parts.found[name], parts.found[f"{name}_exchanged"]):
            metrics |= {f"{name}/{metric}": part.per_seed(metric) for metric in part.metrics}
    return results.make(
        "bandit_drift",
        SLIDES,
        options,
        parts,
        metrics,
        extra={"num_runs": config.num_runs, "changes": changes, "policies": list(players)},
        arrays=arrays,
    )


def change_times(horizon: int) -> list[int]:
    """The steps at which a new period begins."""
    return [horizon * period // len(ODDS) for period in range(1, len(ODDS))]


def in_period(found: Results, name: str, period: int) -> np.ndarray:
    """Mean reward in the second half of a period on coins that change, [S]."""
    times = found.arrays["times"]
    begin, end = (found.steps * p / len(ODDS) for p in (period + 0.5, period + 1))
    return found.arrays[f"{name}/reward"][:, (times > begin) & (times <= end)].mean(1)


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the first run."""

    def least(kind: Mapping[str, Any], problem: str) -> np.ndarray:
        """The regret of the best of these policies: the one whose mean over seeds is least."""
        names = [name for name in found.extra["policies"] if name in kind]
        regrets = np.stack([found.per_seed(f"{name}/{problem}/regret") for name in names])
        return regrets[regrets.mean(1).argmin()]

    explored = found.per_seed("explore/changing/total") / found.steps
    mean = np.mean(ODDS)
    return (
        claims_lib.at_most(
            id="exploring_earns_the_mean",
            slides=SLIDES,
            statement_en="Who only explores earns the average of all coins, whatever changes.",
            statement_ja="探索だけなら,何が変わろうと全体の平均を稼ぐ。",
            statistic="|reward of a pull / mean of the odds - 1|",
            per_seed=abs(explored / mean - 1),
            threshold=0.01,
        ),
        claims_lib.at_most(
            id="concentrating_ruins",
            slides=SLIDES,
            statement_en="Who has concentrated on one machine is ruined when the odds change: it "
            "then earns less than by only exploring.",
            statement_ja="1台に集中した者は,確率が変わると破滅する:探索だけにも及ばない。",
            statistic="mean reward after the first change, commit - only explore",
            per_seed=in_period(found, "commit", 1) - in_period(found, "explore", 1),
            threshold=-0.1,
        ),
        claims_lib.at_least(
            id="forgetting_recovers",
            slides=SLIDES,
            statement_en="Who forgets finds the new best machine after each change.",
            statement_ja="忘れる方策は,変化のたびに新しい最良の台を見つける。",
            statistic="reward late in the second and third period / odds of the best coin, "
            "discounted Thompson, the lesser",
            per_seed=np.min(
                [
                    in_period(found, "discounted_thompson", period) / max(ODDS[period])
                    for period in (1, 2)
                ],
                axis=0,
            ),
            threshold=0.9,
        ),
        claims_lib.at_least(
            id="trusting_all_data_loses",
            slides=SLIDES,
            statement_en="Who trusts all it has seen loses more than who forgets.",
            statement_ja="過去をすべて信じる方策は,忘れる方策より損をする。",
            statistic="regret on coins that change, best policy that trusts all data / best that "
            "forgets",
            per_seed=least(STEADY, "changing") / least(FORGETFUL, "changing"),
            threshold=1.5,
        ),
        claims_lib.at_least(
            id="forgetting_costs",
            slides=SLIDES,
            statement_en="To be prepared costs: where nothing changes, forgetting loses.",
            statement_ja="備えには費用がかかる:何も変わらなければ,忘れるほうが損をする。",
            statistic="regret on coins that stay, best policy that forgets / best that trusts all "
            "data",
            per_seed=least(FORGETFUL, "still") / least(STEADY, "still"),
            threshold=2.0,
        ),
        claims_lib.at_least(
            id="random_exchanges",
            slides=SLIDES,
            statement_en="So it is where all coins are exchanged at random moments.",
            statement_ja="すべての台が不意に入れ替わる場合も同様である。",
            statistic="regret on coins that are exchanged, best policy that trusts all data / best "
            "that forgets",
            per_seed=least(STEADY, "exchanged") / least(FORGETFUL, "exchanged"),
            threshold=1.2,
        ),
    )


_LINES = {
    "explore": plotting.BLACK,
    "commit": plotting.VERMILION,
    "thompson": plotting.ORANGE,
    "ucb1": plotting.PURPLE,
    "sliding_window_ucb": plotting.GREEN,
    "discounted_thompson": plotting.BLUE,
}


def figure(found: Results) -> Any:
    """What is earned over time as the odds change, and the regret with and without a change."""
    figure, axes = plotting.subplots(1, 2, width_ratios=[1.6, 1])
    _draw_rewards(axes[0], found)
    _draw_regrets(axes[1], found)
    runs = found.extra["num_runs"] * found.num_seeds
    plotting.caption(
        figure,
        plotting.text(
            f"Means of {runs:,} runs. No policy knows when the odds change.",
            f"{runs:,}回の実行の平均。どの方策も変化の時刻を知らない",
        ),
    )
    return figure


def _draw_rewards(ax: Any, found: Results) -> None:
    times = found.arrays["times"]
    edges = [0, *found.extra["changes"], found.steps]
    ax.stairs(
        [max(odds) for odds in ODDS],
        edges,
        color="0.5",
        linestyle="--",
        linewidth=2,
        baseline=None,
        label=plotting.text("best coin", "最良の台"),
    )
    for change in found.extra["changes"]:
        ax.axvline(change, color="0.5", linewidth=1)
    for name, color in _LINES.items():
        if name not in found.extra["policies"]:
            continue
        curve = found.arrays[f"{name}/reward"].mean(0)
        ax.plot(times, curve, color=color, label=plotting.text(*POLICY_LABELS[name]))
    ax.set_xlim(0, found.steps)
    ax.set_ylim(0, 1.3)
    ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8])
    ax.set_title(plotting.text("The odds change twice", "当たりの確率が2度変わる"))
    ax.set_xlabel(plotting.text("pulls", "試行回数"))
    ax.set_ylabel(plotting.text("mean reward of a pull", "1回あたりの平均報酬"))
    ax.legend(ncols=2, loc="upper center", borderaxespad=0.1, columnspacing=1, handlelength=1.2)


def _draw_regrets(ax: Any, found: Results) -> None:
    names = sorted(
        found.extra["policies"], key=lambda name: -found.metrics[f"{name}/changing/regret"].mean
    )
    for offset, problem, color, words in (
        (0.2, "changing", plotting.VERMILION, plotting.text("odds change", "変化あり")),
        (-0.2, "still", plotting.SKY, plotting.text("they stay", "変化なし")),
    ):
        values = [found.metrics[f"{name}/{problem}/regret"].mean for name in names]
        ax.barh(np.arange(len(names)) + offset, values, 0.4, color=color, label=words)
    ax.set_yticks(range(len(names)), [plotting.text(*POLICY_LABELS[name]) for name in names])
    ax.grid(False, axis="y")
    ax.set_title(plotting.text("Regret", "リグレット"))
    ax.set_xlabel(plotting.text("rewards lost", "失った報酬"))
    ax.legend(loc="upper right", borderaxespad=0.1)


def report(found: Results) -> str:
    """The table that a run prints."""
    lines = ["regret on coins that    stay    change    are exchanged"]
    for name in found.extra["policies"]:
        values = [
            found.metrics[f"{name}/{problem}/regret"].mean
            for problem in ("still", "changing", "exchanged")
        ]
        lines.append(f"  {name:20s}{values[0]:8.1f}{values[1]:10.1f}{values[2]:10.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
