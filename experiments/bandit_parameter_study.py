"""How much to explore: each policy against its parameter (slide 21).

    python -m experiments.bandit_parameter_study --preset=quick

On the 10-armed testbed of Sutton & Barto (Reinforcement Learning, 2nd edition, 2018, chapter 2) it
makes the book's figures 2.2 to 2.6 again. And it asks how many first pulls an arm deserves: the
regret of explore-then-commit against their number, for two arms that differ much or little.

quick: 16,000 runs of each of 57 policies, 20 seconds on 2 cores (half as long again to compile).
Rewards and shares over the last 100 of 1,000 steps are within 0.02 of another program's: greedy
1.033 and 36 %, epsilon 0.1 1.367 and 80 %, UCB 1.489 and 86 %. Of arms that differ by 1, 0.3 and
0.1 the best numbers of first pulls are 13, 80 and 125; whatever number is taken, on one of these
problems it costs 1.7 times the least regret.
The gradient bandit's baseline is the average of the rewards before, as the text of the book says;
its own figure 2.5 has that of this step in it (`policies.gradient`), and looks better for it.
"""

import dataclasses
import sys
from typing import Annotated, Any

import numpy as np

from dl_lectures.bandits import policies, rewards, ucb
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import bandit_runs, common

SLIDES = (21,)


@dataclasses.dataclass(frozen=True)
class Config:
    """How many runs, and the problems of explore-then-commit."""

    num_runs: Annotated[int, "runs that a seed averages over"] = 2_000
    gaps: Annotated[str, "differences between two normal arms, commas between"] = "1,0.3,0.1"

    def __post_init__(self):
        if self.num_runs < 1:
            raise ValueError(f"--num_runs must be at least 1, not {self.num_runs}")
        gaps_of(self)


def gaps_of(config: Config) -> list[float]:
    """The differences of --gaps, the greatest first.

    Raises:
      ValueError: they are no positive numbers, or fewer than two.
    """
    gaps = sorted(set(common.numbers_of(config, "gaps", float)), reverse=True)
    if len(gaps) < 2 or not gaps[-1] > 0:
        raise ValueError(f"--gaps needs two positive numbers or more, not {config.gaps!r}")
    return gaps


PRESETS = {
    "smoke": common.Preset(
        Config(num_runs=200),
        num_seeds=2,
        steps=200,
        log_every=50,
        eval_every=200,
        checkpoint_every=200,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=8,
        steps=1_000,
        log_every=100,
        eval_every=1_000,
        checkpoint_every=1_000,
    ),
    "full": common.Preset(
        Config(num_runs=20_000),
        num_seeds=16,
        steps=1_000,
        log_every=100,
        eval_every=1_000,
        checkpoint_every=1_000,
    ),
}

# Figure 2.6: exponents of two, of the book's axis.
_STUDY = {
    "epsilon": (policies.epsilon_greedy, range(-7, -1)),
    "gradient": (lambda x: policies.gradient(x, "before"), range(-5, 3)),
    "ucb": (ucb.ucb1, range(-4, 3)),
    "optimistic": (policies.optimistic, range(-2, 3)),
}

# Sutton & Barto print curves. These are the average reward and the share of optimal pulls over
# steps 901 to 1,000 by another program, in NumPy, with 10,000 runs each.
REFERENCE = {
    "2.2": {
        "averages/0": (1.030, 0.360),
        "averages/0.01": (1.305, 0.592),
        "averages/0.1": (1.369, 0.799),
    },
    "2.3": {"weighted/optimistic": (1.503, 0.858), "weighted/0.1": (1.352, 0.758)},
    "2.4": {"ucb/2": (1.489, 0.858), "averages/0.1": (1.369, 0.799)},
    "2.5": {
        "gradient/0.1 before": (None, 0.839),
        "gradient/0.4 before": (None, 0.663),
        "gradient/0.1 none": (None, 0.497),
        "gradient/0.4 none": (None, 0.286),
    },
}


