"""Logistic regression against scikit-learn's, its gradient, and what must not matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn import linear_model

from dl_lectures.data import tables
from dl_lectures.generative import logistic

FIT = jax.jit(logistic.fit, static_argnums=(3, 4, 5, 6))


@functools.cache
def wine():
    table = tables.load("wine")
    return jnp.asarray(table.x), jnp.asarray(table.labels), jnp.ones(len(table.x))


def close(a, b, atol=2e-3):
    np.testing.assert_allclose(a.kernel, b.kernel, atol=atol)
    np.testing.assert_allclose(a.bias - a.bias.mean(), b.bias - b.bias.mean(), atol=atol)


def test_the_minimum_is_scikit_learn_s():
    x, labels, ones = wine()
    fit = FIT(x, labels, ones, 3)
    assert fit.max_gradient <= 1e-5
    assert fit.num_iterations < 300
    peer = linear_model.LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(x, labels)
    close(fit.params, logistic.Params(peer.coef_.T, jnp.asarray(peer.intercept_)))
    np.testing.assert_array_equal(logistic.predict(fit.params, x), peer.predict(x))


def test_two_classes_are_scikit_learn_s_with_half_the_penalty():
    x, labels, ones = wine()
    is_first = (labels == 0).astype(jnp.int32)
    fit = FIT(x, is_first, ones, 2)
    peer = linear_model.LogisticRegression(C=2.0, tol=1e-8, max_iter=5000).fit(x, is_first)
    slope = fit.params.kernel[:, 1] - fit.params.kernel[:, 0]
    np.testing.assert_allclose(slope, peer.coef_[0], atol=4e-3)


def test_gradient_is_that_of_the_loss():
    x, labels, _ = wine()
    weights = jnp.arange(len(x)) % 3.0
    key_kernel, key_bias = jax.random.split(jax.random.key(0))
    params = logistic.Params(
        0.3 * jax.random.normal(key_kernel, (13, 3)), jax.random.normal(key_bias, (3,))
    )
    loss = functools.partial(logistic.loss, x=x, labels=labels, weights=weights / 100, l2=0.7)
    by_hand = logistic.gradient(params, x, labels, weights / 100, 0.7)
    by_jax = jax.jit(jax.grad(loss))(params)
    for a, b in zip(by_hand, by_jax, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    check_grads(jax.jit(loss), (params,), order=1, modes=["rev"], eps=1e-2, atol=0.02, rtol=0.02)


def test_no_direction_leads_further_down():
    x, labels, ones = wine()
    params = FIT(x, labels, ones, 3).params
    least = logistic.loss(params, x, labels, ones, 1.0)
    for seed in range(5):
        noise = 0.1 * jax.random.normal(jax.random.key(seed), params.kernel.shape)
        moved = params._replace(kernel=params.kernel + noise)
        assert logistic.loss(moved, x, labels, ones, 1.0) > least + 0.01


def test_the_bound_lies_above_the_curvature_everywhere():
    x, labels, ones = wine()
    inverse = logistic._bound_inverse(x, ones, 0.5)
    bound = jnp.linalg.inv(inverse)
    direction = jax.random.normal(jax.random.key(1), (14, 3))
    for scale in (0.0, 0.1, 1.0):
        params = scale * jax.random.normal(jax.random.key(2), (14, 3))

        def along(t, params=params):
            moved = params + t * direction
            return logistic.loss(logistic.Params(moved[:-1], moved[-1]), x, labels, ones, 0.5)

        curvature = jax.grad(jax.grad(along))(0.0)
        assert 0 < curvature <= 1.001 * jnp.einsum("dk,de,ek->", direction, bound, direction)


def test_inverse_is_the_inverse():
    x, _, ones = wine()
    augmented = np.column_stack([x, np.ones(len(x))])
    bound = 0.5 * augmented.T @ augmented + 0.1 * np.diag([*np.ones(13), 0])
    expected = np.linalg.inv(bound)
    np.testing.assert_allclose(logistic._bound_inverse(x, ones, 0.1), expected, atol=2e-4)


def test_padding_features_and_classes_do_not_matter():
    x, labels, ones = wine()
    weights = ones.at[100:].set(0.0)
    params = FIT(x, labels, weights, 3).params
    junk = x.at[100:].set(99.0)
    close(FIT(junk, labels, weights, 3).params, params)
    features, classes = jnp.arange(13)[::-1], jnp.array([2, 0, 1])
    other = FIT(x[:, features], classes[labels], weights, 3).params
    back = logistic.Params(other.kernel[features][:, classes], other.bias[classes])
    close(back, params)


def test_a_class_without_rows_is_not_answered_and_nothing_overflows():
    x, labels, _ = wine()
    fit = FIT(x, labels, (labels != 1).astype(jnp.float32), 3)
    assert np.isfinite(fit.params.kernel).all()
    assert set(np.asarray(logistic.predict(fit.params, x))) <= {0, 2}


def test_many_fits_at_once_are_the_fits_one_by_one():
    x, labels, ones = wine()
    weights = jnp.stack([ones, ones.at[40:].set(0.0)])
    fit = jax.jit(jax.vmap(lambda w: logistic.fit(x, labels, w, 3)))(weights)
    for i in range(2):
        alone = FIT(x, labels, weights[i], 3)
        close(jax.tree.map(lambda leaf, i=i: leaf[i], fit.params), alone.params, atol=1e-4)
        assert abs(int(fit.num_iterations[i]) - int(alone.num_iterations)) <= 2


@pytest.mark.parametrize("limit", [1, 7])
def test_it_gives_up_when_told(limit):
    x, labels, ones = wine()
    fit = FIT(x, labels, ones, 3, 1.0, limit)
    assert fit.num_iterations == limit
    assert fit.max_gradient > 1e-5
