"""A deep net learns a function as a superposition of simple ones, like a Fourier series (slide 23).

    python -m experiments.function_approximation --preset=quick --workdir=runs/functions

Nets with one and with two hidden layers of ramps learn five functions from their values, in growing
sizes, each beside a truncated Fourier series that has exactly as many parameters and is fitted by
least squares to the same points. An error is the root of the mean squared error (RMSE) at points
between those that were seen, as a share of the function's standard deviation: 1 is what a constant
reaches. Two functions are periodic (exp(sin pi x) and the triangle wave), and three are not: their
continuation with the period 2 jumps, at the ends or in the middle, too.

quick: 16 seeds of 40 nets, about a minute on 2 cores. With 13 to 397 parameters the error of the
nets falls with the power -0.68 +- 0.10 of their number, in the mean over functions and depths. The
series is better where the function is smooth and periodic (exact to the rounding of the values from
61 parameters on; the nets' error is 0.005), and the net of two hidden layers where it has kinks (by
a factor of 5 in the mean over sizes), jumps (2.2) or ends that do not meet (11): a series must jump
there and overshoots (Gibbs), a net puts its ramps where they are needed. Two claims fail. No net
learns the chirp: its error stays at 0.8 where the series has 0.02, for descent finds low
frequencies first (Rahaman et al., 2019, arXiv:1806.08734), and nets of this size stop there. And
two hidden layers are not better than one of as many parameters: twice as good on jumps, they are
worse on the smooth functions, and of the smallest ones, two units a layer, some seeds die.

The functions are learned without noise at 1,024 points, so nothing is overfitted. All nets have
the same step size, of three the best in the mean for seeds 100 and 101. Signs of differences are
all that is claimed; they were written down before these seeds ran. full was not run yet.
"""

import dataclasses
import sys
from typing import Annotated, Any

import numpy as np

from dl_lectures.data import functions
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.rl import approximation
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (23,)
NAMES = tuple(functions.FUNCTIONS)
LABELS = {
    "smooth": ("exp(sin πx)", "exp(sin πx)"),
    "kinked": ("|x|", "|x|"),
    "jumps": ("sign x", "sign x"),
    "growth": ("exp x", "exp x"),
    "chirp": ("chirp", "チャープ"),
}
_NETS = {
    "one": ("net, 1 hidden layer", "ネット:隠れ層1", plotting.ORANGE),
    "two": ("net, 2 hidden layers", "ネット:隠れ層2", plotting.BLUE),
}
_SERIES = ("Fourier series", "フーリエ級数", plotting.VERMILION)
_NUM_DRAWN = 512  # points of the curves in the figure
_DRAWN_SIZE = 1  # of the sizes, which one's curves are drawn


@dataclasses.dataclass(frozen=True)
class Config(approximation.Config):
    """Sizes, points and training."""

    widths: Annotated[
        str, "units of each of two hidden layers, commas between; remainders 0 or 2 modulo 6"
    ] = "2,6,12,18"
    num_points: Annotated[int, "N, points to learn from; errors are measured at 4 N others"] = 1_024

    def __post_init__(self):
        super().__post_init__()
        if len(self.sizes) < 2 or self.sizes != sorted(set(self.sizes)):
            raise ValueError(f"--widths={self.widths} must be two or more, and increase.")
        try:
            series = [approximation.equal_budget(width)[1] for width in self.sizes]
        except ValueError as error:
            raise ValueError(f"--widths={self.widths}: {error}.") from error
        if self.num_points % 2 or self.num_points <= 2 * series[-1]:
            raise ValueError(
                f"--num_points={self.num_points} must be even, and more than the "
                f"{2 * series[-1] + 1} parameters of the largest series."
            )

    @property
    def sizes(self) -> list[int]:
        """Widths of the nets of two hidden layers."""
        return common.numbers_of(self, "widths")


_QUICK = Config(batch_size=64, learning_rate=3e-2, decay_steps=8_000)

PRESETS = {
    "smoke": common.Preset(
        Config(widths="2,6", num_points=64, batch_size=32, decay_steps=100),
        num_seeds=2,
        steps=100,
        log_every=50,
        eval_every=50,
        checkpoint_every=100,
    ),
    "quick": common.Preset(
        _QUICK,
        num_seeds=16,
        steps=8_000,
        log_every=400,
        eval_every=2_000,
        checkpoint_every=4_000,
    ),
    "full": common.Preset(
        dataclasses.replace(_QUICK, widths="2,6,12,20,32", num_points=4_096, decay_steps=40_000),
        num_seeds=32,
        steps=40_000,
        log_every=2_000,
        eval_every=10_000,
        checkpoint_every=10_000,
    ),
}