def games(config: Config, horizon: int) -> dict[str, bandit_runs.Games]:
    """All sweeps of the experiment, by name."""
    testbed = rewards.gaussian_testbed()
    found = {
        "averages": bandit_runs.Games(
            testbed,
            {f"{epsilon:g}": policies.epsilon_greedy(epsilon) for epsilon in (0.0, 0.01, 0.1)},
            horizon,
        ),
        "weighted": bandit_runs.Games(
            testbed,
            {"optimistic": policies.optimistic(), "0.1": policies.epsilon_greedy(0.1, 0.1)},
            horizon,
        ),
        "ucb": bandit_runs.Games(testbed, {"2": ucb.ucb1(2.0)}, horizon),
        "gradient": bandit_runs.Games(
            rewards.gaussian_testbed(mean=4.0),
            {
                f"{step_size:g} {baseline}": policies.gradient(step_size, baseline)
                for baseline in ("before", "none")
                for step_size in (0.1, 0.4)
            },
            horizon,
        ),
    }
    for name, (policy, exponents) in _STUDY.items():
        found[f"study_{name}"] = bandit_runs.Games(
            testbed, {f"2^{exponent}": policy(2.0**exponent) for exponent in exponents}, 1
        )
    for gap in gaps_of(config):
        pulls = [m for m in num_pulls() if 2 * m <= horizon]
        found[f"commit_{gap:g}"] = bandit_runs.Games(
            rewards.gaussian([0.0, -gap]),
            {str(m): policies.explore_then_commit(m) for m in pulls},
            1,
        )
    return found


def num_pulls() -> list[int]:
    """First pulls of each arm that explore-then-commit is tried with."""
    return [1, 2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 320, 500]


def run(config: Config, options: Options) -> Results:
    """Simulates all sweeps."""
    sweeps = games(config, options.steps)
    parts = bandit_runs.run("bandit_parameter_study", SLIDES, options, config.num_runs, sweeps)
    arrays = {
        f"{name}/{curve}": parts.found[name].arrays[curve]
        for name in ("averages", "weighted", "ucb", "gradient")
        for curve in ("times", "reward", "optimal")
    }
    return results.make(
        "bandit_parameter_study",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={
            "gaps": gaps_of(config),
            "num_runs": config.num_runs,
            "labels": {name: list(sweep.policies) for name, sweep in sweeps.items()},
        },
        arrays=arrays,
    )


def study(found: Results, name: str) -> np.ndarray:
    """Average reward over all steps of each value of a parameter, [V, S]."""
    labels = found.extra["labels"][f"study_{name}"]
    return np.stack([found.per_seed(f"study_{name}/{label}/total") for label in labels]) / (
        found.steps
    )


def commit(found: Results, gap: float) -> np.ndarray:
    """Regret of explore-then-commit for each number of first pulls, [M, S]."""
    name = f"commit_{gap:g}"
    return np.stack([found.per_seed(f"{name}/{m}/regret") for m in found.extra["labels"][name]])


