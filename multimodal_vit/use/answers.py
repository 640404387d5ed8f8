"""What a model answers about pictures of one's own."""

import dataclasses

import numpy as np
from matplotlib.figure import Figure

from multimodal_vit.use import drawing


@dataclasses.dataclass(frozen=True)
class Attention:
    """Where a model looks, of B pairs.

    Attributes:
      images: uint8 [B, H, W, C], what it saw, pasted.
      words: int [B, n].
      word_to_patch: float32 [B, L, heads, n, P], of each layer and head; P patches, row by row.
      patch_to_word: float32 [B, L, heads, P, n].
      rollout: float32 [B, P], from the class token to the patches through all layers.
      patches: rows and columns of the patches.
      grid: rows and columns of the images.
      class_names: the K names.
    """

    images: np.ndarray
    words: np.ndarray
    word_to_patch: np.ndarray
    patch_to_word: np.ndarray
    rollout: np.ndarray
    patches: tuple[int, int]
    grid: tuple[int, int]
    class_names: tuple[str, ...]

    def of_words(self) -> np.ndarray:
        """Where each word looks, float32 [B, n, P], in shares: the mean over layers and heads."""
        mean = self.word_to_patch.mean(axis=(1, 2))
        return mean / np.maximum(mean.sum(axis=-1, keepdims=True), 1e-9)

    def plot(self, pair: int = 0) -> Figure:
        """Draws where each word of a pair looks; `Figure.savefig` writes it."""
        return drawing.attention_figure(
            self.images[pair],
            [self.class_names[word] for word in self.words[pair]],
            self.of_words()[pair].reshape(-1, *self.patches),
            self.grid,
        )


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model answers to a pair.

    Attributes:
      true: the probability of "the text names the images in reading order"; None of a classifier of
        single images.
      classes: the probability of each class, by its name: that it is in the image. Of a classifier
        of single images they sum to 1. Empty where the verdict has no class units.
      image: uint8 [H, W, C], what the model saw: the images, fitted and pasted.
      text: the words.
      attention: where it looked, on request.
    """

    true: float | None
    classes: dict[str, float]
    image: np.ndarray
    text: tuple[str, ...]
    attention: Attention | None = None


def of_pair(attention: Attention, i: int) -> Attention:
    """The attention of one pair."""
    arrays = {
        field.name: getattr(attention, field.name)[i : i + 1]
        for field in dataclasses.fields(attention)
        if field.name not in ("patches", "grid", "class_names")
    }
    return dataclasses.replace(attention, **arrays)
