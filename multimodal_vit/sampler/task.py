"""The task: what a pair of image and text looks like, and a batch of them."""

import dataclasses
import zlib
from typing import Any

import flax.struct
import jax

from multimodal_vit.errors import UserError
from multimodal_vit.sampler.held_out import can_hold_out


@dataclasses.dataclass(frozen=True)
class Task:
    """What a pair of image and text looks like, and how false texts are made.

    Attributes:
      grid: rows and columns of the grid; reading order is row by row.
      image_shape: H, W, C of one image of the data set.
      num_classes: K, also the size of the vocabulary.
      false_rate: probability of a false text.
      corruption: how false texts are made, a component of `task.corruption`.
      replacement_rate: probability that a label is replaced beyond the one that always is.
      held_out: what no pair shows or says, a key of `HELD_OUT`.
      audio_shape: F, C of one recording, where the words are spoken too.
      corruption_options: those of the corruption, names and values.
      augmentation: what becomes of the images of training pairs, keys of `views.AUGMENTATIONS`.
      num_labelled: how many different training pairs there are; 0: no end of them.
    """

    grid: tuple[int, int]
    image_shape: tuple[int, int, int]
    num_classes: int
    false_rate: float = 0.5
    corruption: str = "replace"
    replacement_rate: float = 0.25
    held_out: str = "nothing"
    audio_shape: tuple[int, int] | None = None
    corruption_options: tuple[tuple[str, Any], ...] = ()
    augmentation: tuple[str, ...] = ()
    num_labelled: int = 0

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise UserError(
                f"the task needs at least 2 classes to tell apart, not {self.num_classes}"
            )
        if not can_hold_out(self.held_out, self.num_classes, self.num_positions):
            raise UserError(
                f"task.held_out={self.held_out!r} leaves too little with {self.num_classes} "
                f"classes at {self.num_positions} positions: sequences need 100 different ones, "
                "pairs 5 classes and 2 positions"
            )

    def option(self, name: str) -> Any:
        """An option of the task's corruption."""
        return dict(self.corruption_options)[name]

    @property
    def num_positions(self) -> int:
        """n, the number of images in the grid and of words in the text."""
        return self.grid[0] * self.grid[1]

    @property
    def classifies(self) -> bool:
        """Whether there is no question of true or false: one image, and a text that is true."""
        return self.num_positions == 1 and self.false_rate == 0

    @property
    def canvas_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pasted image."""
        height, width, channels = self.image_shape
        return self.grid[0] * height, self.grid[1] * width, channels


@flax.struct.dataclass
class Speech:
    """Recordings to draw from, on the device.

    Attributes:
      features: float32 [M, F, C], sorted by class.
      first: int32 [K + 1], where each class begins, and M.
    """

    features: jax.Array
    first: jax.Array


INPUTS = ("image", "words", "audio")  # in the order of a batch's "present"


@flax.struct.dataclass
class Batch:
    """B pairs of image and text with their targets.

    Attributes:
      inputs: what a model may see: "image" uint8 [B, H, W, C] and "words" int32 [B, n]; where the
        words are spoken, also "audio" float32 [B, n, F, C] and "present" bool [B, 3], which of
        `INPUTS` the model gets.
      chosen: int32 [B, n], the images' places in the split, in reading order.
      labels: int32 [B, n], their classes.
      match: bool [B], the text names every image in reading order.
      classes: bool [B, K], the class is in the image.
      replaced: bool [B, n], where text and image differ.
      weight: float32 [B], 1, or 0 for the filling of an epoch's last batch.
      spoken: int32 [B, n], the recordings' places in the part, where the words are spoken.
    """

    inputs: dict[str, jax.Array]
    chosen: jax.Array
    labels: jax.Array
    match: jax.Array
    classes: jax.Array
    replaced: jax.Array
    weight: jax.Array
    spoken: jax.Array | None = None


def named_key(key: jax.Array, name: str) -> jax.Array:
    """An independent key for the purpose `name`; every random stream here has one."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)
