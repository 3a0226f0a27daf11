"""10 nodes a layer and 8 hidden layers: 10^10 paths, 900 edges; what does learning cost? (slide 38)

    python -m experiments.backprop_cost --preset=quick --workdir=runs/backprop_cost

The slide says that such a net costs 10^10 = 10億. 10^10 is the number of ways from an input to an
output, through one of 10 nodes in each of 10 layers, and it is 100億: the slide is short by a
factor of ten. Nobody walks the ways one by one, for backpropagation shares what they have in common
(Rumelhart et al., 1986, doi:10.1038/323533a0). A gradient costs a small multiple of the function
whatever the number of parameters, as Baur and Strassen proved (1983,
doi:10.1016/0304-3975(83)90110-X): here about three times. Shown by

- counting paths and edges exactly,
- a tiny net whose gradient is also summed over all paths, one by one,
- the operations of compiled programs, as XLA counts them, against 2 for each edge and example in
  the forward pass, 2 for its weight's gradient, and 2 to hand the gradient on to a hidden layer,
- seconds against depth and width: linear in depth, quadratic in width.

A seed is a round of measurements in which each program is timed --steps times, in turn, with random
weights of its own: `training.timing`. Counts are exact, the same for all seeds.

quick takes 15 s on 2 cores, and as long again to compile the first time; full, by estimate, 3
minutes. Expect 10^10 paths, 900 edges, 5,550 operations for the gradient of one example, and 2.5 to
3.1 times the operations of the forward pass, as in theory. That learning costs an operation for
each path, the slide by the letter, fails: it is one for 1.8 million paths. Seconds of the gradient
grow like depth^1.0 and width^1.6 on an idle machine, so that the square, which operations have
exactly, fails for them: at the smaller widths calls and tanh take the time. XLA has sizes that it
does badly: 64 examples through 512 x 512 weights took four times as long as they should in the
forward pass, longer than with the gradient, and the figure shows it.
"""

import dataclasses
import functools
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.training import timing
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (38,)
NODES, HIDDEN = 10, 8  # the slide's net: nodes of every layer, hidden layers
OKU = 10**8  # 億
_DRAWN_HIDDEN = (1, 2, 4, 6, 8)  # hidden layers of the nets whose counts are drawn
_SHALLOWEST, _NARROWEST = 4, 128  # layers of weights, nodes: where the seconds begin
_WIDTH_LAYERS = 4  # of weights, in the nets of growing width
PASSES = ("forward", "gradient")

Weights = Sequence[Any]  # matrices [nodes of a layer, nodes of the next]


