"""An LSTM keeps what it needs over long times and drops the rest (slides 13, 14).

    python -m experiments.long_term_memory --preset=quick --workdir=runs/long_term_memory

Trains nets on problems whose answer lies far back and counts the seeds that solve them, against the
lag: the tanh RNN, the IRNN, the GRU, the LSTM, and LSTMs that lack a gate.

quick: the adding problem, 16 seeds, 19 runs in 3 minutes on 2 cores. Seeds that solve it at lag 10,
20, 40 and 60: LSTM and GRU all; tanh RNN 16, 13, 0, 0; IRNN 16, 9, 9, 5. At lag 40 an LSTM takes
564 updates, one without its input gate 3.9 times as many, without its forget gate 2.1 +- 0.8 (too
few seeds for a verdict on the 1.5 that are claimed; with 64 it holds, 1.9 +- 0.4) and without its
output gate 1.2: that claim fails, since over so short a time what a cell says early does no harm.
full: all problems, lags to 500 and 64 seeds take most of a day, --problems=adding 6 to 7 hours on
2 cores; --problems, --cells and --lags choose. Seeds that solve the adding problem at lag 20, 50,
100, 200 and 500: tanh RNN 64, 7, 0, 0, 0; IRNN 64, 57, 10, 1, 0; GRU all; LSTM 64, 64, 64, 64, 63,
without its input gate 64, 48, 0, 0, 0, without its forget gate 64, 59, 4, 6, 1, without its output
gate 64, 64, 64, 55, 19. At lag 500 a GRU takes 753 updates and an LSTM 4,151 (medians).
Temporal order at lag 20, 50 and 100: tanh RNN 64, 48, 0; IRNN 64, 52, 32; GRU 64, 64, 41; LSTM
64, 64, 0: there the claim on the LSTM fails at lag 100. Without forget gate 4 of 16 seeds solve it.

Problems: adding (Le, Jaitly & Hinton, 2015, arXiv:1504.00941, after experiment 4 of Hochreiter &
Schmidhuber, 1997), temporal order (experiment 6a there) and copy (Arjovsky et al., 2016).
Where we differ from the papers: Adam for SGD, 32 units in all nets, batches of 32, a fixed length
for a lag, step sizes by cell (chosen at lag 40 on other seeds), and a looser rule of what is
solved (`sequences.memory` has it). A run ends when all its seeds have solved their problem, or
those of a --cohort where there are more.
"""

import dataclasses
import functools
import sys
from typing import Annotated, Any

import numpy as np

from dl_lectures.data.memory_problems import PROBLEMS
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import intervals, plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.sequences import memory
from dl_lectures.sequences.cells import CELLS
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (13, 14)
ABLATIONS = ("lstm_no_input_gate", "lstm_no_forget_gate", "lstm_no_output_gate")
_LEARNING_RATES = {"rnn": 3e-3, "relu": 1e-3, "irnn": 3e-3}  # of Adam; the others: 1e-2


@dataclasses.dataclass(frozen=True)
class Config:
    """Which nets meet which problems at which lags. Lists have commas."""

    problems: Annotated[str, f"problems, of {', '.join(PROBLEMS)}"] = "adding"
    cells: Annotated[str, f"recurrent cells, of {', '.join(CELLS)}"] = "rnn,irnn,gru,lstm"
    lags: Annotated[str, "lags of every cell: lengths of the sequences"] = "10,20,40,60"
    ablation_lags: Annotated[str, "lags at which LSTMs that lack a gate run; empty: none"] = "40"
    claim_lag: Annotated[int, "the lag at which claims are judged; one of the lags"] = 40
    num_hidden: Annotated[int, "H, hidden units"] = 32
    batch_size: Annotated[int, "B, sequences of an update"] = 32
    learning_rate: Annotated[float, "step size of Adam; 0: the cell's own, 1e-2 or 3e-3"] = 0.0
    max_grad_norm: Annotated[float, "gradients are scaled down to this global norm"] = 1.0
    cohort: Annotated[int, "seeds that train side by side, until the last of them is done"] = 8

    def __post_init__(self):
        for flag, known in (("problems", PROBLEMS), ("cells", CELLS)):
            names = getattr(self, flag).split(",")
            for name in names:
                if name not in known:
                    raise ValueError(f"--{flag}: {name!r} is none of {', '.join(known)}")
            if len(set(names)) < len(names):
                raise ValueError(f"--{flag}={','.join(names)} names one twice")
        for flag in ("lags", "ablation_lags"):
            lags = common.numbers_of(self, flag)
            if lags != sorted(set(lags)):
                raise ValueError(f"--{flag}={getattr(self, flag)} must increase")
        if self.claim_lag not in common.numbers_of(self, "lags"):
            raise ValueError(f"--claim_lag={self.claim_lag} must be one of --lags={self.lags}")
        if self.cohort < 1:
            raise ValueError(f"--cohort must be at least 1, not {self.cohort}")
        grid(self)  # refuses a lag that a problem cannot have


