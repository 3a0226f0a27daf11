"""Machines with hidden odds: what policies lose, on many laws and beside bounds (slides 19-21).

    python -m experiments.bandit_regret --preset=quick

Regret is what a run has earned less than always pulling the best arm would have. Four questions:
what do policies lose on ten coins; do they approach the slope of Lai & Robbins on two coins; how
far are they from the best that any policy can do, by dynamic programming; and do they still work
where pay-outs are not normal: the slide's machines, a mixture, an exponential and a Pareto law?

quick: 16,000 runs of each policy, 40 seconds on 2 cores. Ten coins, regret of 1,000 pulls: greedy
287, epsilon-greedy 73, UCB1 143, MOSS 48, KL-UCB 29, Thompson 24, Bayes-UCB 18. Two coins, growth
of regret over the last decade of 10,000 pulls in units of Lai & Robbins' constant: Thompson 0.7,
Bayes-UCB 1.0, KL-UCB 1.5, UCB1 12; the constant is a limit and no bound at finite times, so that
0.7 is no contradiction. Two coins of random odds, 50 pulls, regret over the least possible:
Bayes-UCB 1.1, KL-UCB 1.3, Thompson 1.6, UCB1 2.6, greedy 3.0.
"""

import dataclasses
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np

from dl_lectures.bandits import bounds, policies, rewards, thompson, ucb
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.training.options import Options
from experiments import bandit_runs, common
from experiments.bandit_runs import POLICY_LABELS

SLIDES = (19, 20, 21)
TWO_COINS = (0.9, 0.8)  # the first problem of Garivier & Cappe (2011, arXiv:1102.2490)
TEN_COINS = tuple(np.linspace(0.05, 0.95, 10).tolist())


COIN_POLICIES = {  # by the horizon; for rewards of 0 or 1
    "ucb1": lambda horizon: ucb.ucb1(),
    "moss": ucb.moss,
    "kl_ucb": lambda horizon: ucb.kl_ucb(),
    "bayes_ucb": lambda horizon: ucb.bayes_ucb(),
    "thompson": lambda horizon: thompson.thompson(),
}

