"""Sequences whose answer lies far back: the adding, temporal order and copy problems.

Each is drawn from a key, without end and without repetition, so that the error on sequences that a
model is about to learn from is an error on unseen ones.

T: time steps, B: sequences, D: inputs, K: answers.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

ProblemName = Literal["adding", "temporal_order", "copy"]

_NUM_COPIED = 10  # symbols to be copied
_COPY_ALPHABET = 8


class Batch(NamedTuple):
    """Sequences and the answers that are due at their last K steps."""

    xs: jax.Array  # [T, B, D]
    answers: jax.Array  # [K, B] float32, or int32 classes


class Problem(NamedTuple):
    """A problem of remembering."""

    num_inputs: int  # D
    num_classes: int  # of an answer; 0: it is a number
    shortest: int  # the least lag
    draw: Callable[[jax.Array, int, int], Batch]  # key, lag, B; the key is consumed
    chance: Callable[[int], float]  # of lag: the loss of one who remembers nothing
    chance_error: float  # of the same: mean square, or share of wrong answers among the last ten


def adding(key: jax.Array, lag: int, batch_size: int) -> Batch:
    """The sum of two marked numbers among `lag` uniform ones, one in each half.

    Le, Jaitly & Hinton (2015), arXiv:1504.00941, section 4.1, after experiment 4 of Hochreiter &
    Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735. Inputs: the number, and 1 where it counts.
    """
    key_numbers, key_first, key_second = jax.random.split(key, 3)
    numbers = jax.random.uniform(key_numbers, (lag, batch_size))
    half = lag // 2
    first = jax.random.randint(key_first, (batch_size,), 0, half)
    second = jax.random.randint(key_second, (batch_size,), half, lag)
    steps = jnp.arange(lag)[:, None]
    is_marked = (steps == first[None]) | (steps == second[None])
    return Batch(
        xs=jnp.stack([numbers, is_marked.astype(numbers.dtype)], axis=-1),
        answers=jnp.where(is_marked, numbers, 0.0).sum(0, keepdims=True),
    )


def temporal_order(key: jax.Array, lag: int, batch_size: int) -> Batch:
    """In which order came two symbols X or Y, hidden among distractors: XX, XY, YX or YY.

    Hochreiter & Schmidhuber (1997), experiment 6a, with all times as shares of the length: one
    symbol between 10 % and 20 % of it, the other between 50 % and 60 %. Symbols: E, B, four
    distractors, X, Y; the first is E, the last B.
    """
    key_noise, key_first, key_second, key_order = jax.random.split(key, 4)
    symbols = jax.random.randint(key_noise, (lag, batch_size), 2, 6)
    tenth = lag // 10
    first = tenth + jax.random.randint(key_first, (batch_size,), 0, tenth)
    second = 5 * tenth + jax.random.randint(key_second, (batch_size,), 0, tenth)
    order = jax.random.randint(key_order, (batch_size,), 0, 4)
    steps = jnp.arange(lag)[:, None]
    symbols = jnp.where(steps == first[None], 6 + order[None] // 2, symbols)
    symbols = jnp.where(steps == second[None], 6 + order[None] % 2, symbols)
    symbols = symbols.at[0].set(0).at[-1].set(1)
    return Batch(jax.nn.one_hot(symbols, 8), order[None])


def copy(key: jax.Array, lag: int, batch_size: int) -> Batch:
    """Ten symbols of eight, `lag` - 1 blanks, a sign to begin, and the ten symbols again.

    Arjovsky, Shah & Bengio (2016), arXiv:1511.06464, section 4.1. The length is `lag` + 20. All
    answers but the last ten are blank.
    """
    copied = jax.random.randint(key, (_NUM_COPIED, batch_size), 0, _COPY_ALPHABET)
    blank, go = _COPY_ALPHABET, _COPY_ALPHABET + 1
    blanks = jnp.full((lag + _NUM_COPIED, batch_size), blank)
    symbols = jnp.concatenate([copied, blanks]).at[lag + _NUM_COPIED - 1].set(go)
    answers = jnp.concatenate([blanks, copied])
    return Batch(jax.nn.one_hot(symbols, _COPY_ALPHABET + 2), answers)


PROBLEMS: dict[str, Problem] = {
    # Always answering 1 leaves the variance of the sum of two uniform numbers.
    "adding": Problem(2, 0, 2, adding, lambda lag: 1 / 6, 1 / 6),
    "temporal_order": Problem(8, 4, 10, temporal_order, lambda lag: math.log(4), 3 / 4),
    # Blanks are known, the symbols are guessed: section 4.1's memoryless strategy.
    "copy": Problem(
        _COPY_ALPHABET + 2,
        _COPY_ALPHABET + 1,
        1,
        copy,
        lambda lag: _NUM_COPIED * math.log(_COPY_ALPHABET) / (lag + 2 * _NUM_COPIED),
        1 - 1 / _COPY_ALPHABET,
    ),
}