def grid(config: Config) -> dict[str, memory.Config]:
    """The runs by name, shortest lags first."""
    lags, ablation_lags = (common.numbers_of(config, f) for f in ("lags", "ablation_lags"))
    runs = {}
    for problem in config.problems.split(","):
        for lag in sorted({*lags, *ablation_lags}):
            cells = []
            if lag in lags:
                cells += config.cells.split(",")
            if lag in ablation_lags:
                cells += [cell for cell in ABLATIONS if cell not in cells]
            for cell in cells:
                runs[name_of(problem, cell, lag)] = memory.Config(
                    problem=problem,
                    cell=cell,
                    lag=lag,
                    num_hidden=config.num_hidden,
                    batch_size=config.batch_size,
                    learning_rate=config.learning_rate or _LEARNING_RATES.get(cell, 1e-2),
                    max_grad_norm=config.max_grad_norm,
                )
    return runs


def name_of(problem: str, cell: str, lag: int) -> str:
    """The name of a run."""
    return f"{problem}-{cell}-{lag}"


PRESETS = {
    "smoke": common.Preset(
        Config(
            cells="rnn,lstm",
            lags="4",
            ablation_lags="",
            claim_lag=4,
            num_hidden=8,
            batch_size=16,
        ),
        num_seeds=4,
        steps=150,
        log_every=50,
        eval_every=50,
        checkpoint_every=50,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=16,
        steps=3_000,
        log_every=100,
        eval_every=100,
        checkpoint_every=1_000,
    ),
    "full": common.Preset(
        Config(
            problems="adding,temporal_order,copy",
            lags="20,50,100,200,500",
            ablation_lags="20,50,100,200,500",
            claim_lag=100,
        ),
        num_seeds=64,
        steps=6_000,
        log_every=100,
        eval_every=100,
        checkpoint_every=500,
    ),
}


def run(config: Config, options: Options) -> Results:
    """Trains every net on every problem at every lag."""
    runs = grid(config)
    parts = common.run_parts(
        options,
        {name: functools.partial(_run_one, part, config.cohort) for name, part in runs.items()},
    )
    return results.make(
        "long_term_memory",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={
            "problems": config.problems.split(","),
            "claim_lag": config.claim_lag,
            "runs": {
                name: {"problem": part.problem, "cell": part.cell, "lag": part.lag}
                for name, part in runs.items()
            },
            "chance_error": {
                name: PROBLEMS[name].chance_error for name in config.problems.split(",")
            },
        },
    )


def _run_one(config: memory.Config, cohort: int, options: Options) -> Results:
    """All seeds, by cohorts: those who are done early need not wait for the slowest of all."""
    if options.num_seeds <= cohort:
        return _run_cohort(config, options)
    end = options.seed + options.num_seeds
    works = {
        f"seed-{seed}": functools.partial(_run_seeds, config, seed, min(cohort, end - seed))
        for seed in range(options.seed, end, cohort)
    }
    parts = common.run_parts(options, works)
    metrics = {
        name: np.concatenate([part.per_seed(name) for part in parts.found.values()])
        for name in next(iter(parts.found.values())).metrics
    }
    return results.make("long_term_memory", SLIDES, options, parts, metrics)


def _run_seeds(config: memory.Config, seed: int, num_seeds: int, options: Options) -> Results:
    return _run_cohort(config, dataclasses.replace(options, seed=seed, num_seeds=num_seeds))


