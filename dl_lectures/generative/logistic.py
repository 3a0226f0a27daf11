"""Logistic regression: the discriminative classifier beside naive Bayes.

    p(y | x) = softmax(x W + b),    loss = -sum_n w_n log p(y_n | x_n) + l2 / 2 |W|^2

The loss is convex and has one minimum. It is found by accelerated descent on a quadratic that
bounds it from above: the Hessian of the cross-entropy is nowhere more than half of
sum_n w_n x_n x_n^T for each class (Boehning, 1992, doi:10.1007/BF00048682), so that one inverse
serves all steps and no step needs a line search, which many fits at once, by vmap, could not
share. Nesterov's momentum is dropped when it points uphill (O'Donoghue and Candes, 2015,
arXiv:1204.3982, section 3.2).

Rows have weights, so that training sets of any size are one shape: a row of weight 0 is not there.

N: rows, D: features, K: classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Params(NamedTuple):
    """What is learned."""

    kernel: jax.Array  # [D, K]
    bias: jax.Array  # [K] not penalised


class Fit(NamedTuple):
    """A minimum and how it was found."""

    params: Params
    num_iterations: jax.Array  # [] int32
    max_gradient: jax.Array  # [] greatest entry of the gradient, over the sum of the weights


class _Search(NamedTuple):
    """Parameters are augmented: the bias is the last row, [D + 1, K]."""

    params: jax.Array
    ahead: jax.Array  # `params` with the momentum added, where the gradient is taken
    momentum: jax.Array  # [] t_k of Nesterov's sequence, 1 at first
    t: jax.Array  # [] int32
    max_gradient: jax.Array  # []


def logits(params: Params, x: jax.Array) -> jax.Array:
    """Unnormalised log p(y | x) of rows x [N, D], [N, K]."""
    return x @ params.kernel + params.bias[None]


def predict(params: Params, x: jax.Array) -> jax.Array:
    """The most probable class of rows x [N, D], int32 [N]."""
    return jnp.argmax(logits(params, x), axis=-1).astype(jnp.int32)


def loss(
    params: Params, x: jax.Array, labels: jax.Array, weights: jax.Array, l2: float
) -> jax.Array:
    """Cross-entropy in nats, summed over rows, and the penalty; []."""
    log_p = jax.nn.log_softmax(logits(params, x))
    of_label = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    return -weights @ of_label + 0.5 * l2 * jnp.square(params.kernel).sum()


def gradient(
    params: Params, x: jax.Array, labels: jax.Array, weights: jax.Array, l2: float
) -> Params:
    """Of the loss: what the model expects of each feature and class, less what it has seen."""
    p = jax.nn.softmax(logits(params, x))
    excess = weights[:, None] * (p - jax.nn.one_hot(labels, p.shape[1]))  # [N, K]
    return Params(x.T @ excess + l2 * params.kernel, excess.sum(0))


def fit(
    x: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    num_classes: int,
    l2: float = 1.0,
    max_iterations: int = 1000,
    tolerance: float = 1e-5,
) -> Fit:
    """The minimum of the loss.

    Args:
        x: [N, D].
        labels: [N] in 0 ... K - 1.
        weights: of the rows, [N], at least 0 and not all 0.
        num_classes: K.
        l2: weight of the penalty, positive: 1 / C of scikit-learn, and 2 / C where two classes,
            which have a column each here, share one there.
        max_iterations: gives up after so many.
        tolerance: ends when no entry of the gradient, over the sum of the weights, is greater.
    """
    num_features = x.shape[1]
    bound_inverse = _bound_inverse(x, weights, l2)
    total = weights.sum()

    def is_under_way(search: _Search) -> jax.Array:
        return (search.t < max_iterations) & (search.max_gradient > tolerance)

    def improve(search: _Search) -> _Search:
        grads = gradient(_split(search.ahead), x, labels, weights, l2)
        g = jnp.concatenate([grads.kernel, grads.bias[None]])
        params = search.ahead - bound_inverse @ g
        moved = params - search.params
        momentum = jnp.where((g * moved).sum() > 0, 1.0, search.momentum)
        next_momentum = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * jnp.square(momentum)))
        ahead = params + (momentum - 1.0) / next_momentum * moved
        return _Search(params, ahead, next_momentum, search.t + 1, jnp.abs(g).max() / total)

    start = jnp.zeros((num_features + 1, num_classes), x.dtype)
    search = _Search(start, start, jnp.ones((), x.dtype), jnp.int32(0), jnp.full((), jnp.inf))
    search = jax.lax.while_loop(is_under_way, improve, search)
    # The gradient was taken at `ahead`, one step before: small there, smaller here.
    return Fit(_split(search.params), search.t, search.max_gradient)


def _bound_inverse(x: jax.Array, weights: jax.Array, l2: float) -> jax.Array:
    """The inverse of the bound on the Hessian, [D + 1, D + 1], the same for each class."""
    ones = jnp.ones((x.shape[0], 1), x.dtype)
    augmented = jnp.concatenate([x, ones], axis=1)
    bound = 0.5 * augmented.T @ (weights[:, None] * augmented)
    bound += l2 * jnp.diag(jnp.ones(x.shape[1] + 1, x.dtype).at[-1].set(0.0))
    return _inverse(bound)


def _inverse(matrix: jax.Array) -> jax.Array:
    """The inverse of a positive definite matrix, by Newton and Schulz: products only.

    LAPACK's calls wait for each other's threads, without end, where two devices share two cores.
    30 steps square the residual down to rounding at any condition below 1e6.
    """
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    row_sum = jnp.abs(matrix).sum(0).max()  # at least the greatest eigenvalue
    return jax.lax.fori_loop(
        0, 30, lambda _, x: x @ (2.0 * identity - matrix @ x), identity / row_sum
    )


def _split(augmented: jax.Array) -> Params:
    return Params(augmented[:-1], augmented[-1])
