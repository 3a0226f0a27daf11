"""Models that see which words a text has and how often, but not their order.

The unigram model and the naive Bayes classifier of texts, both multinomial with add-one smoothing
(Manning, Raghavan & Schuetze, 2008, Introduction to Information Retrieval, Sec. 13.2):

    log p(text) = sum_w c(w) log p(w) + const        p(w) = (c_train(w) + 1) / (N + V)
    log-odds of class 1 = sum_w c(w) (log p(w | 1) - log p(w | 0)) + log-odds of the classes

N: words of the training text, P: texts, T: words of the longest, V: codes.
"""

import numpy as np


def log_probabilities(symbols: np.ndarray, num_symbols: int) -> np.ndarray:
    """log p of every code, in nats, float64 [V], from a training text, int [N]."""
    counts = np.bincount(symbols, minlength=num_symbols)
    return np.log((counts + 1) / (len(symbols) + num_symbols))


def naive_bayes_weights(of_one: np.ndarray, of_zero: np.ndarray, num_symbols: int) -> np.ndarray:
    """log p(w | 1) - log p(w | 0), float64 [V], from texts of the classes, int [N] each."""
    return log_probabilities(of_one, num_symbols) - log_probabilities(of_zero, num_symbols)


def counts(rows: np.ndarray, lengths: np.ndarray, num_symbols: int) -> np.ndarray:
    """How often every code occurs in each text, int64 [P, V]; rows [P, T] are filled up."""
    is_word = np.arange(rows.shape[1])[None] < lengths[:, None]
    keys = np.arange(len(rows))[:, None] * num_symbols + rows
    size = len(rows) * num_symbols
    return np.bincount(keys[is_word], minlength=size).reshape(len(rows), num_symbols)
