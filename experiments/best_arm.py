"""Find the best machine: is "pull each 5 times, keep the best half, repeat" right? (slides 20, 21)

    python -m experiments.best_arm --preset=quick --workdir=runs/best_arm

Two questions about Bernoulli machines, where only the answer counts and not what is earned.

With a budget of pulls, how often is the answer wrong? On problems of Audibert & Bubeck (2010) the
slide's rule meets others at the pulls that it takes itself, and at budgets around H1, the sum of
1 / gap^2, to which it is scaled by more pulls a round. How many pulls until the answer is wrong
with probability delta at most? On a problem of Garivier & Kaufmann (2016, arXiv:1602.04589),
beside their lower bound, which nobody can beat.

quick, 2,000 runs a number, takes about half a minute on 2 cores, and the first time as long again
to compile. Expect that the slide's rule errs in 62 to 80 % of the runs. Five pulls are too few for
anybody: at 200 pulls of 20 machines all others err about as often, or more. Scaled to a budget of
H1 the rule errs in 16 to 22 %, and uniform pulls in 22 to 42 %. Track-and-stop needs 1,430, 2,200
and 2,970 pulls for a delta of 10, 1 and 0.1 %, which is 2.5, 1.5 and 1.3 times the lower bound.
full, 8,000 runs a number, all seven problems and exact Beta posteriors, is by estimate 50 times the
work. --steps caps the pulls of a run that waits to be sure; log_every and its like are of no use.

What the slide's doubt comes to, and what we did not expect:
- The rule is as good as others once its number is right. Sequential halving, which is made for the
  purpose, beats it where machines are graded (15 machines, 2 H1: 6 % against 11 %), and loses to it
  where many are equally bad (20 machines, H1: 29 % against 20 %): it then spends too much on the
  last few. That it errs less is a claim that fails.
- Who knows H1 gains little: at H1 UCB-E errs as often as successive rejects, which knows nothing,
  or more often.
- Intervals that are proven cost ten times the pulls: LUCB takes 40,000 with them, and 3,700 with
  the threshold of track-and-stop. Even to pull all in turn, 2,300, is better: the likelihood ratio
  is the better way to stop.

Where we differ from the papers: averages are over all pulls of an arm, also in sequential halving.
Top-two Thompson sampling tries but once, and then takes the arm that is hardest to tell from the
best one, where Russo samples on for ever; in quick its posterior is a normal of the Beta's mean and
variance. Track-and-stop computes its weights when the pulls have grown by 1 %, not at every pull;
Garivier & Kaufmann report 1,406 pulls at 10 %.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import jax
import numpy as np

from dl_lectures.bandits import best_arm, fixed_budget, fixed_confidence, rewards
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import intervals, plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.training import signals
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (20, 21)
PULLS = 5  # of each machine in a round, the slide's
SHARES = (0.25, 0.5, 1.0)  # of the greatest budget

# Audibert & Bubeck (2010), section 6; the best arm, 0.5, comes first.
PROBLEMS = {
    1: (0.5, *[0.4] * 19),
    2: (0.5, *[0.42] * 5, *[0.38] * 14),
    3: (0.5, *[0.5 - 0.37**i for i in range(2, 5)]),
    4: (0.5, 0.42, *[0.4] * 2, *[0.35] * 2),
    5: (0.5, *[0.5 - 0.025 * i for i in range(2, 16)]),
    6: (0.5, 0.48, *[0.37] * 18),
    7: (0.5, *[0.45] * 5, *[0.43] * 14, *[0.38] * 10),
}
# Garivier & Kaufmann (2016), section 6.
SURE_PROBLEMS = {"first": (0.5, 0.45, 0.43, 0.4), "second": (0.3, 0.21, 0.2, 0.19, 0.18)}
DELTAS = (0.1, 0.01, 0.001)
MOST_UNSURE = 0.001  # of the runs, at the cap; of more, means and errors say too little


@dataclasses.dataclass(frozen=True)
class Config:
    """The problems, and how many runs."""

    num_runs: Annotated[int, "runs of each seed"] = 250
    problems: Annotated[str, "experiments of Audibert & Bubeck, 1 to 7, commas between"] = "1,2,4,5"
    max_budget: Annotated[float, "the greatest budget, in units of H1"] = 2.0
    posterior: Annotated[
        Literal["normal", "beta"], "of top-two Thompson sampling; beta is exact, and slower"
    ] = "normal"
    num_tries: Annotated[int, "of top-two Thompson sampling to find another best arm"] = 1
    sure_problem: Annotated[
        Literal["first", "second"], "of Garivier & Kaufmann; the first takes three times as long"
    ] = "second"

    def __post_init__(self):
        if self.num_runs < 1:
            raise ValueError(f"--num_runs must be at least 1, not {self.num_runs}")
        if not 0.5 <= self.max_budget < math.inf:
            raise ValueError(f"--max_budget must be at least 0.5, not {self.max_budget}")
        if self.num_tries < 0:
            raise ValueError(f"--num_tries must not be negative, not {self.num_tries}")
        problems_of(self)


def problems_of(config: Config) -> list[int]:
    """The numbers of --problems.

    Raises:
      ValueError: they are not among 1 to 7, or one comes twice.
    """
    words = config.problems.split(",")
    if not all(word.strip() in map(str, PROBLEMS) for word in words):
        raise ValueError(
            f"--problems must be numbers from 1 to 7 with commas between, not {config.problems!r}"
        )
    numbers = [int(word) for word in words]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"--problems must name each problem once, not {config.problems!r}")
    return numbers


# --steps caps the pulls of a run that waits to be sure. Budgets come from the problems.
PRESETS = {
    "smoke": common.Preset(
        Config(num_runs=50, problems="4", max_budget=0.5),
        num_seeds=2,
        steps=20_000,
        log_every=20_000,
        eval_every=20_000,
        checkpoint_every=20_000,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=8,
        steps=100_000,
        log_every=100_000,
        eval_every=100_000,
        checkpoint_every=100_000,
    ),
    "full": common.Preset(
        Config(num_runs=1_000, problems="1,2,3,4,5,6,7", posterior="beta", num_tries=2),
        num_seeds=8,
        steps=1_000_000,
        log_every=1_000_000,
        eval_every=1_000_000,
        checkpoint_every=1_000_000,
    ),
}


# A plan is the explorer for each budget, or one that is asked at all of them.
Plan = Callable[[int], best_arm.Explorer] | best_arm.Explorer


def plans(config: Config, means: Sequence[float]) -> dict[str, Plan]:
    """The algorithms with a budget, by name."""
    k = len(means)
    return {
        "uniform": lambda n: fixed_budget.uniform(k, n),
        "slide_scaled": lambda n: fixed_budget.slide_halving(k, fixed_budget.slide_pulls(k, n)),
        "sequential_halving": lambda n: fixed_budget.sequential_halving(k, n),
        "successive_rejects": lambda n: fixed_budget.successive_rejects(k, n),
        "ucb_e": lambda n: fixed_budget.ucb_e(fixed_budget.oracle_exploration(means, n), n),
        "top_two": fixed_budget.top_two_thompson(config.posterior, num_tries=config.num_tries),
    }


def sure_plans() -> dict[str, list[best_arm.Explorer]]:
    """The algorithms with a delta, by name: one explorer for each, or one for all."""
    return {
        "lucb_proven": [
            fixed_confidence.lucb(DELTAS[0])
        ],  # it takes long, and delta hardly matters
        "lucb": [fixed_confidence.lucb(delta, "practical") for delta in DELTAS],
        "uniform": [fixed_confidence.uniform_until_sure(DELTAS)],
        "track_and_stop": [fixed_confidence.track_and_stop(DELTAS)],
    }


def budgets_of(config: Config, means: Sequence[float]) -> list[int]:
    """The pulls of the slide's rule itself, and shares of the greatest budget, increasing."""
    h1 = best_arm.complexity(means).h1
    own = fixed_budget.slide_schedule(len(means), PULLS).num_pulls
    return sorted({own, *(round(share * config.max_budget * h1) for share in SHARES)})


