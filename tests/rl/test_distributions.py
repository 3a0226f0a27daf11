"""Laws of actions against NumPy and against sums and integrals written out."""

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.rl.distributions import Categorical, Gaussian, draw_noise


def test_categorical():
    logits = np.array([0.3, -1.2, 2.0, 0.0])
    p = np.exp(logits) / np.exp(logits).sum()
    law = Categorical(jnp.array(logits, jnp.float32))
    log_probs = jnp.stack([law.log_prob(jnp.int32(a)) for a in range(4)])
    np.testing.assert_allclose(log_probs, np.log(p), rtol=1e-5)
    np.testing.assert_allclose(law.entropy(), -(p * np.log(p)).sum(), rtol=1e-5)
    assert law.mode() == 2 and law.mode().dtype == jnp.int32


def test_categorical_draws_its_law():
    """n = 40,000: a share's deviation is at most 0.0025; 4.5 of them fail once in 100,000."""
    law = Categorical(jnp.array([0.3, -1.2, 2.0, 0.0]))
    actions = jax.vmap(law.sample)(draw_noise(jax.random.key(0), (40_000,), 4, 0))
    shares = np.bincount(actions, minlength=4) / 40_000
    np.testing.assert_allclose(shares, jax.nn.softmax(law.logits), atol=0.0113)


def test_gaussian():
    mean, std = np.array([0.5, -2.0]), np.array([0.3, 2.0])
    law = Gaussian(jnp.array(mean, jnp.float32), jnp.log(jnp.array(std, jnp.float32)))
    x = np.array([0.1, 1.0])
    density = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(
        law.log_prob(jnp.array(x, jnp.float32)), np.log(density.prod()), rtol=1e-5
    )
    # -E log p by the trapezoidal rule, in each dimension.
    grid = np.linspace(-12, 12, 20_001)
    entropy = 0.0
    for s in std:
        p = np.exp(-0.5 * (grid / s) ** 2) / (s * np.sqrt(2 * np.pi))
        entropy -= (p * np.log(np.maximum(p, 1e-300))).sum() * (grid[1] - grid[0])
    np.testing.assert_allclose(law.entropy(), entropy, rtol=1e-4)
    np.testing.assert_array_equal(law.mode(), law.mean)


def test_gaussian_draws_its_law():
    """n = 40,000: the mean's deviation is std / 200, the deviation's std / 283; 4.5 of them."""
    law = Gaussian(jnp.array([0.5, -2.0]), jnp.log(jnp.array([0.3, 2.0])))
    actions = jax.vmap(law.sample)(draw_noise(jax.random.key(0), (40_000,), 0, 2))
    z = (np.array(actions) - law.mean[None]) / np.array([0.3, 2.0])[None]
    np.testing.assert_allclose(z.mean(0), 0.0, atol=4.5 / 200)
    np.testing.assert_allclose(z.std(0), 1.0, atol=4.5 / 283)
    assert abs(np.corrcoef(z.T)[0, 1]) < 4.5 / 200
