"""GAN's losses, penalties and updates against closed forms and NumPy, and whether it learns."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, stats

from dl_lectures import convolution
from dl_lectures.data import mixtures
from dl_lectures.errors import UsageError
from dl_lectures.generative import gan, modes, networks
from dl_lectures.learner import Learner
from dl_lectures.training import trainer
from dl_lectures.training.options import Options

CONFIG = gan.Config(num_latents=3, batch_size=8, learning_rate=1e-2)
NETWORKS = gan.Networks(networks.Perceptron((6,), 2), networks.Perceptron((6,), 0))
REAL, FAKE = jnp.array([2.0, -0.5, 0.3]), jnp.array([-1.5, 0.4, 3.0])


def points(n=40, seed=7):
    return gan.Data(jax.random.normal(jax.random.key(seed), (n, 2)))


def changed(**changes):
    return dataclasses.replace(CONFIG, **changes)


# The losses.


def test_logistic_losses_are_optax_s():
    d = optax.sigmoid_binary_cross_entropy(REAL, jnp.ones(3)).mean()
    d += optax.sigmoid_binary_cross_entropy(FAKE, jnp.zeros(3)).mean()
    np.testing.assert_allclose(gan.logistic_discriminator_loss(REAL, FAKE), d, rtol=1e-6)
    saturating = -optax.sigmoid_binary_cross_entropy(FAKE, jnp.zeros(3)).mean()
    np.testing.assert_allclose(gan.saturating_generator_loss(FAKE), saturating, rtol=1e-6)
    other = optax.sigmoid_binary_cross_entropy(FAKE, jnp.ones(3)).mean()
    np.testing.assert_allclose(gan.non_saturating_generator_loss(FAKE), other, rtol=1e-6)


def test_losses_without_logarithms_by_hand():
    # Real 2, -0.5, 0.3 and made -1.5, 0.4, 3.
    d = 0.5 * (1.0 + 2.25 + 0.49) / 3 + 0.5 * (0.25 + 1.96 + 16.0) / 3
    np.testing.assert_allclose(gan.least_squares_discriminator_loss(REAL, FAKE), d, rtol=1e-6)
    g = 0.5 * (2.25 + 0.16 + 9.0) / 3
    np.testing.assert_allclose(gan.least_squares_generator_loss(FAKE), g, rtol=1e-6)
    d = (0.0 + 1.5 + 0.7) / 3 + (0.0 + 1.4 + 4.0) / 3
    np.testing.assert_allclose(gan.hinge_discriminator_loss(REAL, FAKE), d, rtol=1e-6)
    d = (-1.5 + 0.4 + 3.0) / 3 - (2.0 - 0.5 + 0.3) / 3
    np.testing.assert_allclose(gan.wasserstein_discriminator_loss(REAL, FAKE), d, rtol=1e-5)
    np.testing.assert_allclose(gan.wasserstein_generator_loss(FAKE), -1.9 / 3, rtol=1e-6)


def test_best_discriminator_of_two_gaussians_has_the_loss_of_theorem_1():
    """log 4 - 2 JSD, with quantiles for samples and quadrature for the divergence."""
    p, q = stats.norm(0.0, 1.0), stats.norm(1.5, 0.7)
    middle = lambda x: 0.5 * (p.pdf(x) + q.pdf(x))
    jsd = sum(
        0.5 * integrate.quad(lambda x, r=r: r.pdf(x) * np.log(r.pdf(x) / middle(x)), -9, 9)[0]
        for r in (p, q)
    )
    shares = (np.arange(20_000) + 0.5) / 20_000
    real, fake = (jnp.asarray(p.logpdf(x) - q.logpdf(x)) for x in (p.ppf(shares), q.ppf(shares)))
    found = gan.logistic_discriminator_loss(real, fake)
    np.testing.assert_allclose(found, np.log(4) - 2 * jsd, atol=2e-4)
    for worse in (lambda x: 1.2 * x, lambda x: x + 0.2):
        assert gan.logistic_discriminator_loss(worse(real), worse(fake)) > found + 1e-3


def test_gradients_of_both_logistic_generator_losses_add_up_to_the_mean_logit_s():
    """Why best responses of the generator raise the mean logit."""
    slopes = [
        jax.grad(loss)(FAKE)
        for loss in (gan.saturating_generator_loss, gan.non_saturating_generator_loss)
    ]
    expected = jax.grad(gan.wasserstein_generator_loss)(FAKE)
    np.testing.assert_allclose(slopes[0] + slopes[1], expected, rtol=1e-6)


def test_accuracy_counts_what_is_taken_for_what_it_is():
    found = gan.accuracies("hinge", REAL, FAKE)
    np.testing.assert_allclose([*found.values()], [0.5, 2 / 3, 1 / 3], rtol=1e-6)
    # A critic's logits have no zero: moved as a whole, they say the same.
    for shift in (0.0, 10.0):
        found = gan.accuracies("wasserstein", REAL + 1.0 + shift, FAKE - 2.0 + shift)
        np.testing.assert_allclose([*found.values()], [5 / 6, 1.0, 2 / 3], rtol=1e-6)


# What bounds the slope.


def linear(w, b=0.3):
    return lambda x: x.reshape(len(x), -1) @ w + b


def test_penalties_of_a_linear_discriminator_depend_on_its_slope_alone():
    w = jnp.array([1.0, -2.0, 0.5, 0.0])
    real, fake = jax.random.normal(jax.random.key(0), (2, 5, 2, 2))
    length = np.linalg.norm(w)
    found = gan.gradient_penalty(jax.random.key(1), linear(w), real, fake)
    np.testing.assert_allclose(found, (length - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(gan.r1_penalty(linear(w), real), 0.5 * length**2, rtol=1e-5)
    np.testing.assert_allclose(gan.squared_slopes(linear(w), real), np.full(5, 5.25), rtol=1e-5)


def test_gradient_penalty_is_taken_between_the_samples():
    """The slope of |x|^2 / 2 is |x|: with ends at 2 and 4 it lies between 1 and 9."""
    real, fake = jnp.full((4_000, 1), 2.0), jnp.full((4_000, 1), 4.0)
    bowl = lambda x: 0.5 * jnp.square(x).sum(-1)
    found = gan.gradient_penalty(jax.random.key(0), bowl, real, fake)
    # The mean of (s - 1)^2 over s in [2, 4] is 13 / 3; four standard errors.
    np.testing.assert_allclose(found, 13 / 3, atol=4 * 2.4 / 4_000**0.5)


def test_penalty_of_a_flat_discriminator_has_no_nan():
    x = jnp.ones((3, 2))
    penalty = lambda w: gan.gradient_penalty(jax.random.key(0), linear(w), x, 2 * x)
    value, slope = jax.value_and_grad(penalty)(jnp.zeros(2))
    assert value == 1.0
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("kind", ["perceptron", "convolution"])
def test_gradients_of_penalties_agree_with_finite_differences(kind):
    key = jax.random.key(3)
    if kind == "perceptron":
        x = jax.random.normal(key, (4, 2))
        net = networks.Perceptron((5,), 0)
        w = jax.tree.map(lambda leaf: 2.0 * leaf, net.init(key, x))
        apply = net.apply
    else:
        x = jax.random.normal(key, (2, 4, 4, 1))
        w = 0.5 * jax.random.normal(key, (3, 3, 1, 2))
        apply = lambda w, x: jnp.tanh(convolution.conv(x, w, 2, "SAME")).sum((1, 2, 3))

    @jax.jit
    def penalty(w):
        d = lambda x: apply(w, x)
        return gan.gradient_penalty(key, d, x, -x) + gan.r1_penalty(d, x)

    slopes, tree = jax.tree.flatten(jax.jit(jax.grad(penalty))(w))
    direction = [
        jax.random.normal(jax.random.fold_in(key, i), leaf.shape) for i, leaf in enumerate(slopes)
    ]
    moved = lambda eps: jax.tree.map(lambda a, b: a + eps * b, w, tree.unflatten(direction))
    expected = (penalty(moved(2e-3)) - penalty(moved(-2e-3))) / 4e-3
    found = sum(jnp.vdot(a, b) for a, b in zip(slopes, direction, strict=True))
    assert abs(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.mark.parametrize("shape", [(7, 4), (4, 4, 3, 5)])
def test_spectral_norm_is_numpy_s_largest_singular_value(shape):
    kernel = jax.random.normal(jax.random.key(0), shape)
    expected = np.linalg.svd(np.asarray(kernel).reshape(-1, shape[-1]))[1][0]
    (u,) = gan.init_us(jax.random.key(1), {"kernel": kernel, "bias": jnp.zeros(shape[-1])})
    first = gan.spectral_norm(kernel, u)
    for _ in range(100):
        u = jax.jit(gan.power_iteration)(kernel, u)
    assert first < 0.99 * expected  # or the iteration would have nothing to do
    np.testing.assert_allclose(gan.spectral_norm(kernel, u), expected, rtol=1e-5)
    normal = gan.normalise_kernels({"bias": jnp.ones(3), "kernel": kernel}, (u,))
    largest = np.linalg.svd(np.asarray(normal["kernel"]).reshape(-1, shape[-1]))[1][0]
    np.testing.assert_allclose(largest, 1.0, rtol=1e-5)
    np.testing.assert_array_equal(normal["bias"], 1.0)


def test_gradient_of_the_spectral_norm_is_the_product_of_its_vectors():
    kernel = jax.random.normal(jax.random.key(0), (5, 3))
    left, _, right = np.linalg.svd(np.asarray(kernel), full_matrices=False)
    found = jax.grad(gan.spectral_norm)(kernel, jnp.asarray(right[0]))
    np.testing.assert_allclose(found, np.outer(left[:, 0], right[0]), atol=1e-5)


def test_packs_are_neighbours_side_by_side():
    x = jnp.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(gan.packed(x, 2), np.arange(12.0).reshape(2, 6))
    images = jnp.arange(4.0).reshape(4, 1, 1, 1) * jnp.ones((4, 2, 2, 1))
    packs = gan.packed(images, 2)
    assert packs.shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(packs[1, 0, 0], [2.0, 3.0])
    np.testing.assert_array_equal(gan.packed(x, 1), x)


# The learner. Its switches are on in one, so that one program is compiled for most tests.

EVERYTHING = changed(
    r1=0.1,
    gradient_penalty=0.5,
    spectral_norm=True,
    ema_decay=0.9,
    conditional=True,
    num_discriminator_updates=2,
)


def labelled(n=40):
    return points(n)._replace(labels=jnp.arange(n) % 3)


@pytest.fixture(scope="module")
def full():
    return Learner(*map(jax.jit, gan.make(EVERYTHING, NETWORKS, num_classes=3)))


@pytest.fixture(scope="module")
def plain():
    return Learner(*map(jax.jit, gan.make(CONFIG, NETWORKS)))


def test_types_are_a_fixed_point_of_step(full):
    state = jax.eval_shape(full.init, jax.random.key(0))
    after, metrics = jax.eval_shape(full.step, state, labelled())
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
    assert all((m.shape, m.dtype) == ((), jnp.float32) for m in metrics.values())
    assert set(metrics) == {
        *("loss", "discriminator_loss", "generator_loss", "penalty"),
        *("accuracy", "accuracy_real", "accuracy_fake"),
    }


def test_keys_are_used_once(full):
    with jax.debug_key_reuse(True):
        state = jax.jit(full.init)(jax.random.key(0))
        state, _ = jax.jit(full.step)(state, labelled())
        jax.jit(full.evaluate)(jax.random.key(1), state, labelled())
        game = gan.Game(EVERYTHING, NETWORKS, 3)
        respond = functools.partial(gan.best_responses, game=game, num_steps=2, num_samples=8)
        jax.jit(respond)(jax.random.key(2), state=state, data=labelled())


def test_step_is_traced_once_and_counts_the_updates_of_either_player():
    traces = []
    learner = gan.make(EVERYTHING, NETWORKS, num_classes=3)

    @jax.jit
    def step(state, data):
        traces.append(0)
        return learner.step(state, data)

    state = learner.init(jax.random.key(0))
    for _ in range(3):
        state, _ = step(state, labelled())
    assert len(traces) == 1
    assert state.t == 3
    assert state.opt_state.generator[0].count == 3
    assert state.opt_state.discriminator[0].count == 6


def test_step_is_one_update_of_each_player_by_hand(plain):
    """Batches as the learner draws them, gradients of losses written anew, Adam by optax."""
    state = plain.init(jax.random.key(0))
    after, metrics = plain.step(state, points())
    key_d, key_g = jax.random.split(jax.random.fold_in(state.key, 0))
    game = gan.Game(CONFIG, NETWORKS)
    optimizer = optax.adam(1e-2, 0.5, 0.999)

    key_batch, _ = jax.random.split(jax.random.fold_in(key_d, 0))
    batch = gan.draw_batch(key_batch, game, points(), 8)
    fake = NETWORKS.generator.apply(state.params.generator, batch.z)

    def d_loss(d):
        of_real, of_fake = (
            jax.nn.sigmoid(NETWORKS.discriminator.apply(d, x)) for x in (batch.x, fake)
        )
        return -(jnp.log(of_real).mean() + jnp.log(1.0 - of_fake).mean())

    loss, grads = jax.value_and_grad(d_loss)(state.params.discriminator)
    np.testing.assert_allclose(metrics["discriminator_loss"], loss, rtol=1e-5)
    updates, _ = optimizer.update(grads, optimizer.init(state.params.discriminator))
    d = optax.apply_updates(state.params.discriminator, updates)
    assert_close(after.params.discriminator, d)

    batch = gan.draw_batch(key_g, game, points(), 8)

    def g_loss(g):
        fake = NETWORKS.generator.apply(g, batch.z)
        return -jnp.log(jax.nn.sigmoid(NETWORKS.discriminator.apply(d, fake))).mean()

    loss, grads = jax.value_and_grad(g_loss)(state.params.generator)
    np.testing.assert_allclose(metrics["generator_loss"], loss, rtol=1e-4)
    updates, _ = optimizer.update(grads, optimizer.init(state.params.generator))
    assert_close(after.params.generator, optax.apply_updates(state.params.generator, updates))
    assert_close(after.average, after.params.generator)  # without memory
    total = metrics["discriminator_loss"] + metrics["generator_loss"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)


def assert_close(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_moving_average_by_hand(full):
    state = full.init(jax.random.key(0))
    assert_close(state.average, state.params.generator)
    expected = state.average
    for _ in range(3):
        state, _ = full.step(state, labelled())
        expected = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, expected, state.params.generator)
    assert_close(state.average, expected)
    moved = jax.tree.leaves(
        jax.tree.map(lambda a, p: abs(a - p).max(), state.average, state.params.generator)
    )
    assert max(moved) > 1e-3


def test_power_iteration_goes_on_with_the_steps(full):
    state = full.init(jax.random.key(0))
    for _ in range(20):
        state, _ = full.step(state, labelled())
    kernels = gan.kernels_of(state.params.discriminator)
    for kernel, u in zip(kernels, state.us, strict=True):
        largest = np.linalg.svd(np.asarray(kernel))[1][0]
        np.testing.assert_allclose(gan.spectral_norm(kernel, u), largest, rtol=0.02)


def test_labels_reach_both_players(full):
    """And made samples have the labels of real ones."""
    state = full.init(jax.random.key(0))
    game = gan.Game(EVERYTHING, NETWORKS, 3)
    one, other = (jnp.tile(jax.nn.one_hot(c, 3), (4, 1)) for c in (0, 1))
    made = [
        gan.generate(jax.random.key(1), game, state.params.generator, 4, labels)
        for labels in (one, other)
    ]
    assert (made[0] != made[1]).any(axis=1).all()
    judged = [
        gan.judge(game, state.params.discriminator, state.us, made[0], labels)
        for labels in (one, other)
    ]
    assert (judged[0] != judged[1]).all()
    data = gan.Data(jnp.arange(80.0).reshape(40, 2) // 2, jnp.arange(40) % 3)
    batch = gan.draw_batch(jax.random.key(2), game, data, 16)
    np.testing.assert_array_equal(batch.labels.argmax(1), batch.x[:, 0].astype(int) % 3)


def test_bytes_stand_for_numbers_from_minus_one_to_one():
    data = gan.Data(jnp.array([[0, 255]], jnp.uint8))
    batch = gan.draw_batch(jax.random.key(0), gan.Game(CONFIG, NETWORKS), data, 3)
    np.testing.assert_allclose(batch.x, [[-1.0, 1.0]] * 3)


def test_seeds_differ_in_parameters_batches_and_noise(plain):
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    states = jax.jit(jax.vmap(plain.init))(keys)
    kernels = [w for w in jax.tree.leaves(states.params) if w.ndim == 3]
    assert len(kernels) == 4
    assert all((w[0] != w[1]).mean() > 0.9 for w in kernels)
    same = jax.tree.map(lambda w: jnp.stack([w[0], w[0]]), states.params)
    step = jax.jit(jax.vmap(plain.step, in_axes=(0, None)))
    for data in (points(), gan.Data(jnp.ones((40, 2)))):  # rows differ, or only the noise does
        _, metrics = step(states._replace(params=same), data)
        assert metrics["discriminator_loss"][0] != metrics["discriminator_loss"][1]


def test_best_responses_leave_the_present_and_lie_on_its_right_sides(plain):
    """D' gains what G' cannot give; with 0 updates nobody gains."""
    state = plain.init(jax.random.key(0))
    data = gan.Data(points(400).x + 3.0)
    game = gan.Game(CONFIG, NETWORKS)
    respond = functools.partial(gan.best_responses, game=game, num_samples=200)
    respond = jax.jit(respond, static_argnames="num_steps")
    values = respond(jax.random.key(1), state=state, data=data, num_steps=100)
    assert values.generator < values.present - 0.05
    assert values.discriminator > values.present + 0.05
    np.testing.assert_allclose(values.gap, values.discriminator - values.generator)
    # Far from what is made, D' has nearly nothing left to gain: V is at most 0, and log 1/4 where
    # it cannot tell.
    assert -0.3 < values.discriminator < 0.0
    idle = respond(jax.random.key(1), state=state, data=data, num_steps=0)
    np.testing.assert_allclose([idle.discriminator, idle.generator], idle.present, rtol=1e-6)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    data = gan.Data(np.full((16, 2), np.inf, np.float32))
    options = Options(workdir=str(tmp_path), steps=10, log_every=5, eval_every=10)
    with pytest.raises(UsageError, match="the loss is not finite at step 1 of seed 0"):
        trainer.train(gan.make(CONFIG, NETWORKS), options, data, data, shard_batch=False)
    assert not (pathlib.Path(tmp_path) / "DONE").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((n, 0) for n in ("num_latents", "batch_size", "num_discriminator_updates", "pack")),
        *(("learning_rate", 0.0), ("discriminator_learning_rate", -1.0), ("r1", -1.0)),
        *(("gradient_penalty", -1.0), ("ema_decay", 1.0), ("beta1", -0.1), ("beta2", 1.0)),
        *(("pack", 3), ("loss", "wasserstein")),
    ],
)
def test_bad_config_names_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name} must"):
        changed(**{name: value})


def test_labels_exclude_packs_and_need_classes():
    with pytest.raises(ValueError, match="--pack must be 1"):
        changed(conditional=True, pack=2)
    with pytest.raises(ValueError, match="--conditional must be off"):
        gan.make(changed(conditional=True), NETWORKS)


# Does it learn?


@functools.cache
def covered(mute=False, num_seeds=4, num_steps=1_000):
    """Modes covered of a wide ring of four, and the share of good samples, [S] each."""
    mixture = mixtures.ring(num_modes=4, radius=1.0, std=0.1)
    config = gan.Config(num_latents=4, batch_size=64, learning_rate=3e-3, r1=0.1)
    players = gan.Networks(networks.Perceptron((32, 32), 2), networks.Perceptron((32, 32), 0))
    learner, game = gan.make(config, players), gan.Game(config, players)
    data = gan.Data(mixtures.draw(jax.random.key(0), mixture, 5_000))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def run(seed, data):
        def step(_, state):
            after = learner.step(state, data)[0]
            if mute:  # the policeman learns nothing
                judge = state.params.discriminator
                after = after._replace(params=after.params._replace(discriminator=judge))
            return after

        state = jax.lax.fori_loop(0, num_steps, step, learner.init(jax.random.key(seed)))
        x = gan.generate(jax.random.key(99), game, state.params.generator, 1_000)
        return modes.coverage(mixture, x)

    found = run(jnp.arange(num_seeds), data)
    return np.asarray(found["modes"]), np.asarray(found["high_quality"])


def test_it_learns_the_ring():
    found, good = covered()
    assert np.median(found) == 4
    assert np.median(good) > 0.6


def test_without_a_policeman_who_learns_it_does_not():
    found, good = covered(mute=True)
    assert np.median(found) < 3
    assert np.median(good) < 0.3
