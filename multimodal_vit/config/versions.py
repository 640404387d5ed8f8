"""Configurations that an older program saved: its fields in the places they have now."""

from collections.abc import Iterator
from typing import Any

_FEATURES = ("image_features", "audio_features")
# What later became an option of components: the old field of `model`, then slot, component, option.
MOVED = (
    ("modality_embeddings", "fusion", "single_encoder", "modality_embeddings"),
    ("audio_patch_frames", "modalities", "audio", "patch_frames"),
    ("audio_layout", "modalities", "audio_features", "layout"),
    ("flip_rate", "modalities", "image_features", "flip_rate"),
    ("audio_image_sizes", "modalities", "image_features", "sizes"),
    ("audio_image_sizes", "modalities", "audio_features", "sizes"),
    ("audio_image_sizes", "fusion", "concatenation", "sizes"),
    ("audio_image_sizes", "fusion", "addition", "sizes"),
)


def new_places(field: str) -> Iterator[str]:
    """Where the value of an old field stands now, by dotted names."""
    for old, slot, name, option in MOVED:
        if field == f"model.{old}":
            yield (
                f"model.fusion_options.{option}"
                if slot == "fusion"
                else f"model.modality_options.{name}.{option}"
            )


def brought_up_to_date(fields: dict[str, Any]) -> dict[str, Any]:
    """Saved fields with what has moved in its new place; recognised by the old fields' names.

    Args:
      fields: of an experiment, or of a study or search with experiments in it.
    """
    found = {
        name: brought_up_to_date(value) if isinstance(value, dict) else value
        for name, value in fields.items()
    }
    model = found.get("model")
    if not isinstance(model, dict) or "modalities" not in model:
        return found
    old = {name for name, *_ in MOVED} & model.keys()
    if not old:
        return found
    model = {name: value for name, value in model.items() if name not in old}
    for name, slot, component, option in MOVED:
        if name not in old:
            continue
        value = found["model"][name]
        if slot == "fusion" and model.get("fusion") == component:
            model.setdefault("fusion_options", {})[option] = value
        elif slot == "modalities" and component in model["modalities"]:
            own = model.setdefault("modality_options", {}).setdefault(component, {})
            own[option] = value
    return found | {"model": model}