def _deviation(found: Results, number: str) -> np.ndarray:
    """The greatest deviation from the reference of a figure, [S]: shares and rewards alike."""
    deviations = []
    for name, (reward, optimal) in REFERENCE[number].items():
        deviations.append(abs(found.per_seed(f"{name}/optimal") - optimal))
        if reward is not None:
            deviations.append(abs(found.per_seed(f"{name}/reward") - reward))
    return np.max(deviations, axis=0)


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the first run."""

    def difference(better: str, worse: str, metric: str) -> np.ndarray:
        return found.per_seed(f"{better}/{metric}") - found.per_seed(f"{worse}/{metric}")

    made = [
        claims_lib.at_least(
            id="exploring_pays",
            slides=SLIDES,
            statement_en="Who only exploits stays behind: exploring in a tenth of the pulls earns "
            "more than greed (figure 2.2).",
            statement_ja="活用だけでは伸び悩む:10回に1回探索するほうが多く稼ぐ(図2.2)。",
            statistic="mean reward of the last tenth, epsilon 0.1 - greedy",
            per_seed=difference("averages/0.1", "averages/0", "reward"),
            threshold=0.2,
        ),
        claims_lib.at_least(
            id="optimism_pays",
            slides=SLIDES,
            statement_en="Optimistic initial values explore by themselves (figure 2.3).",
            statement_ja="楽観的な初期値は,それだけで探索を促す(図2.3)。",
            statistic="share of optimal pulls in the last tenth, optimistic - epsilon 0.1, both "
            "with step size 0.1",
            per_seed=difference("weighted/optimistic", "weighted/0.1", "optimal"),
            threshold=0.05,
        ),
        claims_lib.at_least(
            id="uncertainty_guides",
            slides=SLIDES,
            statement_en="To explore where one is uncertain beats exploring anywhere (figure 2.4).",
            statement_ja="不確かな腕を選ぶ探索は,でたらめな探索に勝る(図2.4)。",
            statistic="mean reward of the last tenth, UCB c = 2 - epsilon 0.1",
            per_seed=difference("ucb/2", "averages/0.1", "reward"),
            threshold=0.05,
        ),
        claims_lib.at_least(
            id="baseline_matters",
            slides=SLIDES,
            statement_en="Without a baseline a gradient bandit is lost where rewards are far from "
            "0 (figure 2.5).",
            statement_ja="報酬が0から遠いと,基準値のない勾配バンディットは学べない(図2.5)。",
            statistic="share of optimal pulls in the last tenth at step size 0.1, with baseline - "
            "without",
            per_seed=difference("gradient/0.1 before", "gradient/0.1 none", "optimal"),
            threshold=0.2,
        ),
    ]
    for number in REFERENCE:
        made.append(
            claims_lib.at_most(
                id=f"figure_{number.replace('.', '_')}",
                slides=SLIDES,
                statement_en=f"Figure {number} of Sutton & Barto comes out as another program "
                "has it.",
                statement_ja=f"Sutton & Bartoの図{number}が,別のプログラムの値どおりに再現される。",
                statistic="greatest deviation of rewards and shares in the last tenth, of a seed",
                per_seed=_deviation(found, number),
                threshold=0.04,
            )
        )
    edges = []
    for name in _STUDY:
        by_value = study(found, name)
        best = by_value.mean(1).argmax()
        edges.append(by_value[best] - np.maximum(by_value[0], by_value[-1]))
    made.append(
        claims_lib.at_least(
            id="neither_extreme",
            slides=SLIDES,
            statement_en="There is a right amount of exploring: for each policy of figure 2.6 a "
            "value inside the range beats both ends.",
            statement_ja="探索には適量がある:図2.6のどの方策でも,中間の値が両端に勝る。",
            statistic="mean reward at the best value - at the better end, of the policy with the "
            "least such difference",
            per_seed=np.min(edges, axis=0),
            threshold=0.02,
        )
    )
    ratios = np.stack(
        [commit(found, gap) / commit(found, gap).mean(1).min() for gap in found.extra["gaps"]]
    )  # [gaps, M, S]
    made.append(
        claims_lib.at_least(
            id="no_number_is_best",
            slides=SLIDES,
            statement_en="No number of first pulls suits all problems: the most cautious choice "
            "still pays far more than needed on one of them.",
            statement_ja="どの問題にも合う「最初の試行回数」はない:最も無難な回数でも,"
            "どれかの問題では余計に損をする。",
            statistic="regret / least regret of the problem, on the worst problem, at the number "
            "of pulls for which this is least",
            per_seed=ratios[:, ratios.mean(2).max(0).argmin()].max(0),
            threshold=1.5,
        )
    )
    return tuple(made)


_LABELS = {
    "epsilon": ("ε-greedy, ε", "ε-グリーディ ε"),
    "gradient": ("gradient, step size", "勾配 ステップ幅"),
    "ucb": ("UCB, c", "UCB c"),
    "optimistic": ("optimistic, Q₁", "楽観的初期値 Q₁"),
}


def figure(found: Results) -> Any:
    """Figures 2.2 to 2.4, 2.5 and 2.6, and explore-then-commit."""
    figure, axes = plotting.subplots(2, 2)
    _draw_curves(axes[0, 0], found)
    _draw_gradient(axes[0, 1], found)
    _draw_study(axes[1, 0], found)
    _draw_commit(axes[1, 1], found)
    runs = found.extra["num_runs"] * found.num_seeds
    plotting.caption(
        figure,
        plotting.text(f"Means of {runs:,} runs each.", f"それぞれ{runs:,}回の実行の平均"),
    )
    return figure


def _draw_curves(ax: Any, found: Results) -> None:
    """The share of optimal pulls over time."""
    for name, label, color, words in (
        ("averages", "0", plotting.ORANGE, plotting.text("greedy", "グリーディ")),
        ("averages", "0.01", plotting.SKY, "ε = 0.01"),
        ("averages", "0.1", plotting.BLUE, "ε = 0.1"),
        ("weighted", "optimistic", plotting.PURPLE, plotting.text("optimistic", "楽観的")),
        ("ucb", "2", plotting.GREEN, "UCB c = 2"),
    ):
        row = found.extra["labels"][name].index(label)
        shares = 100 * found.arrays[f"{name}/optimal"][row].mean(0)
        ax.plot(found.arrays[f"{name}/times"], shares, color=color, label=words)
    ax.set_title(plotting.text("S&B figures 2.2 to 2.4", "S&B 図2.2–2.4"))
    ax.set_ylabel(plotting.text("best arm, %", "最適な腕 %"))
    ax.set_xlabel(plotting.text("pulls", "試行回数"))
    ax.set_xlim(0, found.steps)
    _legend_above(ax)


def _legend_above(ax: Any) -> None:
    """A legend above shares, in percent."""
    ax.set_ylim(0, 155)
    ax.set_yticks([0, 25, 50, 75, 100])
    ax.legend(loc="upper center", ncols=3, borderaxespad=0.1, columnspacing=1, handlelength=1.2)


def _draw_gradient(ax: Any, found: Results) -> None:
    """Gradient bandits with and without a baseline."""
    for label, color, style, words in (
        ("0.1 before", plotting.BLUE, "-", plotting.text("baseline, 0.1", "基準あり 0.1")),
        ("0.4 before", plotting.SKY, "-", plotting.text("baseline, 0.4", "基準あり 0.4")),
        ("0.1 none", plotting.VERMILION, "--", plotting.text("none, 0.1", "基準なし 0.1")),
        ("0.4 none", plotting.ORANGE, "--", plotting.text("none, 0.4", "基準なし 0.4")),
    ):
        row = found.extra["labels"]["gradient"].index(label)
        shares = 100 * found.arrays["gradient/optimal"][row].mean(0)
        ax.plot(found.arrays["gradient/times"], shares, style, color=color, label=words)
    ax.set_title(plotting.text("2.5: gradient bandits", "図2.5 勾配バンディット"))
    ax.set_xlabel(plotting.text("pulls", "試行回数"))
    ax.set_xlim(0, found.steps)
    _legend_above(ax)


def _draw_study(ax: Any, found: Results) -> None:
    """The average reward against each policy's parameter."""
    for (name, (_, exponents)), color in zip(
        _STUDY.items(),
        (plotting.BLUE, plotting.VERMILION, plotting.GREEN, plotting.PURPLE),
        strict=True,
    ):
        words = plotting.text(*_LABELS[name])
        plotting.means(ax, [2.0**k for k in exponents], study(found, name), words, color)
    ax.set_xscale("log", base=2)
    ax.set_title(plotting.text("2.6: how much to explore", "図2.6 どれだけ探索するか"))
    ax.set_xlabel(plotting.text("parameter", "パラメータ"))
    ax.set_ylabel(plotting.text("mean reward", "平均報酬"))
    ax.legend(loc="lower center", borderaxespad=0.1, handlelength=1.2, ncols=2, columnspacing=1)
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.6 * (high - low), high)


