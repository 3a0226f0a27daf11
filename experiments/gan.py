"""A forger and a policeman, both deep convolutional nets, compete, and faces appear (32 to 34).

    python -m experiments.gan --preset=quick --workdir=runs/gan
    python -m experiments.gan --preset=quick --dataset=fashion_mnist --workdir=runs/gan_fashion

The generator draws from noise and, where labels are told, of a class; the discriminator tells
drawings from real pictures. A VAE is trained on the same pictures, probabilistic PCA fitted to
them, and pixels drawn independently. A classifier that all seeds share judges as many drawings of
each as are held out, or --num_judged of larger sets: the Frechet distance of its features to those
of real pictures, precision and recall, density and coverage, and how near the drawings lie to
pictures that were learned from. Each seed's drawings are in figures/drawn_seed_SEED.png, and in
figures/drawn_seed_SEED_nearest.png each stands beside the real picture that it may be copied from,
with their distance; the first seed's of the VAE are in figures/drawn_by_vae_seed_SEED.png. The
policeman's accuracy is that on real pictures that neither player has seen, and the gap what either
player wins by --num_response_updates updates alone (`gan.best_responses`).

quick, digits: 8 seeds in two minutes on 2 cores. Frechet distances: GAN 2.2, VAE 9.1,
pPCA 11.9, independent pixels 46.0, held-out digits, which other hands drew, 4.7. 99.6 % of the
drawings are recognised; a classifier that has seen drawings alone is right on 87.7 % of held-out
digits, one that has seen the real ones on 90.8 %. The policeman's accuracy falls from 0.85 to 0.49.
quick, fashion_mnist: 4 seeds in about 10 minutes. Frechet distances: GAN 17 +- 4, VAE 29 +- 2, pPCA
35, independent pixels 124, held-out pictures 0.7; 94 % of the drawings are recognised, and a
classifier that has seen drawings alone is right on 70 %.
quick, faces: 4 seeds in about 5 minutes. Frechet distances of 80 drawings: GAN 137 +- 22, VAE 106
+- 35, pPCA 83 +- 13, independent pixels 860, held-out photographs 57: 320 photographs in 1,500
updates do not make a better forger than a linear model by this measure, though one sees faces. None
of the drawings is nearer to a photograph than 95 % of unseen photographs are. The full presets were
not run.

Where we differ from DCGAN (Radford et al., 2015, arXiv:1511.06434): fewer and smaller layers;
batch normalisation in the generator alone, by the statistics of each batch; a penalty on the
discriminator's slope (--r1), labels, and an average of the generator's parameters draws. The VAE's
drawings are its mean pictures. On digits its KL term weighs 0.3 (--vae_kl_weight): as an ELBO wants
it, with 1, eight latent variables and one hidden layer, its Frechet distance was 18 in pilots.
"""

import dataclasses
import functools
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np

from dl_lectures import layers
from dl_lectures.data import images
from dl_lectures.data.images import Images
from dl_lectures.generative import classifier, gan, networks, ppca, quality, vae
from dl_lectures.learner import Key, Learner, Metrics
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common, judging
from experiments.judging import Judge

SLIDES = (32, 33, 34)
SIDES = {"digits": 8, "mnist": 28, "fashion_mnist": 28, "faces": 32}  # rows of a picture
# Of whom drawings are judged, as figures and reports call them.
LABELS = {
    "gan": ("GAN", "GAN"),
    "vae": ("VAE", "VAE"),
    "ppca": ("pPCA", "pPCA"),
    "independent": ("independent pixels", "独立な画素"),
}
_NUM_SHOWN = 16  # drawings of each in the figure
_NUM_PAIRS = 5  # of them beside their nearest training images
_NUM_SAVED = 64  # in the picture of each seed
_NUM_PUPIL_IMAGES = 5_000  # at most, that a classifier learns from
_NUM_PPCA_IMAGES = 10_000  # at most, that the linear model learns from


