"""One weight in conflict with itself, and the gate that ends the conflict.

Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735, section 3.2: "input weight
conflict" and "output weight conflict". A linear unit with self-connection 1, the constant error
carousel, adds up what comes in through one input weight w:

    s_t = s_{t-1} + i_t (w x_t + u m_t)     s_0 = 0     error s_T - x_1     loss (s_T - x_1)^2 / 2

It is to store the first symbol of a sequence and to ignore the others. x_t is the code of the
symbol at time t; m_t, 1 at the first step and else 0, marks what is to be stored and has a weight u
of its own, so that no unit lacks the information. Without a gate i_t = 1; with one

    i_t = sigmoid(a m_t + b + c x_t).

The output weight has the same trouble. A unit that holds x_1 at all times is read through w,

    y_t = o_t (w x_1 + u m_t)     errors y_t - m_t x_1     loss sum_t (y_t - m_t x_1)^2 / 2

and is to speak up when the marker asks for it, once a sequence, and to be silent at other times.
Its gate sees the marker alone, o_t = sigmoid(a m_t + b): in 1997 no gate saw the state of a cell.
With a peephole (Gers & Schmidhuber, 2000, doi:10.1109/IJCNN.2000.861302) it sees x_1, too, and c is
learned. Steps are counted from the marked one on, cyclically: what the unit holds does not change,
so loss and gradients are the same wherever in the sequence that is, and nothing needs to draw it.

Untie the weight over time: copy w_t is used at step t only, and the gradient of w is the sum over t
of G_t = dE[loss]/dw_t. For independent symbols whose codes have mean 0 and variance v, no gate, and
all copies equal to w,

    G_1 = (w - 1) v      for 0 < w < 1 this step pushes w up, towards 1: store (speak up)
    G_t = w v, t > 1     and each of these pushes w down, towards 0: ignore (be silent)

for the input and for the output weight. The pushes cancel at w* = 1 / T. There E[error^2] / v is
1 - 1 / T, the least that any w and u reach: the loss is convex in them, so descent ends nowhere
else. A unit that has learned nothing, w = 0, is at 1. These are theorems. That gradient
descent finds the gate that opens at the marker and shuts otherwise, and 0 error, is not: see
`experiments/input_conflict.py`.

A push is a gradient with its sign turned: upwards is positive.
T: time steps of the longest sequence, B: sequences a batch, K: symbols of the largest alphabet.
"""

import dataclasses
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures.learner import Key, Learner, Metrics

