"""Where images, labels and class names come from: arrays in host memory and nothing else.

Each source is one module with a function `(name, directory, cache_directory) -> Splits`, listed in
`SOURCES`. `load_splits` finds the directory and calls the source that the configuration names. A
source of recordings is `(name, directory, test_speakers) -> RecordingSplits`, in `AUDIO_SOURCES`.
"""

import atexit
import dataclasses
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multimodal_vit.components import get, names
from multimodal_vit.data import (
    description,
    digits,
    download,
    idx,
    prepared,
    spoken_digit,
    written_spoken,
)
from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.recordings import Recordings, RecordingSplits
from multimodal_vit.data.splitting import redrawn, split
from multimodal_vit.errors import UserError

__all__ = [
    "AUDIO_SOURCES",
    "SOURCES",
    "ImageSet",
    "RecordingSplits",
    "Recordings",
    "Splits",
    "data_directory",
    "default_cache_directory",
    "load_local",
    "load_splits",
    "split",
]


def automatic(name: str, directory: Path, cache_directory: Path) -> Splits:
    """Reads `name` wherever it lies below `directory`; downloads it where its sums are recorded.

    Looked for in this order: a set prepared by tensorflow_datasets, IDX files, a download. It is
    the same data set each time; another set is never taken instead.
    """
    if description.find(name, directory):
        return prepared.load(name, directory, cache_directory)
    # Files that lie flat in the directory have no name; only known contents are taken for `name`.
    files = idx.find(name, directory, flat=name in idx.CONTENTS_SHA256)
    if name in download.DOWNLOADABLE and len(files) < len(idx.FILES):
        download.fetch(name, directory)
        return idx.load(name, directory, cache_directory)
    if files:
        return idx.load(name, directory, cache_directory)
    if description.incomplete(name, directory):
        raise UserError(description.absent(name, directory))
    near = idx.look_alikes(directory / name, idx.FILES["train images"])
    raise UserError(
        f"no data set {name!r} in {directory}: neither {directory / name} with IDX files "
        f"({idx.FILES['train images']}[.gz], …) nor a tensorflow_datasets folder "
        f"{directory / name / '<version>'}{near}. Put it there, name another folder with "
        "--config.data.directory=…, or choose one that can be downloaded: "
        f"{', '.join(download.DOWNLOADABLE)}. (IDX files right in {directory} are taken with "
        "--config.data.source=idx; folders of pictures with folder, an .npz file with arrays)"
    )


SOURCES: dict[str, Callable[[str, Path, Path], Splits] | str] = {  # or the module that has it
    "auto": automatic,
    "digits": digits.load,
    "folder": "multimodal_vit.data.folder",
    "arrays": "multimodal_vit.data.npz",
    "idx": idx.load,
    "tfds": prepared.load,
    "written_spoken": written_spoken.load,
}
# By `data.audio`, which is also the folder below the data directory.
AUDIO_SOURCES: dict[str, Callable[[str, Path, Sequence[str]], RecordingSplits]] = {
    "spoken_digit": spoken_digit.load,
    "written_spoken_digits": written_spoken.recordings,
}


def data_directory(configured: str) -> Path:
    """The data folder: `config.data.directory`, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    chosen = configured or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return _from_home(chosen)


def default_cache_directory() -> Path:
    """$XDG_CACHE_HOME/multimodal_vit, by default ~/.cache/multimodal_vit.

    For a user without a home, a folder that ends with the process.
    """
    folder = _from_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return (folder if folder.is_absolute() else _folder_of_process()) / "multimodal_vit"


@functools.cache
def _folder_of_process() -> Path:
    folder = tempfile.mkdtemp(prefix="multimodal_vit-")  # for this user alone: programs lie there
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _from_home(path: str) -> Path:
    """A path with "~" replaced by the home; left as it is for a user without one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def load_splits(
    source: str,
    name: str,
    directory: str = "",
    audio: str = "",
    test_speakers: Sequence[str] = (),
    source_options: Sequence[tuple[str, Any]] = (),
    audio_options: Sequence[tuple[str, Any]] = (),
    validation_share: float = 0.0,
) -> Splits:
    """Reads a data set and splits it into training, validation and test parts.

    Args:
      source: a component of `data.source`.
      name: the data set, such as "mnist".
      directory: the data folder; see `data_directory` for the default.
      audio: recordings that each part gets besides, a component of `data.audio`; "": none.
      test_speakers: whose recordings are the test part; none: every speaker is in every part.
      source_options: what the source alone can be told, names and values; defaults for the rest.
      audio_options: the same for the recordings.
      validation_share: see `splitting.redrawn`; 0: the validation part that the source has.

    Raises:
      UserError: unknown source, nothing there, or files that do not hold such a data set.
    """
    chosen = get("data.source", source)
    if test_speakers and not audio:
        raise UserError(
            f"data.test_speakers={tuple(test_speakers)} holds speakers out, but no recordings are "
            f"read; name some with data.audio: {', '.join(names('data.audio'))}"
        )
    hear = get("data.audio", audio).target if audio else None
    where = data_directory(directory), default_cache_directory()
    splits = chosen.target(name, *where, **chosen.defaults | dict(source_options))
    if validation_share:
        splits = redrawn(splits, validation_share)
    if hear is None:
        return splits
    spoken = hear(audio, data_directory(directory), test_speakers, **dict(audio_options))
    if spoken.class_names != splits.train.class_names:
        raise UserError(
            f"data.audio={audio!r} speaks the classes {', '.join(spoken.class_names)}, but "
            f"{name} shows {', '.join(splits.train.class_names)}; take images of the same classes, "
            "such as --config.data.name=mnist"
        )
    parts = {
        part: dataclasses.replace(getattr(splits, part), recordings=getattr(spoken, part))
        for part in ("train", "validation", "test")
    }
    return dataclasses.replace(splits, **parts, origin=f"{splits.origin}, {spoken.origin}")


def load_local(source: str, name: str, directory: str = "") -> Splits:
    """As `load_splits`, but never downloads.

    Raises:
      UserError: not there, or no such data set.
    """
    if source in ("auto", "digits"):
        source = "tfds" if description.find(name, data_directory(directory)) else "idx"
    return load_splits(source, name, directory)
