"""Unrolled in time an RNN is deep, its gradient vanishes and its cost grows (slides 10, 11).

    python -m experiments.vanishing_gradient --preset=quick --workdir=runs/vanishing_gradient

Follows the gradient of the last step's loss back through 512 steps of the adding problem, before
training and after training at a lag of 50, by explicit products of Jacobians (reverse mode, whose
float32 ends at 1e-38, agrees) and by their spectral bound (Pascanu et al., 2013, arXiv:1211.5063).
Then it times three kinds of backpropagation and asks the compiler for their memory.

quick: 64 seeds in 2 minutes on 2 cores. What the gradient loses per 100 steps, medians:

    before training: tanh RNN 3 decades, ReLU 15, IRNN 0, GRU 18, LSTM 6; ReLU with weights scaled
        by He's rule neither gains nor loses in the median, but vanishes in a third of the nets and
        explodes in another third
    after training: tanh RNN 12 (it has learned nothing), ReLU 1, IRNN 1, GRU 1, LSTM 0.2

So slide 11 is wrong where it is taken by the letter: ReLU alone vanishes faster than tanh, as it
halves what passes. But nothing bounds how its weights grow, and after training its gradient
reaches further than that of tanh, which does not learn at all. An LSTM has to be trained, too,
before it remembers: its forget gates start at sigmoid(1) = 0.73. Time grows like T^1.0; memory like
T^1.0 whole, T^0.4 with rematerialisation, and not at all truncated.

Where we differ from the paper: the state is all that a step hands on (h and c of an LSTM), the nets
are also measured after training, and Adam with clipped gradients trains them.

full: 128 seeds, 1,024 steps back and 3,000 updates in 40 minutes on one core; every verdict is that
of quick. After training the LSTM loses 0.15 decades per 100 steps, the GRU 0.7, and 52 % of the
IRNNs keep the gradient (+- 9 %). ReLU, too, then keeps it for 700 steps in the median and loses
it on the way to 1,024.
"""

import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.data.memory_problems import PROBLEMS
from dl_lectures.learner import Key, Learner
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.sequences import backpropagation, jacobians, memory
from dl_lectures.sequences.cells import CELLS, CellName
from dl_lectures.training import devices, timing, trainer
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (10, 11)
VANISHED, EXPLODED = -6.0, 6.0  # log10 of the gradient at the longest lag, relative to lag 0
_STORED_LAGS = 128  # of those from 0 to --max_lag, about so many are kept and drawn
_FLOAT32_TRUSTED = 30.0  # decades on both sides within which float32 is far from its ends
_SHORTEST, _RATIO = 64, 4  # T of the costs: 64, 256, 1024, ...
PHASES = ("start", "trained")


class Net(NamedTuple):
    """A recurrent net and its start."""

    cell: CellName
    gain: float  # the recurrent weights at the start, as a multiple of the cell's own
    learning_rate: float  # of 1e-3, 3e-3, 1e-2; by a pilot on seeds 1000 to 1007
    en: str
    ja: str


NETS = {
    "rnn": Net("rnn", 1.0, 3e-3, "tanh RNN", "tanhのRNN"),
    "relu": Net("relu", 1.0, 3e-3, "ReLU", "ReLU"),
    # Variance 2 / H, which in a deep net makes up for the half that ReLU cuts off (He et al., 2015,
    # arXiv:1502.01852, equation 10).
    "relu_he": Net("relu", math.sqrt(2.0), 3e-3, "ReLU, He start", "ReLU(Heの初期値)"),
    "irnn": Net("irnn", 1.0, 3e-3, "ReLU, U = I (IRNN)", "ReLU,U=I(IRNN)"),
    "gru": Net("gru", 1.0, 1e-2, "GRU", "GRU"),
    "lstm": Net("lstm", 1.0, 1e-2, "LSTM", "LSTM"),
}

