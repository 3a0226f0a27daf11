"""Running any Learner: trainer, checkpoints, metric writers, devices. Knows no algorithm."""
