"""More data, larger nets and more computing lower the loss; do deeper nets? (slides 44, 45).

    python -m experiments.scaling --preset=quick --workdir=runs/scaling

Trains LSTM language models of several sizes on nested parts of a text, one run for each pair, and
fits the loss on unseen text with a power law of parameters N and training characters D plus a
constant, once as a sum (Hoffmann et al., 2022, arXiv:2203.15556, eq. 2) and once joined (Kaplan et
al., 2020, arXiv:2001.08361, eq. 1.5, with a constant). Nets of several layers that have as many
parameters as one wide layer tell what depth is worth. Compute is 6 N operations a character of the
text that is read in training: a product and a sum for each parameter, three times (forward,
gradients of inputs and of weights).

quick: 19 runs of 4 seeds, 3 minutes and 20 seconds on 2 cores. From 5,509 to 148,743 characters the
largest net (85 k parameters) goes from 3.82 to 2.90 nats a character, and the smallest (6 k) from
3.94 to 3.38: size is worth 0.12 nats with little data and 0.48 with much. Ten times the operations
lower the least loss by 0.45. The sum explains 97 % of the variance over the grid, the joint law
99.8 %; fitted without the largest net and the longest text that one misses the largest run by 0.03.
Its constants are not to be trusted: the interval of the floor is 0.5 to 1.5, for a range of 13 in N
and 27 in D does not tell a floor from a small exponent. That deeper is better fails: of 32 k
parameters one layer has 3.01, and 2, 3 and 4 layers 3.11, 3.26 and 3.38. They learn more slowly,
but that is not all: with 44 k parameters and up to 4,000 updates (2 seeds) one layer had 2.96, two
2.99, and four, still learning, 3.10.

Other than in the papers, nets read small texts many times, until the loss on one half of the
held-out characters is at its least or the updates are spent (on the longest text they are); the
loss that counts is that on the other half. N counts embeddings, too. The step size is constant and
the moving average of the weights is judged, so that each run is also one of every shorter budget.
All nets have the same settings, for which the mean loss of seeds 100 and 101 was the least of three
step sizes; dropout of 0.2 would gain 0.01 nats. Deeper nets have no connections that skip layers.
Characters beyond the 512 commonest are one symbol: losses cannot be compared with
`experiments.language_model`. Sizes and number of updates were lowered for time after two runs on
the same seeds (H 16 to 128; 900 and 1,200 updates), in which each verdict was the same. full, with
a fifth size and 8 seeds, was not run yet.
"""

import bisect
import contextlib
import dataclasses
import functools
import math
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np

from dl_lectures.data import text
from dl_lectures.errors import UsageError
from dl_lectures.learner import Key, Learner, Metrics
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Curve, Results
from dl_lectures.sequences import language_model
from dl_lectures.sequences.cells import CellName
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (44, 45)
FORMS = ("sum", "joint")
_NUM_HELDOUT_CHARS = 8_192  # half of them chooses when to stop
_NUM_SETTLED = 150  # updates: before, the step size rises, and the average holds first weights
_NUM_RESAMPLES = 200  # of the bootstrap
_LEAST_GRID = 4  # sizes and texts: less a row and a column, more runs than a law's 5 parameters


