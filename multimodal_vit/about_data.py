"""What a model must know of its data: saved with each run, so that it can be used without them."""

import dataclasses
from pathlib import Path
from typing import Any, Self

from multimodal_vit.data import ImageSet, Splits
from multimodal_vit.data.values import MAX_CLASSES, MAX_SIDE
from multimodal_vit.errors import DamagedError
from multimodal_vit.files import read_json, set_aside, write_json
from multimodal_vit.pictures.appearance import Appearance, measure

ABOUT_DATA = "data.json"  # in a run's folder


@dataclasses.dataclass(frozen=True)
class AboutData:
    """What a model must know of its data.

    Attributes:
      class_names: the K names, in the order of the labels.
      image_shape: H, W, C of one image.
      audio_shape: F, C of one recording, where there are any.
      origin: of the data, for people.
      fingerprint: of the data, see `Splits.fingerprint`.
      appearance: what the training images look like.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    audio_shape: tuple[int, int] | None
    origin: str
    fingerprint: str
    appearance: Appearance

    @classmethod
    def of(cls, splits: Splits) -> Self:
        """Of a data set at hand; its appearance is measured on the training part alone."""
        train: ImageSet = splits.train
        return cls(
            train.class_names,
            train.images.shape[1:],
            train.recordings.features.shape[1:] if train.recordings else None,
            splits.origin,
            splits.fingerprint(),
            measure(train.images),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any], path: Path) -> Self:
        """What `to_json` gave.

        Raises:
          DamagedError: it is something else.
        """
        try:
            audio_shape = saved["audio_shape"]
            found = cls(
                tuple(map(str, saved["class_names"])),
                tuple(map(int, saved["image_shape"])),
                None if audio_shape is None else tuple(map(int, audio_shape)),
                str(saved["origin"]),
                str(saved["fingerprint"]),
                Appearance.from_json(saved["appearance"]),
            )
            height, width, channels = found.image_shape
            sizes = min(height, width) >= 1, max(height, width) <= MAX_SIDE, 1 <= channels <= 4
            if not all(sizes) or not 2 <= len(found.class_names) <= MAX_CLASSES:
                raise ValueError(f"images of {found.image_shape}, {len(found.class_names)} classes")
            return found
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(
                f"{path} is not a description of data as this program writes it ({error})"
            ) from error


def read(folder: Path) -> AboutData | None:
    """What a run keeps of its data; None where it began before runs did so.

    Raises:
      DamagedError: it is not as it was written.
    """
    path = folder / ABOUT_DATA
    return AboutData.from_json(read_json(path), path) if path.is_file() else None


def keep(splits: Splits, folder: Path) -> None:
    """Writes it into a run's folder, unless it is there; a damaged one is set aside."""
    try:
        found = read(folder)
    except DamagedError:
        set_aside(folder / ABOUT_DATA, folder)
        found = None
    if found is None or found.fingerprint != splits.fingerprint():
        write_json(folder / ABOUT_DATA, AboutData.of(splits).to_json())