@dataclasses.dataclass(frozen=True)
class Config(gan.Config):
    """The game, its players, the images, and what is held against them."""

    dataset: Annotated[
        Literal["digits", "mnist", "fashion_mnist", "faces"], "the images to learn"
    ] = "digits"
    channels: Annotated[str, "filters of each layer of both players, with commas"] = "32,64"
    batch_norm: Annotated[bool, "normalise the batch in the generator"] = True
    num_judged: Annotated[int, "drawings of each seed to judge, at most as many as held out"] = (
        2_000
    )
    num_response_updates: Annotated[
        int, "updates of either player against the other, for the gap at each evaluation; 0: none"
    ] = 50
    pupil_updates: Annotated[
        int, "updates of a classifier that learns from labelled drawings; 0: none"
    ] = 500
    vae_hidden_sizes: Annotated[str, "units of each hidden layer of the VAE"] = "256,128"
    vae_num_latents: Annotated[int, "latent variables of the VAE, and of pPCA"] = 16
    vae_kl_weight: Annotated[float, "of its KL term; below 1 it draws with less blur"] = 0.3
    vae_learning_rate: Annotated[float, "step size of the VAE's Adam"] = 2e-3
    vae_steps: Annotated[int, "updates of the VAE; 0: as many as of the GAN"] = 0

    def __post_init__(self):
        super().__post_init__()
        if self.num_judged < 100:
            raise ValueError(f"--num_judged must be at least 100, not {self.num_judged}.")
        for name in ("num_response_updates", "pupil_updates", "vae_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, not {getattr(self, name)}.")
        if self.side % 2 ** len(self.filters):
            raise ValueError(
                f"--channels must have fewer layers than {self.channels}: each halves the "
                f"{self.side} rows of a picture."
            )
        try:
            self.vae  # noqa: B018
        except ValueError as error:
            raise ValueError(str(error).replace("--", "--vae_", 1)) from error

    @property
    def filters(self) -> tuple[int, ...]:
        """The filters of each layer, from the largest picture on."""
        try:
            return layers.sizes_of(self.channels)
        except ValueError as error:
            raise ValueError(
                f"--channels must be whole numbers with commas between, not {self.channels}."
            ) from error

    @property
    def side(self) -> int:
        """Rows of a picture."""
        return SIDES[self.dataset]

    @property
    def vae(self) -> vae.Config:
        """Of the VAE that is trained for comparison."""
        return vae.Config(
            hidden_sizes=self.vae_hidden_sizes,
            num_latents=self.vae_num_latents,
            activation="relu",
            pixels="grey",
            kl_weight=self.vae_kl_weight,
            batch_size=self.batch_size,
            learning_rate=self.vae_learning_rate,
            num_importance_samples=1,  # nothing here asks for the tighter bound
        )


_DIGITS = Config(num_latents=32, conditional=True, ema_decay=0.999, r1=0.1)
_CLOTHES = Config(
    dataset="fashion_mnist",
    channels="16,32",
    conditional=True,
    ema_decay=0.999,
    r1=0.1,
    learning_rate=5e-4,
    num_judged=1_000,
    vae_kl_weight=1.0,
    vae_steps=6_000,
)
_FACES = Config(
    dataset="faces",
    channels="16,32,64",
    ema_decay=0.999,
    r1=0.01,
    learning_rate=2e-3,
    vae_steps=6_000,
)

PRESETS = {
    "smoke": common.Preset(
        Config(
            num_latents=8,
            batch_size=32,
            channels="8,16",
            conditional=True,
            num_judged=100,
            num_response_updates=2,
            pupil_updates=10,
            vae_hidden_sizes="16",
            vae_steps=60,
        ),
        num_seeds=2,
        steps=40,
        log_every=10,
        eval_every=20,
        checkpoint_every=20,
    ),
    "quick": common.Preset(
        _DIGITS, num_seeds=8, steps=3_000, log_every=100, eval_every=500, checkpoint_every=1_000
    ),
    "full": common.Preset(
        _DIGITS, num_seeds=32, steps=10_000, log_every=100, eval_every=500, checkpoint_every=1_000
    ),
}