@dataclasses.dataclass(frozen=True)
class Config:
    """The grid of runs and what they have in common."""

    dataset: Annotated[
        Literal["japanese_sentences", "tatoeba", "shakespeare", "names"], "the text to learn"
    ] = "japanese_sentences"
    num_symbols: Annotated[int, "V, the commonest characters; the others are one symbol"] = 512
    cell: Annotated[CellName, "recurrent cell"] = "lstm"
    hidden_sizes: Annotated[
        str, "H of the nets of one layer, numbers with commas between; vectors have half of it"
    ] = "16,28,52,96"
    divisors: Annotated[
        str, "the text is cut to 1/k for each of these numbers, which share no divisor with B"
    ] = "27,9,3,1"
    depths: Annotated[str, "layers of the nets of equal size, beginning with 1"] = "1,2,3,4"
    depth_hidden: Annotated[int, "H of the net of one layer whose size those have"] = 52
    batch_size: Annotated[int, "B, parallel streams of text"] = 32
    num_unroll: Annotated[int, "T, time steps of truncated backpropagation"] = 32
    learning_rate: Annotated[float, "step size of Adam"] = 1e-2
    dropout_output: Annotated[float, "dropout of the last layer's output"] = 0.0
    average_decay: Annotated[float, "decay of the moving average of the weights"] = 0.99
    patience: Annotated[int, "a run ends so many evaluations after the best one of each seed"] = 4

    def __post_init__(self):
        for flag in ("hidden_sizes", "divisors", "depths"):
            numbers = common.numbers_of(self, flag)
            if len(set(numbers)) < max(2, len(numbers)) or min(numbers) < 1:
                raise ValueError(
                    f"--{flag}={getattr(self, flag)} must be two or more different numbers above 0"
                )
        if self.sizes != sorted(self.sizes) or self.parts != sorted(self.parts, reverse=True):
            raise ValueError("--hidden_sizes must increase and --divisors decrease")
        if self.layers[0] != 1 or self.layers != sorted(self.layers):
            raise ValueError(f"--depths={self.depths} must begin with 1 and increase")
        if self.depth_hidden not in self.sizes:
            raise ValueError(f"--depth_hidden={self.depth_hidden} must be one of --hidden_sizes")
        if self.num_symbols < 3:
            raise ValueError(f"--num_symbols must be at least 3, not {self.num_symbols}")
        if self.patience < 1:
            raise ValueError(f"--patience must be at least 1, not {self.patience}")
        for size in self.sizes:
            net_config(self, Net(size, size // 2))  # refuses what nets cannot have
        if any(math.gcd(k, self.batch_size) > 1 for k in self.parts):
            raise ValueError(
                f"--divisors={self.divisors} may not share a divisor with "
                f"--batch_size={self.batch_size}: streams would read the same text"
            )

    @property
    def sizes(self) -> list[int]:
        """H of the nets of one layer, the smallest first."""
        return common.numbers_of(self, "hidden_sizes")

    @property
    def parts(self) -> list[int]:
        """Divisors of the text's length, the shortest text first."""
        return common.numbers_of(self, "divisors")

    @property
    def layers(self) -> list[int]:
        """Layers of the nets of equal size."""
        return common.numbers_of(self, "depths")


class Net(NamedTuple):
    """The shape of a language model."""

    num_hidden: int  # H
    num_embedding: int  # E
    num_layers: int = 1


def net_config(config: Config, net: Net) -> language_model.Config:
    """The language model of a net, and how it is trained."""
    return language_model.Config(
        cell=config.cell,
        **net._asdict(),
        dropout_output=config.dropout_output,
        batch_size=config.batch_size,
        num_unroll=config.num_unroll,
        learning_rate=config.learning_rate,
        decay_steps=10**9,  # constant after the warm-up
        average_decay=config.average_decay,
    )


PRESETS = {
    "smoke": common.Preset(
        Config(
            num_symbols=128,
            hidden_sizes="8,32",
            divisors="9,1",
            depths="1,2",
            depth_hidden=32,
            batch_size=16,
            num_unroll=16,
        ),
        num_seeds=2,
        steps=100,
        log_every=50,
        eval_every=50,
        checkpoint_every=100,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=4,
        steps=900,
        log_every=25,
        eval_every=25,
        checkpoint_every=300,
    ),
    "full": common.Preset(
        Config(hidden_sizes="16,28,52,96,176", depth_hidden=96, depths="1,2,3,4,6"),
        num_seeds=8,
        steps=3_000,
        log_every=25,
        eval_every=25,
        checkpoint_every=500,
    ),
}


# The runs ---------------------------------------------------------------------------------------


class Text(NamedTuple):
    """What all runs learn from and are judged by; codes of `commonest`."""

    train: np.ndarray  # int32 [N], a multiple of every divisor
    selection: np.ndarray  # int32 chooses when to stop
    test: np.ndarray  # int32 is what counts
    num_symbols: int  # V
    unknown: float  # share of the test's characters that are no symbol of their own


def run(config: Config, options: Options) -> Results:
    """Trains every net on every part of the text, and the deeper ones on the longest."""
    data = load(config)
    nets = grid(config, data.num_symbols)
    works = {
        name: functools.partial(_run_one, config, net, divisor, data)
        for name, (net, divisor) in nets.items()
    }
    parts = common.run_parts(options, works)
    runs = {
        name: {
            **net._asdict(),
            "num_chars": len(data.train) // divisor,
            "num_params": count_params(config, net, data.num_symbols),
        }
        for name, (net, divisor) in nets.items()
    }
    arrays = {}
    for name, part in parts.found.items():
        arrays[f"steps/{name}"] = part.arrays["steps"]
        arrays[f"nats/{name}"] = part.arrays["nats"]
    found = results.make(
        "scaling",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={
            "text": config.dataset,
            "cell": config.cell,
            "num_symbols": data.num_symbols,
            "unknown": data.unknown,
            "chars_per_update": config.batch_size * config.num_unroll,
            "runs": runs,
            "grid": [[name_of(h, k) for k in config.parts] for h in config.sizes],
            "depths": [
                name_of(config.depth_hidden, config.parts[-1]),
                *(f"layers{n}" for n in config.layers[1:]),
            ],
        },
        arrays=arrays,
    )
    found.extra["laws"] = laws(found)
    found.extra["frontier_law"] = frontier_law(found)
    return found


def name_of(num_hidden: int, divisor: int) -> str:
    """The name of a run of the grid."""
    return f"h{num_hidden}-d{divisor}"


def load(config: Config) -> Text:
    """The text.

    Raises:
      UsageError: it is missing, or too short to be cut so small.
    """
    corpus = text.load(config.dataset)
    train, heldout = (commonest(corpus, config.num_symbols, c) for c in corpus[2:4])
    length = len(train) // math.lcm(*config.parts) * math.lcm(*config.parts)
    if length // config.parts[0] <= config.batch_size * config.num_unroll:
        raise UsageError(
            f"1/{config.parts[0]} of {config.dataset} is less than --batch_size * --num_unroll "
            "characters: lower one of them, or the first of --divisors"
        )
    selection, test = halves(heldout[:_NUM_HELDOUT_CHARS])
    num_symbols = min(config.num_symbols, len(corpus.vocabulary))
    unknown = float((test == text.UNKNOWN).mean())
    return Text(train[:length], selection, test, num_symbols, unknown)


def commonest(corpus: text.Corpus, num_symbols: int, codes: np.ndarray) -> np.ndarray:
    """The codes [N] with those numbered anew, by frequency, that are common in the training text.

    Newline and unknown stay 0 and 1; what is not among the first `num_symbols` becomes unknown.
    """
    counts = np.bincount(corpus.train, minlength=len(corpus.vocabulary))
    counts[[text.NEWLINE, text.UNKNOWN]] = len(corpus.train) + 1  # stay in front, in their order
    order = np.argsort(-counts, kind="stable")[:num_symbols]
    renamed = np.full(len(counts), text.UNKNOWN, np.int32)
    renamed[order] = np.arange(len(order))
    return renamed[codes]


def halves(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two texts of about equal length, [N], cut after a newline."""
    ends = np.flatnonzero(codes == text.NEWLINE) + 1
    cut = ends[np.abs(ends - len(codes) // 2).argmin()]
    return codes[:cut], codes[cut:]


def grid(config: Config, num_symbols: int) -> dict[str, tuple[Net, int]]:
    """Net and divisor of each run by name: the grid, then the deeper nets on the longest text."""
    runs = {name_of(h, k): (Net(h, max(1, h // 2)), k) for h in config.sizes for k in config.parts}
    wide, longest = runs[name_of(config.depth_hidden, config.parts[-1])]
    for num_layers in config.layers[1:]:
        net = equal_size(config, wide, num_layers, num_symbols)
        runs[f"layers{num_layers}"] = (net, longest)
    return runs


def count_params(config: Config, net: Net, num_symbols: int) -> int:
    """The number of all its weights."""
    init = functools.partial(language_model.init, net_config(config, net), num_symbols=num_symbols)
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))


def equal_size(config: Config, wide: Net, num_layers: int, num_symbols: int) -> Net:
    """The net of so many layers whose number of weights is next to that of one wide layer."""

    def count(num_hidden: int) -> int:
        net = wide._replace(num_hidden=num_hidden, num_layers=num_layers)
        return count_params(config, net, num_symbols)

    target = count_params(config, wide, num_symbols)
    enough = 1 + bisect.bisect_left(range(1, wide.num_hidden + 1), target, key=count)
    nearest = min((max(1, enough - 1), enough), key=lambda h: abs(count(h) - target))
    return wide._replace(num_hidden=nearest, num_layers=num_layers)


def _run_one(config: Config, net: Net, divisor: int, data: Text, options: Options) -> Results:
    # A short text is repeated to the length of the longest, so that each net is compiled but once.
    train = np.tile(data.train[: len(data.train) // divisor], divisor)
    trained = trainer.train(
        make(net_config(config, net), data.num_symbols),
        options,
        train,
        (data.selection, data.test),
        until=past_best(options.workdir, config.patience),
    )
    curves = results.read_curves(options.workdir)
    nats = curves["eval/nats_per_char"]
    best = curves["eval/selection_nats_per_char"].values.argmin(axis=0)  # [S]
    return results.make(
        "scaling",
        SLIDES,
        options,
        trained,
        {
            "nats_per_char": nats.values[best, np.arange(options.num_seeds)],
            "updates": nats.steps[best],
        },
        arrays={"steps": nats.steps, "nats": nats.values},
    )


def make(config: language_model.Config, num_symbols: int) -> Learner:
    """A language model that is evaluated on two texts, int32 [M] each, at a known step."""

    def evaluate(key: Key, state: language_model.State, data: Any) -> Metrics:
        del key  # nothing is random
        selection, test = (
            language_model.nll_of_text(config, state.average, codes) for codes in data
        )
        return {
            "selection_nats_per_char": selection,
            "nats_per_char": test,
            "updates": state.t.astype("float32"),
        }

    return language_model.make(config, num_symbols)._replace(evaluate=evaluate)


def past_best(workdir: str, patience: int) -> Callable[[dict[str, np.ndarray]], bool]:
    """Tells after each evaluation whether each seed's best one lies `patience` evaluations back.

    A run that is continued knows what was evaluated before from its log.
    """
    seen = {}  # the selection's loss, [S], by step
    with contextlib.suppress(UsageError, KeyError):  # nothing was logged yet
        curve = results.read_curves(workdir)["eval/selection_nats_per_char"]
        seen |= dict(zip(curve.steps.tolist(), curve.values, strict=True))

    def until(evaluation: dict[str, np.ndarray]) -> bool:
        step = int(evaluation["updates"][0])
        seen[step] = evaluation["selection_nats_per_char"]
        # The log may reach further than the checkpoint that the run continues from.
        values = np.stack([seen[s] for s in sorted(seen) if s <= step])
        return bool((len(values) - 1 - values.argmin(axis=0) >= patience).all())

    return until


# Laws -------------------------------------------------------------------------------------------


class Law(NamedTuple):
    """The loss L(N, D) in nats per character, with x = (N_c / N)^a and y = (D_c / D)^b.

    sum:    L = floor + x + y: what more parameters bring does not depend on the data.
    joint:  L = floor + (x^(1/b) + y^(1/b))^b: it does; the larger of x and y rules.
    """

    form: str
    floor: float
    n_c: float
    a: float
    d_c: float
    b: float

    def __call__(self, num_params: Any, num_chars: Any) -> np.ndarray:
        """The loss at N and D, which broadcast against each other."""
        log_x = self.a * (np.log(self.n_c) - np.log(num_params))
        log_y = self.b * (np.log(self.d_c) - np.log(num_chars))
        power = self.b if self.form == "joint" else 1.0
        return self.floor + np.exp(power * np.logaddexp(log_x / power, log_y / power))


def fit(
    form: str, num_params: np.ndarray, num_chars: np.ndarray, nats: np.ndarray, start: Law | None
) -> Law:
    """The law of least squares.

    Args:
      form: one of FORMS.
      num_params: N of each run, [R].
      num_chars: D of each run, [R].
      nats: the loss of each run, [R].
      start: a law nearby; None to search from several.
    """
    from scipy import optimize  # slow to import, and only the end of a run needs it

    # In units of the smallest net and the shortest text numbers are near 1.
    n_0, d_0 = num_params.min(), num_chars.min()
    log_n, log_d = np.log(num_params / n_0), np.log(num_chars / d_0)

    def law(theta: np.ndarray) -> Law:
        floor, log_n_c, log_a, log_d_c, log_b = theta
        return Law(form, floor, np.exp(log_n_c), np.exp(log_a), np.exp(log_d_c), np.exp(log_b))

    def residuals(theta: np.ndarray) -> np.ndarray:
        return law(theta)(np.exp(log_n), np.exp(log_d)) - nats

    if start is None:
        starts = [
            [0.5 * nats.min(), 0.0, np.log(a), 0.0, np.log(b)]
            for a in (0.1, 0.5)
            for b in (0.1, 0.5)
        ]
    else:
        at = (np.log(start.n_c / n_0), np.log(start.a), np.log(start.d_c / d_0), np.log(start.b))
        starts = [[start.floor, *at]]
    # The loss is positive; exponents beyond these, and scales far away, are not told apart.
    low = [0.0, -40.0, math.log(0.01), -40.0, math.log(0.01)]
    high = [nats.min(), 40.0, math.log(5.0), 40.0, math.log(5.0)]
    found = [
        optimize.least_squares(residuals, np.clip(x, low, high), bounds=(low, high), x_scale="jac")
        for x in starts
    ]
    best = law(min(found, key=lambda result: result.cost).x)
    return best._replace(n_c=float(n_0 * best.n_c), d_c=float(d_0 * best.d_c))


def r_squared(nats: np.ndarray, predicted: np.ndarray) -> float:
    """The share of the variance of [R] losses that a law explains."""
    return float(1 - ((nats - predicted) ** 2).sum() / ((nats - nats.mean()) ** 2).sum())


class Grid(NamedTuple):
    """The runs of the grid; sizes increase along the first axis, texts along the second."""

    num_params: np.ndarray  # [n, d]
    num_chars: np.ndarray  # [n, d]
    nats: np.ndarray  # [n, d, S]


def grid_of(found: Results) -> Grid:
    """The grid of results."""
    names = found.extra["grid"]
    runs = found.extra["runs"]
    return Grid(
        num_params=np.array([[runs[name]["num_params"] for name in row] for row in names]),
        num_chars=np.array([[runs[name]["num_chars"] for name in row] for row in names]),
        nats=np.array([[found.per_seed(f"{name}/nats_per_char") for name in row] for row in names]),
    )


def fits_laws(found: Results) -> bool:
    """Whether there are runs enough to fit a law to the grid without its last row and column."""
    return min(np.shape(found.extra["grid"])) >= _LEAST_GRID


def laws(found: Results) -> dict[str, dict[str, Any]]:
    """By form, the law of the mean losses, the share it explains, and 95 % intervals.

    Intervals are percentiles of the bootstrap, in which each run's seeds are drawn anew. With few
    seeds they are too narrow: of S values the resampled mean has (S - 1) / S of the variance.
    """
    if not fits_laws(found):
        return {}
    grid = grid_of(found)
    num_params, num_chars = grid.num_params.ravel(), grid.num_chars.ravel()
    nats = grid.nats.reshape(len(num_params), -1)  # [R, S]
    shape = (_NUM_RESAMPLES, *nats.shape)
    drawn = np.asarray(jax.random.randint(jax.random.key(found.seed), shape, 0, shape[-1]))
    summary = {}
    for form in FORMS:
        law = fit(form, num_params, num_chars, nats.mean(1), None)
        resampled = [
            fit(form, num_params, num_chars, np.take_along_axis(nats, seeds, 1).mean(1), law)
            for seeds in drawn
        ]
        numbers = np.array([resample[1:] for resample in resampled])  # [.., 5]
        low, high = np.quantile(numbers, [0.025, 0.975], axis=0)
        summary[form] = {
            **law._asdict(),
            "ci95": dict(zip(Law._fields[1:], zip(low, high, strict=True), strict=True)),
            "r_squared": r_squared(nats.mean(1), law(num_params, num_chars)),
        }
    return summary


def law_of(found: Results, form: str) -> Law:
    """The law in results."""
    return Law(*(found.extra["laws"][form][name] for name in Law._fields))


def extrapolation_error(form: str, grid: Grid, nats: np.ndarray, start: Law | None) -> float:
    """By how many nats the largest net on the longest text is missed, [n, d] losses.

    The law is fitted to the runs that have neither the most parameters nor the most characters.
    """
    inner = (slice(None, -1), slice(None, -1))
    some = (grid.num_params[inner].ravel(), grid.num_chars[inner].ravel(), nats[inner].ravel())
    law = fit(form, *some, start)
    return float(abs(law(grid.num_params[-1, -1], grid.num_chars[-1, -1]) - nats[-1, -1]))


class Frontier(NamedTuple):
    """The least loss for each amount of computing; F: amounts at which a run is the best yet."""

    operations: np.ndarray  # [F] increasing
    nats: np.ndarray  # [F] decreasing
    num_params: np.ndarray  # [F] of the best run


def curve_of(found: Results, name: str) -> tuple[np.ndarray, Curve]:
    """A run's operations so far, [N], and its losses at the same steps, [N, S]."""
    steps = found.arrays[f"steps/{name}"]
    operations = 6.0 * found.extra["runs"][name]["num_params"] * found.extra["chars_per_update"]
    return operations * steps, Curve(steps, found.arrays[f"nats/{name}"])


def frontier(found: Results, seeds: np.ndarray) -> Frontier:
    """The frontier of the grid, by the mean loss of some seeds, indices [..].

    Every evaluation counts, once a run has settled; of a run that never does, the last one.
    """
    points = []
    for name in np.ravel(found.extra["grid"]):
        operations, curve = curve_of(found, name)
        num_params = found.extra["runs"][name]["num_params"]
        means = curve.values[:, seeds].mean(1)
        settled = curve.steps >= min(_NUM_SETTLED, curve.steps[-1])
        points += [
            (c, nats, num_params)
            for c, nats in zip(operations[settled], means[settled], strict=True)
        ]
    operations, nats, num_params = np.array(sorted(points)).T
    is_best = nats < np.minimum.accumulate(np.concatenate([[np.inf], nats[:-1]]))
    return Frontier(operations[is_best], nats[is_best], num_params[is_best])


def nats_per_tenfold(edge: Frontier) -> float:
    """By how much the frontier falls for ten times as many operations: a line's slope."""
    if edge.operations[0] == edge.operations[-1]:  # nothing was better than the cheapest
        return 0.0
    return float(-np.polyfit(np.log10(edge.operations), edge.nats, 1)[0])


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set after pilots with other seeds and before the presets were run."""
    grid = grid_of(found)
    gains = grid.nats[0] - grid.nats[-1]  # [d, S] of the largest net over the smallest
    depths = np.array([found.per_seed(f"{name}/nats_per_char") for name in found.extra["depths"]])
    few, many = f"{grid.num_chars[0, 0]:,}", f"{grid.num_chars[0, -1]:,}"
    slopes = [nats_per_tenfold(frontier(found, np.array([s]))) for s in range(found.num_seeds)]
    judged = [
        claims_lib.at_least(
            id="more_data_lowers_loss",
            slides=SLIDES,
            statement_en="More data wins: the largest net predicts unseen text better by half a "
            f"nat a character when it has learned from {many} characters instead of {few}.",
            statement_ja=f"データが多いほど勝つ:最大のネットは,{few}文字でなく{many}文字から学ぶと,"
            "未知の文を1文字あたり0.5ナット以上よく予測する。",
            statistic="the largest net's loss with the least data less that with the most, "
            "nats per character",
            per_seed=grid.nats[-1, 0] - grid.nats[-1, -1],
            threshold=0.5,
        ),
        claims_lib.at_least(
            id="larger_nets_win_with_much_data",
            slides=SLIDES,
            statement_en=f"Larger nets win where data is plenty ({many} characters).",
            statement_ja=f"データが豊富なら({many}文字),大きなネットほど勝つ。",
            statistic="the smallest net's loss less the largest one's, nats per character",
            per_seed=gains[-1],
            threshold=0.1,
        ),
        claims_lib.at_least(
            id="larger_nets_need_data",
            slides=SLIDES,
            statement_en=f"A larger net is worth less where data is scarce ({few} characters).",
            statement_ja=f"データが乏しいと({few}文字),ネットを大きくする効果は小さい。",
            statistic="gain by size with the most data less that with the least, "
            "nats per character",
            per_seed=gains[-1] - gains[0],
            threshold=0.1,
        ),
        claims_lib.at_least(
            id="more_compute_lowers_loss",
            slides=SLIDES,
            statement_en="More computing wins: ten times as many operations lower the least loss "
            "there is for them by 0.2 nats a character.",
            statement_ja="計算が多いほど勝つ:演算を10倍にすると,達成できる最小の損失は"
            "1文字あたり0.2ナット下がる。",
            statistic="fall of the least loss per tenfold operations, nats per character",
            per_seed=slopes,
            threshold=0.2,
        ),
        claims_lib.at_most(
            id="deeper_is_steadily_better",
            slides=(45,),
            statement_en="Deeper is steadily better: with as many parameters, each layer more "
            "lowers the loss.",
            statement_ja="深いほど着実によい:パラメータ数が同じなら,層を増やすたびに損失が下がる。",
            statistic="greatest rise of the loss from one depth to the next, nats per character",
            per_seed=np.diff(depths, axis=0).max(axis=0),
            threshold=0.0,
        ),
        claims_lib.at_most(
            id="deepest_beats_widest",
            slides=(45,),
            statement_en=f"With as many parameters, {_layers(found)[-1]} layers are better than "
            "one.",
            statement_ja=f"パラメータ数が同じなら,{_layers(found)[-1]}層は1層よりよい。",
            statistic="loss of the deepest net less that of one layer, nats per character",
            per_seed=depths[-1] - depths[0],
            threshold=0.0,
        ),
    ]
    return tuple(judged + (_claims_of_laws(found, grid) if fits_laws(found) else []))


def _layers(found: Results) -> list[int]:
    return [found.extra["runs"][name]["num_layers"] for name in found.extra["depths"]]


def _claims_of_laws(found: Results, grid: Grid) -> list[Claim]:
    num_params, num_chars = grid.num_params.ravel(), grid.num_chars.ravel()
    explained, missed = [], []
    for nats in np.moveaxis(grid.nats, 2, 0):  # [n, d] of each seed
        law = fit("sum", num_params, num_chars, nats.ravel(), law_of(found, "sum"))
        explained.append(r_squared(nats.ravel(), law(num_params, num_chars)))
        missed.append(extrapolation_error("joint", grid, nats, law_of(found, "joint")))
    return [
        claims_lib.at_least(
            id="power_law_explains",
            slides=SLIDES,
            statement_en="Power laws of parameters and of data, added, explain the loss.",
            statement_ja="損失は,パラメータ数とデータ量のべき乗則の和で説明できる。",
            statistic="share of the variance over the grid that the sum explains",
            per_seed=explained,
            threshold=0.9,
        ),
        claims_lib.at_most(
            id="power_law_predicts",
            slides=SLIDES,
            statement_en="A power law fitted to smaller nets and shorter texts predicts the "
            "largest net on the longest text.",
            statement_ja="小さいネットと短い文章に合わせたべき乗則で,最大のネットと最長の文章での"
            "損失を予測できる。",
            statistic="error of the joint law's prediction, nats per character",
            per_seed=missed,
            threshold=0.1,
        ),
    ]


def frontier_law(found: Results) -> dict[str, Any]:
    """L(C) = floor + (c_c / C)^a of the frontier of the mean loss, and intervals by bootstrap."""
    shape = (_NUM_RESAMPLES, found.num_seeds)
    key = jax.random.fold_in(jax.random.key(found.seed), 1)  # that of the laws' is another
    drawn = np.asarray(jax.random.randint(key, shape, 0, found.num_seeds))
    edges = [frontier(found, seeds) for seeds in (np.arange(found.num_seeds), *drawn)]
    if min(len(edge.nats) for edge in edges) < 4:
        return {}
    whole, *resampled = [np.array(fit_frontier(edge)) for edge in edges]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    names = ("floor", "c_c", "a")
    ci95 = dict(zip(names, zip(low, high, strict=True), strict=True))
    return dict(zip(names, whole, strict=True)) | {"ci95": ci95}


def fit_frontier(edge: Frontier) -> tuple[float, float, float]:
    """floor, c_c and a of the least squares of L(C) = floor + (c_c / C)^a."""
    from scipy import optimize  # slow to import, and only the end of a run needs it

    log_c = np.log(edge.operations / edge.operations[0])

    def line(a: float) -> tuple[np.ndarray, np.ndarray]:
        # For a given exponent the rest is linear, floor and factor not negative.
        design = np.stack([np.ones_like(log_c), np.exp(-a * log_c)], axis=1)
        return optimize.nnls(design, edge.nats)

    best = optimize.minimize_scalar(
        lambda log_a: line(math.exp(log_a))[1],
        bounds=(math.log(0.01), math.log(5.0)),
        method="bounded",
    )
    a = math.exp(best.x)
    floor, factor = line(a)[0]
    return float(floor), float(edge.operations[0] * max(factor, 1e-12) ** (1 / a)), a


# Figure and report ------------------------------------------------------------------------------


def figure(found: Results) -> Any:
    """The loss against data for each size, against operations, and against depth at equal size."""
    figure, axes = plotting.mosaic([["data", "compute"], ["data", "depth"]], width_ratios=[1.1, 1])
    _draw_data(axes["data"], found)
    _draw_compute(axes["compute"], found)
    _draw_depth(axes["depth"], found)
    figure.suptitle(
        plotting.text(
            "Loss on unseen text, nats per character", "未知の文での損失(1文字あたりのナット)"
        )
    )
    return figure


def _colours(count: int) -> list[str]:
    """From the smallest net to the largest."""
    return [plotting.COLOURS[i % len(plotting.COLOURS)] for i in range(count)]


def _draw_data(ax: Any, found: Results) -> None:
    grid = grid_of(found)
    colours = _colours(len(grid.nats))
    for i, colour in enumerate(colours):
        count = _short(grid.num_params[i, 0])
        label = plotting.text(f"{count} parameters", f"{count}パラメータ")
        plotting.means(ax, grid.num_chars[i], grid.nats[i], label, colour)
        ax.lines[-1].set_linewidth(1.0)
    if found.extra["laws"]:
        law = law_of(found, "joint")
        num_chars = np.geomspace(grid.num_chars.min(), grid.num_chars.max(), 50)
        for num_params, colour in zip(grid.num_params[:, 0], colours, strict=True):
            ax.plot(num_chars, law(num_params, num_chars), ":", color=colour)
        ax.plot([], [], ":", color="0.4", label=plotting.text("fitted law", "当てはめた法則"))
    ax.set_xscale("log")
    ax.set_xticks(grid.num_chars[0], [_short(count) for count in grid.num_chars[0]])
    ax.minorticks_off()
    ax.set_xlabel(plotting.text("characters to learn from", "学習に使う文字数"))
    ax.set_title(plotting.text("More data", "データを増やす"))
    ax.legend(loc="lower left")


def _draw_compute(ax: Any, found: Results) -> None:
    names = found.extra["grid"]
    for row, colour in zip(names, _colours(len(names)), strict=True):
        for name in row:
            operations, curve = curve_of(found, name)
            ax.plot(operations, curve.values.mean(1), color=colour, linewidth=1, alpha=0.6)
    edge = frontier(found, np.arange(found.num_seeds))
    ax.plot(
        edge.operations,
        edge.nats,
        color=plotting.BLACK,
        label=plotting.text("least loss", "最小の損失"),
    )
    if law := found.extra["frontier_law"]:
        operations = np.geomspace(edge.operations[0], edge.operations[-1], 50)
        ax.plot(
            operations,
            law["floor"] + (law["c_c"] / operations) ** law["a"],
            ":",
            color=plotting.BLACK,
            label=plotting.text("fitted law", "当てはめた法則"),
        )
    highest = max(edge.nats.max(), grid_of(found).nats.max())
    margin = 0.05 * (highest - edge.nats.min())
    ax.set_ylim(edge.nats.min() - margin, highest + margin)
    ax.set_xscale("log")
    ax.set_xlim(left=edge.operations[0] / 2)
    ax.minorticks_off()
    ax.set_xlabel(plotting.text("operations (6 N a character)", "演算数(1文字あたり6N)"))
    ax.set_title(plotting.text("More computing", "計算を増やす"))
    ax.legend(loc="upper right")


def _draw_depth(ax: Any, found: Results) -> None:
    layers, names = _layers(found), found.extra["depths"]
    nats = np.array([found.per_seed(f"{name}/nats_per_char") for name in names])
    for depth, values in zip(layers, nats, strict=True):
        ax.scatter(np.full(len(values), depth), values, s=25, color="0.6")
    row = next(i for i, row in enumerate(found.extra["grid"]) if names[0] in row)
    plotting.means(ax, layers, nats, "", _colours(row + 1)[-1])  # the colour of the wide net
    ax.set_xticks(layers)
    ax.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
    ax.set_xlabel(plotting.text("layers", "層の数"))
    count = _short(found.extra["runs"][names[0]]["num_params"])
    ax.set_title(
        plotting.text(
            f"Deeper, with {count} parameters each", f"深くする(いずれも{count}パラメータ)"
        )
    )
    plotting.caption(
        ax.figure,
        plotting.text(
            "Grey dots: seeds. Thin lines: runs while they train, in the colours of their sizes.",
            "灰色の点:各シード,細線:学習中の各ネット(色は大きさ)",
        ),
    )


def _short(number: float) -> str:
    """In thousands where it is large."""
    return f"{number:,.0f}" if number < 1_000 else f"{number / 1_000:,.3g} k"


def report(found: Results) -> str:
    """The table of losses, the laws, and depth against width."""
    grid = grid_of(found)
    lines = [
        f"{found.extra['text']}, the {found.extra['num_symbols']} commonest characters "
        f"({100 * found.extra['unknown']:.1f} % of the unseen text are others)",
        "",
        "loss on unseen text, nats per character (updates), by characters to learn from",
        f"  {'parameters':>12}" + "".join(f"{count:>15,}" for count in grid.num_chars[0]),
    ]
    for row, names in enumerate(found.extra["grid"]):
        entries = [_entry(found, name) for name in names]
        lines.append(f"  {grid.num_params[row, 0]:>12,}" + "".join(f"{e:>15}" for e in entries))
    for form, law in found.extra["laws"].items():
        lines += ["", f"{_FORMULAS[form]} explains {100 * law['r_squared']:.1f} % of the variance"]
        lines += _law_lines(law, Law._fields[1:])
        error = extrapolation_error(form, grid, grid.nats.mean(2), law_of(found, form))
        lines.append(f"  fitted without the last row and column it misses the last by {error:.3f}")
    if law := found.extra["frontier_law"]:
        lines += ["", "least loss for C operations: floor + (c_c / C)^a"]
        lines += _law_lines(law, ("floor", "c_c", "a"))
    lines += ["", "layers  H  parameters  loss (updates)"]
    for name in found.extra["depths"]:
        run = found.extra["runs"][name]
        lines.append(
            f"{run['num_layers']:6}{run['num_hidden']:4}{run['num_params']:11,}  "
            f"{_entry(found, name)}"
        )
    lines += ["", "next: python -m experiments.scaling --preset=full"]
    return "\n".join(lines)


_FORMULAS = {
    "sum": "the sum, floor + (n_c / N)^a + (d_c / D)^b,",
    "joint": "the joint law, floor + ((n_c / N)^(a/b) + d_c / D)^b,",
}


def _entry(found: Results, name: str) -> str:
    updates = found.metrics[f"{name}/updates"].mean
    return f"{found.metrics[f'{name}/nats_per_char'].mean:.3f} ({updates:,.0f})"


def _law_lines(law: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [
        f"  {name:6}{law[name]:10.3g}   95 % interval {law['ci95'][name][0]:.3g} to "
        f"{law['ci95'][name][1]:.3g}"
        for name in names
    ]


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
