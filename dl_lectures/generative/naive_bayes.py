"""Naive Bayes: a generative classifier whose features know nothing of each other within a class.

    p(x, y) = p(y) prod_d p(x_d | y),    argmax_y p(y | x) = argmax_y log p(x, y)

Everything is counted in closed form, and what was counted can be drawn from. Features are binary
(Bernoulli, counts smoothed as by Laplace) or real (normal; by default with one variance a feature
for all classes, as in Ng and Jordan (2001), Advances in Neural Information Processing Systems 14,
so that the boundary is linear as logistic regression's is).

Rows have weights, so that training sets of any size are one shape: a row of weight 0 is not there.
A class without rows has the prior 0 and is never answered.

N: rows, D: features, K: classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.learner import Key


class Bernoulli(NamedTuple):
    """Of binary features."""

    log_prior: jax.Array  # [K] log p(y); -inf without rows
    log_on: jax.Array  # [K, D] log p(x_d = 1 | y)
    log_off: jax.Array  # [K, D] log p(x_d = 0 | y)


class Gaussian(NamedTuple):
    """Of real features."""

    log_prior: jax.Array  # [K]
    mean: jax.Array  # [K, D]
    variance: jax.Array  # [K, D]


class _Counts(NamedTuple):
    members: jax.Array  # [N, K] a row's weight in the column of its class
    of_class: jax.Array  # [K]
    log_prior: jax.Array  # [K]


def fit_bernoulli(
    x: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    num_classes: int,
    smoothing: float = 1.0,
) -> Bernoulli:
    """Counts binary features.

    Args:
        x: 0 or 1, [N, D].
        labels: [N] in 0 ... K - 1.
        weights: of the rows, [N], at least 0 and not all 0.
        num_classes: K.
        smoothing: rows with, and as many without each feature that are added to each class.
    """
    counts = _count(labels, weights, num_classes)
    total = counts.of_class[:, None] + 2 * smoothing
    on = counts.members.T @ x  # [K, D]
    return Bernoulli(
        counts.log_prior,
        jnp.log(on + smoothing) - jnp.log(total),
        # Not log1p(-p): its digits would be lost where p is next to 1.
        jnp.log(counts.of_class[:, None] - on + smoothing) - jnp.log(total),
    )


def fit_gaussian(
    x: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    num_classes: int,
    shared_variance: bool = True,
    floor: float = 1e-9,
) -> Gaussian:
    """Means and variances of real features, those of greatest likelihood.

    Args:
        x: [N, D].
        labels: [N] in 0 ... K - 1.
        weights: of the rows, [N], at least 0 and not all 0.
        num_classes: K.
        shared_variance: whether a feature has one variance, within classes, for all of them.
        floor: share of the largest variance of a feature over all rows that is added to each.
    """
    counts = _count(labels, weights, num_classes)
    of_class = jnp.maximum(counts.of_class, jnp.finfo(x.dtype).tiny)[:, None]
    mean = counts.members.T @ x / of_class  # [K, D]
    squares = weights[:, None] * jnp.square(x - mean[labels])  # [N, D], from each row's own mean
    if shared_variance:
        variance = jnp.broadcast_to(squares.sum(0) / weights.sum(), mean.shape)
    else:
        variance = (counts.members > 0).astype(x.dtype).T @ squares / of_class
    center = weights @ x / weights.sum()
    largest = jnp.max(weights @ jnp.square(x - center[None]) / weights.sum())
    return Gaussian(counts.log_prior, mean, variance + floor * largest)


def _count(labels: jax.Array, weights: jax.Array, num_classes: int) -> _Counts:
    members = weights[:, None] * jax.nn.one_hot(labels, num_classes)
    of_class = members.sum(0)
    return _Counts(members, of_class, jnp.log(of_class) - jnp.log(weights.sum()))


def log_joint(model: Bernoulli | Gaussian, x: jax.Array) -> jax.Array:
    """log p(x, y) of rows x [N, D] and every class, in nats, [N, K]."""
    if isinstance(model, Bernoulli):
        log_p = x @ (model.log_on - model.log_off).T + model.log_off.sum(1)[None]
    else:
        # Feature by feature: the expanded square would lose digits where variances are small.
        distance = jnp.square(x[:, None] - model.mean[None]) / model.variance[None]  # [N, K, D]
        log_p = -0.5 * (distance + jnp.log(2 * jnp.pi * model.variance)[None]).sum(-1)
    return log_p + model.log_prior[None]


def predict(model: Bernoulli | Gaussian, x: jax.Array) -> jax.Array:
    """The most probable class of rows x [N, D], int32 [N]."""
    return jnp.argmax(log_joint(model, x), axis=-1).astype(jnp.int32)


def sample(key: Key, model: Bernoulli | Gaussian, labels: jax.Array) -> jax.Array:
    """Draws a row of each class in labels [N], [N, D]: what no discriminative model can.

    The key is consumed.
    """
    if isinstance(model, Bernoulli):
        on = jax.random.bernoulli(key, jnp.exp(model.log_on[labels]))
        return on.astype(model.log_on.dtype)
    noise = jax.random.normal(key, (labels.shape[0], model.mean.shape[1]), model.mean.dtype)
    return model.mean[labels] + jnp.sqrt(model.variance[labels]) * noise