def run(config: Config, options: Options) -> Results:
    """Plays all algorithms; a finished one is not played again."""
    works = {}
    for problem in problems_of(config):
        for name, plan in plans(config, PROBLEMS[problem]).items():
            works[f"problem{problem}_{name}"] = _budget_work(config, problem, plan)
    for name, explorers in sure_plans().items():
        works[f"sure_{name}"] = _sure_work(config, explorers)
    parts = common.run_parts(options, works)
    sure_means = SURE_PROBLEMS[config.sure_problem]
    return results.make(
        "best_arm",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={
            "num_runs": config.num_runs,
            "problems": problems_of(config),
            "num_arms": {str(i): len(PROBLEMS[i]) for i in problems_of(config)},
            "h1": {str(i): best_arm.complexity(PROBLEMS[i]).h1 for i in problems_of(config)},
            "slide_pulls": {
                str(i): fixed_budget.slide_schedule(len(PROBLEMS[i]), PULLS).num_pulls
                for i in problems_of(config)
            },
            "least_pulls": [fixed_confidence.least_pulls(sure_means, delta) for delta in DELTAS],
        },
        arrays={
            f"{name}/{array}": value
            for name, part in parts.found.items()
            for array, value in part.arrays.items()
        },
    )


def _keys(options: Options, problem: int) -> list[jax.Array]:
    """One key a seed; all algorithms of a problem meet the same luck."""
    seeds = range(options.seed, options.seed + options.num_seeds)
    return [jax.random.fold_in(jax.random.key(seed), problem) for seed in seeds]


