"""Documents as bags of words: real ones by name, and generated ones whose topics are known.

scipy: the manual's entries of the functions and classes of SciPy's large parts, their docstrings in
    the installed version; BSD-3. The class of a document is the part it is in, such as `signal`.
shakespeare: the scenes of 38 plays, of `data.text`; needs its package. There are no classes.

A word is three letters or more, in lower case. Words in more than a fifth of the training documents
(the, and, returns) say little of any topic, those in fewer than ten are too rare to be learned;
both are left out, and of the rest the most frequent are kept. About one document in five is held
out, always the same ones, and the words of each are dealt to two halves: what a model makes of the
first is judged by the second (document completion; Wallach et al., 2009,
doi:10.1145/1553374.1553501).

D: training documents, M: held-out documents, V: words of the vocabulary, K: topics.
"""

import collections
import importlib
import re
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.data import text
from dl_lectures.errors import UsageError

_HELDOUT_FRACTION = 0.2
_SPLIT_SEED = 0
_MOST_DOCUMENTS = 0.2  # share of them that a word may be in
_FEWEST_DOCUMENTS = 10
_FEWEST_WORDS = 10  # of a document
_PARTS = (
    *("cluster.hierarchy", "fft", "integrate", "interpolate", "linalg", "ndimage", "optimize"),
    *("signal", "signal.windows", "sparse", "sparse.csgraph", "sparse.linalg"),
    *("spatial", "spatial.distance", "special", "stats"),
)


class Documents(NamedTuple):
    """Counts of words."""

    vocabulary: tuple[str, ...]  # [V] by falling frequency
    train: np.ndarray  # [D, V] float32
    train_labels: np.ndarray  # [D] int32
    first: np.ndarray  # [M, V] float32 half of the words of each held-out document
    second: np.ndarray  # [M, V] the other half
    heldout_labels: np.ndarray  # [M] int32
    classes: tuple[str, ...]  # the name of each label


class Generated(NamedTuple):
    """Documents whose topics are known."""

    words: jax.Array  # [K, V] each topic's probabilities of words
    counts: jax.Array  # [D, V] float32


class _Texts(NamedTuple):
    texts: list[str]
    classes: list[str]  # of each text


def load(name: str, num_words: int) -> Documents:
    """The documents of that name, the same at every call, with at most `num_words` words.

    Raises:
        UsageError: there are no such documents, or their package is missing.
    """
    if name not in _LOADERS:
        raise UsageError(f"There are no documents named {name!r}; choose: {', '.join(NAMES)}.")
    return make(*_LOADERS[name](), num_words)


def make(texts: Sequence[str], classes: Sequence[str], num_words: int) -> Documents:
    """Splits and counts.

    Raises:
        ValueError: no word is neither too rare nor too frequent.
    """
    bags = [collections.Counter(re.findall(r"[a-z]{3,}", text.lower())) for text in texts]
    rng = np.random.default_rng(_SPLIT_SEED)
    order = rng.permutation(len(bags))
    num_heldout = round(_HELDOUT_FRACTION * len(bags))
    heldout, train = np.sort(order[:num_heldout]), np.sort(order[num_heldout:])
    frequency = collections.Counter(word for i in train for word in bags[i])
    total = sum((bags[i] for i in train), collections.Counter())
    most = _MOST_DOCUMENTS * len(train)
    kept = [w for w, n in frequency.items() if _FEWEST_DOCUMENTS <= n <= most]
    vocabulary = sorted(kept, key=lambda w: (-total[w], w))[:num_words]
    if not vocabulary:
        raise ValueError("no word is in enough documents, and not in too many, to be learned")
    counts = np.array([[bag[w] for w in vocabulary] for bag in bags], np.int64)
    names = tuple(sorted(set(classes)))
    labels = np.array([names.index(c) for c in classes], np.int32)
    is_long = counts.sum(1) >= _FEWEST_WORDS
    train, heldout = train[is_long[train]], heldout[is_long[heldout]]
    # Half of the words of each kind of document: those drawn without replacement.
    first = np.array(
        [rng.multivariate_hypergeometric(row, row.sum() // 2) for row in counts[heldout]]
    ).reshape(-1, len(vocabulary))
    second = counts[heldout] - first
    return Documents(
        tuple(vocabulary),
        counts[train].astype(np.float32),
        labels[train],
        first.astype(np.float32),
        second.astype(np.float32),
        labels[heldout],
        names,
    )


def draw(
    key: jax.Array,
    num_documents: int,
    num_topics: int,
    num_words: int,
    length: int,
    topics_per_document: float = 0.1,
    words_per_topic: float = 0.05,
) -> Generated:
    """Draws topics, and documents from them, as latent Dirichlet allocation says; keys are used up.

    Args:
        key: consumed.
        num_documents: D.
        num_topics: K.
        num_words: V.
        length: words of each document.
        topics_per_document: concentration of a document's mixture; small: few topics each.
        words_per_topic: concentration of a topic; small: few words each.
    """
    key_words, key_mixtures, key_drawn = jax.random.split(key, 3)
    words = jax.random.dirichlet(key_words, jnp.full(num_words, words_per_topic), (num_topics,))
    mixtures = jax.random.dirichlet(
        key_mixtures, jnp.full(num_topics, topics_per_document), (num_documents,)
    )
    # Which topic a word came from is not kept, so words are drawn from the mixture of all.
    cumulated = jnp.cumsum(mixtures @ words, axis=1)  # [D, V]
    uniform = jax.random.uniform(key_drawn, (num_documents, length)) * cumulated[:, -1:]
    drawn = jax.vmap(jnp.searchsorted)(cumulated, uniform)  # [D, N]
    counts = jax.vmap(lambda row: jnp.bincount(row, length=num_words))(drawn)
    return Generated(words, counts.astype(jnp.float32))


def _scipy() -> _Texts:
    found: dict[str, str] = {}  # text -> class; an entry may be reached by several names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are to go
        for part in _PARTS:
            module = importlib.import_module(f"scipy.{part}")
            for name in sorted(module.__all__):
                entry = getattr(module, name)
                if callable(entry) and entry.__doc__:
                    found.setdefault(entry.__doc__, part.split(".")[0])
    return _Texts(list(found), list(found.values()))


def _shakespeare() -> _Texts:
    scenes = text.shakespeare().units
    return _Texts(scenes, ["scene"] * len(scenes))


_LOADERS: dict[str, Callable[[], _Texts]] = {"scipy": _scipy, "shakespeare": _shakespeare}
NAMES = tuple(_LOADERS)
