"""One input weight is to store and to ignore: its pushes cancel, until a gate comes (slide 12).

    python -m experiments.input_conflict --preset=quick --workdir=runs/input_conflict

A linear unit is to store the first symbol of a sequence such as AGCCCG and to ignore what follows
(`dl_lectures.sequences.carousel` has the mathematics). The gradient of its one input weight is
taken apart into the pushes of the time steps, at every update and before they are added up: the
first pushes up, to store, all others push down, to ignore. Without a gate they cancel at w = 1 / T,
and error^2 / variance stays at 1 - 1 / T, which is a theorem. With a learned input gate the unit
solves the problem, and nothing is left to push. The same for the output weight: to speak up once,
when a marker asks, and to be silent else. Eight runs: either weight, without and with its gate, in
the slide's alphabet, and where every seed draws alphabet, codes and length.

quick, 256 seeds a run: 25 s on 2 cores. Expect that without a gate 8 % (input) and 2 % (output) of
the gradient survive the sum over time, with magnitudes summed over all updates; that is the noise
of a batch, and less in a larger one. No seed solves it. With a gate 100 % do, half of them within
330 updates, and in random problems 98.8 % (input) and 100 % (output). full, 2,048 seeds at half the
learning rate, takes 5 to 10 minutes: 7 % and 1 % survive; 99.3 % and 100 % solve the slide's
problem with a gate, 98.6 % and 100 % random ones.

What the slide does not say, and the runs show:
- While a gate is being learned the two pushes still cancel nearly (16 % survive): w waits in
  balance. It is the gate's own weights that move, and the conflict shrinks as it shuts.
- On a single sequence the pushes need not cancel, and a later symbol with a code of the first one's
  sign pushes up as well. The theorem is about the mean over sequences; the slide's own sequence
  pushes +2.5 once and -0.8 or -1.6 five times.
- A gate is no guarantee. A few input gates learn to open at large codes of one sign and let the
  marker through in place of the symbol, a local minimum: 1 % of the random problems at
  --init_scale=0.1, but 22 % at 0.3 and 61 % at 1. Output gates have no such way out, unless
  --peephole shows them what the unit holds: then 9 % end there, and 26 % in random problems.

Where we differ from the paper: it argues in words and has no such experiment. The unit is linear,
its gates see the input and the marker and are not recurrent, and Adam replaces plain descent. Units
without a gate see the marker, too, through a weight of its own.
"""

import dataclasses
import itertools
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import intervals, plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.sequences import carousel
from dl_lectures.training import devices, trainer
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (12,)
CONFLICTS = ("input", "output")
ALPHABETS = ("slide", "random")
Config = carousel.Settings

PRESETS = {
    "smoke": common.Preset(
        Config(max_length=6, batch_size=64, learning_rate=0.05, num_eval_batches=16),
        num_seeds=64,
        steps=200,
        log_every=10,
        eval_every=200,
        checkpoint_every=200,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=256,
        steps=500,
        log_every=10,
        eval_every=500,
        checkpoint_every=500,
    ),
    "full": common.Preset(
        Config(max_length=16, learning_rate=0.01),
        num_seeds=2_048,
        steps=1_000,
        log_every=50,
        eval_every=1_000,
        checkpoint_every=500,
    ),
}

_CURVES = ("relative_error", "push_of_first", "push_of_later")
_METRICS = (
    "relative_error",
    "surviving_share",
    "opposing_share",
    "gross_push",
    "solved",
    "solved_at_update",
    "length",
)


def part_name(conflict: str, gate: bool, alphabet: str) -> str:
    """The name of one of the eight runs."""
    return f"{conflict}_{'gate' if gate else 'no_gate'}_{alphabet}"


def run(config: Config, options: Options) -> Results:
    """Trains the eight units, and measures which way each time step pushes."""
    works = {}
    for conflict, alphabet, gate in itertools.product(CONFLICTS, ALPHABETS, (False, True)):
        unit = carousel.Config(
            **dataclasses.asdict(config), conflict=conflict, gate=gate, alphabet=alphabet
        )
        works[part_name(conflict, gate, alphabet)] = _work(unit)
    parts = common.run_parts(options, works)
    return results.make(
        "input_conflict",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={"length": config.length},
        arrays={
            f"{name}/{array}": value
            for name, part in parts.found.items()
            for array, value in part.arrays.items()
        },
    )


