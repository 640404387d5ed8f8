"""All that a component of one's own needs, in one import: docs/extend.md.

    from multimodal_vit.extend import Fusion, Objective, component, option

What stands here stays, or changes with a line in the changelog.
"""

from multimodal_vit.components import component, option
from multimodal_vit.data import ImageSet, RecordingSplits, Splits
from multimodal_vit.data import split as split_images
from multimodal_vit.models import (
    Embedding,
    Encoder,
    EncoderBlock,
    Fusion,
    MultimodalViT,
    SelfAttention,
    Stem,
)
from multimodal_vit.models.dropout import Dropout
from multimodal_vit.models.encoder import TRUNK, encoder_problems
from multimodal_vit.models.fusions.single_encoder import SingleEncoder
from multimodal_vit.objectives import Keys, Objective, Outputs, match_logit
from multimodal_vit.objectives.metrics import accuracies, metric_names, targets
from multimodal_vit.objectives.supervised import Supervised
from multimodal_vit.parameters import Declaration, by_path, declare
from multimodal_vit.sampler import Batch, Task, named_key
from multimodal_vit.shapes import checked
from multimodal_vit.suites import Check, Suite

__all__ = [
    "TRUNK",
    "Batch",
    "Check",
    "Declaration",
    "Dropout",
    "Embedding",
    "Encoder",
    "EncoderBlock",
    "Fusion",
    "ImageSet",
    "Keys",
    "MultimodalViT",
    "Objective",
    "Outputs",
    "RecordingSplits",
    "SelfAttention",
    "SingleEncoder",
    "Splits",
    "Stem",
    "Suite",
    "Supervised",
    "Task",
    "accuracies",
    "by_path",
    "checked",
    "component",
    "declare",
    "encoder_problems",
    "match_logit",
    "metric_names",
    "named_key",
    "option",
    "split_images",
    "targets",
]