SLIDE_SEQUENCE = "AGCCCG"
SLIDE_ALPHABET = "AGC"
# Of A, G and C before scaling. Mean 0, none is 0 (a symbol of code 0 would push nothing), and all
# that follows A in the slide's sequence differs from it in sign.
_SLIDE_CODES = (3.0, -1.0, -2.0)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What units with and without a gate have in common."""

    length: Annotated[int, "T of the slide's alphabet, symbols a sequence"] = len(SLIDE_SEQUENCE)
    max_length: Annotated[int, "greatest T of random problems; the least is 2"] = 12
    max_symbols: Annotated[int, "K, greatest alphabet of random problems; the least is 2"] = 8
    batch_size: Annotated[int, "B, fresh sequences per update"] = 256
    learning_rate: Annotated[float, "step size of Adam"] = 0.02
    init_scale: Annotated[float, "standard deviation of all weights at the start"] = 0.1
    solved_below: Annotated[float, "error^2 / variance below which the problem is solved"] = 0.01
    averaging: Annotated[float, "decay per update of the moving average that must fall below"] = 0.9
    num_eval_batches: Annotated[int, "fresh batches of an evaluation"] = 64
    peephole: Annotated[bool, "whether the output gate sees what the unit holds"] = False

    def __post_init__(self):
        for name in ("length", "max_length", "max_symbols"):
            if getattr(self, name) < 2:
                raise ValueError(f"--{name} must be at least 2, not {getattr(self, name)}.")
        for name in ("batch_size", "num_eval_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ValueError(f"--learning_rate must be positive, not {self.learning_rate:g}.")
        if self.init_scale < 0:
            raise ValueError(f"--init_scale must not be negative, not {self.init_scale:g}.")
        if not 0 < self.solved_below < 1:
            raise ValueError(f"--solved_below must lie in (0, 1), not {self.solved_below:g}.")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"--averaging must lie in [0, 1), not {self.averaging:g}.")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """One unit and its problem."""

    conflict: Annotated[Literal["input", "output"], "which weight is in conflict"] = "input"
    gate: Annotated[bool, "whether a learned gate multiplies what the weight lets through"] = True
    alphabet: Annotated[
        Literal["slide", "random"],
        "A, G, C and sequences of --length; or each seed draws alphabet, codes and length",
    ] = "slide"

    @property
    def num_steps(self) -> int:
        """T, to which shorter sequences are padded."""
        return self.length if self.alphabet == "slide" else self.max_length

    @property
    def gate_sees_symbol(self) -> bool:
        """Whether the gate has a weight c."""
        return self.conflict == "input" or self.peephole


class Problem(NamedTuple):
    """What one seed is to learn."""

    codes: jax.Array  # [K] of mean 0 and variance 1 over the symbols in use
    num_symbols: jax.Array  # [] int32, at most K
    length: jax.Array  # [] int32, at most T


class Params(NamedTuple):
    """What is learned; what a unit does not use is there, but gets no gradient."""

    w: jax.Array  # [] of the symbol: the weight in conflict
    u: jax.Array  # [] of the marker
    gate_marker: jax.Array  # [] a
    gate_bias: jax.Array  # [] b
    gate_symbol: jax.Array  # [] c


class Pushes(NamedTuple):
    """Who pushes the weight w, and how hard; from the gradients of its copies."""

    first: jax.Array  # [] of the marked step: store, or speak up
    later: jax.Array  # [] of all other steps together: ignore, or be silent
    gross: jax.Array  # [] sum over steps of the size of the push
    net: jax.Array  # [] size of the sum: what is left of `gross` to move the weight
    opposing_share: jax.Array  # [] of the later steps, those that push against the marked one


class Progress(NamedTuple):
    """What is known of the updates so far."""

    average: jax.Array  # [] moving average of error^2 / variance, from 1
    halfway_at: jax.Array  # [] int32, updates after which it was first below 1/2; 0: not yet
    solved_at: jax.Array  # [] int32, updates after which it was first below `solved_below`; or 0
    sum_net: jax.Array  # [] of Pushes.net over updates
    sum_gross: jax.Array  # [] of Pushes.gross


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Params
    halfway: Params  # `params` at `progress.halfway_at`; until then the newest
    opt_state: optax.OptState
    problem: Problem
    progress: Progress
    key: jax.Array  # [] constant: step t draws from fold_in(key, t)
    t: jax.Array  # [] int32


# The closed forms of a unit without a gate.


def expected_gradients(w: float, length: int, variance: float = 1.0) -> jax.Array:
    """G_t of every copy, [length], for codes of mean 0, no gate, and any u."""
    return variance * jnp.full(length, w).at[0].add(-1.0)


def stalled_weight(length: int) -> float:
    """w* = 1 / T, where the pushes cancel."""
    return 1.0 / length


def stalled_error(length: int) -> float:
    """E[error^2] / v at w*, 1 - 1 / T: no unit without a gate has less."""
    return 1.0 - 1.0 / length


# The problem.


def standardise(codes: jax.Array, num_symbols: jax.Array | int) -> jax.Array:
    """Codes [K] of which the first `num_symbols` get mean 0 and variance 1, and the others 0.

    So that pushes, errors and the learning rate have the same units in every alphabet.
    """
    in_use = (jnp.arange(codes.shape[0]) < num_symbols).astype(codes.dtype)
    centred = in_use * (codes - (in_use * codes).sum() / num_symbols)
    return centred / jnp.sqrt(jnp.square(centred).sum() / num_symbols)


def draw_problem(key: Key, config: Config) -> Problem:
    """The slide's problem, or a random one; the key is consumed.

    A random problem has 2 ... K symbols with normal codes, standardised, and 2 ... T time steps.
    """
    if config.alphabet == "slide":
        num_symbols = len(_SLIDE_CODES)
        codes = standardise(jnp.array(_SLIDE_CODES), num_symbols)
        return Problem(codes, jnp.int32(num_symbols), jnp.int32(config.length))
    key_codes, key_symbols, key_length = jax.random.split(key, 3)
    num_symbols = jax.random.randint(key_symbols, (), 2, config.max_symbols + 1)
    codes = standardise(jax.random.normal(key_codes, (config.max_symbols,)), num_symbols)
    return Problem(codes, num_symbols, jax.random.randint(key_length, (), 2, config.max_length + 1))


def encode(sequence: str) -> jax.Array:
    """The codes, [T], of a sequence over the slide's alphabet.

    Raises:
        ValueError: another letter than A, G and C.
    """
    codes = standardise(jnp.array(_SLIDE_CODES), len(_SLIDE_CODES))
    return codes[jnp.array([SLIDE_ALPHABET.index(symbol) for symbol in sequence])]


def draw_symbols(key: Key, config: Config, problem: Problem) -> jax.Array:
    """What the weight sees, codes [B, T]: of independent symbols, or of one that is held.

    The key is consumed.
    """
    num_drawn = config.num_steps if config.conflict == "input" else 1
    # Random bits are most of the work of an update: 16 for a symbol, whose probability is then
    # off by less than 2^-16.
    words = jax.random.bits(key, (config.batch_size, -(-num_drawn // 2)))
    halves = jnp.concatenate([words >> 16, words & 0xFFFF], axis=1)[:, :num_drawn]
    symbols = (halves * problem.num_symbols.astype(jnp.uint32)) >> 16
    return jnp.broadcast_to(problem.codes[symbols], (config.batch_size, config.num_steps))


# The unit.


def draw_params(key: Key, init_scale: float) -> Params:
    """Normal weights; the gate, if any, starts half open at all times. The key is consumed."""
    return Params(*(init_scale * jax.random.normal(key, (len(Params._fields),))))


def gates(config: Config, params: Params, xs: jax.Array) -> jax.Array:
    """How far the gate is open, [..., T], at what the weight sees, xs [..., T]; without one, 1."""
    if not config.gate:
        return jnp.ones_like(xs)
    is_marked = jnp.broadcast_to(jnp.arange(xs.shape[-1]) == 0, xs.shape)
    net = params.gate_marker * is_marked + params.gate_bias
    return jax.nn.sigmoid(net + params.gate_symbol * xs if config.gate_sees_symbol else net)


def errors(
    config: Config, params: Params, ws: jax.Array, xs: jax.Array, length: jax.Array | int
) -> jax.Array:
    """The errors of a unit, or of its readings.

    Args:
        config: which of the two, with or without a gate.
        params: the weights; `params.w` is not used, since its copies are.
        ws: the copies of w, [T].
        xs: what the weight sees, [B, T].
        length: int [], the steps from there on are left out.

    Returns:
        s_T - x_1, [B, 1], of the input; y_t - m_t x_1, [B, T], of the output.
    """
    steps = jnp.arange(xs.shape[1])
    let_through = gates(config, params, xs) * (ws[None] * xs + params.u * (steps == 0)[None])
    let_through *= (steps < length)[None]
    if config.conflict == "input":
        # s_T: the recurrence s_t = s_{t-1} + ... is a sum.
        return let_through.sum(1, keepdims=True) - xs[:, :1]
    return let_through.at[:, 0].add(-xs[:, 0])


def loss(
    config: Config, params: Params, ws: jax.Array, xs: jax.Array, length: jax.Array | int
) -> jax.Array:
    """Half the squared error, summed over readings, mean over the batch; arguments of `errors`."""
    return 0.5 * jnp.square(errors(config, params, ws, xs, length)).sum(1).mean()


def untied_gradients(
    config: Config, params: Params, xs: jax.Array, length: jax.Array | int
) -> tuple[jax.Array, Params, jax.Array]:
    """The gradient that an update uses, and the share of each time step in that of w.

    Args:
        config: the unit.
        params: the weights.
        xs: what the weight sees, [B, T].
        length: int [], steps in use.

    Returns:
        The loss; the gradient with respect to the parameters; and with respect to the copies of w,
        [T], whose sum is that of w.
    """
    ws = jnp.full(xs.shape[1], params.w)
    value, (grads, grads_w) = jax.value_and_grad(loss, (1, 2))(config, params, ws, xs, length)
    return value, grads._replace(w=grads_w.sum()), grads_w


def pushes(grads_w: jax.Array, length: jax.Array | int) -> Pushes:
    """Sums up the gradients of the copies, [T]; those from `length` on are 0."""
    first, later = -grads_w[0], -grads_w[1:]
    return Pushes(
        first=first,
        later=later.sum(),
        gross=jnp.abs(grads_w).sum(),
        net=jnp.abs(grads_w.sum()),
        opposing_share=(later * first < 0).sum() / (length - 1),
    )


def profile(
    key: Key, config: Config, params: Params, problem: Problem
) -> tuple[jax.Array, jax.Array]:
    """The loss, [], and the gradient G_t of every copy of w, [T], on many fresh sequences.

    The mean over `num_eval_batches` batches, one of which is held at a time. The key is consumed.
    """

    def add(total: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        xs = draw_symbols(jax.random.fold_in(key, i), config, problem)
        value, _, grads_w = untied_gradients(config, params, xs, problem.length)
        return total + jnp.append(grads_w, value), None

    zeros = jnp.zeros(config.num_steps + 1)
    total, _ = jax.lax.scan(add, zeros, jnp.arange(config.num_eval_batches))
    mean = total / config.num_eval_batches
    return mean[-1], mean[:-1]


def no_progress() -> Progress:
    """Before the first update; a unit that says 0 has error^2 / variance 1."""
    zero, never = jnp.float32(0), jnp.int32(0)
    return Progress(jnp.float32(1), never, never, zero, zero)


def advance(
    config: Config, progress: Progress, relative_error: jax.Array, pushed: Pushes, t: jax.Array
) -> Progress:
    """The progress after update t, counted from 0, on a batch of this error^2 / variance."""
    average = config.averaging * progress.average + (1 - config.averaging) * relative_error

    def first_time(before: jax.Array, is_below: jax.Array) -> jax.Array:
        return jnp.where((before == 0) & is_below, t + 1, before)

    return Progress(
        average=average,
        halfway_at=first_time(progress.halfway_at, average < 0.5),
        solved_at=first_time(progress.solved_at, average < config.solved_below),
        sum_net=progress.sum_net + pushed.net,
        sum_gross=progress.sum_gross + pushed.gross,
    )


def make(config: Config) -> Learner:
    """The unit as a learner; its data is empty, since every update draws fresh sequences.

    Adam, because its steps do not depend on the size of the gradient: one learning rate serves
    every length. What is measured are the gradients that it is given.
    """
    optimizer = optax.adam(config.learning_rate)

    def init(key: Key) -> State:
        key_problem, key_params, key_run = jax.random.split(key, 3)
        params = draw_params(key_params, config.init_scale)
        return State(
            params=params,
            halfway=params,
            opt_state=optimizer.init(params),
            problem=draw_problem(key_problem, config),
            progress=no_progress(),
            key=key_run,
            t=jnp.int32(0),
        )

    def step(state: State, data: tuple[()]) -> tuple[State, Metrics]:
        xs = draw_symbols(jax.random.fold_in(state.key, state.t), config, state.problem)
        value, grads, grads_w = untied_gradients(config, state.params, xs, state.problem.length)
        updates, opt_state = optimizer.update(grads, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        pushed = pushes(grads_w, state.problem.length)
        progress = advance(config, state.progress, 2 * value, pushed, state.t)
        was_halfway = state.progress.halfway_at > 0
        halfway = jax.tree.map(
            lambda old, new: jnp.where(was_halfway, old, new), state.halfway, params
        )
        new = State(params, halfway, opt_state, state.problem, progress, state.key, state.t + 1)
        return new, {"loss": value, **_named(2 * value, pushed)}

    def evaluate(key: Key, state: State, data: tuple[()]) -> Metrics:
        value, grads_w = profile(key, config, state.params, state.problem)
        progress = state.progress
        return {
            **_named(2 * value, pushes(grads_w, state.problem.length)),
            "surviving_share": progress.sum_net / progress.sum_gross,
            "solved": (progress.solved_at > 0).astype(jnp.float32),
            "solved_at_update": progress.solved_at.astype(jnp.float32),
            "length": state.problem.length.astype(jnp.float32),
        }

    return Learner(init, step, evaluate)


def _named(relative_error: jax.Array, pushed: Pushes) -> Metrics:
    return {
        "relative_error": relative_error,
        "push_of_first": pushed.first,
        "push_of_later": pushed.later,
        "gross_push": pushed.gross,
        "opposing_share": pushed.opposing_share,
    }
