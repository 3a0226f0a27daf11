"""How good drawn images are: near to real ones, as varied, and not copied.

Images are compared by features, what the last hidden layer of a classifier makes of them
(`classifier.features`), and copies are looked for among pixels. The features are those of a small
net that was trained on the very data set: **the Frechet distance here cannot be compared with a
published FID**, which takes 2,048 features of Inception-v3 (Szegedy et al., 2016), nor between data
sets or classifiers; nor for other numbers of images, of which it is a biased function. What a
perfect generator would score is what held-out images score: judge them, too.

    reference = quality.refer(train, features_train, heldout)    # once
    found = quality.judge(reference, drawn, features_drawn)      # for each seed, float by name

In NumPy, but for draws. Distances are Euclidean and computed in blocks, so that those of 10,000 to
60,000 images need no more than 64 MB.

N: real images (training), M: held-out ones, G: generated ones, P: pixels, F: features,
D: numbers of either kind, C: classes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dl_lectures.generative import classifier
from dl_lectures.learner import Key

_BLOCK = 2**23  # distances at a time
_NEIGHBOURS = (3, 5)  # k, of Kynkaanniemi et al. and of Naeem et al.
_COPY_QUANTILE = 0.05
_MAX_NEIGHBOURHOODS = 10_000
_MAX_SUSPECTS = 2_000  # drawn images that are looked at for copies


class Gaussian(NamedTuple):
    """A normal distribution of features."""

    mean: np.ndarray  # [F]
    root: np.ndarray  # [F, F] the symmetric square root of the covariance


class Reference(NamedTuple):
    """What generated images are held against, made once by `refer`."""

    images: np.ndarray  # [N, P] training images in [0, 1]
    heldout: np.ndarray  # [M, P]
    heldout_distances: np.ndarray  # [M] of each held-out image to the nearest training image
    gaussian: Gaussian  # of all training features
    features: np.ndarray  # [N', F] of the first training images, N' <= 10,000
    radii: np.ndarray  # [2, N'] of their neighbourhoods


class Overlap(NamedTuple):
    """How two sets of features lie in each other's neighbourhoods; each is 1 at best."""

    precision: float  # the share of generated ones in the neighbourhood of a real one
    recall: float  # the share of real ones in the neighbourhood of a generated one
    density: float  # neighbourhoods of real ones that hold a generated one, over those expected
    coverage: float  # the share of real ones in whose neighbourhood there is a generated one


class Copying(NamedTuple):
    """How much nearer generated images lie to training images than held-out ones do."""

    distance: float  # the median, of pixels in [0, 1], to the nearest training image
    share: float  # nearer to one than 95 % of held-out images are; expected: 0.05
    auc: float  # P(a generated image is nearer to one than a held-out image is); 0.5, copies: 1
    excess: float  # of those nearer to a training than to any held-out image; 0, copies: 1


class Nearest(NamedTuple):
    """Of each of N points, the nearest of some others."""

    which: np.ndarray  # [N] int
    distances: np.ndarray  # [N] float64


def refer(
    train: np.ndarray,
    features: np.ndarray,
    heldout: np.ndarray,
    max_neighbourhoods: int = _MAX_NEIGHBOURHOODS,
) -> Reference:
    """What `judge` wants to know of the real images.

    Args:
        train: the images that the generator learned from, [N, ...] in [0, 1].
        features: theirs, [N, F].
        heldout: images of the same kind that it did not see, [M, ...].
        max_neighbourhoods: precision, recall, density and coverage take so many of the training
            images, the first ones.

    Raises:
        ValueError: there are too few images, or shapes differ.
    """
    train, heldout = _rows(train), _rows(heldout)
    if len(train) != len(features) or train.shape[1] != heldout.shape[1]:
        raise ValueError(
            f"Training images {train.shape}, their features {features.shape} and held-out images "
            f"{heldout.shape} do not fit."
        )
    features = np.asarray(features, np.float64)
    first = features[:max_neighbourhoods]
    return Reference(
        images=train,
        heldout=heldout,
        heldout_distances=nearest(heldout, train).distances,
        gaussian=gaussian(features),
        features=first,
        radii=neighbour_radii(first, _NEIGHBOURS),
    )


