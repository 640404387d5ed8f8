"""Image and sound: is it the model or its training? Four models, each with two recipes.

Models A, B and C of Gandham, "Multimodal Deep Learning on MNIST data", and one Transformer encoder
at C's size; each trained as the paper does (Adam at a constant rate) and as the encoder here
(warm-up, cosine decay, gradients clipped, a modality missing from a tenth of the examples).
Preset `thesis` (the default): 10 epochs. Preset `small`: 2 epochs, for two cores. docs/audio.md.

    python -m multimodal_vit.main --mode=study --config=configs/study_recipes.py:small
"""

from pathlib import Path

from ml_collections import ConfigDict

from multimodal_vit.config import ENCODER_RECIPE, changed, classifier, from_file, get
from multimodal_vit.study import study


def get_config(name: str = "thesis") -> ConfigDict:
    folder = Path(__file__).parent
    models = {m: from_file(f"{folder}/audio_image_{m}.py:{name}") for m in ("a", "b", "c", "vit")}
    paper = {field: get(classifier(name), field) for field in ENCODER_RECIPE}
    recipes = {"paper": paper, "encoder": ENCODER_RECIPE}
    config = study(
        "A digit from its image and a recording: the model or its training?",
        {f"{m}_{r}": changed(models[m], recipes[r]) for m in models for r in recipes},
        comparisons=[(f"vit_{r}", f"{m}_{r}") for r in recipes for m in ("a", "b", "c")],
    )
    config.question = "Models are compared within a recipe."
    return config