def _work(unit: carousel.Config) -> Callable[[Options], Results]:
    """What `common.run_parts` calls to train one unit."""

    def work(options: Options) -> Results:
        # A unit is a handful of numbers: there is nothing to be split.
        trained = trainer.train(carousel.make(unit), options, shard_batch=False)
        curves = results.read_curves(options.workdir)
        arrays = {name: curves[name].values.astype(np.float32) for name in _CURVES}
        arrays["steps"] = curves["relative_error"].steps
        if unit.alphabet == "slide":
            arrays["pushes"], arrays["pushes_of_slide"] = pushes_by_step(
                unit, options, trained.state
            )
        metrics = {name: trained.evaluation[name] for name in _METRICS}
        return results.make("input_conflict", SLIDES, options, trained, metrics, arrays=arrays)

    return work


def pushes_by_step(
    unit: carousel.Config, options: Options, state: carousel.State
) -> tuple[np.ndarray, np.ndarray]:
    """The push of every time step in units that are halfway, or stalled for good.

    Args:
        unit: the unit.
        options: of the run.
        state: of all seeds, on the devices.

    Returns:
        The mean over fresh sequences, [S, T], and that on the slide's own sequence, [S, 6].
    """
    num_slide = len(carousel.SLIDE_SEQUENCE)

    def of_one(key: jax.Array, params: carousel.Params, problem: carousel.Problem):
        # The output's unit holds the first symbol throughout.
        xs = carousel.encode(carousel.SLIDE_SEQUENCE)[None]
        if unit.conflict == "output":
            xs = xs.at[:].set(xs[0, 0])
        _, _, on_slide = carousel.untied_gradients(unit, params, xs, num_slide)
        return -carousel.profile(key, unit, params, problem)[1], -on_slide

    def of_all(params: carousel.Params, problems: carousel.Problem):
        keys = jax.random.split(jax.random.key(options.seed), options.num_seeds)
        return jax.vmap(of_one)(keys, params, problems)

    everywhere = devices.everywhere(state.t.sharding.mesh)
    found = jax.jit(of_all, out_shardings=everywhere)(state.halfway, state.problem)
    return devices.on_host(found)