_GREATEST_PAY = max(max(machine) for machine in rewards.SLIDE_MACHINES)
SLIDE = "slide"
LAWS = {  # in units that make the best machine pay about 1
    # Much or nothing; middling; seldom much; two humps.
    "mixture": lambda: rewards.mixture(
        weights=[[0.5, 0.5], [0.9, 0.1], [0.8, 0.2], [0.4, 0.6]],
        lows=[[0.0, 1.0], [0.3, 0.9], [0.0, 1.0], [0.1, 0.8]],
        highs=[[0.0, 1.0], [0.5, 1.0], [0.1, 1.0], [0.2, 1.0]],
    ),
    "exponential": lambda: rewards.exponential([0.2, 0.4, 0.6, 0.8, 1.0]),
    "pareto": lambda: rewards.pareto([0.2, 0.4, 0.6, 0.8, 1.0], 1.5),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """How many runs, and how long those on two coins are."""

    policies: Annotated[
        str, f"policies for coins beside greed and epsilon, of {', '.join(COIN_POLICIES)}"
    ] = ",".join(COIN_POLICIES)
    laws: Annotated[
        str, f"laws beside that of the slide's machines, of {', '.join(LAWS)}; may be empty"
    ] = ",".join(LAWS)
    num_runs: Annotated[int, "runs that a seed averages over"] = 2_000
    long_horizon: Annotated[int, "pulls of a run on two coins, for the slope"] = 10_000
    bayes_horizon: Annotated[int, "pulls of a run beside the Bayes optimum; at most 200"] = 50

    def __post_init__(self):
        bandit_runs.names_of(self, "policies", COIN_POLICIES)
        bandit_runs.names_of(self, "laws", LAWS)
        if self.num_runs < 1:
            raise ValueError(f"--num_runs must be at least 1, not {self.num_runs}")
        if self.long_horizon < 100:
            raise ValueError(f"--long_horizon must be at least 100, not {self.long_horizon}")
        if not 1 <= self.bayes_horizon <= 200:
            raise ValueError(f"--bayes_horizon must lie in 1 ... 200, not {self.bayes_horizon}")


PRESETS = {
    "smoke": common.Preset(
        Config(policies="ucb1", laws="", num_runs=100, long_horizon=500, bayes_horizon=20),
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
        Config(num_runs=20_000, long_horizon=100_000, bayes_horizon=100),
        num_seeds=16,
        steps=10_000,
        log_every=1_000,
        eval_every=10_000,
        checkpoint_every=10_000,
    ),
}


_COLOURS = {
    "greedy": plotting.BLACK,
    "epsilon": plotting.SKY,
    "ucb1": plotting.GREEN,
    "moss": plotting.PURPLE,
    "kl_ucb": plotting.VERMILION,
    "bayes_ucb": plotting.ORANGE,
    "thompson": plotting.BLUE,
    "gaussian_thompson": plotting.BLUE,
}


_LAW_LABELS = {
    "slide": ("slide's", "スライドの台"),
    "mixture": ("mixture", "混合"),
    "exponential": ("exponential", "指数"),
    "pareto": ("Pareto", "パレート"),
}
_LAW_POLICIES = ("greedy", "epsilon", "ucb1", "gaussian_thompson")


def laws(config: Config) -> dict[str, rewards.Bandit]:
    """The machines whose pay-outs are not normal."""
    slide = [[pay / _GREATEST_PAY for pay in machine] for machine in rewards.SLIDE_MACHINES]
    return {SLIDE: rewards.past_payouts(slide)} | {
        law: LAWS[law]() for law in bandit_runs.names_of(config, "laws", LAWS)
    }


def games(config: Config, horizon: int) -> dict[str, bandit_runs.Games]:
    """All sweeps of the experiment, by name."""
    found = {}
    ten, two = rewards.bernoulli(TEN_COINS), rewards.bernoulli(TWO_COINS)
    prior = rewards.bernoulli_prior(2)
    averages = {"greedy": policies.greedy(), "epsilon": policies.epsilon_greedy(0.1)}
    for problem, bandit, length in (
        ("ten", ten, horizon),
        ("two", two, config.long_horizon),
        ("prior", prior, config.bayes_horizon),
    ):
        players = {"averages": averages}
        players |= {
            name: {name: COIN_POLICIES[name](length)}
            for name in bandit_runs.names_of(config, "policies", COIN_POLICIES)
        }
        for name, policy in players.items():
            found[f"{problem}_{name}"] = bandit_runs.Games(bandit, policy, min(length, 200), length)
    for law, bandit in laws(config).items():
        for name, players in (
            ("explore", {"explore": policies.explore_only()}),
            ("averages", averages),
            ("ucb1", {"ucb1": ucb.ucb1()}),
            ("gaussian_thompson", {"gaussian_thompson": thompson.gaussian_thompson()}),
        ):
            found[f"{law}_{name}"] = bandit_runs.Games(bandit, players, min(horizon, 200))
    return found


def run(config: Config, options: Options) -> Results:
    """Simulates all sweeps, and computes the bounds."""
    sweeps = games(config, options.steps)
    parts = bandit_runs.run("bandit_regret", SLIDES, options, config.num_runs, sweeps)
    horizon = config.bayes_horizon
    metrics, arrays = {}, {}
    for name, sweep in sweeps.items():
        problem = name.split("_")[0]
        part = parts.found[name]
        for row, label in enumerate(sweep.policies):
            for metric in ("regret", "total"):
                metrics[f"{problem}/{label}/{metric}"] = part.per_seed(f"{label}/{metric}")
            if problem in ("ten", "two"):
                arrays[f"{problem}/{label}"] = part.arrays["regret"][row]
                arrays[f"{problem}/times"] = part.arrays["times"]
    return results.make(
        "bandit_regret",
        SLIDES,
        options,
        parts,
        metrics,
        extra={
            "policies": ["epsilon", *bandit_runs.names_of(config, "policies", COIN_POLICIES)],
            "laws": list(laws(config)),
            "num_runs": config.num_runs,
            "long_horizon": config.long_horizon,
            "bayes_horizon": horizon,
            "bayes_optimal_regret": bounds.bayes_optimal_regret(2, horizon),
            "lai_robbins": float(bounds.lai_robbins_constant(TWO_COINS, bounds.bernoulli_kl)),
            "slide_mean": float(np.mean([np.mean(m) for m in rewards.SLIDE_MACHINES]))
            / _GREATEST_PAY,
        },
        arrays=arrays,
    )


def slope(found: Results, policy: str) -> np.ndarray:
    """How much regret grows per unit of log t over the last decade, over Lai & Robbins', [S]."""
    times, regret = found.arrays["two/times"], found.arrays[f"two/{policy}"]
    first = np.searchsorted(times, times[-1] / 10)
    growth = regret[:, -1] - regret[:, first]
    return growth / np.log(times[-1] / times[first]) / found.extra["lai_robbins"]


def share(found: Results, law: str, policy: str) -> np.ndarray:
    """Regret of a policy over that of only exploring, [S]."""
    return found.per_seed(f"{law}/{policy}/regret") / found.per_seed(f"{law}/explore/regret")


def above_optimum(found: Results, policy: str) -> np.ndarray:
    """Bayesian regret over that of the best policy there can be, [S]."""
    return found.per_seed(f"prior/{policy}/regret") / found.extra["bayes_optimal_regret"]


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the first run."""
    per_pull = found.per_seed("slide/explore/total") / found.steps
    halves = found.arrays["ten/greedy"]
    middle = np.searchsorted(found.arrays["ten/times"], found.steps / 2)
    coins, laws = found.extra["policies"], found.extra["laws"]
    made = [
        claims_lib.at_most(
            id="exploring_earns_the_mean",
            slides=(21,),
            statement_en="Who only explores earns the average of all machines.",
            statement_ja="探索だけでは,全マシンの平均しか稼げない。",
            statistic="slide's machines, |reward of a pull / mean of the machines - 1|",
            per_seed=abs(per_pull / found.extra["slide_mean"] - 1),
            threshold=0.01,
        ),
        claims_lib.at_least(
            id="greed_loses_for_ever",
            slides=(21,),
            statement_en="Who only exploits keeps losing: regret grows as fast late as early.",
            statement_ja="活用だけでは損をし続ける:リグレットは後半も前半と同じ速さで増える。",
            statistic="ten coins, greedy: regret of the second half / of the first",
            per_seed=(halves[:, -1] - halves[:, middle]) / halves[:, middle],
            threshold=0.8,
        ),
        claims_lib.at_least(
            id="nobody_beats_the_optimum",
            slides=SLIDES,
            statement_en="No policy beats the Bayes optimum of dynamic programming.",
            statement_ja="動的計画法による最適値を上回る方策はない。",
            statistic="two coins with random odds, least regret of all policies - the optimum",
            per_seed=np.min([found.per_seed(f"prior/{name}/regret") for name in coins], axis=0)
            - found.extra["bayes_optimal_regret"],
            threshold=0.0,
        ),
        claims_lib.at_most(
            id="simple_rules_come_close",
            slides=SLIDES,
            statement_en="A simple rule comes close to it.",
            statement_ja="単純な規則でも最適に近い。",
            statistic="least regret of all policies / the optimum",
            per_seed=np.min([above_optimum(found, name) for name in coins], axis=0),
            threshold=1.2,
        ),
        claims_lib.at_most(
            id="laws_need_not_be_normal",
            slides=(19, 20),
            statement_en="Pay-outs need not be normal: a policy made for normal rewards finds the "
            "best machine on other laws, too.",
            statement_ja="報酬は正規分布でなくてよい:正規分布向けの方策でも,他の分布で最良の台を"
            "見つける。",
            statistic="regret / that of only exploring, normal Thompson, on the worst of the laws",
            per_seed=np.max([share(found, law, "gaussian_thompson") for law in laws], axis=0),
            threshold=0.5,
        ),
    ]
    return (*made, *_slope_claims(found))


def _slope_claims(found: Results) -> Iterator[Claim]:
    """Of the policies that were run."""
    for policy, claim, threshold, statement_en, statement_ja in (
        (
            "thompson",
            claims_lib.at_most,
            1.3,
            "Thompson sampling loses no faster than Lai & Robbins' law demands.",
            "トンプソン抽出の損の増え方は,Lai–Robbinsの下限にほぼ等しい。",
        ),
        (
            "kl_ucb",
            claims_lib.at_most,
            1.5,
            "KL-UCB hardly loses faster.",
            "KL-UCBの損の増え方も,それに近い。",
        ),
        (
            "ucb1",
            claims_lib.at_least,
            3.0,
            "UCB1, which knows nothing of the law but its range, loses several times faster.",
            "報酬の範囲しか使わないUCB1の損は,その数倍の速さで増える。",
        ),
    ):
        if policy in found.extra["policies"]:
            yield claim(
                id=f"slope_of_{policy}",
                slides=SLIDES,
                statement_en=statement_en,
                statement_ja=statement_ja,
                statistic="two coins, growth of regret per log t over the last decade / the "
                "constant of Lai & Robbins",
                per_seed=slope(found, policy),
                threshold=threshold,
            )


def figure(found: Results) -> Any:
    """Regret over time with the bound; distance from the optimum; other laws."""
    figure, axes = plotting.mosaic(
        [["time", "bayes"], ["time", "laws"]], width_ratios=[1.15, 1], height_ratios=[1, 1.1]
    )
    _draw_time(axes["time"], found)
    _draw_bayes(axes["bayes"], found)
    _draw_laws(axes["laws"], found)
    runs = found.extra["num_runs"] * found.num_seeds
    plotting.caption(figure, plotting.text(f"Means of {runs:,} runs.", f"{runs:,}回の実行の平均"))
    return figure


def _draw_time(ax: Any, found: Results) -> None:
    times = found.arrays["two/times"]
    bound = found.extra["lai_robbins"] * np.log(times)
    ax.plot(times, bound, "--", color=plotting.BLACK, label="Lai–Robbins")
    for name in found.extra["policies"]:
        curve = found.arrays[f"two/{name}"].mean(0)
        ax.plot(
            times,
            curve,
            color=_COLOURS[name],
            label=plotting.text(*POLICY_LABELS[name]),
        )
    ax.set_xscale("log")
    ax.set_xlim(times[0], times[-1])
    ax.set_ylim(0, 1.05 * found.arrays["two/epsilon"].mean(0).max())
    ax.set_title(plotting.text("Two coins, 0.9 and 0.8", "2枚のコイン,0.9と0.8"))
    ax.set_xlabel(plotting.text("pulls", "試行回数"))
    ax.set_ylabel(plotting.text("regret, in rewards", "リグレット(報酬)"))
    ax.legend(loc="upper left")


def _draw_bayes(ax: Any, found: Results) -> None:
    names = ("greedy", *found.extra["policies"])
    values = [above_optimum(found, name) for name in names]
    order = np.argsort([value.mean() for value in values])[::-1]
    for place, i in enumerate(order):
        ax.barh(place, values[i].mean(), color=_COLOURS[names[i]])
        ax.text(
            values[i].mean() + 0.05,
            place,
            f"{values[i].mean():.2f}",
            fontsize=plotting.SMALL_POINTS,
            va="center",
        )
    ax.axvline(1, color=plotting.BLACK, linestyle="--", linewidth=1.5)
    ax.set_yticks(range(len(names)), [plotting.text(*POLICY_LABELS[names[i]]) for i in order])
    ax.set_xlim(0, 1.15 * max(value.mean() for value in values))
    ax.grid(False, axis="y")
    ax.set_title(
        plotting.text(
            f"Regret / the least possible, {found.extra['bayes_horizon']} pulls",
            f"リグレット / 最小値,{found.extra['bayes_horizon']}回",
        )
    )


def _draw_laws(ax: Any, found: Results) -> None:
    laws = found.extra["laws"]
    for offset, name in zip((-0.3, -0.1, 0.1, 0.3), _LAW_POLICIES, strict=True):
        values = [100 * share(found, law, name).mean() for law in laws]
        words = plotting.text(*POLICY_LABELS[name])
        ax.bar(np.arange(len(laws)) + offset, values, 0.2, color=_COLOURS[name], label=words)
    ax.set_xticks(range(len(laws)), [plotting.text(*_LAW_LABELS[law]) for law in laws])
    ax.grid(False, axis="x")
    ax.set_ylabel(plotting.text("% of only exploring", "探索のみ=100%"))
    ax.set_title(plotting.text("Laws that are not normal", "正規分布でない報酬"))
    ax.legend(ncols=2, loc="upper left", borderaxespad=0.1, columnspacing=1, handlelength=1)
    ax.set_ylim(0, 1.6 * ax.get_ylim()[1])


def report(found: Results) -> str:
    """The table that a run prints."""
    lines = [f"regret on ten coins after {found.steps} pulls"]
    for name in ("greedy", *found.extra["policies"]):
        metric = found.metrics[f"ten/{name}/regret"]
        lines.append(f"  {POLICY_LABELS[name][0]:20s}{metric.mean:8.1f}{_plus_minus(metric)}")
    lines += [
        "",
        f"two coins, growth per log t over the last decade / Lai & Robbins' constant; two coins "
        f"of random odds, regret of {found.extra['bayes_horizon']} pulls / the least possible",
    ]
    for name in found.extra["policies"]:
        lines.append(
            f"  {POLICY_LABELS[name][0]:20s}{slope(found, name).mean():8.2f}"
            f"{above_optimum(found, name).mean():8.3f}"
        )
    laws = found.extra["laws"]
    words = ", ".join(_LAW_LABELS[law][0] for law in laws)
    lines += ["", f"regret / that of only exploring: {words}"]
    for name in _LAW_POLICIES:
        shares = "".join(f"{share(found, law, name).mean():8.2f}" for law in laws)
        lines.append(f"  {POLICY_LABELS[name][0]:20s}{shares}")
    return "\n".join(lines)


def _plus_minus(metric: Any) -> str:
    return "" if metric.ci95[0] is None else f" +- {metric.ci95[1] - metric.mean:.1f}"


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