def _budget_work(config: Config, problem: int, plan: Plan) -> Callable[[Options], Results]:
    """What `common.run_parts` calls to ask an algorithm at every budget."""
    means = PROBLEMS[problem]
    budgets = budgets_of(config, means)

    def work(options: Options) -> Results:
        start = time.perf_counter()
        bandit = rewards.bernoulli(means)

        def ask(explorer: best_arm.Explorer, points: list[int] | None) -> np.ndarray:
            signals.stop_if_received(options.workdir)
            keys = _keys(options, problem)
            return best_arm.answers(keys, bandit, explorer, config.num_runs, points)

        if isinstance(plan, best_arm.Explorer):
            found, spent = ask(plan, budgets), budgets
        else:
            explorers = [plan(budget) for budget in budgets]
            found = np.concatenate([ask(explorer, None) for explorer in explorers], axis=1)
            spent = [explorer.num_pulls for explorer in explorers]
        is_wrong = found != np.argmax(means)  # [S, C, runs]
        errors = is_wrong.mean(2)
        return results.make(
            "best_arm",
            SLIDES,
            options,
            common.finish(options, {"play": time.perf_counter() - start}, found),
            {f"error_{budget}": errors[:, i] for i, budget in enumerate(budgets)},
            arrays={
                "budgets": np.array(budgets),
                "spent": np.array(spent),
                "errors": errors.T,
                "num_wrong": is_wrong.sum((0, 2)),
            },
        )

    return work