_WORDS = {  # of the claims, in English and Japanese
    "input": (
        "input",
        "入力",
        "store a symbol and to ignore what follows",
        "記号を記憶し,後続を無視",
    ),
    "output": (
        "output",
        "出力",
        "speak up once and to be silent else",
        "一度だけ想起し,他では沈黙",
    ),
}


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the first run; that of `gate_ends_conflict` after pilot seeds.

    That the pushes oppose each other at the stall, and that no unit without a gate solves it, are
    theorems (see `carousel`): there the run checks the code. The others could have failed.
    """
    return tuple(claim for conflict in CONFLICTS for claim in _claims_of(found, conflict))


def _claims_of(found: Results, conflict: str) -> tuple[Claim, ...]:
    def of(gate: bool, alphabet: str, metric: str) -> np.ndarray:
        return found.per_seed(f"{part_name(conflict, gate, alphabet)}/{metric}")

    en, ja, task_en, task_ja = _WORDS[conflict]
    return (
        claims_lib.at_most(
            id=f"{conflict}_pushes_cancel",
            slides=SLIDES,
            statement_en=f"One {en} weight is to {task_en}: the time steps push it against each "
            "other, and little of the gradient survives the sum.",
            statement_ja=f"1つの{ja}重みで{task_ja}しようとすると,各時刻の勾配が打ち消し合い,"
            "和にはほとんど残らない。",
            statistic="without a gate, sum over updates of |sum_t g_t| / that of sum_t |g_t|",
            per_seed=of(False, "slide", "surviving_share"),
            threshold=0.2,
        ),
        claims_lib.at_least(
            id=f"{conflict}_pushes_oppose",
            slides=SLIDES,
            statement_en=f"In the end, all other time steps push the {en} weight against the step "
            "that matters.",
            statement_ja=f"最後には,他のすべての時刻が,肝心な時刻とは逆に{ja}重みを押す。",
            statistic="without a gate at the end, share of the steps that push against the first",
            per_seed=of(False, "slide", "opposing_share"),
            threshold=0.9,
        ),
        claims_lib.at_most(
            id=f"{conflict}_stalls",
            slides=SLIDES,
            statement_en=f"Learning stalls: no unit whose {en} weight has no gate solves it.",
            statement_ja=f"学習は停滞する:{ja}ゲートがなければ,一つも解けない。",
            statistic="without a gate, share of seeds that solve it",
            per_seed=of(False, "slide", "solved"),
            threshold=0.0,
        ),
        claims_lib.share_at_least(
            id=f"{conflict}_gate_solves",
            slides=SLIDES,
            statement_en=f"With an {en} gate nearly all units solve it.",
            statement_ja=f"{ja}ゲートがあれば,ほぼすべて解ける。",
            statistic="with a gate, share of seeds that solve it",
            per_seed=of(True, "slide", "solved"),
            threshold=0.95,
        ),
        claims_lib.at_most(
            id=f"{conflict}_gate_ends_conflict",
            slides=SLIDES,
            statement_en=f"An {en} gate ends the conflict: in the end nothing pushes the weight.",
            statement_ja=f"{ja}ゲートは衝突を終わらせる:最後には,重みはどちらにも押されない。",
            statistic="sum_t |G_t| at the end, with a gate / without",
            per_seed=of(True, "slide", "gross_push") / of(False, "slide", "gross_push"),
            threshold=0.1,
        ),
        claims_lib.at_most(
            id=f"{conflict}_pushes_cancel_in_any_alphabet",
            slides=SLIDES,
            statement_en=f"So do the pushes on the {en} weight in random alphabets, codes and "
            "lengths.",
            statement_ja=f"{ja}重みの勾配は,記号の数,符号,系列長を無作為に選んでも打ち消し合う。",
            statistic="as above, each seed with a problem of its own",
            per_seed=of(False, "random", "surviving_share"),
            threshold=0.2,
        ),
        claims_lib.at_least(
            id=f"{conflict}_gate_solves_any_alphabet",
            slides=SLIDES,
            statement_en=f"And an {en} gate solves what was unsolvable there.",
            statement_ja=f"そこでも,{ja}ゲートがあれば解ける。",
            statistic="share of seeds that solve their problem, with a gate - without",
            per_seed=of(True, "random", "solved") - of(False, "random", "solved"),
            threshold=0.95,
        ),
    )


_NO_GATE, _INPUT_GATE, _OUTPUT_GATE = plotting.VERMILION, plotting.BLUE, plotting.GREEN


def figure(found: Results) -> Any:
    """Who pushes the weight where, the tug of war over the updates, and what is learned."""
    figure, axes = plotting.mosaic([["steps", "war"], ["error", "stall"]])
    _draw_steps(axes["steps"], found)
    _draw_war(axes["war"], found)
    _draw_error(axes["error"], found)
    _draw_stall(axes["stall"], found)
    plotting.caption(
        figure,
        plotting.text(
            "Above: input weight, mean push over all sequences. "
            "Halfway: half of the error is gone.",
            "上:入力重み,全系列で平均した力。途中:誤差が半分になった時点",
        ),
    )
    return figure


def _draw_steps(ax: Any, found: Results) -> None:
    """The push of every time step, and their sum."""
    length = found.extra["length"]
    places = np.append(np.arange(length), length + 0.5)
    for offset, gate, color, words in (
        (-0.2, False, _NO_GATE, plotting.text("no gate, stalled", "ゲートなし(停滞)")),
        (0.2, True, _INPUT_GATE, plotting.text("input gate, halfway", "入力ゲート(途中)")),
    ):
        by_seed = found.arrays[f"{part_name('input', gate, 'slide')}/pushes"]
        pushes = np.median(np.column_stack([by_seed, by_seed.sum(1)]), axis=0)
        ax.bar(places + offset, pushes, width=0.4, color=color, label=words)
        if abs(pushes[-1]) < 0.05:  # too low a bar to be seen
            ax.text(places[-1] + offset, 0.1, "0", color=color, ha="center", va="center")
    ax.axhline(0, color=plotting.BLACK, linewidth=1)
    letters = list(carousel.SLIDE_SEQUENCE)
    names = letters if length == len(letters) else list(range(1, length + 1))
    ax.set_xticks(places, [*names, plotting.text("sum", "和")])
    ax.tick_params(axis="x", labelsize=plotting.FONT_POINTS, length=0)
    ax.grid(False, axis="x")
    ax.set_ylim(-0.5, 1.1)
    small = {"fontsize": plotting.SMALL_POINTS, "ha": "center", "va": "center"}
    ax.text(0, 0.98, plotting.text("↑ store", "↑ 記憶"), **small)
    ax.text(length / 2, -0.36, plotting.text("↓ ignore", "↓ 無視"), **small)
    ax.set_ylabel(plotting.text("push, −∂E/∂w", "押す力 −∂E/∂w"))
    ax.set_title(plotting.text("Each time step pushes one weight", "各時刻が1つの重みを押す"))
    ax.legend(loc="upper right", borderaxespad=0)


def _draw_war(ax: Any, found: Results) -> None:
    """The push of the first step, and that of all others together."""
    for gate, color in ((False, _NO_GATE), (True, _INPUT_GATE)):
        name = part_name("input", gate, "slide")
        for curve in ("push_of_first", "push_of_later"):
            steps, values = found.arrays[f"{name}/steps"], found.arrays[f"{name}/{curve}"]
            plotting.band(ax, steps, values, "_", color)
    ax.axhline(0, color=plotting.BLACK, linewidth=1)
    ax.set_xlim(0, found.steps)
    ax.set_ylim(-1.5, 1.5)
    small = {"fontsize": plotting.SMALL_POINTS, "ha": "right", "va": "center"}
    right = 0.98 * found.steps
    for y, color, words in (
        (1.15, _NO_GATE, plotting.text("store the first", "最初を記憶")),
        (
            0.22,
            _INPUT_GATE,
            plotting.text("with the gate both let go", "ゲートがあれば両者とも収まる"),
        ),
        (-1.2, _NO_GATE, plotting.text("ignore all others", "残りを無視")),
    ):
        ax.text(right, y, words, color=color, **small)
    ax.set_title(plotting.text("Tug of war: the pushes cancel", "綱引き:押し合い,打ち消し合う"))
    ax.set_xlabel(plotting.text("updates", "更新回数"))


def _draw_error(ax: Any, found: Results) -> None:
    """What is learned with and without a gate, in the slide's alphabet."""
    for conflict, gate, color, words in (
        ("input", False, _NO_GATE, "_"),
        ("output", False, plotting.ORANGE, "_"),
        ("input", True, _INPUT_GATE, plotting.text("input gate", "入力ゲート")),
        ("output", True, _OUTPUT_GATE, plotting.text("output gate", "出力ゲート")),
    ):
        name = part_name(conflict, gate, "slide")
        steps, values = found.arrays[f"{name}/steps"], found.arrays[f"{name}/relative_error"]
        plotting.band(ax, steps, values, words, color)
        if conflict == "output":  # lies on that of the input weight
            ax.lines[-1].set_linestyle((0, (2, 2)))
    stall = carousel.stalled_error(found.extra["length"])
    ax.axhline(stall, color=plotting.BLACK, linestyle="--", linewidth=1.5)
    ax.text(
        0.98 * found.steps,
        1.9 * stall,
        plotting.text("no gate: theory, 1 − 1/T", "ゲートなし:理論値 1 − 1/T"),
        fontsize=plotting.SMALL_POINTS,
        ha="right",
        va="center",
    )
    ax.set_yscale("log")
    ax.set_xlim(0, found.steps)
    ax.set_ylim(top=4)
    ax.set_xlabel(plotting.text("updates", "更新回数"))
    ax.set_ylabel(plotting.text("error² / variance", "誤差² / 分散"))
    ax.set_title(plotting.text("Only a gate lets it learn", "ゲートがあって初めて学べる"))
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.55), borderaxespad=0)


