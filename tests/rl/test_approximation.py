import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.data import functions
from dl_lectures.rl import approximation


def test_fit_finds_the_coefficients_of_a_trigonometric_polynomial():
    xs = functions.sample(["smooth"], 40).xs
    rng = np.random.default_rng(0)
    true = rng.normal(size=(2, 11))
    ks = np.pi * np.arange(1, 6)
    ys = [c[0] + np.cos(xs[:, None] * ks) @ c[1:6] + np.sin(xs[:, None] * ks) @ c[6:] for c in true]
    found = approximation.fit_fourier(xs, np.stack(ys), 5)
    np.testing.assert_allclose(found, true, atol=1e-12)
    np.testing.assert_allclose(approximation.fourier_series(found, xs), ys, atol=1e-12)


def test_fit_of_the_square_wave_is_4_over_pi_k():
    xs, ys = functions.sample(["jumps"], 4_096)
    (found,) = approximation.fit_fourier(xs, ys, 9)
    ks = np.arange(1, 10)
    np.testing.assert_allclose(found[10:], 4 / np.pi / ks * (ks % 2), atol=1e-5)
    np.testing.assert_allclose(found[:10], 0.0, atol=1e-12)


def test_fit_is_the_least_squares_one():
    """Any other coefficients are worse, on points for which the waves are not orthogonal."""
    rng = np.random.default_rng(1)
    xs = rng.uniform(-1, 1, 30)
    ys = np.exp(xs)[None]
    found = approximation.fit_fourier(xs, ys, 3)
    error = approximation.fourier_series(found, xs) - ys
    np.testing.assert_allclose(error @ approximation.waves(xs, 3), 0.0, atol=1e-12)


def test_more_heights_than_points_are_refused():
    with pytest.raises(ValueError, match="9 heights cannot be fitted to 8 points"):
        approximation.fit_fourier(np.linspace(-1, 1, 8), np.zeros((1, 8)), 4)


@pytest.mark.parametrize("width", [2, 6, 8, 12, 18, 20, 32])
def test_budgets_are_equal(width):
    one, num_harmonics = approximation.equal_budget(width)
    for sizes in [(one,), (width, width)]:
        layers = jax.eval_shape(lambda sizes=sizes: approximation.init(jax.random.key(0), sizes))
        count = sum(leaf.size for leaf in jax.tree.leaves(layers))
        assert count == approximation.num_net_params(sizes) == 2 * num_harmonics + 1
    assert approximation.waves(np.zeros(1), num_harmonics).shape == (1, count)


@pytest.mark.parametrize("width", [0, 1, 3, 4, 5])
def test_other_widths_are_refused(width):
    with pytest.raises(ValueError, match="leaves 0 or 2 when divided by 6"):
        approximation.equal_budget(width)


def test_a_net_is_a_sum_of_ramps():
    layers = approximation.init(jax.random.key(0), (7,))
    xs = jnp.linspace(-1.0, 1.0, 11)
    (w, b), (heights, constant) = [map(np.asarray, layer) for layer in layers]
    ramps = [np.maximum(0.0, w[0, i] * xs + b[i]) * heights[i, 0] for i in range(7)]
    np.testing.assert_allclose(approximation.apply(layers, xs), sum(ramps) + constant, atol=1e-5)
    assert np.unique(np.sign(-b / w[0])).size == 2  # they begin on both sides of 0


NAMES = ("kinked", "growth")


def points():
    xs, ys = functions.sample(NAMES, 64)
    return approximation.Points(jnp.asarray(xs, jnp.float32), jnp.asarray(ys, jnp.float32))


def trained(shapes, steps=300):
    config = approximation.Config(batch_size=16, learning_rate=0.02, decay_steps=steps)
    learner = approximation.make(config, shapes, NAMES)
    data = points()

    @jax.jit
    def train(key):
        def body(state, _):
            state, metrics = learner.step(state, data)
            return state, metrics["loss"]

        state, losses = jax.lax.scan(body, learner.init(key), length=steps)
        return state, losses, learner.evaluate(key, state, data)

    return train(jax.random.key(3))


def test_learning_and_its_errors():
    state, losses, found = trained({"a": (16,), "b": (8, 8)})
    assert losses[-30:].mean() < 0.05 * losses[:5].mean()
    assert set(found) == {f"rmse_{shape}/{name}" for shape in "ab" for name in NAMES}
    xs, ys = points()
    layers = jax.tree.map(lambda leaf: leaf[1], state.params["b"])
    error = approximation.apply(layers, xs) - ys[1]
    np.testing.assert_allclose(found["rmse_b/growth"], np.sqrt(np.mean(error**2)), rtol=1e-5)
    assert all(value < 0.2 for value in found.values())


def test_nets_learn_as_if_they_were_alone():
    """With other first weights beside it, but the same batches, a net goes the same way."""
    config = approximation.Config(batch_size=16, decay_steps=20)
    data = points()
    both = approximation.make(config, {"a": (4,), "b": (5,)}, NAMES)
    alone = approximation.make(config, {"a": (4,)}, NAMES)
    state = both.init(jax.random.key(0))
    own = alone.init(jax.random.key(1))
    own = own._replace(params={"a": state.params["a"]}, key=state.key)
    for _ in range(5):
        state, _ = both.step(state, data)
        own, _ = alone.step(own, data)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5),
        own.params["a"],
        state.params["a"],
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "--batch_size must be at least 1"),
        ({"decay_steps": 0}, "--decay_steps must be at least 1"),
        ({"learning_rate": 0.0}, "--learning_rate must be positive"),
    ],
)
def test_impossible_settings_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        approximation.Config(**changes)
