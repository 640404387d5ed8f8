"""The learning rate over the steps of a training."""

import optax
from ml_collections import ConfigDict

SCHEDULES = ("constant", "cosine")


def learning_rate_schedule(train: ConfigDict, total_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then constant or a half cosine to 0 at the last step."""
    peak, warmup = train.learning_rate, min(train.warmup_steps, total_steps - 1)
    if train.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            0.0 if warmup else peak, peak, warmup, total_steps
        )
    return optax.warmup_constant_schedule(0.0 if warmup else peak, peak, warmup)