BACKPROPAGATIONS = {  # by name: English and Japanese; the functions of `backpropagation`
    "whole": ("whole", "全体"),
    "rematerialised": ("rematerialised", "再計算"),
    "truncated": ("truncated", "打ち切り"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """The nets, their training, and what is measured."""

    lag: Annotated[int, "length of the sequences of the adding problem that is learned"] = 50
    num_hidden: Annotated[int, "H, hidden units"] = 32
    batch_size: Annotated[int, "B, sequences of an update"] = 32
    learning_rate: Annotated[float, "step size of Adam; 0: each net's own"] = 0.0
    max_lag: Annotated[int, "T of the sequences on which gradients are followed back"] = 512
    cost_length: Annotated[int, "longest T of the time and memory of a backward pass"] = 4096
    cost_hidden: Annotated[int, "H of the tanh RNN whose backward pass is timed"] = 64
    cost_batch: Annotated[int, "B of its batches"] = 16
    truncation: Annotated[int, "K, steps between stops of the truncated gradient"] = 16
    repetitions: Annotated[int, "how often each backward pass is timed"] = 7

    def __post_init__(self):
        if self.learning_rate < 0:
            raise ValueError(f"--learning_rate must not be negative, not {self.learning_rate}")
        for name in NETS:
            self.memory_config(name)
        if self.max_lag < 2:
            raise ValueError(f"--max_lag must be at least 2, not {self.max_lag}")
        for name in ("cost_hidden", "cost_batch", "repetitions"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.cost_length < _SHORTEST * _RATIO:
            raise ValueError(
                f"--cost_length must be at least {_SHORTEST * _RATIO}, not {self.cost_length}: a "
                "slope takes two lengths"
            )
        if self.truncation < 1 or _SHORTEST % self.truncation:
            raise ValueError(f"--truncation must divide {_SHORTEST}, not be {self.truncation}")

    def memory_config(self, name: str) -> memory.Config:
        """The adding problem for one of the nets."""
        return memory.Config(
            problem="adding",
            cell=NETS[name].cell,
            lag=self.lag,
            num_hidden=self.num_hidden,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate or NETS[name].learning_rate,
        )


PRESETS = {
    "smoke": common.Preset(
        Config(
            lag=10,
            num_hidden=8,
            batch_size=16,
            max_lag=64,
            cost_length=256,
            cost_hidden=8,
            cost_batch=4,
            repetitions=3,
        ),
        num_seeds=4,
        steps=100,
        log_every=20,
        eval_every=50,
        checkpoint_every=50,
    ),
    "quick": common.Preset(
        Config(batch_size=16),
        num_seeds=64,
        steps=1_000,
        log_every=50,
        eval_every=500,
        checkpoint_every=500,
    ),
    "full": common.Preset(
        Config(max_lag=1024, cost_length=16_384, repetitions=15),
        num_seeds=128,
        steps=3_000,
        log_every=100,
        eval_every=1_000,
        checkpoint_every=1_000,
    ),
}


def run(config: Config, options: Options) -> Results:
    """Trains and measures net after net, then times backward passes."""
    works: dict[str, Callable[[Options], Results]] = {
        name: functools.partial(train_and_measure, config, name) for name in NETS
    }
    parts = common.run_parts(options, works | {"cost": functools.partial(cost, config)})
    found = dict(parts.found)
    costs = found.pop("cost")
    return results.make(
        "vanishing_gradient",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra={"config": dataclasses.asdict(config)},
        arrays={
            "lags": found["rnn"].arrays["lags"],
            **{
                f"{net}_{name}": value
                for net, part in found.items()
                for name, value in part.arrays.items()
                if name != "lags"
            },
            **costs.arrays,
        },
    )


# How the gradient fares on its way back.


def make(config: Config, name: str) -> Learner:
    """The learner of one of the nets, from its own start."""
    learner = memory.make(config.memory_config(name))

    def init(key: Key) -> memory.State:
        state = learner.init(key)  # the optimizer's part does not depend on the weights
        layer = state.params.layer
        layer = layer._replace(w_h=NETS[name].gain * layer.w_h)
        return state._replace(params=state.params._replace(layer=layer))

    return learner._replace(init=init)


class Measured(NamedTuple):
    """Gradients of one seed, by lag: log10 of their norms relative to lag 0."""

    log10_norms: jax.Array  # [L] product of Jacobians
    log10_bounds: jax.Array  # [L] product of their largest singular values
    log10_autodiff: jax.Array  # [L] reverse mode in float32
    share_of_c: jax.Array  # [L] of the squared norm, what lies in an LSTM's c; 0 for other cells


def measure(config: Config, name: str, state: memory.State) -> Measured:
    """Follows dL_T/ds_t back through a new adding problem of `max_lag` numbers.

    Args:
      config: of the experiment.
      name: of the net.
      state: of one seed.

    Returns:
      What was found at `stored_lags`; NaN where the forward pass overflowed.
    """
    problem, cell = PROBLEMS["adding"], CELLS[NETS[name].cell]
    # A number that no update has: the sequence is new, and the same before and after training.
    key = jax.random.fold_in(state.key, jnp.uint32(2**32 - 1))
    batch = problem.draw(key, config.max_lag, 1)
    xs, layer = batch.xs[:, 0], state.params.layer
    first = cell.initial_carry(layer)
    carries = jacobians.trajectory(cell.cell, layer, xs, first)

    def loss_at_the_end(carry: Any) -> jax.Array:
        outputs = memory.answer(state.params, carry.h[None, None])  # [K = 1, B = 1, O]
        return memory.loss_and_error(problem, outputs, batch.answers)[0]

    last = jax.tree.map(lambda leaf: leaf[-1], carries)
    # Scaled to norm 1, so that float32 has all its room for what happens on the way back.
    cotangent = jacobians.unit(jacobians.flat(jax.grad(loss_at_the_end)(last)))
    backwards = jacobians.by_product(cell.cell, layer, xs, carries, cotangent)
    autodiff = jacobians.by_autodiff(
        cell.cell, layer, xs, first, lambda carry: jnp.vdot(cotangent, jacobians.flat(carry))
    )
    in_c = backwards.directions[:, config.num_hidden :]
    measured = Measured(
        log10_norms=backwards.log10_norms,
        log10_bounds=backwards.log10_bounds,
        log10_autodiff=jacobians.log10_size(autodiff),
        share_of_c=(in_c**2).sum(-1),
    )
    return jax.tree.map(lambda x: x[stored_lags(config)], measured)


def stored_lags(config: Config) -> np.ndarray:
    """The lags that are kept, int [L], from 0 to `max_lag`."""
    num = min(config.max_lag, _STORED_LAGS) + 1
    return np.linspace(0, config.max_lag, num).round().astype(int)


def train_and_measure(config: Config, name: str, options: Options) -> Results:
    """One part of the experiment: a net, before and after it is trained."""
    learner = make(config, name)
    trained = trainer.train(learner, options, shard_batch=False)
    mesh = trained.state.t.sharding.mesh
    seeds = np.arange(options.seed, options.seed + options.num_seeds, dtype=np.uint32)
    with jax.set_mesh(mesh):
        programs = trainer.make_programs(learner, mesh, ())
        start = programs.init(jax.device_put(seeds, devices.over_seeds(mesh))).state
        of_seeds = jax.jit(
            jax.vmap(functools.partial(measure, config, name), out_axes=-1, spmd_axis_name="seed"),
            out_shardings=devices.everywhere(mesh),
        )
        phases = [devices.on_host(of_seeds(state)) for state in (start, trained.state)]
    measured = Measured(*(np.stack(pair) for pair in zip(*phases, strict=True)))  # [2, L, S]
    metrics = {"mse": trained.evaluation["loss"], "solved": trained.evaluation["solved"]}
    for phase, log10_norms in zip(PHASES, measured.log10_norms, strict=True):
        metrics |= {f"{phase}/{k}": v for k, v in fates(log10_norms[-1]).items()}
    metrics["disagreement_decades"] = disagreement(measured)
    arrays = {"lags": stored_lags(config)} | measured._asdict()
    return results.make("vanishing_gradient", SLIDES, options, trained, metrics, arrays=arrays)


def fates(log10_norms: np.ndarray) -> dict[str, np.ndarray]:
    """What became of the gradients [S] at the longest lag, as float64 0 or 1 a seed.

    A forward pass that overflowed, NaN, counts as exploded; a gradient that is exactly zero, as
    vanished and dead.
    """
    return {
        "vanished": (log10_norms < VANISHED).astype(np.float64),
        "exploded": (~(log10_norms <= EXPLODED)).astype(np.float64),
        "dead": np.isneginf(log10_norms).astype(np.float64),
    }


def disagreement(measured: Measured) -> np.ndarray:
    """The greatest distance of the two gradients in decades, [S], where float32 is at ease."""
    is_at_ease = np.abs(measured.log10_norms) <= _FLOAT32_TRUSTED
    distance = np.abs(
        np.where(is_at_ease, measured.log10_norms, 0.0)
        - np.where(is_at_ease, measured.log10_autodiff, 0.0)
    )
    return distance.max(axis=(0, 1))


# What a backward pass costs.


def cost(config: Config, options: Options) -> Results:
    """The last part: seconds and memory of three backward passes against T."""
    lengths = cost_lengths(config)
    start = time.perf_counter()
    programs = {
        (name, length): compile_backpropagation(config, name, length)
        for name in BACKPROPAGATIONS
        for length in lengths
    }
    compile_seconds = time.perf_counter() - start
    num_bytes = {k: program.memory_analysis().temp_size_in_bytes for k, program in programs.items()}
    inputs = {length: random_inputs(config, options.seed, length) for length in lengths}
    seconds = np.zeros((config.repetitions, len(BACKPROPAGATIONS), len(lengths)))
    for repetition in range(-1, config.repetitions):  # the first, -1, is for warming up
        # One after the other, so that a slow minute of the machine hits them all.
        for j, length in enumerate(lengths):
            for i, name in enumerate(BACKPROPAGATIONS):
                begin = time.perf_counter()
                jax.block_until_ready(programs[name, length](*inputs[length]))
                seconds[max(repetition, 0), i, j] = time.perf_counter() - begin
    finished = trainer.Trained(
        state=(),
        step=options.steps,
        evaluation={},
        seconds={
            "compile": round(compile_seconds, 3),
            "train": 0.0,
            "evaluate": round(time.perf_counter() - start - compile_seconds, 3),
        },
        state_sha256="",
    )
    arrays = {
        "cost_lengths": np.array(lengths),
        "cost_seconds": seconds,  # [R, 3, M]
        "cost_bytes": np.array(
            [[num_bytes[name, length] for length in lengths] for name in BACKPROPAGATIONS]
        ),  # [3, M]
    }
    return results.make("vanishing_gradient", SLIDES, options, finished, {}, arrays=arrays)


def cost_lengths(config: Config) -> list[int]:
    """T: 64, 256, ... up to `cost_length`."""
    num = int(math.log(config.cost_length / _SHORTEST, _RATIO) + 1e-9) + 1
    return [_SHORTEST * _RATIO**i for i in range(num)]


def random_inputs(config: Config, seed: int, length: int) -> tuple[Any, jax.Array, Any]:
    """Parameters, inputs [T, B, D = H] and the first carry of a tanh RNN."""
    key_params, key_xs = jax.random.split(jax.random.key(seed))
    params = CELLS["rnn"].init(key_params, config.cost_hidden, config.cost_hidden)
    xs = jax.random.normal(key_xs, (length, config.cost_batch, config.cost_hidden))
    return params, xs, CELLS["rnn"].initial_carry(params, (config.cost_batch,))


def compile_backpropagation(config: Config, name: str, length: int) -> Any:
    """The compiled program of one kind of backpropagation for sequences of one length.

    The net predicts nothing: its loss is the mean square of every hidden state, so that each step
    has a gradient of its own, as in a language model.
    """

    def step(params: Any, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        carry, h = CELLS["rnn"].cell(params, carry, x)
        return carry, (h**2).mean()

    kinds = {
        "whole": backpropagation.whole,
        "rematerialised": backpropagation.rematerialised,
        "truncated": functools.partial(backpropagation.truncated, chunk_length=config.truncation),
    }
    shapes = jax.eval_shape(functools.partial(random_inputs, config, 0, length))
    return jax.jit(functools.partial(kinds[name], step)).lower(*shapes).compile()


# What follows.


def decades_lost(found: Results, phase: str, name: str) -> np.ndarray:
    """How many decades of the gradient are lost per 100 steps, [S]; negative if it grows.

    A gradient that is zero already after one step counts as a decade a step lost, one behind a
    forward pass that overflowed as a decade a step gained.
    """
    log10_norms = found.arrays[f"{name}_log10_norms"][PHASES.index(phase)]  # [L, S]
    slope = jacobians.decades_per_100_steps(found.arrays["lags"], log10_norms.T)
    slope = np.where(np.isnan(log10_norms[-1]), 100.0, slope)
    return np.where(np.isnan(slope), 100.0, -slope)


def slopes(found: Results, what: str) -> np.ndarray:
    """The exponents of T in seconds [R, 3] or bytes [3]: slopes in a doubly logarithmic plot."""
    return timing.exponent(found.arrays["cost_lengths"], found.arrays[f"cost_{what}"].T).T


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the presets were run.

    Those of gradients are one value a seed. Those of time are one slope a repetition, those of
    memory one exact number, repeated.
    """

    def fate(name: str, phase: str, what: str) -> np.ndarray:
        return found.per_seed(f"{name}/{phase}/{what}")

    def kept(name: str, phase: str) -> np.ndarray:
        return 1 - fate(name, phase, "vanished") - fate(name, phase, "exploded")

    lost = functools.partial(decades_lost, found)
    num_repetitions = len(found.arrays["cost_seconds"])
    bytes_slopes = dict(zip(BACKPROPAGATIONS, slopes(found, "bytes"), strict=True))
    exact = {name: np.repeat(slope, num_repetitions) for name, slope in bytes_slopes.items()}
    lag = found.arrays["lags"][-1]
    at_least, at_most = claims_lib.at_least, claims_lib.at_most
    share_at_least = claims_lib.share_at_least
    return (
        at_least(
            id="rnn_gradient_vanishes",
            slides=(10,),
            statement_en="Unrolled in time, an RNN is as deep as its sequence is long, and the "
            "gradient vanishes on its way back: a hundredfold or more every 100 steps.",
            statement_ja="RNNを時間方向に展開すると系列長だけ深い網となり,"
            "勾配は遡るほど消える:100ステップごとに100分の1以下になる。",
            statistic="decades that the untrained tanh RNN's gradient loses per 100 steps",
            per_seed=lost("start", "rnn"),
            threshold=2.0,
        ),
        share_at_least(
            id="relu_avoids_vanishing",
            slides=(11,),
            statement_en="ReLU in place of tanh, all else equal, avoids the vanishing: in most "
            f"nets more than a millionth of the gradient is left {lag} steps back.",
            statement_ja="他を変えずにtanhをReLUに替えれば勾配消失を避けられる:"
            f"大半の網で,{lag}ステップ前でも勾配の100万分の1以上が残る。",
            statistic="share of untrained ReLU nets whose gradient has not vanished",
            per_seed=1 - fate("relu", "start", "vanished"),
            threshold=0.5,
        ),
        share_at_least(
            id="relu_of_he_keeps_gradient",
            slides=(11,),
            statement_en="With weights scaled for ReLU (He), most nets keep the gradient within a "
            f"factor of a million, up or down, {lag} steps back.",
            statement_ja="重みをReLU向けに拡大すれば(Heの初期値),大半の網で"
            f"{lag}ステップ前の勾配が100万分の1から100万倍の間に収まる。",
            statistic="share of untrained He ReLU nets that neither vanished nor exploded",
            per_seed=kept("relu_he", "start"),
            threshold=0.5,
        ),
        share_at_least(
            id="irnn_keeps_gradient",
            slides=(11,),
            statement_en="A ReLU net whose recurrent weights start from the identity keeps the "
            f"gradient within a factor of a million {lag} steps back, before training and after.",
            statement_ja="再帰の重みを単位行列から始めるReLUの網は,学習の前も後も,"
            f"{lag}ステップ前の勾配を100万分の1から100万倍の間に保つ。",
            statistic="share of IRNNs that neither vanished nor exploded, untrained and trained",
            per_seed=kept("irnn", "start") * kept("irnn", "trained"),
            threshold=0.5,
        ),
        at_least(
            id="untrained_lstm_keeps_gradient",
            slides=(11,),
            statement_en="Already before training the LSTM loses at most half as many decades of "
            "the gradient as the tanh RNN.",
            statement_ja="LSTMが失う勾配の桁数は,学習前でもtanhのRNNの半分以下である。",
            statistic="half the decades per 100 steps that the untrained tanh RNN loses, less the "
            "LSTM's",
            per_seed=lost("start", "rnn") / 2 - lost("start", "lstm"),
            threshold=0.0,
        ),
        at_least(
            id="trained_lstm_keeps_gradient",
            slides=(11,),
            statement_en="Trained on a long lag, the LSTM loses at most half as many decades of "
            "the gradient as the tanh RNN.",
            statement_ja="長い遅れの問題を学習した後,LSTMが失う勾配の桁数は"
            "tanhのRNNの半分以下である。",
            statistic="half the decades per 100 steps that the trained tanh RNN loses, less the "
            "LSTM's",
            per_seed=lost("trained", "rnn") / 2 - lost("trained", "lstm"),
            threshold=0.0,
        ),
        at_most(
            id="backpropagation_time_is_linear",
            slides=(10,),
            statement_en="The time of backpropagation grows with T, because old inputs stay in it.",
            statement_ja="過去の入力が残るので,誤差逆伝播の時間はTに比例して増える。",
            statistic=f"|exponent of T - 1| of the seconds, {num_repetitions} repetitions",
            per_seed=np.abs(slopes(found, "seconds")[:, 0] - 1),
            threshold=0.2,
        ),
        at_least(
            id="backpropagation_memory_is_linear",
            slides=(10,),
            statement_en="So does its memory: it keeps every step.",
            statement_ja="メモリも同様である:全ステップの値を保持する。",
            statistic="exponent of T of the compiled program's temporary memory (exact)",
            per_seed=exact["whole"],
            threshold=0.9,
        ),
        at_most(
            id="rematerialisation_takes_the_root",
            slides=(10,),
            statement_en="Computing steps again when their gradient is due brings memory from T "
            "near its square root, with the same gradient.",
            statement_ja="必要になったときに再計算すれば,同じ勾配のまま"
            "メモリはTからその平方根程度に減る。",
            statistic="exponent of T of the compiled program's temporary memory (exact)",
            per_seed=exact["rematerialised"],
            threshold=0.7,
        ),
        at_most(
            id="truncation_forgets",
            slides=(10,),
            statement_en="Truncation keeps memory from growing with T, at the price of the "
            "gradient from further back.",
            statement_ja="打ち切ればメモリはTとともに増えないが,それより前からの勾配は失われる。",
            statistic="exponent of T of the compiled program's temporary memory (exact)",
            per_seed=exact["truncated"],
            threshold=0.3,
        ),
    )


_DRAWN_LOG10 = (-45.0, 15.0)
_LEGEND_BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0.0}


def figure(found: Results) -> Any:
    """The gradient by lag before and after training; seconds and memory of a backward pass."""
    figure, axes = plotting.mosaic([["start", "trained"], ["seconds", "bytes"]])
    for phase in PHASES:
        _draw_gradients(axes[phase], found, phase)
    axes["start"].set_title(plotting.text("before training", "学習前"))
    axes["trained"].set_title(plotting.text("after training", "学習後"))
    axes["start"].set_ylabel(plotting.text("gradient (1 at t = T)", "勾配(t=Tで1)"))
    axes["trained"].legend(**_LEGEND_BESIDE)
    time_exponents = np.median(slopes(found, "seconds"), axis=0)
    labels = [
        f"{plotting.text(*words)}  {time_exponent:.2f}, {bytes_exponent:.2f}"
        for words, time_exponent, bytes_exponent in zip(
            BACKPROPAGATIONS.values(), time_exponents, slopes(found, "bytes"), strict=True
        )
    ]
    lengths = found.arrays["cost_lengths"]
    seconds = np.median(found.arrays["cost_seconds"], axis=0)
    _draw_costs(axes["seconds"], lengths, 1e3 * seconds, labels)
    _draw_costs(axes["bytes"], lengths, found.arrays["cost_bytes"] / 1e6, labels)
    axes["seconds"].set_ylabel(plotting.text("time, ms", "時間(ミリ秒)"))
    axes["bytes"].set_ylabel(plotting.text("memory, MB", "メモリ(MB)"))
    words = plotting.text("exponents of T\n(time, memory)", "Tの指数\n(時間,メモリ)")
    axes["bytes"].legend(
        title=words, title_fontsize=plotting.SMALL_POINTS, alignment="left", **_LEGEND_BESIDE
    )
    num_repetitions = len(found.arrays["cost_seconds"])
    plotting.caption(
        figure,
        plotting.text(
            f"Time: median of {num_repetitions} repetitions; memory: what the compiler allots.",
            f"時間:{num_repetitions}回の中央値,メモリ:コンパイラの割り当て量",
        ),
    )
    return figure


def _draw_gradients(ax: Any, found: Results, phase: str) -> None:
    low, high = _DRAWN_LOG10
    for (name, net), color in zip(NETS.items(), plotting.COLOURS, strict=False):
        log10_norms = found.arrays[f"{name}_log10_norms"][PHASES.index(phase)]
        # What overflowed or is zero lies above or below the axes, not nowhere.
        drawn = np.clip(np.nan_to_num(log10_norms, nan=2 * high), 2 * low, 2 * high)
        plotting.band(ax, found.arrays["lags"], drawn, plotting.text(net.en, net.ja), color)
    ax.axhline(
        np.log10(np.finfo(np.float32).tiny),
        color=plotting.BLACK,
        linestyle=":",
        linewidth=1.5,
        label=plotting.text("float32 ends", "float32の下限"),
    )
    ax.set_ylim(low, high)
    ax.set_xlim(0, found.arrays["lags"][-1])
    ax.yaxis.set_major_formatter("$10^{{{x:.0f}}}$")
    ax.set_xlabel(plotting.text("steps back, T − t", "遡るステップ数 T−t"))


def _draw_costs(ax: Any, lengths: np.ndarray, costs: np.ndarray, labels: list[str]) -> None:
    """Draws costs [3, M] against T [M], both axes logarithmic."""
    for row, label in zip(costs, labels, strict=True):
        ax.plot(lengths, row, marker="o", label=label)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
    ax.minorticks_off()
    ax.set_xlabel(plotting.text("sequence length, T", "系列の長さ T"))


def report(found: Results) -> str:
    """The tables and what to try next."""
    lag = found.arrays["lags"][-1]
    lines = [
        f"gradient dL_T/ds_t of {found.num_seeds} nets each, {lag} steps back: slope of its log10, "
        "decades per 100 steps",
        "(median, 10 % and 90 % of the nets; median of the spectral bound), and the shares of nets "
        "whose gradient",
        "vanished, exploded, became exactly zero",
    ]
    for phase in PHASES:
        heading = {"start": "before training", "trained": "after training"}[phase]
        columns = "  median     10%     90%   bound   <1e-6    >1e6   zero"
        lines += ["", f"  {heading:22}{columns}{'     mse' if phase == 'trained' else ''}"]
        for name, net in NETS.items():
            quantiles = np.quantile(-decades_lost(found, phase, name), [0.5, 0.1, 0.9])
            rates = [found.metrics[f"{name}/{phase}/{what}"].mean for what in fates(np.zeros(1))]
            lines.append(
                f"  {net.en:22}"
                + "".join(f"{q:8.2f}" for q in (*quantiles, _bound(found, phase, name)))
                + "".join(f"{100 * rate:6.0f} %" for rate in rates)
                + (f"{found.metrics[f'{name}/mse'].mean:8.4f}" if phase == "trained" else "")
            )
    disagreement = max(max(found.metrics[f"{n}/disagreement_decades"].per_seed) for n in NETS)
    share = np.median(found.arrays["lstm_share_of_c"], axis=2)  # [2, L]
    lines += [
        "",
        f"product of Jacobians and reverse mode differ by {disagreement:.1e} decades at most "
        f"(where both lie within 1e+-{_FLOAT32_TRUSTED:.0f})",
        f"in float32 reverse mode returns exact zeros from lag {_float32_ends(found)} on (ReLU, "
        "untrained, median; -: never)",
        f"an LSTM's c has {100 * share[0, 1:].mean():.0f} % of the squared gradient before "
        f"training, {100 * share[1, 1:].mean():.0f} % after",
        "",
        "one backward pass of a tanh RNN: exponents of T, and the cost at "
        f"T = {found.arrays['cost_lengths'][-1]}",
    ]
    seconds = np.median(found.arrays["cost_seconds"], axis=0)
    time_slopes = np.median(slopes(found, "seconds"), axis=0)
    for i, name in enumerate(BACKPROPAGATIONS):
        lines.append(
            f"  {name:22}time {time_slopes[i]:5.2f}, {1e3 * seconds[i, -1]:7.1f} ms   "
            f"memory {slopes(found, 'bytes')[i]:5.2f}, "
            f"{found.arrays['cost_bytes'][i, -1] / 1e6:7.2f} MB"
        )
    preset = "full" if found.preset == "quick" else "quick"
    lines += ["", f"next: python -m experiments.vanishing_gradient --preset={preset}"]
    return "\n".join(lines)


def _bound(found: Results, phase: str, name: str) -> float:
    """The median slope of the spectral bound, decades per 100 steps."""
    log10_bounds = found.arrays[f"{name}_log10_bounds"][PHASES.index(phase)]
    slope = jacobians.decades_per_100_steps(found.arrays["lags"], log10_bounds.T)
    return float(np.median(np.nan_to_num(slope)))


def _float32_ends(found: Results) -> str:
    """The median lag from which on the untrained ReLU net's float32 gradient is zero."""
    is_zero = np.isneginf(found.arrays["relu_log10_autodiff"][0])  # [L, S]
    lags = np.where(is_zero.any(0), found.arrays["lags"][is_zero.argmax(0)], np.inf)
    middle = np.median(lags)
    return f"{middle:.0f}" if np.isfinite(middle) else "-"


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
