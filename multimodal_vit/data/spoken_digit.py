"""The Free Spoken Digit Dataset as tensorflow_datasets prepares it, read without TensorFlow.

tensorflow_datasets cannot describe an Audio feature without TensorFlow. Its records are plain
examples, though: samples as integers, a file name that names the speaker and the take, a label.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multimodal_vit import audio
from multimodal_vit.arrays import check_size
from multimodal_vit.data import description, prepared
from multimodal_vit.data.description import Described
from multimodal_vit.data.recordings import Recordings, RecordingSplits, split_recordings
from multimodal_vit.data.records import records
from multimodal_vit.errors import UserError

FILE_NAME = re.compile(r"([0-9])_([^_]+)_([0-9]{1,9})\.wav")  # digit, speaker, take
MIN_HERTZ, MAX_HERTZ = 4_000, 192_000  # of speech that can be understood; of any recorder
DIGITS = tuple(str(i) for i in range(10))


def load(name: str, directory: Path, test_speakers: Sequence[str]) -> RecordingSplits:
    """Reads the recordings below `directory/name` and splits them.

    Raises:
      UserError: nothing there, another kind of set, damaged records, or no such speaker.
    """
    folder = description.find(name, directory)
    if folder is None:
        raise UserError(
            f"no recordings {name!r} in {directory}: {description.absent(name, directory)}. "
            "Prepare them with tensorflow_datasets (which needs TensorFlow for this set), or name "
            "another folder with --config.data.directory=… or TFDS_DATA_DIR"
        )
    described, sample_rate = _describe(folder)
    count = described.counts["train"]
    check_size(folder, "recordings", 2 * count * round(audio.SECONDS * sample_rate))
    waves, labels, speakers, takes = [], [], [], []
    try:
        for path in described.files["train"]:
            for record in records(path, described.file_format):
                wave, label, speaker, take = _recording(record)
                waves.append(audio.fit(wave, sample_rate))
                labels.append(label)
                speakers.append(speaker)
                takes.append(take)
                if len(labels) > count:
                    break
    except UserError:
        raise
    except Exception as error:  # of many kinds: whatever a damaged record raises
        raise UserError(
            f"{folder}: record {len(labels)} cannot be read ({type(error).__name__}: {error}). "
            "Prepare the data set again"
        ) from error
    if len(labels) != count or not labels:
        raise UserError(
            f"{folder} should hold {count} recordings and holds {len(labels)}. Prepare the data "
            "set again"
        )
    sound = np.stack(waves)
    recordings = Recordings(
        audio.mfcc_of(sound, sample_rate),
        np.array(labels, np.int32),
        np.array(speakers),
        sound,
        sample_rate,
    )
    origin = f"{name} (tensorflow_datasets, {folder})"
    return split_recordings(recordings, np.array(takes), DIGITS, test_speakers, origin)


def _recording(record: bytes) -> tuple[np.ndarray, int, str, int]:
    """Its samples int16 [S], its label, its speaker and the number of the take.

    Raises:
      ValueError: an example that is no such recording.
    """
    features = prepared.example(record)
    (name,) = features["audio/filename"].bytes_list.value
    label = prepared.scalar(features, "label", len(DIGITS))
    match = FILE_NAME.fullmatch(name.decode())
    if match is None or match[1] != DIGITS[label]:
        raise ValueError(f"the name {name[:80]!r} is of another form, or not of the digit {label}")
    wave = np.array(features["audio"].int64_list.value, np.int64)
    if not len(wave):
        raise ValueError("it has no samples")
    if wave.min() < -(2**15) or wave.max() >= 2**15:
        raise ValueError(f"its samples run from {wave.min()} to {wave.max()}, beyond 16 bits")
    return wave.astype(np.int16), label, match[2], int(match[3])


def _describe(folder: Path) -> tuple[Described, int]:
    """What the folder says of itself, and the sample rate."""
    described = description.read(folder)
    features = described.features
    if not {"audio", "audio/filename", "label"} <= features.keys():
        raise UserError(
            f"{folder} is no prepared set of spoken words: its features are {', '.join(features)}; "
            "needed are `audio`, `audio/filename` and `label`"
        )
    try:
        sample_rate = int(features["audio"]["audio"]["sampleRate"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} is no prepared set of spoken words ({type(error).__name__}: {error}); its "
            "feature `audio` must name the sample rate"
        ) from error
    if not MIN_HERTZ <= sample_rate <= MAX_HERTZ:
        raise UserError(
            f"{folder} has {sample_rate:,} samples a second; {MIN_HERTZ:,} to {MAX_HERTZ:,} are "
            "read. Prepare the data set again"
        )
    if "train" not in described.files:
        raise UserError(f"{folder} has no `train` split; it has: {', '.join(described.files)}")
    return described, sample_rate
