"""The VAE against closed forms, quadrature and exact likelihoods, and whether it learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, special, stats

from dl_lectures.data import images
from dl_lectures.generative import likelihoods, ppca, vae
from dl_lectures.learner import Learner

CONFIG = vae.Config(
    hidden_sizes="16", num_latents=3, batch_size=16, learning_rate=1e-2, num_importance_samples=8
)
NUM_PIXELS = 5


def small(seed=0):
    """A net with random weights whose posteriors differ from image to image."""
    net = vae.model(CONFIG, NUM_PIXELS)
    params = jax.jit(vae.init_params, static_argnums=1)(jax.random.key(seed), net)
    return net, jax.tree.map(lambda w: 1.5 * w, params)


def pixels(n, seed=7):
    return jax.random.bernoulli(jax.random.key(seed), 0.5, (n, NUM_PIXELS)).astype(jnp.float32)


# The divergence and the baseline.


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


def test_independent_pixels_are_the_mixture_of_what_was_counted():
    train, x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0]])
    expected = -np.log(2.5 / 4) - np.log(0.5 / 4)
    found = vae.independent_pixels_nats(jnp.array(train), jnp.array(x))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_independent_pixels_of_other_laws_ignore_z():
    train, x = np.array([[0.0, 0.5], [1.0, 0.5], [1.0, 1.0]]), np.array([[1.0, 0.0]])
    counts = -np.log(2.5 / 4.5) - np.log(0.5 / 4.5)  # of three levels
    found = vae.independent_pixels_nats(train, x, "discretized_logistic", num_levels=3)
    np.testing.assert_allclose(found, [counts], rtol=1e-5)
    spread = np.sqrt(((train - train.mean(0)) ** 2).mean())
    expected = -stats.norm.logpdf(x, train.mean(0), spread).sum(1)
    found = vae.independent_pixels_nats(jnp.array(train), jnp.array(x), "gaussian")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_units_that_do_not_heed_the_image_are_not_active():
    mean = jnp.array([[0.0, -1.0, 0.05], [0.0, 1.0, -0.05], [0.0, 0.5, 0.05]])
    q = vae.Posterior(mean, jnp.zeros((3, 3)))
    assert vae.active_units(q) == 1.0
    expected = [0.5 * np.square(mean[i]).sum() for i in range(3)]
    np.testing.assert_allclose(vae.kl_of_units(q).sum(1), expected, rtol=1e-6)


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
    config = vae.Config(hidden_sizes="8", num_latents=1)
    net = vae.model(config, NUM_PIXELS)
    params = jax.jit(vae.init_params, static_argnums=1)(jax.random.key(2), net)
    # A decoder that heeds z, and an encoder whose q is broad enough to weight draws by.
    params = vae.Params(params.encoder, jax.tree.map(lambda w: 2.0 * w, params.decoder))
    params = params._replace(encoder=jax.tree.map(lambda w: 0.5 * w, params.encoder))
    x = pixels(6)
    z = jnp.linspace(-9.0, 9.0, 20_001)
    logits = vae.decode(net, params, z[:, None])  # [Z, P]
    log_p = -jax.vmap(lambda image: likelihoods.bernoulli(logits, image[None]))(x)  # [N, Z]
    log_joint = np.asarray(log_p, np.float64) + stats.norm.logpdf(np.asarray(z))[None]
    likelihood = integrate.trapezoid(np.exp(log_joint), np.asarray(z, np.float64), axis=1)
    return net, params, x, -np.log(likelihood)


def test_likelihoods_of_all_images_sum_to_one(exact):
    net, params, _, _ = exact
    every = jnp.array(list(np.ndindex((2,) * NUM_PIXELS)), jnp.float32)
    z = jnp.linspace(-9.0, 9.0, 4_001)
    logits = vae.decode(net, params, z[:, None])
    log_p = -jax.vmap(lambda image: likelihoods.bernoulli(logits, image[None]))(every)
    density = np.exp(np.asarray(log_p, np.float64)) * stats.norm.pdf(np.asarray(z))[None]
    np.testing.assert_allclose(integrate.trapezoid(density, np.asarray(z), axis=1).sum(), 1, 1e-4)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "discretized_logistic"])
def test_a_decoder_that_says_nothing_draws_mid_grey(likelihood):
    config = dataclasses.replace(CONFIG, likelihood=likelihood, pixels="grey")
    net = vae.model(config, NUM_PIXELS)
    params = jax.tree.map(jnp.zeros_like, vae.init_params(jax.random.key(0), net))
    np.testing.assert_array_equal(vae.mean_image(net, params, jnp.ones((2, 3))), 0.5)


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


def test_streamed_bounds_are_those_of_all_weights_at_once(exact):
    net, params, x, _ = exact
    key, numbers = jax.random.key(8), (1, 5, 40)
    streamed = vae.importance_weighted_nats(key, net, params, x, numbers)
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(jnp.arange(40))
    noise = jax.vmap(lambda k: jax.random.normal(k, (len(x), 1)))(keys)  # [K, N, L]
    weights = vae.log_weight(net, params, x, vae.encode(net, params, x), noise)
    weights = np.asarray(weights, np.float64)
    for found, k in zip(streamed, numbers, strict=True):
        expected = np.log(k) - special.logsumexp(weights[:k], axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        alone = vae.importance_weighted_nats(key, net, params, x, k)
        np.testing.assert_array_equal(found, alone)


# The loss.


def losses(config, noise, t=0):
    net, params = small()
    value, terms = vae.loss(net, params, pixels(4), noise, config, jnp.int32(t))
    return value, terms, (net, params, pixels(4))


def test_loss_of_several_draws_is_the_mean_or_the_importance_weighted_bound():
    noise = jax.random.normal(jax.random.key(1), (6, 4, CONFIG.num_latents))
    several = dataclasses.replace(CONFIG, num_samples=6)
    found, terms, (net, params, x) = losses(several, noise)
    each = [vae.negative_elbo(net, params, x, draw) for draw in noise]
    expected = np.mean([term.reconstruction + term.kl for term in each])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(found, terms.reconstruction + terms.kl, rtol=1e-6)
    q = vae.encode(net, params, x)
    weights = np.stack([vae.log_weight(net, params, x, q, draw) for draw in noise])
    tighter, *_ = losses(dataclasses.replace(several, objective="iwae"), noise)
    expected = (np.log(6) - special.logsumexp(weights, axis=0)).mean()
    np.testing.assert_allclose(tighter, expected, rtol=1e-5)


def test_iwae_of_one_draw_has_the_mean_gradient_of_the_elbo():
    # Over 8,000 draws at once; the two differ by how they write the KL.
    noise = jax.random.normal(jax.random.key(2), (8000, 4, CONFIG.num_latents))
    net, params = small()

    @functools.partial(jax.jit, static_argnums=1)
    def gradients(params, objective):
        config = dataclasses.replace(CONFIG, objective=objective)

        def mean_loss(params):
            one = functools.partial(vae.loss, net, params, pixels(4), config=config, t=0)
            return jax.vmap(lambda draw: one(draw)[0])(noise).mean()

        return jax.grad(mean_loss)(params).encoder["params"]["mean"]["kernel"]

    iwae, elbo = (np.asarray(gradients(params, name)) for name in ("iwae", "elbo"))
    assert np.abs(elbo).max() > 0.1
    np.testing.assert_allclose(iwae, elbo, atol=0.1 * np.abs(elbo).max())


def test_free_nats_are_the_least_that_a_unit_costs():
    noise = jax.random.normal(jax.random.key(1), (4, CONFIG.num_latents))
    _, terms, (net, params, x) = losses(CONFIG, noise)
    kls = vae.kl_of_units(vae.encode(net, params, x)).mean(0)
    between = float(np.sort(kls)[1])  # one unit is below it
    found, *_ = losses(dataclasses.replace(CONFIG, free_nats=between), noise)
    expected = terms.reconstruction + np.maximum(kls, between).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found > terms.reconstruction + terms.kl + 1e-3


def test_the_weight_of_the_kl_grows_to_its_end_and_stays():
    noise = jax.random.normal(jax.random.key(1), (4, CONFIG.num_latents))
    config = dataclasses.replace(CONFIG, kl_weight=0.8, kl_warmup_steps=10)
    for t, weight in ((0, 0.0), (5, 0.4), (10, 0.8), (99, 0.8)):
        found, terms, _ = losses(config, noise, t)
        np.testing.assert_allclose(found, terms.reconstruction + weight * terms.kl, rtol=1e-5)


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
    config = dataclasses.replace(CONFIG, kl_weight=0.5)
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
        *((name, 0) for name in ("num_latents", "batch_size", "num_samples", "conv_channels")),
        *(("num_importance_samples", 0), ("learning_rate", 0.0), ("kl_weight", -1.0)),
        *(("free_nats", -1.0), ("variance", -1.0), ("decay_steps", -1), ("kl_warmup_steps", -1)),
        *(("num_levels", 1), ("hidden_sizes", "8,x"), ("hidden_sizes", "0")),
    ],
)
def test_bad_config_names_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name}.* must"):
        vae.Config(**{name: value})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"likelihood": "gaussian"}, "--pixels must be grey"),
        ({"likelihood": "discretized_logistic", "pixels": "dynamic"}, "--pixels must be grey"),
        ({"objective": "iwae", "free_nats": 0.1}, "--objective must be elbo"),
        ({"objective": "iwae", "kl_weight": 2.0}, "--objective must be elbo"),
        ({"objective": "iwae", "kl_warmup_steps": 9}, "--objective must be elbo"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        vae.Config(**settings)


@pytest.mark.parametrize("num_pixels", [15, 36])
def test_convolutions_want_squares_of_a_multiple_of_four(num_pixels):
    with pytest.raises(ValueError, match="--network must be mlp"):
        vae.model(vae.Config(network="conv"), num_pixels)


def test_dynamic_pixels_are_drawn_anew_at_each_step():
    config = dataclasses.replace(CONFIG, pixels="dynamic", batch_size=64)
    dynamic = vae.make(config, NUM_PIXELS)
    step = jax.jit(dynamic.step)
    state = dynamic.init(jax.random.key(0))
    # One image, so that the batch is the same; the weights are not moved.
    seen = []
    for grey in (jnp.full((1, NUM_PIXELS), 0.5), jnp.ones((1, NUM_PIXELS))):
        for t in range(2):
            _, found = step(state._replace(t=jnp.int32(t)), grey)
            seen.append(float(found["kl_nats_per_image"]))  # of q, before any noise of z
    assert seen[0] != seen[1]
    assert seen[2] == seen[3]


# Does it learn?


SWITCHES = {
    "conv": {"network": "conv", "conv_channels": 8, "activation": "relu"},
    "dynamic, two layers": {"pixels": "dynamic", "hidden_sizes": "32,32"},
    "iwae": {"objective": "iwae", "num_samples": 4},
    "elbo of several draws": {"num_samples": 4, "free_nats": 0.1, "kl_warmup_steps": 100},
    "logistic": {"pixels": "grey", "likelihood": "discretized_logistic", "num_levels": 17},
}


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_learns_which_of_four_pictures_it_is(name):
    settings = {"hidden_sizes": "32", "num_latents": 3, "learning_rate": 1e-2} | SWITCHES[name]
    config = vae.Config(batch_size=32, num_importance_samples=16, **settings)
    # Four patterns of 4 x 4 pixels, dark or light with a little noise, on 17 levels.
    key_pattern, key_which, key_noise = jax.random.split(jax.random.key(11), 3)
    patterns = jax.random.bernoulli(key_pattern, 0.5, (4, 16))
    which = jax.random.randint(key_which, (600,), 0, 4)
    x = 0.1 + 0.8 * patterns[which] + 0.06 * jax.random.normal(key_noise, (600, 16))
    x = jnp.round(16 * jnp.clip(x, 0.0, 1.0)) / 16
    if config.pixels == "binary":
        x = jnp.round(x)
    train, test = x[:500], x[500:]
    if config.pixels == "dynamic":
        test = likelihoods.binarise(jax.random.key(12), test)
    learner = vae.make(config, 16)

    @jax.jit
    def run(train, test):
        state = learner.init(jax.random.key(0))
        state = jax.lax.fori_loop(0, 400, lambda _, state: learner.step(state, train)[0], state)
        return learner.evaluate(jax.random.key(1), state, test)

    found = run(train, test)
    baseline = vae.independent_pixels_nats(train, test, config.likelihood, config.num_levels).mean()
    assert baseline - found["importance_weighted_nats_per_image"] > 2.0
    assert found["kl_nats_per_image"] > 1.0  # of log 4


def excess_over_ppca(num_steps=1_500, **settings):
    """Nats per image of a linear VAE above probabilistic PCA, on what both were fitted to."""
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((6, 2)) * [1.0, 0.4]
    x = rng.standard_normal((400, 2)) @ loadings.T + 0.2 * rng.standard_normal((400, 6))
    x = x.astype(np.float32)
    config = vae.Config(
        **{
            **{"hidden_sizes": "", "pixels": "grey", "likelihood": "gaussian", "num_latents": 2},
            **{"batch_size": 200, "learning_rate": 0.05, "decay_steps": num_steps},
            **settings,
        }
    )
    learner, net = vae.make(config, 6), vae.model(config, 6)

    @jax.jit
    def run(x):
        state = learner.init(jax.random.key(0))
        state = jax.lax.fori_loop(0, num_steps, lambda _, state: learner.step(state, x)[0], state)
        many = jnp.concatenate([x] * 20)  # as many draws of z each
        return vae.importance_weighted_nats(jax.random.key(1), net, state.params, many, 1).mean()

    return run(jnp.asarray(x)) + ppca.log_likelihood(ppca.fit(x, 2), x).mean()


def test_a_linear_vae_reaches_the_closed_form_of_probabilistic_pca():
    assert -0.005 < excess_over_ppca() < 0.05


@pytest.mark.parametrize("ablation", [{"kl_weight": 0.5}, {"variance": 0.1}, {"num_latents": 1}])
def test_a_linear_vae_with_another_objective_or_law_does_not(ablation):
    assert excess_over_ppca(**ablation) > 0.1


def margin(kl_weight=1.0, unplugged=False, num_seeds=3, num_steps=600):
    """Nats per unseen digit by which it beats independent pixels, [S], and its KL, [S]."""
    config = vae.Config(
        hidden_sizes="64",
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
