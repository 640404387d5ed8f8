"""What a folder that tensorflow_datasets prepared says of itself, read as plain JSON.

tensorflow_datasets would import the Python classes that this JSON names. A data folder must not
decide what is imported: here a feature is known by its name in a short list, and none is imported.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_vit.data.records import FORMATS
from multimodal_vit.data.values import MAX_CLASSES, check_class_names
from multimodal_vit.errors import UserError

VERSION = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}")
_FEATURES = "tensorflow_datasets.core.features."
KNOWN_FEATURES = (
    "Audio", "BBoxFeature", "ClassLabel", "FeaturesDict", "Image", "Scalar", "Sequence", "Tensor",
    "Text",
)  # fmt: skip
_MAX_TEXT = 16 << 20  # bytes of a description or of a list of names
_MAX_FILES = 100_000  # that a split is cut into
_DEFAULT_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclasses.dataclass(frozen=True)
class Described:
    """A prepared set.

    Attributes:
      folder: where it lies.
      features: what is said of each feature, by name.
      file_format: one of `records.FORMATS`.
      files: of each split, in order.
      counts: the examples in each split.
    """

    folder: Path
    features: Mapping[str, Mapping[str, Any]]
    file_format: str
    files: Mapping[str, tuple[Path, ...]]
    counts: Mapping[str, int]


def find(name: str, directory: Path) -> Path | None:
    """The newest prepared version below `directory/name`, or None.

    `name` may name a configuration or a version as well: "mnist", "cifar10/3.0.2".

    Raises:
      UserError: several configurations are prepared, and `name` does not say which.
    """
    found = []
    for depth in ("", "*/", "*/*/"):  # the version, in the set, in a configuration
        found += [path.parent for path in (directory / name).glob(f"{depth}features.json")]
    found = [path for path in found if VERSION.fullmatch(path.name)]
    if len(configurations := {path.parent for path in found}) > 1:
        names = sorted(str(path.relative_to(directory)) for path in configurations)
        raise UserError(
            f"{directory / name} holds several prepared sets; choose one with --config.data.name: "
            + ", ".join(names)
        )
    return max(found, key=lambda p: tuple(int(i) for i in p.name.split(".")), default=None)


def incomplete(name: str, directory: Path) -> Path | None:
    """A folder below `directory/name` in which a preparation was begun and not finished, or None.

    It is called like a version, alone or with more after it, and lacks the description.
    """
    begun = re.compile(VERSION.pattern + r"(\.?incomplete.*)?")
    for depth in ("", "*", "*/*"):
        for path in sorted((directory / name).glob(depth)) if depth else [directory / name]:
            if begun.fullmatch(path.name) and path.is_dir():
                whole = VERSION.fullmatch(path.name) and (path / "features.json").is_file()
                if not whole:
                    return path
    return None


def absent(name: str, directory: Path) -> str:
    """Why `find` finds nothing, as a sentence."""
    if (begun := incomplete(name, directory)) is not None:
        return (
            f"the prepared tensorflow_datasets set {begun} is incomplete: it has no features.json, "
            "which is written last. Prepare the data set again"
        )
    return (
        f"no prepared tensorflow_datasets set {name!r} in {directory}: "
        f"{directory / name / '<version>' / 'features.json'} does not exist"
    )


def read(folder: Path) -> Described:
    """Reads `features.json` and `dataset_info.json`.

    Raises:
      UserError: not there, damaged, or they describe what is not read here.
    """
    features = _features(folder)
    info = _json(folder / "dataset_info.json")
    files, counts = {}, {}
    try:
        file_format = str(info.get("fileFormat", "tfrecord"))
        if file_format not in FORMATS:
            raise UserError(
                f"{folder} is in the format {file_format!r}; prepare the data set with "
                'file_format="array_record"'
            )
        for part in info["splits"]:
            name, lengths = str(part["name"]), [int(i) for i in part.get("shardLengths", ())]
            if len(lengths) > _MAX_FILES or min(lengths, default=0) < 0:
                raise ValueError(f"the split {name!r} has {len(lengths):,} files of some lengths")
            template = str(part.get("filepathTemplate") or _DEFAULT_TEMPLATE)
            wanted = {"DATASET": str(info["name"]), "SPLIT": name, "FILEFORMAT": file_format}
            files[name] = tuple(
                folder / _file_name(template, wanted, index, len(lengths))
                for index in range(len(lengths))
            )
            counts[name] = sum(lengths)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder / 'dataset_info.json'} cannot be read as the description of a prepared set "
            f"({type(error).__name__}: {error}). Prepare the data set again"
        ) from error
    return Described(folder, features, file_format, files, counts)


def _file_name(template: str, wanted: Mapping[str, str], index: int, count: int) -> str:
    """The name of one file of a split; it cannot leave the folder."""
    digits = max(5, len(str(count)))
    numbers = {
        "SHARD_INDEX": f"{index:0{digits}}",
        "NUM_SHARDS": f"{count:0{digits}}",
        "SHARD_X_OF_Y": f"{index:0{digits}}-of-{count:0{digits}}",
    }
    name = template
    for field, value in {**wanted, **numbers}.items():
        name = name.replace("{" + field + "}", value)
    if Path(name).name != name or "\0" in name or len(name) > 255 or name in ("", ".", ".."):
        raise ValueError(f"{name[:80]!r} is no name of a file in this folder")
    return name


def _features(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    described = _json(folder / "features.json")
    try:
        features = dict(described["featuresDict"]["features"])
        for name, feature in features.items():
            of = str(feature.get("pythonClassName", ""))
            known = of.startswith(_FEATURES) and of.rpartition(".")[2] in KNOWN_FEATURES
            if of and not known:
                raise UserError(
                    f"{folder}: the feature {name!r} is a {of[:100]}, which is not imported; known "
                    f"are those of tensorflow_datasets called {', '.join(KNOWN_FEATURES)}. Prepare "
                    "the data set with these"
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder / 'features.json'} does not describe features ({type(error).__name__}: "
            f"{error}). Prepare the data set again"
        ) from error
    return features


def class_names(folder: Path, name: str, feature: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a class label: those of its file, one a line, else its numbers.

    Raises:
      UserError: no such description, or names that do not tell the classes apart.
    """
    path = folder / f"{name}.labels.txt"
    try:
        count = int(feature["classLabel"]["numClasses"])
        names = tuple(line.strip() for line in _text(path).split("\n") if line.strip())
    except FileNotFoundError:
        names = ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: the classes of the feature {name!r} cannot be read "
            f"({type(error).__name__}: {error}). Prepare the data set again"
        ) from error
    if not names and 0 < count <= MAX_CLASSES:
        names = tuple(str(label) for label in range(count))
    if len(names) != count:
        raise UserError(
            f"{folder} has {count:,} classes, of which {path.name} names {len(names):,}; at most "
            f"{MAX_CLASSES:,} are read. Prepare the data set again"
        )
    check_class_names(names, folder)
    return names


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: the prepared set is incomplete. Prepare the data set again"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Prepare the data set again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object. Prepare the data set again")
    return content


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_TEXT:
        raise ValueError(f"it has {path.stat().st_size:,} bytes; at most {_MAX_TEXT:,} are read")
    return path.read_text(encoding="utf-8")