def judge(reference: Reference, images: np.ndarray, features: np.ndarray) -> dict[str, float]:
    """All measures of generated images, by name.

    `frechet_distance` (squared units of the features, 0 at best), `precision`, `recall`,
    `density`, `coverage` (1 at best; see `Overlap`), and `nearest_training_distance`,
    `copied_share`, `copying_auc`, `copying_excess` (see `Copying`; of the first 2,000). The same
    number of images must be given wherever results are compared.

    Args:
        reference: of the real images.
        images: generated ones, [G, ...] in [0, 1], shaped as the real ones.
        features: theirs, [G, F].

    Raises:
        ValueError: there are too few images, or shapes differ.
    """
    images = _rows(images)
    if len(images) != len(features) or images.shape[1] != reference.images.shape[1]:
        raise ValueError(
            f"Generated images {images.shape}, their features {features.shape} and training images "
            f"{reference.images.shape} do not fit."
        )
    features = np.asarray(features, np.float64)
    near = overlap(reference.features, features, reference.radii)
    copies = copying(
        reference.images, reference.heldout, images[:_MAX_SUSPECTS], reference.heldout_distances
    )
    return {
        "frechet_distance": frechet_distance(reference.gaussian, gaussian(features)),
        **near._asdict(),
        "nearest_training_distance": copies.distance,
        "copied_share": copies.share,
        "copying_auc": copies.auc,
        "copying_excess": copies.excess,
    }


# Gaussians --------------------------------------------------------------------------------------


