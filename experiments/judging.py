"""What experiments on drawn images share: a judge, and what it says of each seed's drawings.

The judge is a classifier that is trained once, on the images that the generators learn from, with a
seed of its own: generators of different seeds, and of different runs, have the same judge. The
trainer trains it into `judge` below the working directory; once that is finished, it is only read.
An experiment made of parts hires the judge before `common.run_parts` and hands it to the parts.

    judge = judging.hire(options, loaded)
    verdicts = judging.verdicts(judge, drawn)    # drawn [S, G, H, W], G = judge.num_images
    verdicts["frechet_distance"]                 # [S]; what each means: `quality.judge`
    judge.heldout["frechet_distance"]            # of unseen real images: the least to expect
    judge.independent["frechet_distance"]        # of pixels that know nothing of each other
    judging.save_drawings(drawn[0], ...)         # pictures, and what each may be a copy of

As many drawings are judged as images are held out, so that the two can be compared. No measure is
to be read alone: of the noise of independent pixels on `faces` the precision is 0.998, since all
of it lies within the neighbourhoods of a few unusual photographs; its recall is 0.

S: seeds, G: drawings of each, H, W: rows and columns, F: features, C: classes.
"""

import dataclasses
import functools
import math
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from dl_lectures.data.images import Images
from dl_lectures.generative import classifier, quality
from dl_lectures.generative.networks import Classifier
from dl_lectures.reporting import plotting
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common

_SEED = 0


class Judge(NamedTuple):
    """A trained classifier and what it knows of the real images."""

    net: Classifier
    params: Any  # of the net
    reference: quality.Reference
    accuracy: float  # of the classifier on held-out images, in [0, 1]
    heldout: dict[str, float]  # what it says of the held-out images, without "copying_excess"
    independent: dict[str, float]  # of as many images of independent pixels

    @property
    def num_images(self) -> int:
        """G, how many drawings it judges."""
        return len(self.reference.heldout)


def hire(options: Options, loaded: Images, config: classifier.Config | None = None) -> Judge:
    """Trains the judge, or reads it where it is trained.

    Args:
        options: of the experiment.
        loaded: the images, as the generators see them.
        config: of the classifier; None: the default.

    Raises:
        Stopped: a signal came; the same call continues.
        UsageError: as `trainer.train`.
    """
    config = config or classifier.Config()
    num_classes = int(loaded.train_labels.max()) + 1
    options = dataclasses.replace(
        options,
        workdir=str(pathlib.Path(options.workdir) / "judge"),
        seed=_SEED,
        num_seeds=1,
        steps=config.num_updates,
        eval_every=config.num_updates,
        checkpoint_every=config.num_updates,
    )
    trained = trainer.train(
        classifier.make(config, loaded.train.shape[1:], num_classes),
        options,
        classifier.Data(loaded.train, loaded.train_labels),
        classifier.Data(loaded.test, loaded.test_labels),
        shard_batch=False,
    )
    net = classifier.network(config, num_classes)
    params = common.of_first_seed(trained.state.params)
    features = functools.partial(classifier.features, net, params)
    reference = quality.refer(loaded.train, features(loaded.train), loaded.test)
    heldout = quality.judge(reference, loaded.test, features(loaded.test))
    del heldout["copying_excess"]  # the nearest held-out image of each is itself
    independent = quality.independent_pixels(jax.random.key(_SEED), loaded.train, len(loaded.test))
    return Judge(
        net=net,
        params=params,
        reference=reference,
        accuracy=float(trained.evaluation["accuracy"][0]),
        heldout=heldout,
        independent=quality.judge(reference, independent, features(independent)),
    )


def verdicts(judge: Judge, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of `quality.judge` of each seed's drawings, float64 [S] by name.

    Args:
        judge: from `hire`.
        drawn: [S, G, H, W] in [0, 1]; results compare where G is the judge's `num_images`.
    """
    found = [
        quality.judge(judge.reference, images, classifier.features(judge.net, judge.params, images))
        for images in np.asarray(drawn, np.float32)
    ]
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def save_drawings(
    drawn: np.ndarray, train: np.ndarray, heldout_distances: np.ndarray, path: pathlib.Path | str
) -> None:
    """Writes `path`.png, a grid of drawings, and `path`_nearest.png, each with what it may copy.

    There the training image that is nearest to a drawing stands beside it, and below both their
    distance, in colour where all but a few held-out images are farther from the training images:
    such a drawing may be a copy.

    Args:
        drawn: [G, H, W] in [0, 1].
        train: images that were learned from, [N, H, W].
        heldout_distances: of held-out images to the nearest of those, [M].
        path: without its suffix.

    Raises:
        UsageError: the disk is full or the directory cannot be written.
    """
    plotting.save_image_grid(drawn, path)
    nearest = quality.nearest(drawn, train)
    limit = quality.copy_limit(heldout_distances)
    gap = np.full((*drawn.shape[:2], 1), 0.5)
    figure = plotting.labelled_images(
        np.concatenate([drawn, gap, train[nearest.which]], axis=2),
        [f"{distance:.2f}" for distance in nearest.distances],
        columns=round(math.sqrt(len(drawn))),
        is_marked=nearest.distances < limit,
    )
    plotting.caption(
        figure,
        plotting.text(
            "Left: drawn. Right: the nearest training image; below: their distance. Of held-out\n"
            f"images the median is {np.median(heldout_distances):.2f}; 5 % lie nearer than "
            f"{limit:.2f}, and what does is in colour: a copy?",
            "左:生成画像,右:最も近い学習画像,下:その距離。学習に使わない本物では中央値"
            f"{np.median(heldout_distances):.2f},\n5%が{limit:.2f}より近い。"
            "それより近い生成画像は色付き(複製の疑い)",
        ),
    )
    plotting.save(figure, f"{path}_nearest")