def _of_larger(config: Config) -> dict[str, common.Preset]:
    """Presets of larger pictures, whose updates cost ten times as much."""
    return {
        "quick": common.Preset(
            config, num_seeds=4, steps=1_500, log_every=50, eval_every=300, checkpoint_every=500
        ),
        "full": common.Preset(
            config, num_seeds=8, steps=20_000, log_every=100, eval_every=1_000, checkpoint_every=500
        ),
    }


_LARGER = {
    "fashion_mnist": _of_larger(_CLOTHES),
    "mnist": _of_larger(dataclasses.replace(_CLOTHES, dataset="mnist")),
    "faces": _of_larger(_FACES),
}


def preset_for(name: str, given: Mapping[str, Any]) -> common.Preset:
    """The preset of that name; larger pictures have their own."""
    return _LARGER.get(given.get("dataset"), {}).get(name, PRESETS[name])


class Drawings(NamedTuple):
    """What one seed has drawn, [G, H, W] in [0, 1]."""

    images: np.ndarray
    labels: np.ndarray | None = None  # [G] int32, as they were told


def run(config: Config, options: Options) -> Results:
    """Trains both models with the same images, lets them draw, and judges what they drew."""
    loaded = images.load(config.dataset)
    judged = min(config.num_judged, len(loaded.test))
    loaded = loaded._replace(test=loaded.test[:judged], test_labels=loaded.test_labels[:judged])
    judge = judging.hire(options, loaded)
    works = {
        "baselines": lambda options: _run_baselines(config, options, loaded, judge),
        "vae": lambda options: _run_vae(config, options, loaded, judge),
        "gan": lambda options: _run_gan(config, options, loaded, judge),
    }
    parts = common.run_parts(options, works)
    arrays = {"real": loaded.train[:_NUM_SHOWN]}
    for part in parts.found.values():
        arrays |= part.arrays
    by_gan, by_vae = arrays.pop("gan_saved"), arrays.pop("vae_saved")
    if trainer.is_primary():
        _save_drawings(by_gan, "drawn", options, loaded, judge)
        _save_drawings(by_vae[:1], "drawn_by_vae", options, loaded, judge)
    return results.make(
        "gan",
        SLIDES,
        options,
        parts,
        {name.split("/", 1)[1]: value for name, value in parts.metrics().items()},
        extra={
            "dataset": config.dataset,
            "conditional": config.conditional,
            "num_train_images": len(loaded.train),
            "num_judged": judge.num_images,
            "judge_accuracy": judge.accuracy,
            "heldout": judge.heldout,
        },
        arrays=arrays,
    )


def _save_drawings(
    drawn: np.ndarray, prefix: str, options: Options, loaded: Images, judge: Judge
) -> None:
    """Pictures of the drawings, [S', N, H, W], of each of the first seeds."""
    folder = pathlib.Path(options.workdir) / "figures"
    distances = judge.reference.heldout_distances
    for seed, pictures in zip(trainer.seeds_of(options), drawn, strict=False):
        judging.save_drawings(pictures, loaded.train, distances, folder / f"{prefix}_seed_{seed}")


def players(config: Config) -> gan.Networks:
    """The forger and the policeman."""
    return gan.Networks(
        networks.ConvGenerator(config.filters, config.side, config.batch_norm),
        networks.ConvDiscriminator(config.filters),
    )


def game_of(config: Config, loaded: Images) -> gan.Game:
    """The game about some images."""
    num_classes = int(loaded.train_labels.max()) + 1
    return gan.Game(config, players(config), num_classes)


