"""Action-value networks of one observation; batch with vmap."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


class MLP(nn.Module):
    """Rectified hidden layers and one linear output per action: obs [...] -> q [A]."""

    hidden_sizes: Sequence[int]
    num_actions: int  # A

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        """Returns the value of each action."""
        x = obs.ravel().astype(jnp.float32)
        for size in self.hidden_sizes:
            x = nn.relu(nn.Dense(size)(x))
        return nn.Dense(self.num_actions)(x)
