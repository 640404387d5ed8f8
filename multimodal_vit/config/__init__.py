"""An experiment's configuration: fields, presets, options, validation, saving.

An experiment is a file with `get_config(preset)`; it starts from `thesis()` or `small()` and names
what it changes. `problems` checks a configuration as a whole.
"""

from multimodal_vit.config.check import check, check_with_data, problems, raise_all
from multimodal_vit.config.derived import data_arguments, make_task, task_on
from multimodal_vit.config.edit import changed, from_file, prepared
from multimodal_vit.config.fields import fields, get, settled, thesis
from multimodal_vit.config.presets import (
    ENCODER_RECIPE,
    PRESETS,
    audio_image,
    classifier,
    faithful,
    preset,
    small,
    speedrun,
)
from multimodal_vit.config.rules import chosen, has_verdict
from multimodal_vit.config.saved import (
    FREE_FIELDS,
    differences,
    from_json,
    lengthens,
    load,
    to_json,
)
from multimodal_vit.config.types import type_problems

__all__ = [
    "ENCODER_RECIPE",
    "FREE_FIELDS",
    "PRESETS",
    "audio_image",
    "changed",
    "check",
    "check_with_data",
    "chosen",
    "classifier",
    "data_arguments",
    "differences",
    "faithful",
    "fields",
    "from_file",
    "from_json",
    "get",
    "has_verdict",
    "lengthens",
    "load",
    "make_task",
    "prepared",
    "preset",
    "problems",
    "raise_all",
    "settled",
    "small",
    "speedrun",
    "task_on",
    "thesis",
    "to_json",
    "type_problems",
]
