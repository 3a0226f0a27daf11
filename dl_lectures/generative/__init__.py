"""Generative models: what they learn can be sampled."""
