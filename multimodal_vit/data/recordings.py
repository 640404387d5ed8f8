"""`Recordings`, spoken words beside the images, and the rules that split them."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from multimodal_vit.errors import UserError, hint

NUM_TEST, NUM_VALIDATION = 5, 4  # of the recordings of each word by each speaker


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Spoken words as cepstral coefficients, in host memory, sorted by class.

    Attributes:
      features: float32 [M, F, C], F frames of C coefficients.
      labels: int32 [M], ascending.
      speakers: str [M]; "" where the source does not say.
      waves: int16 [M, S], the second of sound behind each; None where the source has none.
      sample_rate: of the waves, Hz.
    """

    features: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    waves: np.ndarray | None = None
    sample_rate: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: np.ndarray | slice) -> "Recordings":
        """Some of them, by places int [M'] or bool [M], sorted by class."""
        which = np.arange(len(self))[which]
        which = which[np.argsort(self.labels[which], kind="stable")]
        waves = None if self.waves is None else self.waves[which]
        return dataclasses.replace(
            self,
            features=self.features[which],
            labels=self.labels[which],
            speakers=self.speakers[which],
            waves=waves,
        )

    def fingerprint(self) -> str:
        """First 16 hex digits of the sha256 of features and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.features))
        digest.update(np.ascontiguousarray(self.labels))
        return digest.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class RecordingSplits:
    """Recordings for training, validation and test; no recording is in two parts.

    Attributes:
      class_names: the words, by label.
      origin: where they were read from.
    """

    train: Recordings
    validation: Recordings
    test: Recordings
    class_names: tuple[str, ...]
    origin: str


def split_recordings(
    recordings: Recordings,
    takes: np.ndarray,
    class_names: tuple[str, ...],
    test_speakers: Sequence[str],
    origin: str,
) -> RecordingSplits:
    """Splits by recording or, with `test_speakers`, by speaker.

    Of each word by each speaker, by number of the take: the first 5 are the test part (as the
    publisher of the Free Spoken Digit Dataset has it), the next 4 validate, the others train. With
    `test_speakers` all of their recordings, and no others, are the test part; the next 4 of each
    word by the other speakers still validate, so that no unseen speaker takes part in any choice.

    Args:
      recordings: all of them.
      takes: int [M], the number of the recording among those of its word and speaker.
      class_names: the words, by label.
      test_speakers: names, or none.
      origin: for people.

    Raises:
      UserError: no such speaker, or nothing left for a part.
    """
    known = sorted(set(recordings.speakers.tolist()))
    for name in test_speakers:
        if name not in known:
            raise UserError(
                f"data.test_speakers: {name!r} is no speaker of {origin}; there are: "
                f"{', '.join(known)}{hint(name, known)}"
            )
    unseen = np.isin(recordings.speakers, list(test_speakers))
    first, next_ = takes < NUM_TEST, (takes >= NUM_TEST) & (takes < NUM_TEST + NUM_VALIDATION)
    test = unseen if test_speakers else first
    validation = next_ & ~unseen
    train = ~(test | validation)
    return checked(recordings[train], recordings[validation], recordings[test], class_names, origin)


def checked(
    train: Recordings,
    validation: Recordings,
    test: Recordings,
    class_names: tuple[str, ...],
    origin: str,
) -> RecordingSplits:
    """The parts, with features standardised by the training part: each coefficient to 0 ± 1.

    Raises:
      UserError: a part lacks a word.
    """
    for name, part in (("training", train), ("validation", validation), ("test", test)):
        absent = sorted(set(range(len(class_names))) - set(part.labels.tolist()))
        if absent:
            raise UserError(
                f"{origin}: the {name} part has no recording of {class_names[absent[0]]!r}; each "
                "part needs every word. With data.test_speakers some speakers must be left over"
            )
    mean = train.features.mean(axis=(0, 1), dtype=np.float64)  # (C,)
    std = train.features.std(axis=(0, 1), dtype=np.float64)
    std = np.where(std > 0, std, 1.0)

    def standardised(part: Recordings) -> Recordings:
        features = ((part.features - mean) / std).astype(np.float32)
        return dataclasses.replace(part, features=features)

    parts = [standardised(part) for part in (train, validation, test)]
    return RecordingSplits(*parts, class_names, origin)
