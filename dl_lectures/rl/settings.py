"""The settings that all deep agents share, and which of them are impossible."""

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any

from dl_lectures import layers


def at_least_one(config: Any, names: Iterable[str]) -> None:
    """Raises ValueError, with the flag, where a number is less than 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"--{name}={getattr(config, name)} must be at least 1.")


def between_0_and_1(config: Any, names: Iterable[str]) -> None:
    """Raises ValueError, with the flag, where a number lies outside of [0, 1]."""
    for name in names:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise ValueError(f"--{name}={getattr(config, name)} must lie between 0 and 1.")


def not_negative(config: Any, names: Iterable[str]) -> None:
    """Raises ValueError, with the flag, where a number is negative or not a number."""
    for name in names:
        if not getattr(config, name) >= 0:
            raise ValueError(f"--{name}={getattr(config, name)} must not be negative.")


@dataclasses.dataclass(frozen=True)
class Agent:
    """An environment, a network and how it learns. Environment steps are counted over all N."""

    env: Annotated[str, "gymnax environment"] = "CartPole-v1"
    env_size: Annotated[int, "N of DeepSea, which is N x N; 0: its own"] = 0
    sticky_actions: Annotated[float, "probability that the action before is repeated"] = 0.0
    max_episode_steps: Annotated[int, "time limit of an episode; 0: the environment's own"] = 0
    num_envs: Annotated[int, "N, environments that run side by side"] = 10
    hidden_sizes: Annotated[str, "units of the hidden layers, separated by commas"] = "120,84"
    conv_channels: Annotated[int, "filters of the 3 x 3 convolution before them; 0: none"] = 0
    discount: Annotated[float, "gamma, discount factor of a step"] = 0.99
    learning_rate: Annotated[float, "step size of Adam, at first"] = 2.5e-4
    learning_rate_end: Annotated[float, "step size of Adam after decay_steps"] = 2.5e-4
    decay_steps: Annotated[int, "steps of the learner in which it changes linearly"] = 10_000
    num_eval_episodes: Annotated[int, "episodes of one greedy evaluation"] = 32

    def __post_init__(self):
        at_least_one(self, ("num_envs", "decay_steps", "num_eval_episodes"))
        between_0_and_1(self, ("discount", "sticky_actions"))
        not_negative(self, ("env_size", "max_episode_steps", "conv_channels"))
        not_negative(self, ("learning_rate", "learning_rate_end"))
        layers.sizes_of(self.hidden_sizes)


@dataclasses.dataclass(frozen=True)
class OnPolicy(Agent):
    """An agent that plays T steps in each environment, learns from them, and forgets them."""

    num_steps: Annotated[int, "T, steps of each environment between two rounds of learning"] = 128
    num_epochs: Annotated[int, "passes over what was collected"] = 4
    num_minibatches: Annotated[int, "updates a pass"] = 8
    trace_decay: Annotated[float, "lambda: 0 one step, 1 Monte Carlo"] = 0.95
    learning_rate_end: Annotated[float, "step size of Adam after decay_steps"] = 0.0

    def __post_init__(self):
        super().__post_init__()
        at_least_one(self, ("num_steps", "num_epochs", "num_minibatches"))
        between_0_and_1(self, ("trace_decay",))

    @property
    def env_steps_per_update(self) -> int:
        """Environment steps that one step of the learner adds."""
        return self.num_envs * self.num_steps

    def env_steps(self, t: Any) -> Any:
        """Environment steps taken after t steps of the learner."""
        return self.env_steps_per_update * t
