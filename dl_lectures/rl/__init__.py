"""Reinforcement learning: environments, replay and deep Q-learning."""