def gaussian(features: np.ndarray) -> Gaussian:
    """The normal distribution of the mean and the (unbiased) covariance of features, [N, F].

    Raises:
        ValueError: there are fewer than two of them.
    """
    if len(features) < 2:
        raise ValueError(f"A covariance needs two images or more, not {len(features)}.")
    mean = np.mean(features, axis=0, dtype=np.float64)
    centred = features - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / (len(features) - 1))
    # Rounding can make the least ones negative.
    return Gaussian(mean, (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Frechet distance of two normal distributions, Heusel et al. (2017), equation 6.

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), arXiv:1706.08500 (Dowson and Landau, 1982).
    The trace of the last root is the sum of the singular values of A^(1/2) B^(1/2): no root of a
    matrix that is not symmetric has to be taken, and singular covariances do no harm.
    """
    of_product = np.linalg.svd(a.root @ b.root, compute_uv=False).sum()
    traces = np.square(a.root).sum() + np.square(b.root).sum()
    distance = np.square(a.mean - b.mean).sum() + traces - 2 * of_product
    return max(0.0, float(distance))


# Neighbourhoods ---------------------------------------------------------------------------------


def overlap(real: np.ndarray, generated: np.ndarray, radii: np.ndarray | None = None) -> Overlap:
    """Precision and recall, density and coverage.

    The neighbourhood of a point is the ball around it that reaches to its k-th neighbour within its
    own set. Precision and recall are those of Kynkaanniemi et al. (2019), arXiv:1904.06991,
    equations 1 and 2 with k = 3; they are meant for N = G. Density and coverage are those of Naeem
    et al. (2020), arXiv:2002.09797, section 3 with k = 5. Of two equal distributions the
    expected density is 1, and the coverage, for N = G,
    1 - (N - 1) ... (N - k) / ((2 N - 1) ... (2 N - k)), about 0.97.

    Args:
        real: features, [N, F].
        generated: features, [G, F].
        radii: of the neighbourhoods of the real ones, [2, N]; None: to be computed.

    Raises:
        ValueError: there are too few of either.
    """
    real, generated = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    k_precision, k_density = _NEIGHBOURS
    radii = neighbour_radii(real, _NEIGHBOURS) if radii is None else radii
    (generated_radii,) = neighbour_radii(generated, (k_precision,))
    is_precise = np.zeros(len(generated), bool)
    is_recalled, is_covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    num_inside = 0
    real_squares, generated_squares = np.square(radii), np.square(generated_radii)
    for rows, squares in _squared_distances(generated, real):
        is_precise[rows] = (squares <= real_squares[:1]).any(1)
        is_recalled |= (squares <= generated_squares[rows, None]).any(0)
        inside = squares <= real_squares[1:]
        is_covered |= inside.any(0)
        num_inside += int(inside.sum())
    return Overlap(
        precision=float(is_precise.mean()),
        recall=float(is_recalled.mean()),
        density=num_inside / (k_density * len(generated)),
        coverage=float(is_covered.mean()),
    )


def neighbour_radii(x: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """The distance of each point to its k-th neighbour, itself not counted: [len(ks), N].

    Args:
        x: points, [N, D].
        ks: which neighbours, each at least 1.

    Raises:
        ValueError: there are not more points than neighbours.
    """
    if len(x) <= max(ks):
        raise ValueError(f"{max(ks)} neighbours need more than {len(x)} images.")
    radii = np.empty((len(ks), len(x)))
    for rows, squares in _squared_distances(x, x):
        squares[np.arange(len(squares)), np.arange(len(x))[rows]] = -np.inf  # itself, the nearest
        squares.partition(ks, axis=1)
        radii[:, rows] = np.sqrt(np.maximum(squares[:, list(ks)], 0.0)).T
    return radii


# Copies -----------------------------------------------------------------------------------------


def copying(
    train: np.ndarray,
    heldout: np.ndarray,
    generated: np.ndarray,
    heldout_distances: np.ndarray | None = None,
) -> Copying:
    """How much a generator copies the images that it learned from.

    Three questions. How many generated images are nearer to a training image than all but the
    nearest 5 % of held-out images are: 0.05 is expected of a perfect generator. How probable it is
    that a generated image is nearer to one than a held-out image is, ties counted by half, the test
    of Meehan et al. (2020), arXiv:2004.05675: 0.5 is expected. Both take blurred images, which lie
    near everything, for copies; the third does not. How much more often than by chance, which has
    it N times in N + M, is a training image the nearest of all real ones: 0 is by chance, and 1
    always. It needs training and held-out images that were drawn alike, and says nothing of noise,
    which lies far from all of them and nearest to the same few.

    Args:
        train: [N, P].
        heldout: [M, P].
        generated: [G, P].
        heldout_distances: of held-out images to the nearest training image, [M]; None: to be
            computed.
    """
    if heldout_distances is None:
        heldout_distances = nearest(heldout, train).distances
    to_train = nearest(generated, train).distances
    to_heldout = nearest(generated, heldout).distances
    nearer = np.mean((to_train < to_heldout) + 0.5 * (to_train == to_heldout))
    chance = len(train) / (len(train) + len(heldout))
    # Held-out images that are farther than each generated one, ties counted by half.
    in_order = np.sort(heldout_distances)
    ranks = (
        np.searchsorted(in_order, to_train, "left"),
        np.searchsorted(in_order, to_train, "right"),
    )
    return Copying(
        distance=float(np.median(to_train)),
        share=float(np.mean(to_train < copy_limit(in_order))),
        auc=float(1.0 - 0.5 * np.mean(ranks[0] + ranks[1]) / len(in_order)),
        excess=float((nearer - chance) / (1.0 - chance)),
    )


def copy_limit(heldout_distances: np.ndarray) -> float:
    """The distance to the nearest training image below which 5 % of held-out images are.

    Args:
        heldout_distances: of theirs, [M].
    """
    return float(np.quantile(heldout_distances, _COPY_QUANTILE))


def nearest(x: np.ndarray, others: np.ndarray) -> Nearest:
    """The nearest of the others, [M, ...], to each x, [N, ...], by Euclidean distance.

    It is looked for in float32, its distance taken in float64, so that a copy is at 0.
    """
    x, others = _rows(x), _rows(others)
    which, distances = np.empty(len(x), int), np.empty(len(x))
    for rows, squares in _squared_distances(x, others):
        which[rows] = squares.argmin(1)
        apart = (x[rows] - others[which[rows]]).astype(np.float64)
        distances[rows] = np.sqrt(np.square(apart).sum(1))
    return Nearest(which, distances)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of a, [N, D], and a new block, [rows, M], of their squared distances to b, [M, D].

    Rounding may make those of equal points negative.
    """
    of_b = np.square(b).sum(1)  # [M]
    num_rows = max(1, _BLOCK // len(b))
    for start in range(0, len(a), num_rows):
        rows = slice(start, start + num_rows)
        squares = (-2.0 * a[rows]) @ b.T
        squares += of_b
        squares += np.square(a[rows]).sum(1, keepdims=True)
        yield rows, squares


def _rows(images: np.ndarray) -> np.ndarray:
    """Images, [N, ...], as float32 [N, P]."""
    return np.asarray(images, np.float32).reshape(len(images), -1)


# Classifiers and baselines ----------------------------------------------------------------------


def classifier_accuracy_score(
    key: Key,
    config: classifier.Config,
    drawn: classifier.Data,
    heldout: classifier.Data,
    num_classes: int,
) -> float:
    """The accuracy on real images of a classifier that has seen only drawn ones, in [0, 1].

    Ravuri and Vinyals (2019), arXiv:1905.10887. Compare with that of a classifier of the same
    configuration that was trained on as many real images. The key is consumed.

    Args:
        key: for the classifier's training.
        config: its net and training.
        drawn: images and the classes that the generator was told to draw.
        heldout: real ones.
        num_classes: C.
    """
    net = classifier.network(config, num_classes)
    params = classifier.fit(key, config, drawn, num_classes)
    return float(np.mean(classifier.predict(net, params, heldout.x) == heldout.labels))


def independent_pixels(key: Key, train: np.ndarray, num_images: int) -> np.ndarray:
    """Draws images whose pixels know nothing of each other: [G, ...] of training images [N, ...].

    Each pixel is that of a training image drawn for it alone. The least that a generator has to
    beat. The key is consumed.
    """
    shape = (num_images, int(np.prod(train.shape[1:])))
    chosen = np.asarray(jax.random.randint(key, shape, 0, len(train)))
    drawn = np.take_along_axis(train.reshape(len(train), -1), chosen, axis=0)
    return drawn.reshape(num_images, *train.shape[1:])