def _draw_commit(ax: Any, found: Results) -> None:
    """The regret of explore-then-commit against the number of first pulls."""
    for gap, color in zip(found.extra["gaps"], plotting.COLOURS, strict=False):
        pulls = [int(m) for m in found.extra["labels"][f"commit_{gap:g}"]]
        by_pulls = commit(found, gap)
        words = plotting.text(f"gap {gap:g}", f"差 {gap:g}")
        plotting.means(ax, pulls, by_pulls, words, color)
        best = by_pulls.mean(1).argmin()
        ax.plot(pulls[best], by_pulls.mean(1)[best], "v", color=color, markersize=14, clip_on=False)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_title(plotting.text("First pulls, then commit: ▼ best", "最初の試行回数(▼最良)"))
    ax.set_xlabel(plotting.text("first pulls of each arm", "各腕の最初の試行回数"))
    ax.set_ylabel(plotting.text("regret", "リグレット"))
    ax.legend(loc="upper center", borderaxespad=0.1, handlelength=1.2, ncols=3, columnspacing=1)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.15)


def report(found: Results) -> str:
    """The table that a run prints."""
    lines = ["last tenth of the steps    reward   optimal   another program"]
    for number, figure_rows in REFERENCE.items():
        for name, (reward, optimal) in figure_rows.items():
            mine = found.per_seed(f"{name}/reward").mean(), found.per_seed(f"{name}/optimal").mean()
            there = f"{'' if reward is None else f'{reward:.3f}':>6s}  {100 * optimal:5.1f} %"
            lines.append(f"{number} {name:22s} {mine[0]:7.3f}   {100 * mine[1]:5.1f} %   {there}")
    for gap in found.extra["gaps"]:
        regrets = commit(found, gap).mean(1)
        best = found.extra["labels"][f"commit_{gap:g}"][regrets.argmin()]
        lines.append(f"gap {gap:g}: {best} first pulls are best, regret {regrets.min():.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