def run(config: Config, options: Options) -> Results:
    """Trains the nets of all shapes and functions side by side, and fits the series."""
    train = functions.sample(NAMES, config.num_points)
    test = functions.sample(NAMES, 4 * config.num_points)
    drawn = functions.sample(NAMES, _NUM_DRAWN)
    # Seeds differ in first weights and batches alone: the functions and the points are the same.
    middle, size = (getattr(train.ys, name)(axis=1, keepdims=True) for name in ("mean", "std"))
    train, test, drawn = (
        approximation.Points(
            points.xs.astype(np.float32), ((points.ys - middle) / size).astype(np.float32)
        )
        for points in (train, test, drawn)
    )
    learner = approximation.make(config, shapes(config), NAMES)
    trained = trainer.train(learner, options, train, test, shard_batch=False)
    rmse, curves = [], []
    for num_harmonics in harmonics(config):
        series = approximation.fit_fourier(train.xs, train.ys, num_harmonics)
        error = approximation.fourier_series(series, test.xs) - test.ys
        rmse.append(np.sqrt(np.square(error).mean(axis=1)))
        curves.append(approximation.fourier_series(series, drawn.xs))
    params = common.of_first_seed(trained.state.params)
    predicted = approximation.predict(params, drawn.xs)
    return results.make(
        "function_approximation",
        SLIDES,
        options,
        trained,
        trained.evaluation,
        extra={
            "num_params": [approximation.num_net_params((w, w)) for w in config.sizes],
            "shapes": shapes(config),
            "harmonics": harmonics(config),
            "num_points": config.num_points,
        },
        arrays={
            "series_rmse": np.stack(rmse),  # [sizes, F]
            "xs": drawn.xs,
            "target": drawn.ys,
            "series": curves[_DRAWN_SIZE],
            **{depth: predicted[f"{depth}{_DRAWN_SIZE}"] for depth in _NETS},
        },
    )


def harmonics(config: Config) -> list[int]:
    """K of the series of each size."""
    return [approximation.equal_budget(width)[1] for width in config.sizes]


def shapes(config: Config) -> dict[str, list[int]]:
    """Hidden sizes of each net by name: `one0`, `two0`, `one1`, ..., in growing size."""
    found = {}
    for i, width in enumerate(config.sizes):
        found[f"one{i}"] = [approximation.equal_budget(width)[0]]
        found[f"two{i}"] = [width, width]
    return found


def errors(found: Results, depth: str, name: str) -> np.ndarray:
    """RMSE of the nets of a depth on a function, [sizes, S]."""
    sizes = range(len(found.extra["num_params"]))
    return np.stack([found.per_seed(f"rmse_{depth}{i}/{name}") for i in sizes])


def slope(num_params: list[int], rmse: np.ndarray) -> np.ndarray:
    """Least-squares slope of log RMSE [sizes, S] on the log of the number of parameters, [S]."""
    xs = np.log(num_params)
    xs = xs - xs.mean()
    return xs @ np.log(rmse) / (xs @ xs)


def advantage(found: Results, depth: str, name: str) -> np.ndarray:
    """By which factor the series' error exceeds the net's, log 10, mean over sizes, [S]."""
    series = found.arrays["series_rmse"][:, NAMES.index(name)]
    return (np.log10(series)[:, None] - np.log10(errors(found, depth, name))).mean(axis=0)


