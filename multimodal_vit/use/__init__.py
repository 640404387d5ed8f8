"""A trained model in use: loaded from its folder alone, asked about pictures of one's own."""

from multimodal_vit.use.answers import Attention, Prediction
from multimodal_vit.use.loading import load
from multimodal_vit.use.model import Model

__all__ = ["Attention", "Model", "Prediction", "load"]