def _draw_stall(ax: Any, found: Results) -> None:
    """Where units end whose alphabets, codes and lengths are random, one point a seed."""
    greatest, solved = 2, []
    for conflict, gate, color, marker in (
        ("input", False, _NO_GATE, "o"),
        ("output", False, plotting.ORANGE, "^"),
        ("input", True, _INPUT_GATE, "o"),
        ("output", True, _OUTPUT_GATE, "^"),
    ):
        name = part_name(conflict, gate, "random")
        lengths = found.per_seed(f"{name}/length")
        errors = found.per_seed(f"{name}/relative_error")
        aside = 0.14 if conflict == "output" else -0.14
        ax.plot(lengths + aside, errors, marker, color=color, markersize=6, clip_on=False)
        greatest = max(greatest, lengths.max())
        if gate:
            solved.extend(found.per_seed(f"{name}/solved"))
    lengths = np.linspace(1.5, greatest + 0.5, 100)
    ax.plot(lengths, carousel.stalled_error(lengths), "--", color=plotting.BLACK, linewidth=1.5)
    small = {"fontsize": plotting.SMALL_POINTS, "ha": "right", "va": "center"}
    right = greatest + 0.3
    words = plotting.text("no gate: on 1 − 1/T", "ゲートなし:1 − 1/T の上")
    ax.text(right, 0.72, words, color=_NO_GATE, **small)
    share = f"{100 * np.mean(solved):.1f} %"
    words = plotting.text(f"gate: {share} solved", f"ゲートあり:{share.replace(' ', '')}が解けた")
    ax.text(right, 0.58, words, color=_INPUT_GATE, **small)
    ax.set_xticks(range(2, int(greatest) + 1, 2 if greatest <= 16 else 4))
    ax.set_xlim(1.5, greatest + 0.5)
    ax.set_ylim(0, 1.05)
    ax.set_xlabel(plotting.text("T, symbols a sequence", "系列の長さ T"))
    ax.set_title(plotting.text("Any alphabet, code and length", "記号,符号,長さを変えても"))