def claims(found: Results) -> tuple[Claim, ...]:
    """Signs alone are claimed; which sign was written down before the presets were run."""
    sizes = found.extra["num_params"]
    slopes = [slope(sizes, errors(found, depth, name)) for depth in _NETS for name in NAMES]
    deeper = [
        np.log10(errors(found, "one", name) / errors(found, "two", name)).mean(axis=0)
        for name in NAMES
    ]
    in_words = {
        "kinked": ("a function with kinks, |x|", "角のある関数|x|"),
        "jumps": ("a function that jumps, the sign of x", "跳びのある関数sign x"),
        "growth": ("a smooth function whose ends do not meet, exp x", "両端の合わない関数exp x"),
        "chirp": ("ever faster oscillations, a chirp", "振動が速まる関数(チャープ)"),
    }
    ratio = "log10 of the series' RMSE over the net's (two hidden layers), mean over sizes"
    return claims_lib.of_table(
        SLIDES,
        (
            (
                claims_lib.at_most,
                "error_falls_with_size",
                "A net is a superposition of simple functions: with more of them the error falls.",
                "ネットは単純な関数の重ね合わせ:数を増やすと誤差が下がる。",
                "slope of log RMSE against log parameters, mean over functions and depths",
                np.mean(slopes, axis=0),
                0.0,
            ),
            (
                claims_lib.at_most,
                "series_wins_when_smooth_and_periodic",
                "On a smooth periodic function a Fourier series of as many parameters is better "
                "than a net.",
                "なめらかな周期関数では,同じパラメータ数のフーリエ級数がネットに勝る。",
                f"{ratio}, exp(sin(pi x))",
                advantage(found, "two", "smooth"),
                0.0,
            ),
            *(
                (
                    claims_lib.at_least,
                    f"net_wins_on_{name}",
                    f"On {en}, a net is better than a Fourier series of as many parameters.",
                    f"{ja}では,ネットが同じパラメータ数のフーリエ級数に勝る。",
                    f"{ratio}, {LABELS[name][0]}",
                    advantage(found, "two", name),
                    0.0,
                )
                for name, (en, ja) in in_words.items()
            ),
            (
                claims_lib.at_least,
                "deeper_is_better",
                "Two hidden layers are better than one of as many parameters.",
                "同じパラメータ数なら,隠れ層は1つより2つがよい。",
                "log10 of the RMSE of one hidden layer over that of two, mean over functions and "
                "sizes",
                np.mean(deeper, axis=0),
                0.0,
            ),
        ),
    )


def figure(found: Results) -> Any:
    """Each function with its approximations, and below it errors against parameters."""
    figure, axes = plotting.subplots(2, len(NAMES), sharex="row", height_ratios=[1, 1.3])
    sizes, xs = found.extra["num_params"], found.arrays["xs"]
    for i, name in enumerate(NAMES):
        above, below = axes[:, i]
        target = found.arrays["target"][i]
        above.plot(xs, target, color="0.75", linewidth=7)
        above.plot(xs, found.arrays["series"][i], color=_SERIES[2], linewidth=1.5)
        above.plot(xs, found.arrays["two"][i], color=_NETS["two"][2], linewidth=2)
        above.set_title(plotting.text(*LABELS[name]))
        above.set_yticks([])
        above.set_ylim(1.25 * target.min(), 1.25 * target.max())
        above.set_xticks([-1, 0, 1])
        for depth, (en, ja, colour) in _NETS.items():
            plotting.band(below, sizes, errors(found, depth, name), plotting.text(en, ja), colour)
        below.plot(
            sizes,
            found.arrays["series_rmse"][:, i],
            marker="s",
            color=_SERIES[2],
            label=plotting.text(*_SERIES[:2]),
        )
        below.set(xscale="log", yscale="log", ylim=(1e-8, 3))
        below.set_xticks([10, 100], ["10", "100"])
        if i:
            below.set_yticklabels([])
    axes[1, 0].set_ylabel(plotting.text("relative error (RMSE)", "相対誤差(RMSE)"))
    axes[1, 2].set_xlabel(plotting.text("parameters", "パラメータ数"))
    handles, labels = axes[1, 0].get_legend_handles_labels()
    grey = axes[0, 0].lines[0]
    figure.legend(
        [grey, *handles],
        [plotting.text("function", "関数"), *labels],
        loc="outside upper center",
        ncols=4,
    )
    plotting.caption(
        figure,
        plotting.text(
            f"Above: {sizes[_DRAWN_SIZE]} parameters each, one seed.",
            f"上段:いずれも{sizes[_DRAWN_SIZE]}パラメータ,1つのシード",
        ),
    )
    return figure


def report(found: Results) -> str:
    """The table of errors and what to try next."""
    sizes = found.extra["num_params"]
    lines = [
        f"error on unseen points as a share of the standard deviation, mean of {found.num_seeds} "
        f"seeds, by number of parameters",
        "",
        f"  {'':34}" + "".join(f"{size:>10}" for size in sizes),
    ]
    for i, name in enumerate(NAMES):
        rows = {en: errors(found, depth, name).mean(1) for depth, (en, *_) in _NETS.items()}
        rows[_SERIES[0]] = found.arrays["series_rmse"][:, i]
        for words, values in rows.items():
            line = f"  {LABELS[name][0]:12}{words:22}"
            lines.append(line + "".join(f"{value:10.2g}" for value in values))
    lines += [
        "",
        "next: python -m experiments.function_approximation --steps=40000 --decay_steps=40000 "
        "--workdir=runs/functions_longer",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