def _run_cohort(config: memory.Config, options: Options) -> Results:
    trained = trainer.train(
        memory.make(config), options, until=lambda evaluation: bool(evaluation["solved"].all())
    )
    found = trained.evaluation
    # Seeds that did not solve it count as if the next update had done it: the least they can need.
    updates = np.where(found["solved"] > 0, found["solved_at"], options.steps)
    return results.make(
        "long_term_memory",
        SLIDES,
        options,
        trained,
        {"solved": found["solved"], "updates_to_solve": updates, "error": found["error"]},
    )


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set after pilots with other seeds and before the presets were run."""
    judged = []
    for problem in found.extra["problems"]:
        judged += _claims_of(found, problem, found.extra["claim_lag"])
    return tuple(judged)


_PROBLEM_WORDS = {
    "adding": ("adding", "足し算"),
    "temporal_order": ("temporal order", "時間順序"),
    "copy": ("copy", "コピー"),
}


def _claims_of(found: Results, problem: str, lag: int) -> list[Claim]:
    def per_seed(cell: str, metric: str) -> np.ndarray:
        return found.per_seed(f"{name_of(problem, cell, lag)}/{metric}")

    words_en, words_ja = _PROBLEM_WORDS[problem]
    present = {
        r["cell"]
        for r in found.extra["runs"].values()
        if (r["problem"], r["lag"]) == (problem, lag)
    }
    judged = []
    if "lstm" in present:
        judged.append(
            claims_lib.share_at_least(
                id=f"lstm_remembers_{problem}",
                slides=SLIDES,
                statement_en=f"An LSTM keeps what it needs: it solves the {words_en} problem over "
                f"{lag} steps on most seeds.",
                statement_ja=f"LSTMは必要な情報を保つ:{lag}ステップ離れた{words_ja}課題を,"
                "ほとんどのシードで解く。",
                statistic="share of seeds that solve it",
                per_seed=per_seed("lstm", "solved"),
                threshold=0.75,
            )
        )
    if "rnn" in present:
        judged.append(
            claims_lib.share_at_most(
                id=f"rnn_forgets_{problem}",
                slides=SLIDES,
                statement_en=f"A simple RNN does not: over {lag} steps few seeds solve the "
                f"{words_en} problem.",
                statement_ja=f"単純なRNNにはできない:{lag}ステップ離れた{words_ja}課題を"
                "解くシードは少ない。",
                statistic="share of seeds that solve it",
                per_seed=per_seed("rnn", "solved"),
                threshold=0.25,
            )
        )
    if "lstm" not in present or per_seed("lstm", "solved").mean() < 0.5:
        return judged  # what the LSTM itself does not solve tells nothing of its gates
    whole = per_seed("lstm", "updates_to_solve").mean()
    for cell, gate_en, gate_ja in (
        ("lstm_no_input_gate", "input", "入力"),
        ("lstm_no_forget_gate", "forget", "忘却"),
        ("lstm_no_output_gate", "output", "出力"),
    ):
        if cell in present:
            judged.append(
                claims_lib.at_least(
                    id=f"{gate_en}_gate_helps_{problem}",
                    slides=(14, 15),
                    statement_en=f"Without its {gate_en} gate an LSTM learns the {words_en} "
                    f"problem over {lag} steps much more slowly.",
                    statement_ja=f"{gate_ja}ゲートがなければ,LSTMが{lag}ステップの{words_ja}課題を"
                    "学ぶのはずっと遅くなる。",
                    statistic="updates to solve it, the budget where it is not solved, "
                    "over the LSTM's mean",
                    per_seed=per_seed(cell, "updates_to_solve") / whole,
                    threshold=1.5,
                )
            )
    return judged


def figure(found: Results) -> Any:
    """Who solves it at which lag, with what error, and after how many updates; of each problem."""
    problems = found.extra["problems"]
    layout = []
    for problem in problems:
        layout += [
            [f"shares {problem}", f"updates {problem}"],
            [f"errors {problem}", f"updates {problem}"],
        ]
    figure, axes = plotting.mosaic(layout, width_ratios=[1.2, 1])
    if len(problems) > 1:  # a slide each
        width, height = plotting.SLIDE_INCHES
        figure.set_size_inches(width, height * len(problems))
    for problem in problems:
        _draw_shares(axes[f"shares {problem}"], found, problem)
        _draw_errors(axes[f"errors {problem}"], found, problem)
        _draw_updates(axes[f"updates {problem}"], found, problem)
    # Above the axes, since up to seven lines leave no place among them.
    handles, labels = axes[f"shares {problems[0]}"].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=14)
    plotting.caption(
        figure,
        plotting.text(
            "Vertical lines: Wilson's 95 % interval of the share; errors: median.\n"
            f"Dots: seeds; hollow: not solved in {found.steps:,} updates.",
            "縦線:割合の95%ウィルソン区間,誤差:中央値\n"
            f"点:各シード,白抜き:{found.steps:,}回の更新で解けず",
        ),
    )
    return figure


_COLOURS = {
    "rnn": plotting.BLUE,
    "relu": plotting.SKY,
    "irnn": plotting.GREEN,
    "gru": plotting.PURPLE,
    "lstm": plotting.VERMILION,
    "min_gru": plotting.SKY,
    "min_lstm": plotting.ORANGE,
}  # the ablations are black
_DASHES = dict(zip(ABLATIONS, ("--", ":", "-."), strict=True))
_MARKERS = dict(zip(ABLATIONS, ("s", "^", "D"), strict=True))


def _lags_of_cells(found: Results, problem: str) -> dict[str, list[int]]:
    """The lags of each cell that is drawn as a line."""
    lags: dict[str, list[int]] = {}
    for part in found.extra["runs"].values():
        if part["problem"] == problem:
            lags.setdefault(part["cell"], []).append(part["lag"])
    # An ablation at one lag, beside nets at several, is left to the figure of updates.
    enough = min(2, max(map(len, lags.values())))
    return {k: v for k, v in lags.items() if len(v) >= enough or k not in ABLATIONS}


def _draw_shares(ax: Any, found: Results, problem: str) -> None:
    lags_of = _lags_of_cells(found, problem)
    for i, (cell, lags) in enumerate(lags_of.items()):
        names = [name_of(problem, cell, lag) for lag in lags]
        solved = [int(found.per_seed(f"{name}/solved").sum()) for name in names]
        shares = np.array(solved) / found.num_seeds
        bounds = np.array([intervals.wilson(count, found.num_seeds) for count in solved])
        # Equal shares would hide each other.
        shifted = np.array(lags) * (1 + 0.02 * (i - (len(lags_of) - 1) / 2))
        ax.errorbar(
            shifted,
            100 * shares,
            100 * np.abs(bounds.T - shares),
            marker=_MARKERS.get(cell, "o"),
            capsize=4,
            label=plotting.text(*common.CELL_LABELS[cell]),
            linestyle=_DASHES.get(cell, "-"),
            color=_COLOURS.get(cell, plotting.BLACK),
        )
    _mark_lags(ax, lags_of)
    ax.set_ylim(-8, 108)
    ax.set_ylabel(plotting.text("solved, %", "解けた割合,%"))
    ax.set_title(
        plotting.text(
            f"{_PROBLEM_WORDS[problem][0]} problem, {found.num_seeds} seeds",
            f"{_PROBLEM_WORDS[problem][1]}課題,{found.num_seeds}シード",
        )
    )


def _draw_errors(ax: Any, found: Results, problem: str) -> None:
    lags_of = _lags_of_cells(found, problem)
    for cell, lags in lags_of.items():
        errors = np.array(
            [found.metrics[f"{name_of(problem, cell, lag)}/error"].per_seed for lag in lags]
        )
        middle = np.median(errors, axis=1)
        ax.plot(
            lags,
            np.maximum(middle, 1e-4),
            marker=_MARKERS.get(cell, "o"),
            linestyle=_DASHES.get(cell, "-"),
            color=_COLOURS.get(cell, plotting.BLACK),
        )
    chance = found.extra["chance_error"][problem]
    ax.axhline(chance, color=plotting.BLACK, linestyle="--", linewidth=1.5)
    words = plotting.text("chance: remembers nothing", "偶然の水準(記憶なし)")
    first = min(lag for some in lags_of.values() for lag in some)
    ax.text(first, 1.2 * chance, words, fontsize=14, verticalalignment="bottom")
    ax.set_yscale("log")
    ax.set_ylim(top=5 * chance)
    _mark_lags(ax, lags_of)
    ax.set_xlabel(plotting.text("lag, time steps", "ラグ(時間ステップ)"))
    is_number = problem == "adding"
    ax.set_ylabel(
        plotting.text("squared error", "二乗誤差")
        if is_number
        else plotting.text("wrong", "誤答率")
    )


def _mark_lags(ax: Any, lags_of: dict[str, list[int]]) -> None:
    lags = sorted({lag for some in lags_of.values() for lag in some})
    ax.set_xscale("log")
    ax.set_xticks(lags, [str(lag) for lag in lags])
    ax.minorticks_off()
    if len(lags) == 1:  # else the axis would end with what is drawn beside the lag
        ax.set_xlim(lags[0] / 2, 2 * lags[0])


def _draw_updates(ax: Any, found: Results, problem: str) -> None:
    lag = found.extra["claim_lag"]
    cells = [
        part["cell"]
        for part in found.extra["runs"].values()
        if (part["problem"], part["lag"]) == (problem, lag)
    ]
    for row, cell in enumerate(cells):
        name = name_of(problem, cell, lag)
        updates = found.per_seed(f"{name}/updates_to_solve")
        is_solved = found.per_seed(f"{name}/solved") > 0
        # Dots of one row lie apart, in the order of the seeds.
        heights = row + 0.3 * (np.arange(len(updates)) % 5 / 2 - 1)
        colour = _COLOURS.get(cell, plotting.BLACK)
        for chosen, face in ((is_solved, colour), (~is_solved, "none")):
            ax.scatter(
                updates[chosen], heights[chosen], s=40, facecolors=face, edgecolors=colour, zorder=2
            )
    ax.set_yticks(range(len(cells)), [plotting.text(*common.CELL_LABELS[cell]) for cell in cells])
    ax.set_ylim(len(cells) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel(plotting.text("updates to solve it", "解くまでの更新回数"))
    ax.set_title(
        plotting.text(f"lag {lag}; black: LSTM less a gate", f"ラグ{lag}(黒:ゲートを除いたLSTM)")
    )


def report(found: Results) -> str:
    """The table of shares, and the lags at which LSTM and RNN part."""
    lines = []
    for problem in found.extra["problems"]:
        rows = [r for r in found.extra["runs"].values() if r["problem"] == problem]
        lags = sorted({row["lag"] for row in rows})
        lines += [
            f"{_PROBLEM_WORDS[problem][0]} problem, seeds that solve it "
            f"(of {found.num_seeds}; updates, median of those that do), by lag",
            f"  {'':24}" + "".join(f"{lag:>14}" for lag in lags),
        ]
        for cell in dict.fromkeys(row["cell"] for row in rows):
            row = f"  {common.CELL_LABELS[cell][0]:24}"
            for lag in lags:
                row += f"{_entry(found, problem, cell, lag):>14}"
            lines.append(row)
        parting = [
            str(lag)
            for lag in lags
            if _share(found, problem, "lstm", lag) >= 0.9
            and _share(found, problem, "rnn", lag) <= 0.1
        ]
        if parting:
            lines.append(
                f"  at lag {', '.join(parting)} the LSTM solves it on 90 % of the seeds or more, "
                "the tanh RNN on 10 % or less"
            )
        lines.append("")
    lines.append("next: python -m experiments.lstm_gates --preset=quick")
    return "\n".join(lines)


def _share(found: Results, problem: str, cell: str, lag: int) -> float:
    metric = found.metrics.get(f"{name_of(problem, cell, lag)}/solved")
    return np.nan if metric is None else metric.mean


def _entry(found: Results, problem: str, cell: str, lag: int) -> str:
    name = name_of(problem, cell, lag)
    if f"{name}/solved" not in found.metrics:
        return "-"
    is_solved = found.per_seed(f"{name}/solved") > 0
    if not is_solved.any():
        return "0"
    updates = found.per_seed(f"{name}/updates_to_solve")[is_solved]
    return f"{is_solved.sum()} ({np.median(updates):,.0f})"


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
