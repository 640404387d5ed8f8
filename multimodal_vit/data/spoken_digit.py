"""The Free Spoken Digit Dataset as tensorflow_datasets prepares it, read without TensorFlow.

tensorflow_datasets cannot describe an Audio feature without TensorFlow. Its records are plain
examples, though: samples as integers, a file name that names the speaker and the take, a label.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multimodal_vit import audio
from multimodal_vit.data import prepared
from multimodal_vit.data.recordings import Recordings, RecordingSplits, split_recordings
from multimodal_vit.errors import UserError

FILE_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")  # digit, speaker, take
DIGITS = tuple(str(i) for i in range(10))


def load(name: str, directory: Path, test_speakers: Sequence[str]) -> RecordingSplits:
    """Reads the recordings below `directory/name` and splits them.

    Raises:
      UserError: nothing there, another kind of set, damaged records, or no such speaker.
    """
    folder = prepared.find(name, directory)
    if folder is None:
        raise UserError(
            f"no recordings {name!r} in {directory}: "
            f"{directory / name / '<version>' / 'features.json'} does not exist. Prepare them with "
            "tensorflow_datasets (which needs TensorFlow for this set), or name another folder "
            "with --config.data.directory=… or TFDS_DATA_DIR"
        )
    sample_rate, file_format, count = _describe(folder)
    import tensorflow_datasets as tfds  # late: it is slow to import

    features = tfds.features.FeaturesDict(
        {
            "audio": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            "audio/filename": tfds.features.Text(),
            "label": tfds.features.ClassLabel(num_classes=len(DIGITS)),
        }
    )
    waves, labels, speakers, takes = [], [], [], []
    try:
        for path in sorted(folder.glob(f"*-train.{file_format}-*")):
            for record in prepared.records(path, file_format):
                example = features.deserialize_example_np(record)
                match = FILE_NAME.fullmatch(example["audio/filename"].decode())
                if match is None:
                    raise ValueError(f"the name {example['audio/filename']!r} is of another form")
                wave = np.clip(example["audio"], -(2**15), 2**15 - 1).astype(np.int16)
                waves.append(audio.fit(wave, sample_rate))
                labels.append(int(example["label"]))
                speakers.append(match[2])
                takes.append(int(match[3]))
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


def _describe(folder: Path) -> tuple[int, str, int]:
    """The sample rate, the file format and the number of recordings."""
    try:
        features = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        features = features["featuresDict"]["features"]
        info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        (train,) = (part for part in info["splits"] if part["name"] == "train")
        count = sum(int(length) for length in train["shardLengths"])
        file_format = info["fileFormat"]
        sample_rate = int(features["audio"]["audio"]["sampleRate"])
        known = {"audio", "audio/filename", "label"} <= features.keys()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} is no prepared set of spoken words ({type(error).__name__}: {error}); it "
            "needs the features `audio`, `audio/filename` and `label`"
        ) from error
    if not known:
        raise UserError(
            f"{folder} is no prepared set of spoken words: its features are {', '.join(features)}; "
            "needed are `audio`, `audio/filename` and `label`"
        )
    return sample_rate, file_format, count