def make(config: Config, loaded: Images) -> Learner:
    """The game as a learner on `gan.Data`; its evaluation also has the gap of best responses."""
    game = game_of(config, loaded)
    learner = gan.make(config, game.networks, game.num_classes)

    def evaluate(key: Key, state: gan.State, data: gan.Data) -> Metrics:
        key_scores, key_gap = jax.random.split(key)
        found = learner.evaluate(key_scores, state, data)
        if config.num_response_updates:
            num_samples = data.x.shape[0] // config.pack * config.pack
            best = gan.best_responses(
                key_gap, game, state, data, config.num_response_updates, num_samples
            )
            found["gap"] = best.gap
        return found

    return learner._replace(evaluate=evaluate)


def _as_data(x: np.ndarray, labels: np.ndarray) -> gan.Data:
    """Images [N, H, W] in [0, 1] as the game takes them."""
    return gan.Data(np.round(x * 255.0).astype(np.uint8)[..., None], labels)


def draw(key: Key, game: gan.Game, generator: Any, num_images: int) -> Drawings:
    """Drawings of one generator, of all classes in turn where it is told them; key consumed."""
    labels = one_hot = None
    if game.config.conditional:
        labels = np.arange(num_images, dtype=np.int32) % game.num_classes
        one_hot = jax.nn.one_hot(labels, game.num_classes)
    x = _generate(key, game, generator, num_images, one_hot)
    return Drawings(np.asarray(x[..., 0] + 1.0) / 2.0, labels)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _generate(
    key: Key, game: gan.Game, generator: Any, num_images: int, labels: jax.Array | None
) -> jax.Array:
    return gan.generate(key, game, generator, num_images, labels)


def _run_gan(config: Config, options: Options, loaded: Images, judge: Judge) -> Results:
    train = _as_data(loaded.train, loaded.train_labels)
    trained = trainer.train(
        make(config, loaded), options, train, _as_data(loaded.test, loaded.test_labels)
    )
    game = game_of(config, loaded)
    generators = common.of_all_seeds(trained.state.average)
    drawn = []
    for i, seed in enumerate(trainer.seeds_of(options)):
        generator = common.of_seed(generators, i)
        drawn.append(draw(jax.random.key(seed), game, generator, judge.num_images))
    metrics = {
        f"gan_{name}": values
        for name, values in judging.verdicts(judge, np.stack([d.images for d in drawn])).items()
    }
    if config.conditional:
        metrics["gan_recognised"] = np.array(
            [
                (classifier.predict(judge.net, judge.params, d.images) == d.labels).mean()
                for d in drawn
            ]
        )
        if config.pupil_updates:
            metrics["gan_pupil_accuracy"] = _pupils(config, options, game, generators, loaded)
    curves = results.read_curves(options.workdir)
    arrays = {"steps": curves["eval/accuracy"].steps}
    for name in ("accuracy", "accuracy_real", "accuracy_fake", "gap"):
        if f"eval/{name}" in curves:
            arrays[name] = curves[f"eval/{name}"].values
            metrics[f"{name}_first"], metrics[f"{name}_last"] = arrays[name][[0, -1]]
    return _results("gan", options, trained, metrics, [d.images for d in drawn], loaded, arrays)


def _pupils(
    config: Config, options: Options, game: gan.Game, generators: Any, loaded: Images
) -> np.ndarray:
    """Accuracy on held-out images, [S], of classifiers that saw drawings alone.

    The classification accuracy score of Ravuri and Vinyals (2019), arXiv:1905.10887.
    """
    found = []
    pupil = classifier.Config(num_updates=config.pupil_updates)
    net = classifier.network(pupil, game.num_classes)
    for i, seed in enumerate(trainer.seeds_of(options)):
        key_drawings, key_pupil = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
        generator = common.of_seed(generators, i)
        drawn = draw(key_drawings, game, generator, min(_NUM_PUPIL_IMAGES, len(loaded.train)))
        params = classifier.fit(key_pupil, pupil, classifier.Data(*drawn), game.num_classes)
        is_right = classifier.predict(net, params, loaded.test) == loaded.test_labels
        found.append(is_right.mean())
    return np.array(found)