def report(found: Results) -> str:
    """The table, the slide's own sequence, and what to try next."""
    lines = [
        f"{found.num_seeds} seeds a row; with its Wilson 95 % interval the share that solved it;",
        "updates to the solution (median); gradient that survives the sum over time; later steps",
        "that push against the first in the end; error^2 / variance in the end, over 1 - 1/T",
        "",
        "weight  gate alphabet   solved                updates  survives  oppose  error/(1-1/T)",
    ]
    for conflict, alphabet, gate in itertools.product(CONFLICTS, ALPHABETS, (False, True)):
        solved, solved_at, survives, opposing, error, length = (
            found.per_seed(f"{part_name(conflict, gate, alphabet)}/{metric}")
            for metric in (
                *("solved", "solved_at_update", "surviving_share", "opposing_share"),
                *("relative_error", "length"),
            )
        )
        num_solved = int(solved.sum())
        low, high = intervals.wilson(num_solved, found.num_seeds)
        updates = f"{np.median(solved_at[solved > 0]):.0f}" if num_solved else "-"
        of_stall = (error / carousel.stalled_error(length)).mean()
        lines.append(
            f"{conflict:8}{'yes' if gate else 'no':5}{alphabet:11}"
            f"{100 * num_solved / found.num_seeds:5.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            f"{updates:>9}{100 * survives.mean():8.1f} %"
            f"{100 * opposing.mean():6.0f} %{of_stall:13.4f}"
        )
    lines += ["", f"pushes on the input weight by {carousel.SLIDE_SEQUENCE} alone (seeds' median)"]
    for gate, words in ((False, "no gate, stalled"), (True, "gate, halfway")):
        on_slide = found.arrays[f"{part_name('input', gate, 'slide')}/pushes_of_slide"]
        values = "".join(f"{value:+8.2f}" for value in np.median(on_slide, axis=0))
        lines.append(f"  {words:18}{values}")
    preset = "full" if found.preset == "quick" else "quick"
    lines += ["", f"next: python -m experiments.input_conflict --preset={preset}"]
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
