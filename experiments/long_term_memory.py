"""An LSTM keeps what it needs over long times and drops the rest (slides 13, 14).

    python -m experiments.long_term_memory --preset=quick --workdir=runs/long_term_memory

Trains nets on problems whose answer lies far back and counts the seeds that solve them, against the
lag: the tanh RNN, the IRNN, the GRU, the LSTM, and LSTMs that lack a gate. COST_AND_RESULT

Problems: adding (Le, Jaitly & Hinton, 2015, arXiv:1504.00941, after experiment 4 of Hochreiter &
Schmidhuber, 1997), temporal order (experiment 6a there) and copy (Arjovsky et al., 2016).
Where we differ from the papers: Adam for SGD, 32 units in all nets, batches of 32, a fixed length
for a lag, step sizes by cell (chosen at lag 40 on other seeds), and a looser rule of what is
solved (`sequences.memory` has it). A run ends when all its seeds have solved their problem.
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

    def __post_init__(self):
        for flag, known in (("problems", PROBLEMS), ("cells", CELLS)):
            names = getattr(self, flag).split(",")
            for name in names:
                if name not in known:
                    raise ValueError(f"--{flag}: {name!r} is none of {', '.join(known)}")
            if len(set(names)) < len(names):
                raise ValueError(f"--{flag}={','.join(names)} names one twice")
        for flag in ("lags", "ablation_lags"):
            try:
                lags = _numbers(getattr(self, flag))
            except ValueError as error:
                raise ValueError(
                    f"--{flag} must be numbers with commas between, not {getattr(self, flag)!r}"
                ) from error
            if lags != sorted(set(lags)):
                raise ValueError(f"--{flag}={getattr(self, flag)} must increase")
        if self.claim_lag not in _numbers(self.lags):
            raise ValueError(f"--claim_lag={self.claim_lag} must be one of --lags={self.lags}")
        grid(self)  # refuses a lag that a problem cannot have


def grid(config: Config) -> dict[str, memory.Config]:
    """The runs by name, shortest lags first."""
    runs = {}
    for problem in config.problems.split(","):
        for lag in sorted({*_numbers(config.lags), *_numbers(config.ablation_lags)}):
            cells = []
            if lag in _numbers(config.lags):
                cells += config.cells.split(",")
            if lag in _numbers(config.ablation_lags):
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


def _numbers(commas: str) -> list[int]:
    return [int(number) for number in commas.split(",") if number]


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
        options, {name: functools.partial(_run_one, part) for name, part in runs.items()}
    )
    metrics = {
        f"{name}/{metric}": part.metrics[metric].per_seed
        for name, part in parts.found.items()
        for metric in ("solved", "updates_to_solve", "error")
    }
    return results.make(
        "long_term_memory",
        SLIDES,
        options,
        parts,
        metrics,
        extra={
            "problems": config.problems.split(","),
            "claim_lag": config.claim_lag,
            "runs": {
                name: {"problem": part.problem, "cell": part.cell, "lag": part.lag}
                for name, part in runs.items()
            },
            "chance_error": {name: chance_error(part.problem) for name, part in runs.items()},
        },
    )


def _run_one(config: memory.Config, options: Options) -> Results:
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


def chance_error(problem: str) -> float:
    """The error of one who remembers nothing: mean square, or share of wrong answers."""
    return {"adding": 1 / 6, "temporal_order": 3 / 4, "copy": 7 / 8}[problem]


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
        return np.array(found.metrics[f"{name_of(problem, cell, lag)}/{metric}"].per_seed)

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
    if "lstm" not in present:
        return judged
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


_NAMES = {
    "rnn": ("tanh RNN", "tanh RNN"),
    "relu": ("ReLU RNN", "ReLU RNN"),
    "irnn": ("IRNN", "IRNN"),
    "gru": ("GRU", "GRU"),
    "lstm": ("LSTM", "LSTM"),
    "min_gru": ("minGRU", "minGRU"),
    "min_lstm": ("minLSTM", "minLSTM"),
    "lstm_no_input_gate": ("LSTM, no input gate", "LSTM(入力ゲートなし)"),
    "lstm_no_forget_gate": ("LSTM, no forget gate", "LSTM(忘却ゲートなし)"),
    "lstm_no_output_gate": ("LSTM, no output gate", "LSTM(出力ゲートなし)"),
}


def figure(found: Results) -> Any:
    """Share of seeds that solve it against lag, and the updates that takes, a row a problem."""
    problems = found.extra["problems"]
    figure, axes = plotting.subplots(len(problems), 2, squeeze=False, width_ratios=[1.35, 1])
    if len(problems) > 1:  # a slide is too low for several rows
        figure.set_size_inches(plotting.SLIDE_INCHES[0], 4.5 * len(problems))
    for (left, right), problem in zip(axes, problems, strict=True):
        _draw_shares(left, found, problem)
        _draw_updates(right, found, problem)
    plotting.caption(
        figure,
        plotting.text(
            f"{found.num_seeds} seeds each; lines: Wilson's 95 % interval of the share. "
            f"Dots: seeds; hollow: not solved in {found.steps:,} updates.",
            f"各{found.num_seeds}シード,縦線:割合の95%ウィルソン区間,点:各シード,"
            f"白抜き:{found.steps:,}回の更新で解けず",
        ),
    )
    return figure


def _draw_shares(ax: Any, found: Results, problem: str) -> None:
    lags_of: dict[str, list[int]] = {}
    for part in found.extra["runs"].values():
        if part["problem"] == problem:
            lags_of.setdefault(part["cell"], []).append(part["lag"])
    several = {
        cell: lags for cell, lags in lags_of.items() if len(lags) > 1 or cell in _plain(found)
    }
    for i, (cell, lags) in enumerate(several.items()):
        solved = [
            int(sum(found.metrics[f"{name_of(problem, cell, lag)}/solved"].per_seed))
            for lag in lags
        ]
        shares = np.array(solved) / found.num_seeds
        bounds = np.array([intervals.wilson(count, found.num_seeds) for count in solved])
        bars = np.abs(bounds.T - shares)
        # Equal shares would hide each other.
        shifted = np.array(lags) * (1 + 0.02 * (i - (len(several) - 1) / 2))
        ax.errorbar(
            shifted,
            100 * shares,
            100 * bars,
            marker="o",
            capsize=4,
            label=plotting.text(*_NAMES[cell]),
            linestyle="--" if cell in ABLATIONS else "-",
            color=plotting.COLOURS[_colour(cell)],
        )
    ax.set_xscale("log")
    all_lags = sorted({lag for lags in several.values() for lag in lags})
    ax.set_xticks(all_lags, [str(lag) for lag in all_lags])
    ax.minorticks_off()
    ax.set_ylim(-5, 105)
    ax.set_xlabel(plotting.text("lag, time steps", "ラグ(時間ステップ)"))
    ax.set_ylabel(plotting.text("seeds that solve it, %", "解けたシード,%"))
    ax.set_title(
        plotting.text(f"{_PROBLEM_WORDS[problem][0]} problem", f"{_PROBLEM_WORDS[problem][1]}課題")
    )
    ax.legend()


def _plain(found: Results) -> list[str]:
    """The cells that are no ablation."""
    cells = (part["cell"] for part in found.extra["runs"].values())
    return [cell for cell in dict.fromkeys(cells) if cell not in ABLATIONS]


def _colour(cell: str) -> int:
    return list(CELLS).index(cell) % len(plotting.COLOURS)


def _draw_updates(ax: Any, found: Results, problem: str) -> None:
    lag = found.extra["claim_lag"]
    cells = [
        part["cell"]
        for part in found.extra["runs"].values()
        if (part["problem"], part["lag"]) == (problem, lag)
    ]
    for row, cell in enumerate(cells):
        name = name_of(problem, cell, lag)
        updates = np.array(found.metrics[f"{name}/updates_to_solve"].per_seed)
        is_solved = np.array(found.metrics[f"{name}/solved"].per_seed) > 0
        # Dots of one row lie apart, in the order of the seeds.
        heights = row + 0.3 * (np.arange(len(updates)) % 5 / 2 - 1)
        colour = plotting.COLOURS[_colour(cell)]
        for chosen, face in ((is_solved, colour), (~is_solved, "none")):
            ax.scatter(
                updates[chosen], heights[chosen], s=50, facecolors=face, edgecolors=colour, zorder=2
            )
    ax.set_yticks(range(len(cells)), [plotting.text(*_NAMES[cell]) for cell in cells])
    ax.set_ylim(len(cells) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel(plotting.text("updates to solve it", "解くまでの更新回数"))
    ax.set_title(plotting.text(f"lag {lag}", f"ラグ{lag}"))


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
            row = f"  {_NAMES[cell][0]:24}"
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
    is_solved = np.array(found.metrics[f"{name}/solved"].per_seed) > 0
    if not is_solved.any():
        return "0"
    updates = np.array(found.metrics[f"{name}/updates_to_solve"].per_seed)[is_solved]
    return f"{is_solved.sum()} ({np.median(updates):,.0f})"


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