@dataclasses.dataclass(frozen=True)
class Config:
    """The nets."""

    batch_size: Annotated[int, "B, examples of a pass"] = 64
    path_nodes: Annotated[int, "nodes a layer of the net whose paths are all walked"] = 3
    path_hidden: Annotated[int, "its hidden layers"] = 3
    depth_nodes: Annotated[int, "nodes a layer of the nets of growing depth"] = 256
    max_layers: Annotated[int, "layers of weights of the deepest one"] = 32
    max_nodes: Annotated[int, "nodes a layer of the widest net"] = 1024

    def __post_init__(self):
        for name in ("batch_size", "path_nodes", "path_hidden", "depth_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.path_nodes ** (self.path_hidden + 2) > 10**7:
            raise ValueError(
                f"--path_nodes={self.path_nodes} and --path_hidden={self.path_hidden} make more "
                "than 10^7 paths to walk; take fewer"
            )
        for name, least in (("max_layers", _SHALLOWEST), ("max_nodes", _NARROWEST)):
            if getattr(self, name) < 2 * least:
                raise ValueError(
                    f"--{name} must be at least {2 * least}, not {getattr(self, name)}: an "
                    "exponent takes two sizes"
                )


PRESETS = {  # --steps: how often a round times each program
    "smoke": common.Preset(
        Config(batch_size=16, depth_nodes=64, max_layers=8, max_nodes=256),
        num_seeds=3,
        steps=3,
        log_every=3,
        eval_every=3,
        checkpoint_every=3,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=8,
        steps=11,
        log_every=11,
        eval_every=11,
        checkpoint_every=11,
    ),
    "full": common.Preset(
        Config(batch_size=128, path_nodes=4, path_hidden=4, max_layers=64, max_nodes=2048),
        num_seeds=16,
        steps=21,
        log_every=21,
        eval_every=21,
        checkpoint_every=21,
    ),
}


# Paths.


def adjacencies(sizes: Sequence[int]) -> list[np.ndarray]:
    """Which node feeds which in a net of full layers: ones, [sizes[k], sizes[k + 1]]."""
    return [np.ones(pair, int) for pair in itertools.pairwise(sizes)]


def num_paths(matrices: Sequence[np.ndarray]) -> int:
    """The number of ways from any input to any output, exact.

    It is the sum over all entries of the product of the adjacency matrices. Taken from the left,
    the product visits each edge once: this, too, is a sum over paths that is shared.

    Args:
      matrices: 0 or 1, or numbers of parallel edges, [nodes of a layer, nodes of the next].
    """
    ways = np.ones(len(matrices[0]), object)  # Python's integers do not overflow
    for matrix in matrices:
        ways = ways @ matrix.astype(object)
    return int(ways.sum())


def num_edges(matrices: Sequence[np.ndarray]) -> int:
    """The number of edges."""
    return sum(int(matrix.sum()) for matrix in matrices)


def layer_sizes(num_nodes: int, num_hidden: int) -> list[int]:
    """Nodes of the inputs, the hidden layers and the outputs."""
    return [num_nodes] * (num_hidden + 2)


class Walked(NamedTuple):
    """A gradient that was summed path by path."""

    gradients: list[np.ndarray]  # of each weight, as they are in the weights
    num_paths: int  # that were walked


def gradient_by_paths(weights: Weights, x: np.ndarray) -> Walked:
    """The gradient of half the squared length of a net's outputs, path by path, in float64.

    The weight of the edge from i to j moves the loss by the activity of i, times the sum over all
    paths from j to the outputs of the product of the slopes at its nodes and the weights of its
    edges. No sum is used twice, so the work grows like the number of paths.

    Args:
      weights: of a net of tanh units with linear outputs, [nodes of a layer, nodes of the next].
      x: inputs, [nodes of the first layer].
    """
    weights = [np.asarray(w, np.float64) for w in weights]
    activities = [np.asarray(x, np.float64)]
    for w in weights[:-1]:
        activities.append(np.tanh(activities[-1] @ w))
    outputs = activities[-1] @ weights[-1]
    slopes = [1 - h**2 for h in activities[1:]] + [outputs]  # the last: of the loss by outputs
    gradients, num_walked = [], 0
    for k, w in enumerate(weights):
        sums = np.zeros(w.shape[1])
        sizes = [len(slope) for slope in slopes[k:]]
        for first in range(sizes[0]):
            nodes = np.indices([1, *sizes[1:]]).reshape(len(sizes), -1)  # [layers, paths]
            nodes[0] = first
            products = np.ones(nodes.shape[1])
            for step, slope in enumerate(slopes[k:]):
                products *= slope[nodes[step]]
                if step:
                    products *= weights[k + step][nodes[step - 1], nodes[step]]
            sums[first] = products.sum()
            num_walked += len(products) * w.shape[0]  # once for each edge to `first`
        gradients.append(np.outer(activities[k], sums))
    return Walked(gradients, num_walked)


# Nets and their programs.


def random_net(
    seed: int, num_nodes: int, num_layers: int, batch_size: int
) -> tuple[list[jax.Array], jax.Array]:
    """Weights, `num_layers` of [W, W], which keep the size of activities; and inputs, [B, W]."""
    key_weights, key_xs = jax.random.split(jax.random.key(seed))
    shape = (num_layers, num_nodes, num_nodes)
    weights = jax.random.normal(key_weights, shape) / math.sqrt(num_nodes)
    return list(weights), jax.random.normal(key_xs, (batch_size, num_nodes))


def loss(weights: Weights, xs: jax.Array) -> jax.Array:
    """Half the squared length of the outputs, mean over the batch."""
    for w in weights[:-1]:
        xs = jnp.tanh(xs @ w)
    return 0.5 * ((xs @ weights[-1]) ** 2).sum(-1).mean()


def programs(num_nodes: int, num_layers: int, batch_size: int) -> dict[str, Any]:
    """The compiled forward pass, and the compiled gradient, which includes a forward pass."""
    shapes = jax.eval_shape(functools.partial(random_net, 0, num_nodes, num_layers, batch_size))
    functions = {"forward": loss, "gradient": jax.value_and_grad(loss)}
    return {name: jax.jit(functions[name]).lower(*shapes).compile() for name in PASSES}


def operations_by_theory(num_nodes: int, num_layers: int, batch_size: int) -> dict[str, int]:
    """Sums and products in the matrix products of a pass.

    A multiplication and an addition for each edge and example; in the gradient also for each
    weight's gradient, and for handing the gradient on, but not to the inputs.
    """
    one = 2 * batch_size * num_nodes**2
    return {"forward": one * num_layers, "gradient": one * (3 * num_layers - 1)}


def operations(program: Any) -> float:
    """Additions, multiplications and the like of a compiled program, by XLA's count.

    It leaves out tanh, of which a forward pass has one a hidden node and example.
    """
    return program.cost_analysis()["flops"]


# The parts.


def run(config: Config, options: Options) -> Results:
    """Counts, walks the paths, then times against depth and width."""
    works: dict[str, Callable[[Options], Results]] = {
        "paths": functools.partial(_paths, config),
        "depth": functools.partial(_growth, config, "depth"),
        "width": functools.partial(_growth, config, "width"),
    }
    parts = common.run_parts(options, works)
    found = parts.found
    matrices = adjacencies(layer_sizes(NODES, HIDDEN))
    return results.make(
        "backprop_cost",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={
            "config": dataclasses.asdict(config),
            "num_paths": str(num_paths(matrices)),  # of the slide's net; JSON's numbers may round
            "num_edges": num_edges(matrices),
            "num_walked": found["paths"].extra["num_walked"],
            "num_walked_whole": found["paths"].extra["num_walked_whole"],
        },
        arrays={
            f"{name}/{array}": value
            for name, part in found.items()
            for array, value in part.arrays.items()
        },
    )


def _paths(config: Config, options: Options) -> Results:
    start = time.perf_counter()
    counted = {name: [] for name in PASSES}
    for hidden in _DRAWN_HIDDEN:
        for name, program in programs(NODES, hidden + 1, config.batch_size).items():
            counted[name].append(operations(program) / config.batch_size)
    differences, num_walked = [], 0
    gradient = jax.jit(jax.grad(loss))
    for seed in range(options.seed, options.seed + options.num_seeds):
        weights, xs = random_net(seed, config.path_nodes, config.path_hidden + 1, 1)
        walked = gradient_by_paths(weights, np.asarray(xs[0]))
        num_walked = walked.num_paths
        differences.append(relative_difference(gradient(weights, xs), walked.gradients))
    arrays = {
        "hidden": np.array(_DRAWN_HIDDEN),
        "forward": np.array(counted["forward"]),
        "gradient": np.array(counted["gradient"]),
    }
    sizes = layer_sizes(config.path_nodes, config.path_hidden)
    return results.make(
        "backprop_cost",
        SLIDES,
        options,
        common.finish(options, {"measure": time.perf_counter() - start}, (arrays, differences)),
        {"relative_difference": differences},
        extra={
            "num_walked": num_walked,
            "num_walked_whole": num_paths(adjacencies(sizes)),
        },
        arrays=arrays,
    )


def relative_difference(ours: Weights, theirs: Weights) -> float:
    """The length of the difference of two gradients, relative to that of the second."""
    ours, theirs = (
        np.concatenate([np.asarray(x, np.float64).ravel() for x in tree]) for tree in (ours, theirs)
    )
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def nets(config: Config, what: str) -> Iterator[tuple[int, int]]:
    """Nodes and layers of weights of nets of growing `depth` or `width`, each twice the last."""
    if what == "depth":
        for i in range(int(math.log2(config.max_layers / _SHALLOWEST)) + 1):
            yield config.depth_nodes, _SHALLOWEST * 2**i
    else:
        for i in range(int(math.log2(config.max_nodes / _NARROWEST)) + 1):
            yield _NARROWEST * 2**i, _WIDTH_LAYERS


def _growth(config: Config, what: str, options: Options) -> Results:
    start = time.perf_counter()
    all_nets = list(nets(config, what))
    compiled = {net: programs(*net, config.batch_size) for net in all_nets}

    def works_of(seed: int) -> dict[str, timing.Work]:
        works = {}
        for i, net in enumerate(all_nets):
            inputs = random_net(seed, *net, config.batch_size)
            for name in PASSES:
                works[f"{name}{i}"] = timing.Work(
                    functools.partial(_call, compiled[net][name], inputs)
                )
        return works

    timed = timing.in_turn(works_of, options)
    sizes = np.array([net[what == "depth"] for net in all_nets])
    arrays = {"sizes": sizes}
    metrics = {}
    for name in PASSES:
        seconds = np.stack([timed[f"{name}{i}"] for i in range(len(all_nets))])
        arrays[f"{name}_seconds"] = seconds  # [N, S]
        arrays[f"{name}_operations"] = np.array(
            [operations(compiled[net][name]) for net in all_nets]
        )
        arrays[f"{name}_theory"] = np.array(
            [operations_by_theory(*net, config.batch_size)[name] for net in all_nets]
        )
        metrics[f"{name}_exponent"] = timing.exponent(sizes, seconds)
        metrics[f"{name}_ms"] = 1e3 * seconds[-1]  # of the greatest net
    metrics["ratio"] = metrics["gradient_ms"] / metrics["forward_ms"]
    return results.make(
        "backprop_cost",
        SLIDES,
        options,
        common.finish(options, {"measure": time.perf_counter() - start}, arrays),
        metrics,
        arrays=arrays,
    )


def _call(program: Any, inputs: tuple[Any, ...]) -> None:
    jax.block_until_ready(program(*inputs))


# What follows.


def operation_ratios(found: Results) -> np.ndarray:
    """Operations of the gradient over those of the forward pass, of all nets, [N]."""
    return np.concatenate(
        [
            found.arrays["paths/gradient"] / found.arrays["paths/forward"],
            *(
                found.arrays[f"{what}/gradient_operations"]
                / found.arrays[f"{what}/forward_operations"]
                for what in ("depth", "width")
            ),
        ]
    )


def from_theory(found: Results) -> float:
    """The greatest relative distance of XLA's counts from the theory's, over the timed nets."""
    return max(
        float(np.abs(found.arrays[f"{part}_operations"] / found.arrays[f"{part}_theory"] - 1).max())
        for part in (f"{what}/{name}" for what in ("depth", "width") for name in PASSES)
    )


def operation_exponent(found: Results, what: str) -> float:
    """The power of depth or width with which the operations of the gradient grow."""
    arrays = found.arrays
    return float(timing.exponent(arrays[f"{what}/sizes"], arrays[f"{what}/gradient_operations"]))


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the presets were run.

    Counts are one exact number, repeated for each seed; seconds are one value a seed, that is a
    round.
    """

    def exact(value: float) -> np.ndarray:
        return np.full(found.num_seeds, float(value))

    paths = int(found.extra["num_paths"])
    ratios = operation_ratios(found)
    at_least, at_most = claims_lib.at_least, claims_lib.at_most
    statements = (
        (
            at_most,
            "paths_are_100_oku",
            "10^10 is the number of paths through 10 layers of 10 nodes, and it is 100億, ten "
            "times the slide's 10億.",
            "10^10は10ノードの層が10層ある網の経路の数であり,スライドの10億の10倍,100億である。",
            "|paths from inputs to outputs / 100億 - 1| (exact)",
            exact(abs(paths / (100 * OKU) - 1)),
            0.0,
        ),
        (
            at_least,
            "learning_costs_all_paths",
            "Learning costs an operation or more for each of the 10^10 paths.",
            "学習には10^10本の経路1本あたり1回以上の演算が必要である。",
            "operations of the gradient for one example / paths (exact)",
            exact(found.arrays["paths/gradient"][-1] / paths),
            1.0,
        ),
        (
            at_most,
            "backpropagation_is_the_sum_over_paths",
            "Backpropagation finds the sum over all paths without walking them one by one.",
            "誤差逆伝播は,経路を1本ずつたどらずに全経路の和を求める。",
            "relative difference of backpropagation (float32) and the sum over enumerated paths",
            found.per_seed("paths/relative_difference"),
            1e-5,
        ),
        (
            at_most,
            "gradient_is_cheap",
            "The gradient with respect to all weights costs at most four times the operations of "
            "the forward pass.",
            "全重みの勾配の演算数は,順伝播の4倍以下である。",
            "operations of the gradient / of the forward pass, the greatest of all nets (exact)",
            exact(ratios.max()),
            4.0,
        ),
        (
            at_least,
            "gradient_costs_two_forwards",
            "It costs at least twice the operations of the forward pass.",
            "全重みの勾配の演算数は,順伝播の2倍以上である。",
            "operations of the gradient / of the forward pass, the least of all nets (exact)",
            exact(ratios.min()),
            2.0,
        ),
        (
            at_most,
            "operations_follow_theory",
            "The compiled programs do what theory says: two operations for each edge and example "
            "forward, nearly three times as many for the gradient.",
            "コンパイルされたプログラムの演算数は理論どおりである:"
            "順伝播は辺1本・1例につき2回,勾配はその3倍弱。",
            "|XLA's operations / theory's - 1|, the greatest of the timed nets (exact)",
            exact(from_theory(found)),
            0.1,
        ),
        (
            at_most,
            "operations_are_linear_in_depth",
            "Operations grow in proportion to depth, not by a factor for each layer.",
            "演算数は深さに比例して増えるだけで,層ごとに何倍にもなるわけではない。",
            "|exponent of depth - 1| of the gradient's operations (exact)",
            exact(abs(operation_exponent(found, "depth") - 1)),
            0.1,
        ),
        (
            at_most,
            "operations_are_quadratic_in_width",
            "Operations grow like the square of the width, as the edges do.",
            "演算数は,辺の数と同じく幅の2乗に比例して増える。",
            "|exponent of width - 2| of the gradient's operations (exact)",
            exact(abs(operation_exponent(found, "width") - 2)),
            0.1,
        ),
        (
            at_most,
            "seconds_are_linear_in_depth",
            "So do seconds with depth.",
            "計算時間も深さに比例する。",
            "|exponent of depth - 1| of the gradient's seconds",
            np.abs(found.per_seed("depth/gradient_exponent") - 1),
            0.2,
        ),
        (
            at_most,
            "seconds_are_quadratic_in_width",
            "And with width, where matrix products take most of the time.",
            "行列積が時間の大半を占める範囲では,計算時間も幅の2乗に比例する。",
            "|exponent of width - 2| of the gradient's seconds",
            np.abs(found.per_seed("width/gradient_exponent") - 2),
            0.3,
        ),
        (
            at_most,
            "gradient_is_cheap_in_seconds",
            "The gradient takes at most four times as long as the forward pass.",
            "勾配にかかる時間は,順伝播の4倍以下である。",
            "seconds of the gradient / of the forward pass, the widest net",
            found.per_seed("width/ratio"),
            4.0,
        ),
    )
    return claims_lib.of_table(SLIDES, statements)


_PASS_LABELS = {
    "forward": ("forward", "順伝播", plotting.BLUE),
    "gradient": ("with gradient", "勾配まで", plotting.VERMILION),
}


def figure(found: Results) -> Any:
    """Paths, edges and operations against depth; seconds against depth and width."""
    figure, axes = plotting.mosaic([["paths", "depth"], ["paths", "width"]])
    _draw_counts(axes["paths"], found)
    _draw_seconds(
        axes["depth"],
        found,
        "depth",
        plotting.text("layers of weights", "重みの層の数"),
    )
    _draw_seconds(axes["width"], found, "width", plotting.text("nodes a layer", "1層のノード数"))
    plotting.caption(
        figure,
        plotting.text(
            f"Points: medians of {found.num_seeds} rounds; bars: 10 % to 90 % of them; "
            "dashed: exponents 1 and 2.",
            f"点:{found.num_seeds}回の中央値,縦棒:その10%から90%,破線:指数1と2",
        ),
    )
    return figure


def _draw_counts(ax: Any, found: Results) -> None:
    hidden = found.arrays["paths/hidden"]
    matrices = [adjacencies(layer_sizes(NODES, n)) for n in hidden]
    for counts, color, words in (
        (
            [num_paths(m) for m in matrices],
            plotting.BLACK,
            plotting.text("paths", "経路の数"),
        ),
        (
            found.arrays["paths/gradient"],
            plotting.VERMILION,
            plotting.text("operations, with gradient", "演算数(勾配まで)"),
        ),
        (
            found.arrays["paths/forward"],
            plotting.BLUE,
            plotting.text("operations, forward", "演算数(順伝播)"),
        ),
        (
            [num_edges(m) for m in matrices],
            plotting.GREEN,
            plotting.text("edges", "辺の数"),
        ),
    ):
        ax.plot(hidden, np.array(counts, float), "o-", color=color, label=words)
    for count, above in (
        (int(found.extra["num_paths"]), True),
        (found.arrays["paths/gradient"][-1], True),
        (found.extra["num_edges"], False),
    ):
        ax.annotate(
            f"{count:,.0f}",
            (HIDDEN, count),
            xytext=(0, 10 if above else -10),
            textcoords="offset points",
            fontsize=plotting.SMALL_POINTS,
            horizontalalignment="right",
            verticalalignment="bottom" if above else "top",
        )
    ax.axhline(10 * OKU, color=plotting.BLACK, linestyle=":", linewidth=1.5)
    ax.annotate(
        plotting.text("the slide's 1,000,000,000", "スライドの10億"),
        (min(hidden), 10 * OKU),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=plotting.SMALL_POINTS,
    )
    ax.set_yscale("log")
    ax.set_ylim(top=1e16)
    ax.set_xticks(hidden)
    ax.set_xlabel(plotting.text("hidden layers", "隠れ層の数"))
    ax.set_title(plotting.text(f"{NODES} nodes a layer, one example", f"1層{NODES}ノード,1例"))
    ax.legend(loc="upper left")


def _draw_seconds(ax: Any, found: Results, what: str, label: str) -> None:
    sizes = found.arrays[f"{what}/sizes"]
    for name, (en, ja, color) in _PASS_LABELS.items():
        milliseconds = 1e3 * found.arrays[f"{what}/{name}_seconds"]
        low, middle, high = np.quantile(milliseconds, [0.1, 0.5, 0.9], axis=1)
        exponent = found.metrics[f"{what}/{name}_exponent"].mean
        ax.errorbar(
            sizes,
            middle,
            yerr=[middle - low, high - middle],
            marker="o",
            color=color,
            label=plotting.text(f"{en}: exponent {exponent:.2f}", f"{ja}:指数{exponent:.2f}"),
        )
        guide = (sizes / sizes[-1]) ** {"depth": 1.0, "width": 2.0}[what]
        ax.plot(sizes, middle[-1] * guide, "--", color=color, linewidth=1, alpha=0.7)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel(label)
    ax.set_ylabel(plotting.text("time, ms", "時間(ミリ秒)"))
    ax.set_ylim(bottom=ax.get_ylim()[0] / 10)  # room for the legend
    ax.legend(loc="lower right")


def report(found: Results) -> str:
    """The tables and what to try next."""
    config = found.extra["config"]
    lines = [
        f"{NODES} nodes a layer, {HIDDEN} hidden layers: {int(found.extra['num_paths']):,} paths "
        f"from inputs to outputs, {found.extra['num_edges']} edges",
        "operations for one example, as XLA counts them: "
        f"forward {found.arrays['paths/forward'][-1]:,.0f}, "
        f"with gradient {found.arrays['paths/gradient'][-1]:,.0f}",
        "",
        f"{config['path_nodes']} nodes a layer, {config['path_hidden']} hidden layers, "
        f"{found.extra['num_walked_whole']:,} paths: the gradient by {found.extra['num_walked']:,} "
        "walks, one by one from each edge, and",
        "backpropagation differ by "
        f"{found.metrics['paths/relative_difference'].mean:.1e} of its length (float32)",
        "",
        f"batches of {config['batch_size']}; time: medians of {found.num_seeds} rounds",
        f"  {'':28}{'forward':>12}{'gradient':>12}{'ratio':>8}",
    ]
    for what, unit in (("depth", "layers"), ("width", "nodes")):
        for i, size in enumerate(found.arrays[f"{what}/sizes"]):
            counts, times = (
                [found.arrays[f"{what}/{name}_{kind}"][i] for name in PASSES]
                for kind in ("operations", "seconds")
            )
            lines.append(
                f"  {what} {size:5} {unit:10}{'10^6 ops':>10}"
                f"{counts[0] / 1e6:12.1f}{counts[1] / 1e6:12.1f}{counts[1] / counts[0]:8.2f}"
            )
            middle = [1e3 * np.median(values) for values in times]
            lines.append(
                f"  {'':23}{'ms':>10}{middle[0]:12.2f}{middle[1]:12.2f}{middle[1] / middle[0]:8.2f}"
            )
        exponents = "".join(f"{found.metrics[f'{what}/{n}_exponent'].mean:12.2f}" for n in PASSES)
        lines.append(f"  exponent of the seconds{'':10}{exponents}")
    preset = "full" if found.preset == "quick" else "quick"
    lines += ["", f"next: python -m experiments.backprop_cost --preset={preset}"]
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
