"""Learning a function from its values: a net of one or two hidden layers, and a Fourier series.

Both are superpositions of simple functions. A net's are ramps, max(0, w x + b), whose slopes and
places are learned; the series' are waves that are given, so that only their heights are fitted, by
linear least squares. Slide 23 compares the two.

A learner here holds nets of several shapes, and F of each, one for each function. They share
nothing but the points of a batch: each learns as if it were alone. One program for all takes less
time to compile and to run than one for each.

F: functions, N: points, B: batch, W: units of a hidden layer, L: hidden layers, K: harmonics.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dl_lectures.learner import Data, Key, Learner, Metrics


@dataclasses.dataclass(frozen=True)
class Config:
    """Training of a net."""

    batch_size: Annotated[int, "B, points per update, drawn with replacement"] = 128
    learning_rate: Annotated[float, "step size of Adam at first; it falls to 0 as a cosine"] = 1e-2
    decay_steps: Annotated[int, "updates over which it falls"] = 4_000

    def __post_init__(self):
        for name in ("batch_size", "decay_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise ValueError(f"--learning_rate must be positive, not {self.learning_rate:g}.")


class Layer(NamedTuple):
    """A linear map."""

    weights: jax.Array  # [P, Q]
    biases: jax.Array  # [Q]


class Points(NamedTuple):
    """Values of F functions at N points."""

    xs: jax.Array  # [N] float32
    ys: jax.Array  # [F, N] float32


class State(NamedTuple):
    """Everything that the future of a run depends on."""

    params: dict[str, tuple[Layer, ...]]  # by shape; L + 1 layers, leaves [F, ...]
    opt_state: Any
    key: Key  # constant
    t: jax.Array  # [] int32


def init(key: Key, sizes: Sequence[int]) -> tuple[Layer, ...]:
    """The layers of a net from 1 input through hidden layers of these sizes to 1 output.

    The key is consumed. Weights have He et al.'s variance of 2 / P (2015, arXiv:1502.01852), and
    biases are uniform up to the same size: were they 0, every ramp would begin at x = 0.
    """
    sizes = (1, *sizes, 1)
    layers = []
    keys = jax.random.split(key, len(sizes) - 1)
    for key_layer, (num_inputs, num_outputs) in zip(keys, itertools.pairwise(sizes), strict=True):
        key_weights, key_biases = jax.random.split(key_layer)
        size = (2.0 / num_inputs) ** 0.5
        weights = size * jax.random.normal(key_weights, (num_inputs, num_outputs))
        biases = jax.random.uniform(key_biases, (num_outputs,), minval=-size, maxval=size)
        layers.append(Layer(weights, biases))
    return tuple(layers)


def apply(params: Sequence[Layer], xs: jax.Array) -> jax.Array:
    """Values [N] of a net at the points [N]; hidden units are rectified."""
    hs = xs[:, None]
    for layer in params[:-1]:
        hs = jax.nn.relu(hs @ layer.weights + layer.biases[None])
    return (hs @ params[-1].weights + params[-1].biases[None])[:, 0]


def num_net_params(sizes: Sequence[int]) -> int:
    """How many numbers a net of these hidden sizes learns."""
    sizes = (1, *sizes, 1)
    return sum((p + 1) * q for p, q in itertools.pairwise(sizes))


def equal_budget(width: int) -> tuple[int, int]:
    """Units of one hidden layer, and harmonics, with the parameters of two layers of `width` units.

    Two layers have W^2 + 4 W + 1 parameters, one has 3 W + 1, a series 2 K + 1.

    Raises:
      ValueError: no whole numbers solve that.
    """
    if width < 1 or width % 6 not in (0, 2):
        raise ValueError(
            f"no net of one hidden layer and Fourier series have as many parameters as two layers "
            f"of {width} units; take a width that leaves 0 or 2 when divided by 6"
        )
    rest = width**2 + 4 * width
    return rest // 3, rest // 2


def make(config: Config, shapes: Mapping[str, Sequence[int]], names: Sequence[str]) -> Learner:
    """Returns nets of several shapes, F of each; data and held-out data are `Points`.

    Metrics of a step: `loss`, the batch's squared error, mean over nets. Metrics of an evaluation:
    `rmse_SHAPE/FUNCTION` of each net.

    Args:
      config: of the training.
      shapes: hidden sizes by name.
      names: of the functions.
    """
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.decay_steps)
    # Adam treats each number by itself, so one flat vector of all nets is the same and faster.
    optimizer = optax.flatten(optax.adam(schedule))

    def loss_fn(params: dict[str, tuple[Layer, ...]], batch: Points) -> jax.Array:
        """The sum over nets, whose gradient with respect to one net is that net's own."""
        predicted = predict(params, batch.xs)
        return sum(jnp.square(p - batch.ys).mean(axis=1).sum() for p in predicted.values())

    def init_fn(key: Key) -> State:
        key_net, key_run = jax.random.split(key)
        keys = jax.random.split(key_net, (len(shapes), len(names)))
        params = {
            shape: jax.vmap(lambda key, sizes=tuple(sizes): init(key, sizes))(keys[i])
            for i, (shape, sizes) in enumerate(shapes.items())
        }
        return State(params, optimizer.init(params), key_run, jnp.int32(0))

    def step(state: State, data: Data) -> tuple[State, Metrics]:
        key = jax.random.fold_in(state.key, state.t)
        rows = jax.random.randint(key, (config.batch_size,), 0, data.xs.size)
        loss, grads = jax.value_and_grad(loss_fn)(
            state.params, Points(data.xs[rows], data.ys[:, rows])
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = State(params, opt_state, state.key, state.t + 1)
        return state, {"loss": loss / (len(shapes) * len(names))}

    def evaluate(key: Key, state: State, data: Data) -> Metrics:
        del key
        return {
            f"rmse_{shape}/{name}": jnp.sqrt(jnp.square(row - target).mean())
            for shape, predicted in predict(state.params, data.xs).items()
            for name, row, target in zip(names, predicted, data.ys, strict=True)
        }

    return Learner(init_fn, step, evaluate)


def predict(params: Mapping[str, Sequence[Layer]], xs: jax.Array) -> dict[str, jax.Array]:
    """Values [F, N] at points [N] of the nets of each shape, leaves [F, ...]."""
    values = jax.vmap(apply, in_axes=(0, None))
    return {shape: values(layers, xs) for shape, layers in params.items()}


def waves(xs: np.ndarray, num_harmonics: int) -> np.ndarray:
    """1, cos(pi k x) and sin(pi k x) for k = 1, ..., K: [N] -> [N, 2 K + 1]."""
    angles = np.pi * np.asarray(xs, np.float64)[:, None] * np.arange(1, num_harmonics + 1)
    return np.concatenate([np.ones((len(angles), 1)), np.cos(angles), np.sin(angles)], axis=1)


def fit_fourier(xs: np.ndarray, ys: np.ndarray, num_harmonics: int) -> np.ndarray:
    """The truncated Fourier series nearest to given values in least squares.

    Args:
      xs: [N] in [-1, 1].
      ys: [F, N].
      num_harmonics: K.

    Returns:
      [F, 2 K + 1] float64: the constant, the K heights of cosines, the K heights of sines.

    Raises:
      ValueError: there are fewer points than heights.
    """
    if 2 * num_harmonics + 1 > len(xs):
        raise ValueError(
            f"{2 * num_harmonics + 1} heights cannot be fitted to {len(xs)} points; "
            "take more points or fewer harmonics"
        )
    return np.linalg.lstsq(waves(xs, num_harmonics), np.asarray(ys, np.float64).T)[0].T


def fourier_series(coefficients: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Values [F, N] at points [N] of the series with coefficients [F, 2 K + 1]."""
    return coefficients @ waves(xs, coefficients.shape[1] // 2).T
