"""Pure Flax (linen) modules: embeddings → fusion → head, and the line that builds a model.

`embeddings`, `stems` and `fusions` hold what a configuration can name, a file each; `base` says
what these have in common, `assembly` puts them together; `encoder`, `dropout`, `convolution` are
what they are made of.
"""

from multimodal_vit.models.assembly import MultimodalViT
from multimodal_vit.models.attention import ATTENTION, SelfAttention
from multimodal_vit.models.base import Embedding, Fusion, Stem
from multimodal_vit.models.build import build_model, example_inputs, parameter_count
from multimodal_vit.models.encoder import Encoder, EncoderBlock

__all__ = [
    "ATTENTION",
    "Embedding",
    "Encoder",
    "EncoderBlock",
    "Fusion",
    "MultimodalViT",
    "SelfAttention",
    "Stem",
    "build_model",
    "example_inputs",
    "parameter_count",
]