def _run_vae(config: Config, options: Options, loaded: Images, judge: Judge) -> Results:
    train, test = (x.reshape(len(x), -1) for x in (loaded.train, loaded.test))
    learner = vae.make(config.vae, train.shape[1])
    steps = config.vae_steps or options.steps
    options = dataclasses.replace(options, steps=steps, eval_every=steps)
    trained = trainer.train(learner, options, train, test, shard_batch=False)
    net = vae.model(config.vae, train.shape[1])
    params = common.of_all_seeds(trained.state.params)
    drawn = []
    for i, seed in enumerate(trainer.seeds_of(options)):
        x = vae.sample(jax.random.key(seed), net, common.of_seed(params, i), judge.num_images)
        drawn.append(np.asarray(x).reshape(-1, *loaded.train.shape[1:]))
    metrics = {
        f"vae_{name}": values for name, values in judging.verdicts(judge, np.stack(drawn)).items()
    }
    metrics["vae_negative_elbo_nats_per_image"] = trained.evaluation["negative_elbo_nats_per_image"]
    return _results("vae", options, trained, metrics, drawn, loaded, {})


def _run_baselines(config: Config, options: Options, loaded: Images, judge: Judge) -> Results:
    start = time.perf_counter()
    shape, flat = loaded.train.shape[1:], loaded.train.reshape(len(loaded.train), -1)
    params = ppca.fit(flat[:_NUM_PPCA_IMAGES], config.vae_num_latents)
    drawn = {"ppca": [], "independent": []}
    for seed in trainer.seeds_of(options):
        key_ppca, key_independent = jax.random.split(jax.random.key(seed))
        x = np.clip(ppca.sample(key_ppca, params, judge.num_images), 0.0, 1.0)
        drawn["ppca"].append(x.reshape(-1, *shape).astype(np.float32))
        drawn["independent"].append(
            quality.independent_pixels(key_independent, loaded.train, judge.num_images)
        )
    metrics, arrays = {}, {}
    for name, pictures in drawn.items():
        verdicts = judging.verdicts(judge, np.stack(pictures))
        metrics |= {f"{name}_{measure}": values for measure, values in verdicts.items()}
        arrays[name] = pictures[0][:_NUM_SHOWN]
    finished = common.finish(options, {"evaluate": time.perf_counter() - start}, arrays)
    return results.make("gan", SLIDES, options, finished, metrics, arrays=arrays)


