"""A noisy walk towards a target: the smallest experiment, to test what surrounds one.

python tests/experiments/toy.py --workdir=DIR
"""

import dataclasses
import sys
import time
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.learner import Learner
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.training import trainer
from experiments import common

SLIDES = (0,)


@dataclasses.dataclass(frozen=True)
class Config:
    rate: Annotated[float, "share of the way that a step goes"] = 0.1
    noise: Annotated[Literal["normal", "none"], "what disturbs a step"] = "normal"
    bad_step: Annotated[int, "step whose loss is not a number; -1: none"] = -1
    pause: Annotated[float, "seconds that a step takes at least"] = 0.0

    def __post_init__(self):
        if not 0 < self.rate <= 1:
            raise ValueError(f"--rate must lie in (0, 1], not {self.rate}")


class State(NamedTuple):
    w: jax.Array  # [4]
    key: jax.Array
    t: jax.Array


PRESETS = {
    name: common.Preset(
        Config(), num_seeds=3, steps=steps, log_every=10, eval_every=40, checkpoint_every=25
    )
    for name, steps in (("smoke", 100), ("quick", 200), ("full", 400))
}


def make(config: Config) -> Learner:
    def init(key):
        key_w, key_run = jax.random.split(key)
        return State(jax.random.normal(key_w, (4,)), key_run, jnp.int32(0))

    def step(state, target):
        noise = jax.random.normal(jax.random.fold_in(state.key, state.t), (4,))
        scale = 0.1 if config.noise == "normal" else 0.0
        w = state.w + config.rate * (target - state.w + scale * noise)
        loss = ((w - target) ** 2).mean()
        loss = jnp.where(state.t + 1 == config.bad_step, jnp.nan, loss)
        if config.pause:
            jax.debug.callback(lambda t: time.sleep(config.pause), state.t)
        return State(w, state.key, state.t + 1), {"loss": loss, "size": jnp.abs(w).mean()}

    def evaluate(key, state, target):
        probe = jax.random.normal(key, (4,))
        return {"distance": jnp.abs(state.w - target).mean() + 1e-3 * probe.mean()}

    return Learner(init, step, evaluate)


def run(config, options):
    target = np.arange(4, dtype=np.float32)
    trained = trainer.train(make(config), options, target, target)
    curve = results.read_curves(options.workdir)["eval/distance"]
    return results.make(
        "toy",
        SLIDES,
        options,
        trained,
        trained.evaluation,
        arrays={"steps": curve.steps, "distance": curve.values},
    )


def claims(found):
    per_seed = found.metrics["distance"].per_seed
    return (
        claims_lib.at_most(
            id="toy_arrives",
            slides=SLIDES,
            statement_en="It arrives.",
            statement_ja="到着する。",
            statistic="distance to the target",
            per_seed=per_seed,
            threshold=0.2,
        ),
    )


def figure(found):
    fig, ax = plotting.subplots()
    plotting.band(ax, found.arrays["steps"], found.arrays["distance"], "distance")
    return fig


def report(found):
    return f"distance {found.metrics['distance'].mean:.3f}"


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
