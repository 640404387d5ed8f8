"""The four-quadrant task: pairs of a grid of images and a text of labels, drawn on the device."""

from multimodal_vit.sampler.batches import (
    base_images,
    epoch_order,
    recordings_of,
    sample_batch,
    steps_per_epoch,
)
from multimodal_vit.sampler.grids import Grids, cells, grids_where, moved, paste, uniform_grids
from multimodal_vit.sampler.held_out import (
    HELD_OUT,
    can_hold_out,
    pair_is_held_out,
    sequence_is_held_out,
)
from multimodal_vit.sampler.task import INPUTS, Batch, Speech, Task, named_key
from multimodal_vit.sampler.texts import (
    CORRUPTIONS,
    Corruption,
    corruption_where,
    mix_labels,
    permute_labels,
    replace_labels,
    replacement_chances,
)

__all__ = [
    "CORRUPTIONS",
    "HELD_OUT",
    "INPUTS",
    "Batch",
    "Corruption",
    "Grids",
    "Speech",
    "Task",
    "base_images",
    "can_hold_out",
    "cells",
    "corruption_where",
    "epoch_order",
    "grids_where",
    "mix_labels",
    "moved",
    "named_key",
    "pair_is_held_out",
    "paste",
    "permute_labels",
    "recordings_of",
    "replace_labels",
    "replacement_chances",
    "sample_batch",
    "sequence_is_held_out",
    "steps_per_epoch",
    "uniform_grids",
]
