"""Interpolated Witten-Bell n-grams: what a recurrent net has to beat.

Witten & Bell (1991), doi:10.1109/18.87000, method C, in the interpolated form of Chen & Goodman
(1999), doi:10.1006/csla.1999.0128, Sec. 2.4. For a history h of n - 1 symbols, the same without its
oldest symbol h', and c(.) counts in the training text,

    p_n(w | h) = (c(h w) + T(h) p_{n-1}(w | h')) / (c(h) + T(h)),    p_0(w) = 1 / V,

where T(h) is the number of distinct symbols that follow h. After a history that the training text
lacks, c(h) = T(h) = 0 and p_n = p_{n-1}. Nothing is tuned, and every p_n sums to one.

The histories are not tuples in a dictionary but numbers: the history of k symbols before a position
is the rank of (its last k - 1 symbols' number, its oldest symbol) among all such pairs in the
training text, found by sorting. Five million symbols take seconds.

N: symbols of the training text, M: of the text that is scored, V: symbols of the alphabet.
"""

from typing import NamedTuple

import numpy as np


class Level(NamedTuple):
    """Counts for histories of one length; G: distinct histories, P: distinct pairs (h, w)."""

    histories: np.ndarray  # int64 [G] sorted: number of h' times V, plus the oldest symbol of h
    totals: np.ndarray  # int64 [G] c(h)
    types: np.ndarray  # int64 [G] T(h)
    pairs: np.ndarray  # int64 [P] sorted: number of h times V, plus w
    counts: np.ndarray  # int64 [P] c(h w)


class Model(NamedTuple):
    """n-grams of the orders 1 to `len(levels)`."""

    levels: tuple[Level, ...]  # the n-th has histories of n - 1 symbols
    num_symbols: int  # V
    separator: int | None  # as in `fit`


def fit(symbols: np.ndarray, num_symbols: int, order: int, separator: int | None = None) -> Model:
    """Counts the n-grams of orders 1 to `order`.

    Args:
      symbols: int [N], each in [0, V).
      num_symbols: V.
      order: the longest n-gram.
      separator: the symbol that ends a unit whose past says nothing of the next unit; before its
        first symbol, histories hold separators only. None where histories run on.
    """
    levels: list[Level] = []
    numbers = np.zeros(len(symbols), np.int64)
    for length in range(order):
        if length == 0:
            histories = np.zeros(1, np.int64)
        else:
            keys = numbers * num_symbols + _symbol_before(symbols, length, separator)
            histories, numbers = np.unique(keys, return_inverse=True)
        pairs, counts = np.unique(numbers * num_symbols + symbols, return_counts=True)
        owners = pairs // num_symbols
        levels.append(
            Level(
                histories=histories,
                totals=np.bincount(owners, counts, len(histories)).astype(np.int64),
                types=np.bincount(owners, minlength=len(histories)),
                pairs=pairs,
                counts=counts,
            )
        )
    return Model(tuple(levels), num_symbols, separator)


def log_probabilities(model: Model, symbols: np.ndarray) -> np.ndarray:
    """log p_n of every symbol after those before it, in nats, float64 [order, M]; symbols [M]."""
    rows = []
    numbers = np.zeros(len(symbols), np.int64)
    is_known = np.ones(len(symbols), bool)  # whether the training text has the history
    p = np.full(len(symbols), 1 / model.num_symbols)
    for length, level in enumerate(model.levels):
        if length:
            keys = numbers * model.num_symbols + _symbol_before(symbols, length, model.separator)
            numbers, is_found = _find(level.histories, keys)
            is_known &= is_found
        pairs, is_seen = _find(level.pairs, numbers * model.num_symbols + symbols)
        counts = np.where(is_seen, level.counts[pairs], 0)
        totals, types = level.totals[numbers], level.types[numbers]
        p = np.where(is_known, (counts + types * p) / (totals + types), p)
        rows.append(np.log(p))
    return np.stack(rows)


def _symbol_before(symbols: np.ndarray, distance: int, separator: int | None) -> np.ndarray:
    """The symbol `distance` positions earlier, [N]; `separator` (or 0) before the text's start."""
    earlier = np.full(len(symbols), 0 if separator is None else separator, symbols.dtype)
    earlier[distance:] = symbols[:-distance]
    if separator is None:
        return earlier
    positions = np.arange(len(symbols))
    starts = np.where(np.roll(symbols, 1) == separator, positions, 0)  # first symbols of units
    starts = np.maximum.accumulate(starts)
    return np.where(positions - distance < starts, separator, earlier)


def _find(table: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each key is in a sorted table (anywhere if it is absent), and whether it is there."""
    indices = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return indices, table[indices] == keys