def _results(
    name: str,
    options: Options,
    trained: trainer.Trained,
    metrics: Mapping[str, np.ndarray],
    drawn: list[np.ndarray],
    loaded: Images,
    arrays: Mapping[str, np.ndarray],
) -> Results:
    """Of a part that draws: with pictures of its first seed, and the real ones nearest to them."""
    shown = drawn[0][:_NUM_SHOWN]
    nearest = quality.nearest(shown[:_NUM_PAIRS], loaded.train)
    arrays = {
        **arrays,
        name: shown,
        f"{name}_nearest": loaded.train[nearest.which],
        f"{name}_nearest_distances": nearest.distances,
        f"{name}_saved": np.stack([pictures[:_NUM_SAVED] for pictures in drawn]),
    }
    return results.make("gan", SLIDES, options, trained, metrics, arrays=arrays)


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set after pilots of seeds 100 and up, before the presets' seeds were run."""
    per_seed = found.per_seed

    def baseline() -> np.ndarray:
        distances = [per_seed(f"{name}_frechet_distance") for name in ("ppca", "independent")]
        return np.minimum(*distances)

    table = [
        (
            claims_lib.at_most,
            "gan_draws_better_than_baselines",
            "What the forger draws resembles real images more than draws from independent pixels "
            "and from a linear model do.",
            "贋作者(生成器)の描く画像は,独立な画素や線形モデルの生成画像よりも本物に近い。",
            f"Frechet distance on {found.extra['dataset']}, GAN over the better baseline",
            per_seed("gan_frechet_distance") / baseline(),
            0.5,
        ),
        (
            claims_lib.at_most,
            "vae_draws_better_than_baselines",
            "So does what the VAE draws.",
            "VAEの描く画像も,同じくこれらの生成画像より本物に近い。",
            f"Frechet distance on {found.extra['dataset']}, VAE over the better baseline",
            per_seed("vae_frechet_distance") / baseline(),
            1.0,
        ),
        (
            claims_lib.at_most,
            "gan_does_not_copy",
            "The forger makes new images: it does not copy those that it learned from.",
            "贋作者は新しい画像を作る:学習画像の複製ではない。",
            "share of drawings nearer to a training image than 95 % of held-out images are",
            per_seed("gan_copied_share"),
            0.25,
        ),
        (
            claims_lib.at_most,
            "gan_policeman_is_fooled",
            "As the forger learns, the policeman ends near one half: it can hardly tell real "
            "images that it has not seen from drawings.",
            "贋作者が学ぶにつれ,警官(識別器)の正答率は二分の一に近づく:"
            "初めて見る本物と偽物をほとんど見分けられない。",
            "accuracy at the end, unseen real images and drawings",
            per_seed("accuracy_last"),
            0.65,
        ),
    ]
    if "gan_recognised" in found.metrics:
        table.append(
            (
                claims_lib.at_least,
                "gan_draws_what_it_is_told",
                "Told a class, the forger draws it: a classifier recognises the drawings.",
                "種類を指定すれば,その画像を描く:分類器が生成画像を正しく認識する。",
                "share of drawings that are recognised",
                per_seed("gan_recognised"),
                0.8,
            )
        )
    if "gap_last" in found.metrics:
        table.append(
            (
                claims_lib.at_most,
                "gan_best_response_gap_falls",
                "What either player could still gain alone falls while the game is played.",
                "一方だけが戦略を変えて得られる利得は,競い合ううちに減る。",
                "gap of best responses at the end over that at the first evaluation",
                per_seed("gap_last") / per_seed("gap_first"),
                0.8,
            )
        )
    return claims_lib.of_table(SLIDES, table)


def figure(found: Results) -> Any:
    """What all draw, how far it is from real images, the policeman's accuracy, the nearest ones."""
    figure, axes = plotting.mosaic(
        [["real", "gan", "vae", "ppca"], ["distance", "distance", "accuracy", "nearest"]],
        height_ratios=[1, 1.15],
    )
    titles = {"real": ("real", "本物")} | LABELS
    for name in ("real", "gan", "vae", "ppca"):
        plotting.image_grid(axes[name], found.arrays[name])
        axes[name].set_title(plotting.text(*titles[name]))
    _draw_distances(axes["distance"], found)
    _draw_accuracy(axes["accuracy"], found)
    pairs = np.stack([found.arrays["gan"][:_NUM_PAIRS], found.arrays["gan_nearest"]], axis=1)
    plotting.image_grid(axes["nearest"], pairs.reshape(-1, *pairs.shape[2:]), columns=2)
    axes["nearest"].set_title(
        plotting.text("drawn, nearest, distance", "生成,最も近い本物,距離"),
        fontsize=plotting.SMALL_POINTS,
    )
    for i, distance in enumerate(found.arrays["gan_nearest_distances"]):
        axes["nearest"].text(
            1.05,
            1 - (i + 0.5) / _NUM_PAIRS,
            f"{distance:.1f}",
            transform=axes["nearest"].transAxes,
            va="center",
            fontsize=plotting.SMALL_POINTS,
        )
    return figure