def _sure_work(config: Config, explorers: list[best_arm.Explorer]) -> Callable[[Options], Results]:
    """What `common.run_parts` calls to play an algorithm until it is sure."""
    means = SURE_PROBLEMS[config.sure_problem]

    def work(options: Options) -> Results:
        start = time.perf_counter()
        bandit = rewards.bernoulli(means)

        def play(explorer: best_arm.Explorer) -> best_arm.Stopped:
            signals.stop_if_received(options.workdir)
            keys = _keys(options, len(PROBLEMS) + 1)
            return best_arm.until_sure(keys, bandit, explorer, config.num_runs, options.steps)

        stopped = [play(explorer) for explorer in explorers]
        pulls, answers, is_sure = (
            np.concatenate(leaves, 1) for leaves in zip(*stopped, strict=True)
        )
        is_wrong = (answers != np.argmax(means)) & is_sure  # who is not sure has not answered
        metrics = {}
        for i, delta in enumerate(DELTAS[: pulls.shape[1]]):
            metrics[f"error_{delta:g}"] = is_wrong[:, i].mean(1)
            metrics[f"pulls_{delta:g}"] = pulls[:, i].mean(1)
            metrics[f"unsure_{delta:g}"] = 1 - is_sure[:, i].mean(1)
        quantiles = np.quantile(pulls, [0.1, 0.5, 0.9], axis=(0, 2))
        return results.make(
            "best_arm",
            SLIDES,
            options,
            common.finish(options, {"play": time.perf_counter() - start}, (pulls, answers)),
            metrics,
            arrays={"quantiles": quantiles, "num_wrong": is_wrong.sum((0, 2))},
        )

    return work


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the presets were run, after pilots of two of the problems.

    The pilots, of problem 1 and of the second problem of Garivier & Kaufmann, had shown that
    sequential halving loses to the scaled rule on the former. What is said of pulls until sure is
    left out where --steps cut off more than one run in a thousand.
    """
    own = _errors_at_own_budget(found)
    at_h1 = {name: _errors_at(found, name, -2) for name in plans(Config(), PROBLEMS[1])}
    adaptive = [name for name in at_h1 if name != "uniform"]
    statements = (
        (
            claims_lib.at_least,
            "slide_rule_errs",
            "Pulling each machine 5 times, keeping the better half and repeating finds a wrong "
            "machine more often than not.",
            "「各台を5回ずつ引き,良い半分を残して繰り返す」と,半分以上の場合に最良の台を逃す。",
            "error of the slide's rule, mean over problems",
            own["slide"],
            0.5,
        ),
        (
            claims_lib.at_most,
            "five_is_too_few",
            "It is the 5 that is wrong: with pulls a round that fit the problem's difficulty, the "
            "same rule errs less than half as often.",
            "間違いは「5回」にある:問題の難しさに見合う回数なら,同じ規則の誤りは半分以下になる。",
            "error of the slide's rule scaled to the middle budget / with 5 pulls a round",
            at_h1["slide_scaled"] / own["slide"],
            0.5,
        ),
        (
            claims_lib.at_least,
            "halving_beats_slide_at_its_own_pulls",
            "Sequential halving, which gives each round the same budget, errs less than the "
            "slide's rule with as many pulls.",
            "各回に同じ予算を割り当てるsequential halvingは,"
            "同じ回数ならスライドの規則より誤らない。",
            "error of the slide's rule - of sequential halving at its pulls, mean over problems",
            own["slide"] - own["sequential_halving"],
            0.0,
        ),
        (
            claims_lib.at_least,
            "halving_beats_scaled_slide",
            "With a larger budget, to which the slide's rule is scaled, sequential halving still "
            "errs less.",
            "予算を増やし,スライドの規則の回数をそれに合わせても,"
            "sequential halvingの方が誤らない。",
            "error of the scaled rule - of sequential halving, middle budget, mean over problems",
            at_h1["slide_scaled"] - at_h1["sequential_halving"],
            0.0,
        ),
        (
            claims_lib.at_least,
            "uniform_is_worst",
            "Pulling all machines equally often is the worst way to spend a budget.",
            "全台を同じ回数ずつ引くのは,予算の最悪の使い方である。",
            "error of uniform - the greatest of the others, middle budget, mean over problems",
            at_h1["uniform"] - np.max([at_h1[name] for name in adaptive], axis=0),
            0.0,
        ),
        *_sure_statements(found),
    )
    return claims_lib.of_table(SLIDES, statements)


def _sure_statements(found: Results) -> list[tuple[Any, ...]]:
    def of(name: str, metric: str, delta: float) -> np.ndarray:
        return found.per_seed(f"sure_{name}/{metric}_{delta:g}")

    def is_whole(name: str) -> bool:
        """Whether so few runs ended at the cap that its numbers can be judged."""
        return max(of(name, "unsure", delta).mean() for delta in deltas_of(found, name)) <= (
            MOST_UNSURE
        )

    def worst(name: str) -> np.ndarray:
        return np.max(
            [of(name, "error", delta) / delta for delta in deltas_of(found, name)], axis=0
        )

    least = DELTAS[-1]
    tracked = of("track_and_stop", "pulls", least)
    of_lucb = (
        claims_lib.at_most,
        "lucb_keeps_delta",
        "LUCB, with the intervals that are proven, errs no more often than it was allowed to.",
        "証明された区間を使うLUCBの誤りは,許容範囲内である。",
        "error / delta, the greatest over deltas",
        worst("lucb_proven"),
        1.0,
    )
    of_tracking = (
        (
            claims_lib.at_most,
            "track_and_stop_keeps_delta",
            "Track-and-stop errs no more often than it was allowed to, though nothing is proven "
            "of its threshold.",
            "しきい値に証明のないtrack-and-stopも,誤りは許容範囲内である。",
            "error / delta, the greatest over deltas",
            worst("track_and_stop"),
            1.0,
        ),
        (
            claims_lib.at_most,
            "track_and_stop_beats_lucb",
            "Track-and-stop needs fewer pulls than LUCB with the same threshold.",
            "同じしきい値なら,track-and-stopはLUCBより少ない回数で済む。",
            f"mean pulls of track-and-stop / of LUCB, delta {least:g}",
            tracked / of("lucb", "pulls", least),
            1.0,
        ),
        (
            claims_lib.at_most,
            "choice_of_arms_pays",
            "Choosing whom to pull saves a fifth of the pulls against all machines in turn with "
            "the same way to stop.",
            "引く台を選べば,順番に引いて同じ基準で止めるより2割以上節約できる。",
            f"mean pulls of track-and-stop / of uniform, delta {least:g}",
            tracked / of("uniform", "pulls", least),
            0.8,
        ),
        (
            claims_lib.at_most,
            "track_and_stop_nears_bound",
            "Nobody can do much better: the pulls are within twice the lower bound.",
            "これ以上はほとんど改善できない:必要な回数は理論的下限の2倍以内である。",
            f"mean pulls of track-and-stop / the lower bound, delta {least:g}",
            tracked / found.extra["least_pulls"][-1],
            2.0,
        ),
    )
    return [
        *([of_lucb] if is_whole("lucb_proven") else []),
        *(of_tracking if is_whole("track_and_stop") else []),
    ]


def deltas_of(found: Results, name: str) -> tuple[float, ...]:
    """The deltas for which an algorithm was played until it was sure."""
    return DELTAS[: len(found.arrays[f"sure_{name}/num_wrong"])]


def _errors_at(found: Results, name: str, index: int) -> np.ndarray:
    """Errors at the budget of that index, mean over problems, [S]."""
    return np.mean(
        [found.arrays[f"problem{i}_{name}/errors"][index] for i in found.extra["problems"]], axis=0
    )


def _errors_at_own_budget(found: Results) -> dict[str, np.ndarray]:
    """Errors at the pulls of the slide's rule, mean over problems, [S] by name.

    There the scaled rule is the slide's.
    """
    names = {"slide": "slide_scaled"} | {
        name: name for name in ("uniform", "sequential_halving", "successive_rejects", "ucb_e")
    }
    errors: dict[str, np.ndarray] = {}
    for label, name in names.items():
        rows = []
        for i in found.extra["problems"]:
            budgets = found.arrays[f"problem{i}_{name}/budgets"]
            index = int(np.flatnonzero(budgets == found.extra["slide_pulls"][str(i)])[0])
            rows.append(found.arrays[f"problem{i}_{name}/errors"][index])
        errors[label] = np.mean(rows, axis=0)
    return errors


_LABELS = {
    "uniform": ("all equally often", "均等", plotting.BLACK),
    "slide_scaled": ("slide's rule, scaled", "スライドの規則(回数を調整)", plotting.VERMILION),
    "sequential_halving": ("sequential halving", "sequential halving", plotting.ORANGE),
    "successive_rejects": ("successive rejects", "successive rejects", plotting.BLUE),
    "ucb_e": ("UCB-E (knows H1)", "UCB-E(H1を既知とする)", plotting.GREEN),
    "top_two": ("top-two Thompson", "top-two Thompson", plotting.PURPLE),
}
_SURE_LABELS = {
    "lucb_proven": ("LUCB, proven", "LUCB(証明あり)", plotting.ORANGE),
    "lucb": ("LUCB", "LUCB", plotting.VERMILION),
    "uniform": ("all in turn", "順番に", plotting.BLACK),
    "track_and_stop": ("track-and-stop", "track-and-stop", plotting.BLUE),
}


def figure(found: Results) -> Any:
    """Errors against the budget on two problems, and pulls until sure against delta."""
    figure, axes = plotting.mosaic([["first", "second"], ["legend", "sure"]])
    problems = found.extra["problems"]
    lines = _draw_errors(axes["first"], found, problems[0])
    if len(problems) > 1:
        _draw_errors(axes["second"], found, problems[-1])
    else:
        axes["second"].set_axis_off()
    axes["first"].set_ylabel(plotting.text("wrong answers", "誤答率"))
    sure_lines = _draw_sure(axes["sure"], found)
    legend = axes["legend"]
    legend.set_axis_off()
    for handles, x, title in (
        (lines, -0.14, plotting.text("above", "上の図")),
        (sure_lines, 0.54, plotting.text("right", "右の図")),
    ):
        drawn = legend.legend(
            handles=handles,
            title=title,
            title_fontsize=plotting.SMALL_POINTS,
            loc="upper left",
            bbox_to_anchor=(x, 1.1),
            handlelength=1.2,
            borderaxespad=0,
        )
        drawn.set_in_layout(False)
        legend.add_artist(drawn)
    num_runs = found.num_seeds * found.extra["num_runs"]
    plotting.caption(
        figure,
        plotting.text(
            f"{num_runs:,} runs a point. Bands above: Wilson 95 %; "
            "right: 10 % to 90 % of the runs of track-and-stop.",
            f"各点{num_runs:,}試行。帯:上はWilsonの95%区間,右はtrack-and-stopの試行の10%から90%",
        ),
    )
    return figure


def _draw_errors(ax: Any, found: Results, problem: int) -> list[Any]:
    """Errors against the budget; returns the lines for the legend."""
    num_runs = found.num_seeds * found.extra["num_runs"]
    lines, least = [], 1.0
    for name, (en, ja, color) in _LABELS.items():
        part = f"problem{problem}_{name}"
        budgets, wrong = (found.arrays[f"{part}/{array}"] for array in ("budgets", "num_wrong"))
        low, high = np.array([intervals.wilson(int(n), num_runs) for n in wrong]).T
        low = low.clip(0.1 / num_runs)
        shown = np.where(wrong > 0, wrong / num_runs, np.nan)  # 0 is nowhere on this axis
        lines += ax.plot(budgets, shown, "o-", color=color, label=plotting.text(en, ja))
        ax.fill_between(budgets, low, high, color=color, alpha=0.2, linewidth=0)
        least = min(least, low.min())
    own = found.extra["slide_pulls"][str(problem)]
    budgets = found.arrays[f"problem{problem}_slide_scaled/budgets"]
    error = found.arrays[f"problem{problem}_slide_scaled/errors"].mean(1)[budgets == own]
    label = plotting.text(f"slide's rule: {PULLS} pulls", f"スライドの規則:各{PULLS}回")
    color = plotting.VERMILION
    lines += ax.plot([own], error, "*", color=color, markersize=20, label=label, zorder=5)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
    shares = [x for x in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0001) if x >= least]
    ax.set_yticks(shares, [f"{100 * x:g} %" for x in shares])
    ax.minorticks_off()
    ax.set_ylim(least, 1.1)
    num_arms, h1 = (found.extra[key][str(problem)] for key in ("num_arms", "h1"))
    ax.set_title(
        plotting.text(f"{num_arms} machines, H1 = {h1:,.0f}", f"{num_arms}台,H1 = {h1:,.0f}")
    )
    ax.set_xlabel(plotting.text("budget, pulls", "予算(引く回数)"))
    return lines


def _draw_sure(ax: Any, found: Results) -> list[Any]:
    """Mean pulls until sure against the probability of an error; returns lines for the legend."""
    lines = []
    for name, (en, ja, color) in _SURE_LABELS.items():
        deltas = deltas_of(found, name)
        means = [found.metrics[f"sure_{name}/pulls_{delta:g}"].mean for delta in deltas]
        style = "D" if len(deltas) == 1 else "o-"
        lines += ax.plot(
            deltas, means, style, color=color, markersize=9, label=plotting.text(en, ja)
        )
        if name == "track_and_stop":
            low, _, high = found.arrays[f"sure_{name}/quantiles"]
            ax.fill_between(deltas, low, high, color=color, alpha=0.2, linewidth=0)
    label = plotting.text("lower bound", "理論的下限")
    lines += ax.plot(DELTAS, found.extra["least_pulls"], "--", color=plotting.BLACK, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(DELTAS, [f"{100 * delta:g} %" for delta in DELTAS])
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.set_xlabel(plotting.text("errors allowed, δ", "許す誤答率 δ"))
    ax.set_title(plotting.text("Mean pulls until sure", "確信までの平均回数"))
    return lines


def report(found: Results) -> str:
    """The tables, and what to try next."""
    total = found.num_seeds * found.extra["num_runs"]
    lines = [f"{total} runs a number; % wrong answers (Wilson 95 % interval); pulls spent"]
    for i in found.extra["problems"]:
        budgets = found.arrays[f"problem{i}_uniform/budgets"]
        own = found.extra["slide_pulls"][str(i)]
        heads = "".join(f"{f'{n}*' if n == own else n:>20}" for n in budgets)
        lines += ["", f"problem {i}, H1 = {found.extra['h1'][str(i)]:.0f}; pulls{heads:>0}"]
        for name in _LABELS:
            part = f"problem{i}_{name}"
            cells = ""
            for wrong, spent in zip(
                found.arrays[f"{part}/num_wrong"], found.arrays[f"{part}/spent"], strict=True
            ):
                low, high = intervals.wilson(int(wrong), total)
                cells += f"{100 * wrong / total:7.1f} ({100 * low:.1f}-{100 * high:.1f}){spent:>6}"
            lines.append(f"{name:20}{cells}")
    lines += ["* where the slide's rule ends by itself; slide_scaled is that rule there", ""]
    head = "".join(f"{f'delta {delta:g}':>30}" for delta in DELTAS)
    lines += [f"until sure: mean pulls, 10 % to 90 % of runs, % wrong\n{'':16}{head}"]
    for name in _SURE_LABELS:
        cells = ""
        quantiles = found.arrays[f"sure_{name}/quantiles"]
        for j, delta in enumerate(deltas_of(found, name)):
            pulls = found.metrics[f"sure_{name}/pulls_{delta:g}"].mean
            wrong = found.metrics[f"sure_{name}/error_{delta:g}"].mean
            unsure = found.metrics[f"sure_{name}/unsure_{delta:g}"].mean
            cell = (
                f"{pulls:.0f}{'+' if unsure else ''} ({quantiles[0, j]:.0f}-{quantiles[2, j]:.0f})"
            )
            cells += f"{cell:>23}{100 * wrong:7.2f}"
        lines.append(f"{name:16}{cells}")
    bound = "".join(f"{f'{pulls:.0f}':>23}{'':7}" for pulls in found.extra["least_pulls"])
    lines += [f"{'lower bound':16}{bound}", f"+ some were not sure after {found.steps} pulls"]
    preset = "full" if found.preset == "quick" else "quick"
    lines += ["", f"next: python -m experiments.best_arm --preset={preset}"]
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
