"""The classifier against plain convolutions, as a learner, and whether it learns."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dl_lectures.data import images
from dl_lectures.generative import classifier
from dl_lectures.learner import Learner

CONFIG = classifier.Config(conv_channels=3, num_features=7, batch_size=8, num_updates=4)
SHAPE = (6, 9)
NUM_CLASSES = 4


def some(n=20, seed=0):
    key_x, key_labels = jax.random.split(jax.random.key(seed))
    x = jax.random.uniform(key_x, (n, *SHAPE))
    return classifier.Data(x, jax.random.randint(key_labels, (n,), 0, NUM_CLASSES))


@pytest.fixture(scope="module")
def learner():
    return Learner(*map(jax.jit, classifier.make(CONFIG, SHAPE, NUM_CLASSES)))


def by_xla(params, x):
    """Logits and features by the library's convolution."""
    h, p = x[..., None], params["params"]
    for i in range(2):
        h = jax.lax.conv_general_dilated(
            h, p[f"conv_{i}"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        h = nn.relu(h + p[f"conv_bias_{i}"].reshape(1, 1, 1, -1))
    h = h.reshape(len(x), -1) @ p["features"]["kernel"]
    features = nn.gelu(h + p["features"]["bias"][None])
    return features @ p["logits"]["kernel"] + p["logits"]["bias"][None], features


def test_outputs_are_those_of_plain_convolutions(learner, monkeypatch):
    net = classifier.network(CONFIG, NUM_CLASSES)
    params = learner.init(jax.random.key(3)).params
    params = jax.tree.map(lambda w: w + 0.1, params)  # biases that tell
    x = some().x
    expected = by_xla(params, x)
    found = classifier.outputs(net, params, x)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict(net, params, x), expected[0].argmax(1))
    assert classifier.features(net, params, np.asarray(x)).shape == (20, 7)
    # In blocks whose size does not divide the number of images.
    monkeypatch.setattr(classifier, "_BLOCK", 8)
    again = classifier.outputs.__wrapped__(net, params, x)
    np.testing.assert_allclose(again[0], expected[0], rtol=1e-4, atol=1e-5)


def test_types_are_a_fixed_point_of_step(learner):
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, some())
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
    found = {**metrics, **jax.eval_shape(learner.evaluate, jax.random.key(0), state, some())}
    assert all((m.shape, m.dtype) == ((), jnp.float32) for m in found.values())
    assert set(found) == {"loss", "nll_nats", "accuracy"}


def test_keys_are_used_once(learner):
    with jax.debug_key_reuse(True):
        state = jax.jit(learner.init)(jax.random.key(0))
        jax.jit(learner.step)(state, some())


def test_metrics_are_those_of_the_outputs(learner):
    state, data = learner.init(jax.random.key(0)), some()
    logits, _ = by_xla(state.params, data.x)
    found = learner.evaluate(jax.random.key(1), state, data)
    log_p = jax.nn.log_softmax(logits)
    expected = -np.mean([log_p[i, y] for i, y in enumerate(data.labels)])
    np.testing.assert_allclose(found["nll_nats"], expected, rtol=1e-5)
    assert found["accuracy"] == (logits.argmax(1) == data.labels).mean()
    # The first update is Adam's on a batch of the data.
    rows = jax.random.randint(jax.random.fold_in(state.key, 0), (8,), 0, 20)
    loss = lambda params: optax.softmax_cross_entropy_with_integer_labels(
        by_xla(params, data.x[rows])[0], data.labels[rows]
    ).mean()
    after, metrics = learner.step(state, data)
    np.testing.assert_allclose(metrics["loss"], loss(state.params), rtol=1e-5)
    grads = jax.grad(loss)(state.params)
    for new, old, grad in zip(
        *map(jax.tree.leaves, (after.params, state.params, grads)), strict=True
    ):
        moved = np.abs(grad) > 1e-4  # Adam's first step is the sign of the gradient
        expected = -CONFIG.learning_rate * np.sign(grad)
        np.testing.assert_allclose((new - old)[moved], expected[moved], rtol=1e-2)


def test_fit_is_its_updates_one_by_one(learner):
    data = some()
    state = learner.init(jax.random.key(5))
    for _ in range(CONFIG.num_updates):
        state, _ = learner.step(state, data)
    found = classifier.fit(jax.random.key(5), CONFIG, data, NUM_CLASSES)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, state.params)
    num_programs = classifier.fit._cache_size()
    classifier.fit(jax.random.key(6), CONFIG, some(seed=1), NUM_CLASSES)
    assert classifier.fit._cache_size() == num_programs  # other keys and data compile nothing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("conv_channels", "num_features", "batch_size", "num_updates")),
        ("learning_rate", 0.0),
    ],
)
def test_bad_config_names_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name} must"):
        classifier.Config(**{name: value})


# Does it learn?


@functools.cache
def accuracies(shuffled=False):
    """Of unseen digits by three classifiers, and the rank of the features of the first."""
    digits = images.load("digits")
    labels = np.random.default_rng(0).permutation(digits.train_labels) if shuffled else None
    labels = digits.train_labels if labels is None else labels
    config = classifier.Config(num_updates=400)
    net = classifier.network(config, 10)
    data = classifier.Data(jnp.asarray(digits.train), jnp.asarray(labels))
    params = [classifier.fit(jax.random.key(seed), config, data, 10) for seed in range(3)]
    right = [(classifier.predict(net, p, digits.test) == digits.test_labels).mean() for p in params]
    return right, np.linalg.matrix_rank(classifier.features(net, params[0], digits.train))


def test_it_learns_digits_and_no_feature_dies():
    right, rank = accuracies()
    assert np.median(right) > 0.87
    assert rank == classifier.Config().num_features


def test_of_shuffled_labels_it_learns_nothing():
    right, _ = accuracies(shuffled=True)
    assert np.median(right) < 0.2