def _draw_distances(ax: Any, found: Results) -> None:
    """Frechet distances with their intervals, of independent pixels to the GAN."""
    names = list(LABELS)[::-1]
    for i, name in enumerate(names):
        metric = found.metrics[f"{name}_frechet_distance"]
        low, high = metric.ci95
        bars = None if low is None else [[metric.mean - low], [high - metric.mean]]
        ax.errorbar([metric.mean], [i], xerr=bars, fmt="o", markersize=10, capsize=6)
        ax.annotate(
            f"{metric.mean:.3g}",
            (metric.mean, i),
            xytext=(0, 10),
            textcoords="offset points",
            ha="center",
            fontsize=plotting.SMALL_POINTS,
        )
    ax.axvline(
        found.extra["heldout"]["frechet_distance"],
        color=plotting.BLACK,
        linestyle="--",
        linewidth=1.5,
        label=plotting.text("held-out real images", "学習に使わない本物"),
    )
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ticks = [n * 10.0**power for power in range(-3, 5) for n in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(-0.5, len(names) + 0.3)  # room for the legend
    ax.set_yticks(range(len(names)), [plotting.text(*LABELS[name]) for name in names])
    ax.set_xlabel(plotting.text("Fréchet distance to real images", "本物とのフレシェ距離"))
    ax.legend(loc="upper right")
    if found.num_seeds > 1:
        plotting.caption(
            ax.figure,
            plotting.text(
                "Bars: 95 % intervals of the means, where they show.",
                "横棒:平均の95%信頼区間(見える場合)",
            ),
        )


def _draw_accuracy(ax: Any, found: Results) -> None:
    """How often the policeman is right, on real images that neither player has seen."""
    plotting.band(ax, found.arrays["steps"], found.arrays["accuracy"], "")
    ax.axhline(0.5, color=plotting.BLACK, linestyle="--", linewidth=1.5)
    ax.set_ylim(0.0, 1.0)
    ax.set_xlim(left=0)
    ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel(plotting.text("updates", "更新回数"))
    ax.set_title(
        plotting.text("policeman's accuracy", "警官の正答率"), fontsize=plotting.SMALL_POINTS
    )


_REPORTED = (  # measure, heading
    ("frechet_distance", "Frechet"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("density", "density"),
    ("coverage", "coverage"),
    ("nearest_training_distance", "nearest"),
    ("copied_share", "copied"),
)


def report(found: Results) -> str:
    """The measures of all, the players, the copies, and what to try next."""
    lines = [
        f"{found.extra['dataset']}: {found.extra['num_train_images']} images to learn from, "
        f"{found.extra['num_judged']} drawings of each seed judged by a classifier that is right "
        f"on {100 * found.extra['judge_accuracy']:.1f} % of held-out images",
        "",
        f"{'':24}" + "".join(f"{heading:>11}" for _, heading in _REPORTED),
    ]
    rows = {"held-out images": lambda measure: found.extra["heldout"][measure]}
    for name, (words, _) in LABELS.items():
        rows[words] = lambda measure, name=name: found.metrics[f"{name}_{measure}"].mean
    for words, value in rows.items():
        lines.append(f"{words:24}" + "".join(f"{value(m):11.3f}" for m, _ in _REPORTED))
    lines.append("")
    for words, name in (
        ("policeman's accuracy at first", "accuracy_first"),
        ("policeman's accuracy at the end", "accuracy_last"),
        ("gap of best responses at first, nats", "gap_first"),
        ("gap of best responses at the end", "gap_last"),
        ("drawings recognised", "gan_recognised"),
        ("accuracy of who learned from drawings", "gan_pupil_accuracy"),
    ):
        if name in found.metrics:
            metric = found.metrics[name]
            line = f"{words:40}{metric.mean:8.3f}"
            if metric.ci95[0] is not None:
                line += f" +- {metric.ci95[1] - metric.mean:.3f}"
            lines.append(line)
    distances = found.arrays["gan_nearest_distances"]
    lines += [
        "drawings of the first seed, distance to the nearest training image: "
        + ", ".join(f"{distance:.2f}" for distance in distances),
        "",
        "next: python -m experiments.gan --dataset=faces --workdir=runs/gan_faces",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
