"""The VAE against closed forms, quadrature and exact likelihoods, and whether it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from scipy import integrate, stats

from dl_lectures.data import images
from dl_lectures.generative import vae
from dl_lectures.learner import Learner

CONFIG = vae.Config(
    num_hidden=16, num_latents=3, batch_size=16, learning_rate=1e-2, num_importance_samples=8
)
NUM_PIXELS = 5


def small(seed=0):
    """A net with random weights whose posteriors differ from image to image."""
    net = vae.model(CONFIG, NUM_PIXELS)
    params = jax.jit(vae.init_params, static_argnums=1)(jax.random.key(seed), net)
    return net, jax.tree.map(lambda w: 1.5 * w, params)


def pixels(n, seed=7):
    return jax.random.bernoulli(jax.random.key(seed), 0.5, (n, NUM_PIXELS)).astype(jnp.float32)


# The divergence and the cross-entropy.


def test_kl_equals_quadrature():
    mean, log_variance = np.array([0.3, -1.2, 0.0]), np.array([0.4, -2.0, 0.0])
    total = 0.0
    for m, s in zip(mean, np.exp(log_variance / 2), strict=True):
        q, p = stats.norm(m, s), stats.norm()
        total += integrate.quad(
            lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), m - 12 * s, m + 12 * s
        )[0]
    found = vae.kl_to_standard_normal(vae.Posterior(jnp.array(mean), jnp.array(log_variance)))
    np.testing.assert_allclose(found, total, rtol=1e-5)


def test_kl_equals_a_monte_carlo_estimate():
    n = 200_000
    q = vae.Posterior(jnp.array([0.5, -1.0]), jnp.array([-1.0, 0.5]))
    noise = jax.random.normal(jax.random.key(0), (n, 2))
    z = jax.vmap(vae.reparameterise, in_axes=(None, 0))(q, noise)
    sigma = np.exp(np.asarray(q.log_variance) / 2)
    ratio = stats.norm.logpdf(z, np.asarray(q.mean), sigma) - stats.norm.logpdf(z)
    ratio = ratio.sum(1)
    # Four standard errors: fails once in 15,000 choices of the key.
    assert abs(ratio.mean() - vae.kl_to_standard_normal(q)) < 4 * ratio.std() / n**0.5


def test_kl_of_the_prior_is_zero_and_its_digits_survive_nearby():
    assert vae.kl_to_standard_normal(vae.Posterior(jnp.zeros(4), jnp.zeros(4))) == 0.0
    near = vae.Posterior(jnp.zeros(1), jnp.full(1, 1e-3))
    np.testing.assert_allclose(vae.kl_to_standard_normal(near), 0.25 * 1e-6, rtol=1e-3)


def test_cross_entropy_is_optax_s_also_at_extreme_logits():
    logits = jnp.array([[-100.0, -20.0, -0.3, 0.0, 2.0, 100.0]])
    for x in (0.0, 1.0, 0.3):
        x = jnp.full(logits.shape, x)
        expected = optax.sigmoid_binary_cross_entropy(logits, x).sum(-1)
        np.testing.assert_allclose(vae.cross_entropy(logits, x), expected, rtol=1e-6)
    gradient = jax.grad(lambda y: vae.cross_entropy(y, jnp.ones(6)))(logits[0])
    np.testing.assert_allclose(gradient, jax.nn.sigmoid(logits[0]) - 1.0, atol=1e-6)


def test_cross_entropy_of_grey_is_the_mean_over_its_binarisations():
    x, logits = np.array([0.2, 0.9, 0.5]), jnp.array([1.0, -0.5, 0.3])
    total = 0.0
    for b in np.ndindex(2, 2, 2):
        probability = np.prod(np.where(b, x, 1 - x))
        total += probability * vae.cross_entropy(logits, jnp.array(b, jnp.float32))
    np.testing.assert_allclose(vae.cross_entropy(logits, jnp.array(x)), total, rtol=1e-5)


def test_independent_pixels_are_the_mixture_of_what_was_counted():
    train, x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0]])
    expected = -np.log(2.5 / 4) - np.log(0.5 / 4)
    found = vae.independent_pixels_nats(jnp.array(train), jnp.array(x))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_gradients_agree_with_finite_differences():
    net, params = small()
    x, noise = pixels(4), jax.random.normal(jax.random.key(1), (4, CONFIG.num_latents))

    @jax.jit
    def loss(params):
        terms = vae.negative_elbo(net, params, x, noise)
        return (terms.reconstruction + terms.kl).sum()

    check_grads(loss, (params,), order=1, modes=["rev"], eps=1e-2, atol=0.02, rtol=0.02)


# Bounds on the likelihood, which quadrature over z gives exactly.


@pytest.fixture(scope="module")
def exact():
    """-log p(x) of a net with one latent variable, by quadrature over z, and the net."""
    config = vae.Config(num_hidden=8, num_latents=1)
    net = vae.model(config, NUM_PIXELS)
    params = jax.jit(vae.init_params, static_argnums=1)(jax.random.key(2), net)
    # A decoder that heeds z, and an encoder whose q is broad enough to weight draws by.
    params = vae.Params(params.encoder, jax.tree.map(lambda w: 2.0 * w, params.decoder))
    params = params._replace(encoder=jax.tree.map(lambda w: 0.5 * w, params.encoder))
    x = pixels(6)
    z = jnp.linspace(-9.0, 9.0, 20_001)
    logits = vae.decode(net, params, z[:, None])  # [Z, P]
    log_p = -jax.vmap(lambda image: vae.cross_entropy(logits, image[None]))(x)  # [N, Z]
    log_joint = np.asarray(log_p, np.float64) + stats.norm.logpdf(np.asarray(z))[None]
    likelihood = integrate.trapezoid(np.exp(log_joint), np.asarray(z, np.float64), axis=1)
    return net, params, x, -np.log(likelihood)


def test_likelihoods_of_all_images_sum_to_one(exact):
    net, params, _, _ = exact
    every = jnp.array(list(np.ndindex((2,) * NUM_PIXELS)), jnp.float32)
    z = jnp.linspace(-9.0, 9.0, 4_001)
    logits = vae.decode(net, params, z[:, None])
    log_p = -jax.vmap(lambda image: vae.cross_entropy(logits, image[None]))(every)
    density = np.exp(np.asarray(log_p, np.float64)) * stats.norm.pdf(np.asarray(z))[None]
    np.testing.assert_allclose(integrate.trapezoid(density, np.asarray(z), axis=1).sum(), 1, 1e-4)


def bounds(exact, num_samples, num_keys=2000):
    """Importance-weighted bounds with independent keys, [keys, N]."""
    net, params, x, _ = exact
    keys = jax.random.split(jax.random.key(5), num_keys)
    of_key = functools.partial(
        vae.importance_weighted_nats, net=net, params=params, x=x, num_samples=num_samples
    )
    return np.asarray(jax.jit(jax.vmap(of_key))(keys), np.float64)


def test_bounds_fall_with_the_number_of_samples_towards_the_exact_likelihood(exact):
    # Means over 2,000 keys and 6 images. Each bound exceeds the next by many standard errors.
    found = [bounds(exact, k).mean(1) for k in (1, 4, 32)]
    errors = [values.std() / values.size**0.5 for values in found]
    means = [values.mean() for values in found]
    for a in range(2):
        assert means[a] - means[a + 1] > 4 * (errors[a] + errors[a + 1])
    truth = exact[3].mean()
    assert means[2] > truth - 4 * errors[2]
    assert means[2] - truth < 0.3 * (means[0] - truth)  # most of the gap is closed


def test_importance_weights_are_unbiased(exact):
    # The mean of p(x, z) / q(z|x) is p(x): with 8 x 2,000 draws, within 4 standard errors.
    weights = np.exp(-bounds(exact, 8))
    errors = weights.std(0) / len(weights) ** 0.5
    assert (np.abs(weights.mean(0) - np.exp(-exact[3])) < 4 * errors).all()
    assert (errors < 0.1 * np.exp(-exact[3])).all()  # or the line above would say nothing


def test_one_importance_sample_has_the_mean_of_the_negative_elbo(exact):
    net, params, x, truth = exact
    noise = jax.random.normal(jax.random.key(3), (2000, *(len(x), 1)))
    terms = vae.negative_elbo(net, params, jnp.broadcast_to(x, (2000, *x.shape)), noise)
    elbo = np.asarray(terms.reconstruction + terms.kl, np.float64).mean(1)
    single = bounds(exact, 1).mean(1)
    error = (elbo.var() / elbo.size + single.var() / single.size) ** 0.5
    assert abs(elbo.mean() - single.mean()) < 4 * error
    assert elbo.mean() > truth.mean() + 4 * error  # -ELBO bounds -log p(x) from above


# The learner.


@pytest.fixture(scope="module")
def learner():
    return Learner(*map(jax.jit, vae.make(CONFIG, NUM_PIXELS)))


def test_types_are_a_fixed_point_of_step(learner):
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, pixels(20))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
    assert all((m.shape, m.dtype) == ((), jnp.float32) for m in metrics.values())
    assert {"loss", "reconstruction_nats_per_image", "kl_nats_per_image"} == set(metrics)


def test_keys_are_used_once(learner):
    with jax.debug_key_reuse(True):
        state = jax.jit(learner.init)(jax.random.key(0))
        state, _ = jax.jit(learner.step)(state, pixels(20))
        jax.jit(learner.evaluate)(jax.random.key(1), state, pixels(20))


def test_step_is_traced_once(learner):
    traces = []
    plain = vae.make(CONFIG, NUM_PIXELS)

    @jax.jit
    def step(state, data):
        traces.append(0)
        return plain.step(state, data)

    state, data = learner.init(jax.random.key(0)), pixels(20)
    for _ in range(3):
        state, _ = step(state, data)
    assert len(traces) == 1
    assert state.t == 3


def test_metrics_are_the_terms_of_the_loss(learner):
    config = vae.dataclasses.replace(CONFIG, kl_weight=0.5)
    half = vae.make(config, NUM_PIXELS)
    _, m = jax.jit(half.step)(learner.init(jax.random.key(0)), pixels(20))
    expected = m["reconstruction_nats_per_image"] + 0.5 * m["kl_nats_per_image"]
    np.testing.assert_allclose(m["loss"], expected, rtol=1e-6)


def test_seeds_differ_in_parameters_batches_and_noise(learner):
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    states = jax.jit(jax.vmap(learner.init))(keys)
    kernels = [w for w in jax.tree.leaves(states.params) if w.ndim == 3]  # biases start at zero
    assert len(kernels) == 5
    assert all((w[0] != w[1]).mean() > 0.9 for w in kernels)
    # From the same parameters, the first updates differ by the batch and by the noise.
    same = jax.tree.map(lambda w: jnp.stack([w[0], w[0]]), states.params)
    states = states._replace(params=same)
    step = jax.jit(jax.vmap(learner.step, in_axes=(0, None)))
    for data in (pixels(64), jnp.ones((64, NUM_PIXELS))):  # rows differ, or only the noise does
        _, metrics = step(states, data)
        loss = metrics["reconstruction_nats_per_image"]
        assert loss[0] != loss[1]


def test_steps_draw_different_batches_and_noise(learner):
    state = learner.init(jax.random.key(0))
    _, first = learner.step(state, pixels(64))
    _, second = learner.step(state._replace(t=jnp.int32(1)), pixels(64))
    assert first["loss"] != second["loss"]


def test_batch_equals_loop():
    net, params = small()
    x, noise = pixels(4), jax.random.normal(jax.random.key(1), (4, CONFIG.num_latents))
    together = vae.negative_elbo(net, params, x, noise)
    for i in range(4):
        alone = vae.negative_elbo(net, params, x[i], noise[i])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5)


def test_evaluation_changes_nothing_and_depends_on_its_key_alone(learner):
    state = learner.init(jax.random.key(0))
    a, b, c = (learner.evaluate(jax.random.key(k), state, pixels(20)) for k in (1, 1, 2))
    assert a == b
    assert a["negative_elbo_nats_per_image"] != c["negative_elbo_nats_per_image"]
    assert a["kl_nats_per_image"] == c["kl_nats_per_image"]  # exact, not drawn


def test_samples_are_probabilities_of_the_prior_s_images():
    net, params = small()
    drawn = vae.sample(jax.random.key(0), net, params, 7)
    assert drawn.shape == (7, NUM_PIXELS)
    assert ((drawn > 0) & (drawn < 1)).all()
    assert (drawn[0] != drawn[1]).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("num_hidden", "num_latents", "batch_size")),
        *(("num_importance_samples", 0), ("learning_rate", 0.0), ("kl_weight", -1.0)),
    ],
)
def test_bad_config_names_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name} must"):
        vae.Config(**{name: value})


# Does it learn?


def margin(kl_weight=1.0, unplugged=False, num_seeds=3, num_steps=600):
    """Nats per unseen digit by which it beats independent pixels, [S], and its KL, [S]."""
    config = vae.Config(
        num_hidden=64,
        num_latents=6,
        batch_size=64,
        learning_rate=4e-3,
        kl_weight=kl_weight,
        num_importance_samples=1,
    )
    digits = images.load("digits")
    train, test = (
        jnp.asarray(x.reshape(len(x), -1) >= 0.5, jnp.float32) for x in (digits.train, digits.test)
    )
    learner = vae.make(config, train.shape[1])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def run(seed, train, test):
        def step(_, state):
            if unplugged:  # nothing that the encoder says reaches the decoder
                encoder = jax.tree.map(jnp.zeros_like, state.params.encoder)
                state = state._replace(params=state.params._replace(encoder=encoder))
            return learner.step(state, train)[0]

        state = jax.lax.fori_loop(0, num_steps, step, learner.init(jax.random.key(seed)))
        found = learner.evaluate(jax.random.key(99), state, test)
        return found["negative_elbo_nats_per_image"], found["kl_nats_per_image"]

    nats, kl = run(jnp.arange(num_seeds), train, test)
    return vae.independent_pixels_nats(train, test).mean() - nats, kl


def test_it_learns_what_independent_pixels_cannot():
    found, kl = margin()
    assert np.median(found) > 4.0
    assert np.median(kl) > 2.0


@pytest.mark.parametrize("ablation", [{"kl_weight": 0.0}, {"unplugged": True}])
def test_without_divergence_or_latents_it_does_not(ablation):
    found, _ = margin(**ablation)
    assert np.median(found) < 1.0
