"""A recurrent net that must remember: it reads a sequence and answers what lies far back.

The problems, and their sources, are in `data.memory_problems`. Every batch is new. A seed has
solved its problem when its error, averaged over about the last 2,000 sequences, each judged before
it was learned from, is below `SOLVED_ERROR` (Hochreiter & Schmidhuber, 1997, let none of the last
2,000 sums be wrong by 0.04).

A net of ReLUs may explode. That is a way not to solve the problem, and no reason to end the run of
other seeds: what is not finite counts as the largest float32, and nothing is learned from it.

T: time steps, B: sequences of a batch, D: inputs, H: hidden units, K: answers, O: outputs.
"""

import dataclasses
import functools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures.data.memory_problems import PROBLEMS, Batch, Problem, ProblemName
from dl_lectures.learner import Data, Key, Learner, Metrics, shard_batch
from dl_lectures.sequences.cells import CELLS, CellName

_JUDGED_SEQUENCES = 2_000
_EVAL_SEQUENCES = 256
# Mean squared error, 6 % of what is left of one who remembers nothing; share of wrong answers.
SOLVED_ERROR = {"adding": 0.01, "temporal_order": 0.01, "copy": 0.01}


@dataclasses.dataclass(frozen=True)
class Config:
    """The problem, the net, and how it is trained."""

    problem: Annotated[ProblemName, "what is to be remembered"] = "adding"
    cell: Annotated[CellName, "recurrent cell"] = "lstm"
    lag: Annotated[int, "length of the sequences (copy: blanks to wait)"] = 50
    num_hidden: Annotated[int, "H, hidden units"] = 32
    batch_size: Annotated[int, "B, sequences of an update"] = 32
    learning_rate: Annotated[float, "step size of Adam"] = 1e-2
    max_grad_norm: Annotated[float, "gradients are scaled down to this global norm"] = 1.0

    def __post_init__(self):
        for name in ("num_hidden", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name} must be positive, not {getattr(self, name)}")
        shortest = PROBLEMS[self.problem].shortest
        if self.lag < shortest:
            raise ValueError(f"--lag of {self.problem} must be at least {shortest}, not {self.lag}")


class Params(NamedTuple):
    """Weights."""

    layer: Any  # the cell's Params
    w_out: jax.Array  # [H, O]
    b_out: jax.Array  # [O]


class State(NamedTuple):
    """All that the future of a run depends on."""

    params: Params
    opt_state: optax.OptState
    error: jax.Array  # [] average over the last 2,000 sequences or so
    solved_at: jax.Array  # int32 [] the update after which that was good enough; 0: not yet
    key: Key
    t: jax.Array  # int32 [] updates so far


def init(config: Config, key: Key) -> Params:
    """Returns fresh parameters. The key is consumed."""
    problem = PROBLEMS[config.problem]
    key_layer, key_out = jax.random.split(key)
    shape = (config.num_hidden, problem.num_classes or 1)
    return Params(
        layer=CELLS[config.cell].init(key_layer, problem.num_inputs, config.num_hidden),
        w_out=jax.nn.initializers.glorot_uniform()(key_out, shape),
        b_out=jnp.zeros(shape[1]),
    )


def apply(config: Config, params: Params, xs: jax.Array, num_answers: int) -> jax.Array:
    """The outputs at the last K steps, [K, B, O], of xs [T, B, D]."""
    _, hs = CELLS[config.cell].apply(params.layer, xs)
    return answer(params, hs[-num_answers:])


def answer(params: Params, hs: jax.Array) -> jax.Array:
    """The outputs [..., O] of hidden states [..., H]."""
    return jnp.tensordot(hs, params.w_out, 1) + jnp.expand_dims(params.b_out, range(hs.ndim - 1))


def loss_and_error(
    problem: Problem, outputs: jax.Array, answers: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The mean loss and the error that decides, of outputs [K, B, O] and answers [K, B].

    Numbers: both are the mean squared error. Classes: cross-entropy in nats over all answers, and
    the share of wrong ones among the last ten (the rest of a copy is blank).
    """
    if not problem.num_classes:
        mse = ((outputs[..., 0] - answers) ** 2).mean()
        return mse, mse
    loss = optax.softmax_cross_entropy_with_integer_labels(outputs, answers).mean()
    is_wrong = outputs.argmax(-1) != answers
    return loss, is_wrong[-10:].mean(dtype=jnp.float32)


def _bounded(loss: jax.Array) -> jax.Array:
    largest = jnp.finfo(loss.dtype).max
    return jnp.nan_to_num(loss, nan=largest, posinf=largest)


def make(config: Config) -> Learner:
    """The problem as something to be learned. No data: every batch is drawn from the step's key.

    `step` reports the loss, `error` (as in `loss_and_error`) and the gradient's norm; `evaluate`
    the same of new sequences, and whether the problem is `solved` and with which update.
    """
    problem = PROBLEMS[config.problem]
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate)
    )

    def loss_fn(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        outputs = apply(config, params, batch.xs, batch.answers.shape[0])
        return loss_and_error(problem, outputs, batch.answers)

    def init_state(key: Key) -> State:
        key_params, key_run = jax.random.split(key)
        params = init(config, key_params)
        return State(
            params=params,
            opt_state=optimizer.init(params),
            error=jnp.float32(1.0),
            solved_at=jnp.int32(0),
            key=key_run,
            t=jnp.int32(0),
        )

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        del data
        key = jax.random.fold_in(state.key, state.t)
        batch = problem.draw(key, config.lag, config.batch_size)
        batch = jax.tree.map(_over_batch, batch)
        (loss, error), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch)
        grad_norm = optax.tree.norm(grads)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        loss, error = _bounded(loss), _bounded(error)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        learned = (optax.apply_updates(state.params, updates), opt_state)
        params, opt_state = jax.tree.map(
            functools.partial(jnp.where, is_finite), learned, (state.params, state.opt_state)
        )
        t = state.t + 1
        share = jnp.maximum(config.batch_size / _JUDGED_SEQUENCES, 1 / t)
        average = state.error + share * (error - state.error)
        # Ten batches at the least: one that is good by luck is no solution.
        is_solved = (average < SOLVED_ERROR[config.problem]) & (t >= 10)
        state = State(
            params=params,
            opt_state=opt_state,
            error=average,
            solved_at=jnp.where((state.solved_at == 0) & is_solved, t, state.solved_at),
            key=state.key,
            t=t,
        )
        return state, {"loss": loss, "error": error, "grad_norm": grad_norm}

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del data
        loss, error = loss_fn(state.params, problem.draw(key, config.lag, _EVAL_SEQUENCES))
        return {
            "loss": _bounded(loss),
            "error": _bounded(error),
            "solved": (state.solved_at > 0).astype(jnp.float32),
            "solved_at": state.solved_at.astype(jnp.float32),
        }

    return Learner(init_state, step, evaluate)


def _over_batch(x: jax.Array) -> jax.Array:
    """Lays the axis after time over the devices that share a batch."""
    return jnp.swapaxes(shard_batch(jnp.swapaxes(x, 0, 1)), 0, 1)
