"""Objectives: what a model is trained for. `base` says what one is; the others are a file each."""

from multimodal_vit.objectives.base import Keys, Objective, Outputs
from multimodal_vit.objectives.metrics import match_logit

__all__ = ["COMPONENTS", "Keys", "Objective", "Outputs", "match_logit"]

_HERE = "multimodal_vit.objectives"
COMPONENTS = {
    "binary_cross_entropy": f"{_HERE}.supervised",
    "quadrant_cross_entropy": f"{_HERE}.supervised",
    "class_cross_entropy": f"{_HERE}.supervised",
    "masked_labels": f"{_HERE}.labels",
    "caption": f"{_HERE}.labels",
    "bag": f"{_HERE}.bag",
    "clip": f"{_HERE}.image_text",
    "siglip": f"{_HERE}.image_text",
    "matching": f"{_HERE}.matching",
    "mae": f"{_HERE}.masked_image",
    "simclr": f"{_HERE}.views_contrast",
    "swav": f"{_HERE}.views_contrast",
    "byol": f"{_HERE}.teacher",
    "data2vec": f"{_HERE}.teacher",
}
