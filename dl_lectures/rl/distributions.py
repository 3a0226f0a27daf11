"""Laws of an action, as a policy network puts them out; of one action, batch with vmap.

A: actions to choose from, D: numbers of a continuous action.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dl_lectures.learner import Key


class Categorical(NamedTuple):
    """One of A actions."""

    logits: jax.Array  # [A]

    def sample(self, noise: jax.Array) -> jax.Array:
        """Returns the action, int32 [], that the noise [A] of `draw_noise` chooses."""
        return jnp.int32((self.logits + noise).argmax())

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Returns the log-probability [] of an action, in nats."""
        # A product instead of a look-up: its gradient is no scatter.
        chosen = jax.nn.one_hot(action, self.logits.size)
        return (chosen * jax.nn.log_softmax(self.logits)).sum()

    def entropy(self) -> jax.Array:
        """Returns the entropy [], in nats."""
        log_probs = jax.nn.log_softmax(self.logits)
        return -(jnp.exp(log_probs) * log_probs).sum()

    def mode(self) -> jax.Array:
        """Returns the most probable action, int32 []."""
        return jnp.int32(self.logits.argmax())


class Gaussian(NamedTuple):
    """D independent normal numbers."""

    mean: jax.Array  # [D]
    log_std: jax.Array  # [D]

    def sample(self, noise: jax.Array) -> jax.Array:
        """Returns the action, float32 [D], that the noise [D] of `draw_noise` chooses."""
        return self.mean + jnp.exp(self.log_std) * noise

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Returns the log-density [] of an action, in nats."""
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -(0.5 * z**2 + self.log_std + 0.5 * jnp.log(2.0 * jnp.pi)).sum()

    def entropy(self) -> jax.Array:
        """Returns the differential entropy [], in nats."""
        return (self.log_std + 0.5 * jnp.log(2.0 * jnp.pi * jnp.e)).sum()

    def mode(self) -> jax.Array:
        """Returns the most probable action, float32 [D]."""
        return self.mean


def draw_noise(key: Key, shape: Sequence[int], num_actions: int, num_dims: int) -> jax.Array:
    """Draws what `sample` needs for many actions at once. The key is consumed.

    Args:
      key: of the draw.
      shape: of the actions.
      num_actions: A; 0 where actions are continuous.
      num_dims: D; not used where they are not.

    Returns:
      [*shape, A] Gumbel noise, whose addition to logits makes the maximum a draw from their law
      (Gumbel, 1954), or [*shape, D] standard normal noise.
    """
    if num_actions:
        return jax.random.gumbel(key, (*shape, num_actions))
    return jax.random.normal(key, (*shape, num_dims))
