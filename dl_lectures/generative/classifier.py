"""A small convolutional classifier: what judges drawn images, and what is trained on them.

Two layers of 3 x 3 filters that halve rows and columns, a hidden layer whose numbers are the
features of an image, and the logits of the classes. `quality` compares images by the features. An
experiment hires one from `experiments.judging`, which trains it by the trainer, once for all seeds,
and then only reads it. `fit` trains one without the trainer, on images that a model drew.

N: images, B: images a batch, H, W: rows and columns, F: features, C: classes.
"""

import dataclasses
import functools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dl_lectures.generative import networks
from dl_lectures.learner import Key, Learner, Metrics, shard_batch

_BLOCK = 500  # images at a time where there are many


@dataclasses.dataclass(frozen=True)
class Config:
    """A classifier and its training."""

    conv_channels: Annotated[int, "filters of the first layer; the second has twice as many"] = 16
    num_features: Annotated[int, "F, units of the hidden layer"] = 64
    batch_size: Annotated[int, "B, images per update, drawn with replacement"] = 64
    learning_rate: Annotated[float, "step size of Adam"] = 1e-3
    num_updates: Annotated[int, "updates in all"] = 1_000

    def __post_init__(self):
        for name in ("conv_channels", "num_features", "batch_size", "num_updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ValueError(f"--learning_rate must be positive, not {self.learning_rate:g}.")


class Data(NamedTuple):
    """Images with their classes."""

    x: jax.Array  # [N, H, W] float32 in [0, 1]
    labels: jax.Array  # [N] int32 in 0 ... C - 1


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: Any  # of networks.Classifier
    opt_state: optax.OptState
    key: jax.Array  # [] constant: step t draws from fold_in(key, t)
    t: jax.Array  # [] int32


def network(config: Config, num_classes: int) -> networks.Classifier:
    """The network for C = `num_classes` classes."""
    return networks.Classifier(config.conv_channels, config.num_features, num_classes)


@functools.partial(jax.jit, static_argnums=0)
def outputs(net: networks.Classifier, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits, [N, C], and features, [N, F], of images, [N, H, W] in [0, 1]."""
    return jax.lax.map(functools.partial(net.apply, params), x, batch_size=_BLOCK)


def features(net: networks.Classifier, params: Any, x: np.ndarray) -> np.ndarray:
    """What the last hidden layer makes of images, [N, H, W] in [0, 1]: float32 [N, F]."""
    return np.asarray(outputs(net, params, x)[1])


def predict(net: networks.Classifier, params: Any, x: np.ndarray) -> np.ndarray:
    """The most probable classes of images, [N, H, W] in [0, 1]: int32 [N]."""
    return np.asarray(outputs(net, params, x)[0]).argmax(1).astype(np.int32)


def make(config: Config, shape: tuple[int, int], num_classes: int) -> Learner:
    """The classifier as a learner on `Data`.

    Args:
        config: the net and its training.
        shape: H, W.
        num_classes: C.
    """
    net = network(config, num_classes)
    optimizer = optax.adam(config.learning_rate)

    def init(key: Key) -> State:
        key_params, key_run = jax.random.split(key)
        params = net.init(key_params, jnp.zeros(shape))
        return State(params, optimizer.init(params), key_run, jnp.int32(0))

    def loss_fn(params: Any, batch: Data) -> jax.Array:
        logits, _ = net.apply(params, batch.x)
        return _nll(logits, batch.labels).mean()

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        key = jax.random.fold_in(state.key, state.t)
        rows = jax.random.randint(key, (config.batch_size,), 0, data.x.shape[0])
        batch = shard_batch(Data(data.x[rows], data.labels[rows]))
        loss, grads = jax.value_and_grad(loss_fn)(state.params, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, opt_state, state.key, state.t + 1), {"loss": loss}

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del key  # nothing is drawn
        logits, _ = outputs(net, state.params, data.x)
        return {
            "nll_nats": _nll(logits, data.labels).mean(),
            "accuracy": (logits.argmax(-1) == data.labels).mean(dtype=jnp.float32),
        }

    return Learner(init, step, evaluate)


@functools.partial(jax.jit, static_argnames=("config", "num_classes"))
def fit(key: Key, config: Config, data: Data, num_classes: int) -> Any:
    """The parameters after all updates, without a trainer; the key is consumed."""
    learner = make(config, data.x.shape[1:], num_classes)

    def update(_: int, state: State) -> State:
        return learner.step(state, data)[0]

    return jax.lax.fori_loop(0, config.num_updates, update, learner.init(key)).params


def _nll(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
