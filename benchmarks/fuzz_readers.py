"""Gives every reader of foreign bytes inputs that are almost right: what becomes of them?

Each input is a valid file, or a folder of them, with a few things changed by someone who knows the
format: a field of a header, a length, the framing of a record, a value of JSON, the stream of a
gzip file, the header of a NumPy array, a picture in a record; checksums are often made right again,
so that what lies behind them is reached. A reader may read an input or refuse it with a `UserError`
(one line and exit code 2 on the command line), and nothing else. Each reader runs in a process of
its own with little memory; running out of it counts as a fault.

    python benchmarks/fuzz_readers.py --inputs 10000
    python benchmarks/fuzz_readers.py --readers idx --seed 7 --only 4711    # one input again
"""

import argparse
import gzip
import io
import json
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multimodal_vit import arrays, audio, data
from multimodal_vit.data import idx, prepared, spoken_digit, written_spoken
from multimodal_vit.errors import UserError

ROOM = 512 << 20  # bytes of memory that a reader may take beside what the program has loaded
CAP = 4 << 20  # `arrays.MAX_BYTES` here, so that inputs of some megabytes reach it
Files = dict[str, bytes]

# ---- changes of bytes ----

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 4_097, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40,
           2**62, 2**63 - 1, 2**64 - 1)  # fmt: skip


def change_bytes(rng: random.Random, content: bytes) -> bytes:
    """One change that knows nothing of the format."""
    found = bytearray(content)
    start = rng.randrange(len(found) + 1)
    end = min(len(found), start + rng.choice((1, 2, 4, 8, 64)))
    kind = rng.randrange(7)
    if kind == 0 and found:
        found[min(start, len(found) - 1)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del found[start:]
    elif kind == 2:
        del found[start:end]
    elif kind == 3:
        found[start:start] = found[start:end]
    elif kind == 4:
        found[start:end] = rng.randbytes(end - start)
    elif kind == 5:
        found += rng.randbytes(rng.choice((1, 3, 100)))
    else:
        form = rng.choice(("<I", ">I", "<Q", ">Q"))
        number = struct.pack(form, rng.choice(NUMBERS) % 256 ** struct.calcsize(form))
        found[start : start + len(number)] = number
    return bytes(found)


def early(rng: random.Random, content: bytes) -> bytes:
    """A change among the first bytes, where headers are."""
    cut = min(len(content), rng.choice((16, 64, 256)))
    return change_bytes(rng, content[:cut]) + content[cut:]


def of_bytes(rng: random.Random, content: bytes) -> bytes:
    """A few changes, more often in the header."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        content = rng.choice((early, change_bytes))(rng, content)
    return content


# ---- IDX ----


def idx_file(values: np.ndarray, kind: int = 0x08, shape: tuple[int, ...] | None = None) -> bytes:
    """An IDX file that says what it is told to say."""
    shape = values.shape if shape is None else shape
    sizes = struct.pack(f">{len(shape)}I", *shape)
    return struct.pack(">HBB", 0, kind, len(shape) % 256) + sizes + values.tobytes()


def idx_values(rng: random.Random) -> Files:
    """The four files, valid."""
    names = list(idx.FILES.values())
    random_values = np.random.RandomState(rng.randrange(2**32))
    found = {}
    for part, count in ((0, 36), (2, 6)):
        found[names[part]] = idx_file(random_values.randint(0, 256, (count, 4, 4)).astype(np.uint8))
        found[names[part + 1]] = idx_file((np.arange(count) % 3).astype(np.uint8))
    return found


def changed_idx(rng: random.Random) -> Files:
    """The four files, one of them changed: its type, its sizes, its values, its gzip stream."""
    files = idx_values(rng)
    name = rng.choice(list(files))
    content = files.pop(name)
    kind = rng.randrange(5)
    if kind == 0:
        dtype = rng.choice(("u1", "i1", ">i2", ">i4", ">f4", ">f8"))
        count = 36 if name.startswith("train") else 6
        shape = (count, 4, 4) if "images" in name else (count,)
        top = rng.choice((0, 2, 3, 40_000, 255, 256, -1, float("nan"), float("inf"), 1e300))
        with np.errstate(all="ignore"):
            values = np.full(shape, top if np.isfinite(top) or "f" in dtype else 7).astype(dtype)
        types = {v: k for k, v in idx.DTYPES.items()}
        content = idx_file(values, types[dtype])
    elif kind == 1:
        shape = tuple(rng.choice((0, 1, 3, 36, 2**16, 2**31, 2**32 - 1)) for _ in range(4))
        content = idx_file(np.zeros(rng.choice((0, 48)), np.uint8), 8, shape[: rng.randrange(5)])
    elif kind == 2:
        content = of_bytes(rng, content)
    zipped = rng.random() < 0.5
    if zipped:
        if kind == 3:  # kilobytes that unpack to megabytes
            size = rng.choice((10**6, CAP + 1_000))
            content = idx_file(np.zeros(size, np.uint8), 8, (size // 16, 4, 4))
        content = gzip.compress(content, 1)
        if rng.random() < 0.5:
            content = of_bytes(rng, content)
        if rng.random() < 0.2:
            content += content
    files[name + ".gz" * zipped] = content
    return files


def read_idx(folder: Path) -> None:
    """Reads the four files as a data set."""
    data.load_splits("idx", "letters", str(folder))


# ---- NumPy ----


def npy(array: np.ndarray) -> bytes:
    """A .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def changed_npy(rng: random.Random, content: bytes) -> bytes:
    """Another header, as text or as bytes, or other values."""
    length = struct.unpack("<H", content[8:10])[0]
    header, values = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    if rng.random() < 0.35:
        return of_bytes(rng, content)
    descr = rng.choice(
        (
            "<f4",
            "|O",
            "<U99999999",
            "|V0",
            "|S0",
            "<f99",
            ">i8",
            "<M8[s]",
            "(3,)<f4",
            "|b1",
            "<c16",
            "",
        )
    )
    shape = rng.choice(
        ("()", "(-1,)", "(1e9,)", "(10**12,)", "(99999999999999,)", "(2, 3", "[3]", "(True,)",
         "(" * 3_000, "(36, 784)", "(0, 784)", "None", "(3,) * 999", "'3'", "(36,)")
    )  # fmt: skip
    kind = rng.randrange(5)
    if kind == 0:
        header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': (36,), }}"
    elif kind == 1:
        header = (
            f"{{'descr': '|u1', 'fortran_order': {rng.choice((0, 1, 'x'))}, 'shape': {shape}, }}"
        )
    elif kind == 2:
        header = of_bytes(rng, header.encode("latin1")).decode("latin1")
    elif kind == 3:
        header = header * rng.choice((2, 900))
    else:
        array = rng.choice((np.nan, np.inf, -1.0, 300.0, 0.5))
        return npy(np.full((36,) if rng.random() < 0.5 else (36, 784), array))
    head = header.encode("latin1", "replace")
    version = rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0"))
    size = rng.choice((len(head), len(head), 0, 2**16 - 1))
    packed = struct.pack(
        "<I" if version[0] > 1 else "<H", size % 2**16 if version[0] == 1 else size
    )
    return b"\x93NUMPY" + version + packed + head + values


def changed_folder_of_npy(rng: random.Random) -> Files:
    """The six files of the Written and Spoken Digits Database, one of them changed."""
    found = {}
    for (kind, _), name in written_spoken.FILES.items():
        labels = (np.arange(36) % 10).astype(np.int64)
        values = np.arange(36 * 507, dtype=np.float32).reshape(36, 507) % 97
        images = (np.arange(36 * 784).reshape(36, 784) % 251).astype(np.uint8)
        found[name] = npy({"labels": labels, "sound": values, "images": images}[kind])
    name = rng.choice(list(found))
    found[name] = changed_npy(rng, found[name])
    return {f"letters/{name}": content for name, content in found.items()}


def read_folder_of_npy(folder: Path) -> None:
    """Reads them as images and as recordings."""
    try:
        written_spoken.load("letters", folder)
    finally:
        written_spoken.recordings("letters", folder, ())


def archive(members: Files, level: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An .npz archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", level) as zipped:
        for name, content in members.items():
            zipped.writestr(f"{name}.npy", content)
    return file.getvalue()


def changed_archive(rng: random.Random, members: dict[str, np.ndarray]) -> bytes:
    """An archive with a changed array, or changed itself."""
    contents = {name: npy(array) for name, array in members.items()}
    name = rng.choice(list(contents))
    kind = rng.randrange(4)
    if kind == 0:
        contents[name] = changed_npy(rng, contents[name])
    elif kind == 1:
        contents[name] = npy(np.zeros(rng.choice((10**6, CAP + 1_000)), np.uint8))
    elif kind == 2:
        del contents[name]
    content = archive(contents, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    if kind == 3:
        content = of_bytes(rng, content)
        if rng.random() < 0.5:  # the directory is at the end
            content = content[:-200] + change_bytes(rng, content[-200:])
    return content


def changed_predictions(rng: random.Random) -> Files:
    """Saved predictions, changed."""
    pairs, classes, words = 12, 3, 4
    members = {
        "logits": np.zeros((pairs, classes + 1), np.float32), "loss": np.zeros(pairs, np.float32),
        "match": np.zeros(pairs, bool), "classes": np.zeros((pairs, classes), bool),
        "words": np.zeros((pairs, words), np.int32), "chosen": np.zeros((pairs, words), np.int32),
        "labels": np.zeros((pairs, words), np.int32),
    }  # fmt: skip
    return {"predictions.npz": changed_archive(rng, members)}


def read_predictions(folder: Path) -> None:
    """Reads them as a run's."""
    from multimodal_vit.evaluate import Predictions

    Predictions.load(folder / "predictions.npz")


def changed_cache(rng: random.Random) -> Files:
    """A cache of decoded images, changed."""
    members = {
        "images": np.zeros((12, 4, 4, 1), np.uint8), "labels": np.zeros(12, np.int32),
        "class_names": np.array(["a", "b"]),
    }  # fmt: skip
    return {"cache.npz": changed_archive(rng, members)}


def read_cache(folder: Path) -> None:
    """Reads it; a damaged one is set aside and made anew."""
    from multimodal_vit.data.cache import cached

    anew = data.ImageSet(np.zeros((12, 4, 4, 1), np.uint8), np.zeros(12, np.int32), ("a", "b"))
    cached(folder / "cache.npz", lambda: anew)


# ---- records ----


def png(rng: random.Random, size: tuple[int, int] = (4, 4), kind: str = "PNG") -> bytes:
    """A picture."""
    file = io.BytesIO()
    pixels = np.frombuffer(rng.randbytes(size[0] * size[1]), np.uint8).reshape(size)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def changed_png(rng: random.Random) -> bytes:
    """Another size or kind in its header, with the right checksum; another format; other bytes."""
    kind = rng.randrange(4)
    if kind == 0:
        return png(rng, kind=rng.choice(("BMP", "GIF", "TIFF", "JPEG", "PPM")))
    if kind == 1:
        return png(rng, rng.choice(((4, 5), (1, 1), (8, 4))))
    content = bytearray(png(rng))
    if kind == 2:
        content[16:20] = struct.pack(">I", rng.choice(NUMBERS) % 2**32)
        content[20:24] = struct.pack(">I", rng.choice((4, rng.choice(NUMBERS) % 2**32)))
        content[24:26] = bytes((rng.choice((1, 2, 8, 16)), rng.choice((0, 2, 3, 4, 6, 9))))
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        return bytes(content)
    return of_bytes(rng, bytes(content))


def tf_example(**features: Any) -> bytes:
    """A record: bytes, whole numbers or fractions by name ("__" for "/")."""
    from tensorflow_datasets.proto import tf_example_pb2

    found = tf_example_pb2.Example()
    for name, value in features.items():
        values = value if isinstance(value, (list, np.ndarray)) else [value]
        feature = found.features.feature[name.replace("__", "/")]
        if len(values) and isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif len(values) and isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return found.SerializeToString()


def image_record(rng: random.Random, label: int, damage: bool) -> bytes:
    """A record of a picture and its label, right or changed."""
    if not damage:
        return tf_example(image=png(rng), label=label)
    wrong = rng.choice((-1, 3, 2**63 - 1, 0.5, b"x", [0, 1], []))
    kind = rng.randrange(5)
    if kind == 0:
        return tf_example(image=png(rng), label=wrong)
    if kind == 1:
        return tf_example(image=rng.choice((b"", 5, [png(rng)] * 2, [])), label=label)
    if kind == 2:
        return rng.choice((tf_example(label=label), tf_example(image=png(rng)), b""))
    if kind == 3:
        return of_bytes(rng, tf_example(image=png(rng), label=label))
    return tf_example(image=changed_png(rng), label=label)


def sound_record(rng: random.Random, number: int, damage: bool) -> bytes:
    """A record of a recording, right or changed."""
    digit, speaker = number % 10, ("ann", "bob")[number // 100]
    samples: Any = [rng.randrange(-999, 999) for _ in range(60)]
    name: Any = f"{digit}_{speaker}_{number % 100 // 10}.wav".encode()
    label: Any = digit
    if damage:
        samples = rng.choice((samples, [2**40], [], [0.5], [-(2**63)], b"sound"))
        name = rng.choice(
            (name, b"", b"\xff.wav", b"9_x_99999999999999999999.wav", 7, b"1_a_1.wav")
        )
        label = rng.choice((label, -1, 10, 2**62, 0.5, []))
    record = tf_example(audio=samples, audio__filename=name, label=label)
    return of_bytes(rng, record) if damage and rng.random() < 0.4 else record


def tfrecord(rng: random.Random, records: list[bytes], damage: bool) -> bytes:
    """A TFRecord file; damaged in a length, with its checksum or without, or in any byte."""
    from tensorboardX.record_writer import masked_crc32c

    found, broken = b"", rng.randrange(len(records)) if damage else -1
    for number, record in enumerate(records):
        length = struct.pack("<Q", len(record))
        if number == broken and rng.random() < 0.5:
            length = struct.pack("<Q", rng.choice(NUMBERS))
        found += length + struct.pack("<I", masked_crc32c(length))
        found += record + struct.pack("<I", masked_crc32c(record))
    return of_bytes(rng, found) if damage and rng.random() < 0.5 else found


def array_record(rng: random.Random, records: list[bytes], damage: bool) -> bytes:
    """An array_record file; damaged in the header of a chunk or in any byte."""
    from array_record.python.array_record_module import ArrayRecordWriter

    options = rng.choice(("group_size:1", "group_size:4", "group_size:1,uncompressed"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records"
        writer = ArrayRecordWriter(str(path), options)
        for record in records:
            writer.write(record)
        writer.close()
        content = path.read_bytes()
    if not damage:
        return content
    if rng.random() < 0.5:
        at = 64 + 8 * rng.randrange(5)
        return content[:at] + struct.pack("<Q", rng.choice(NUMBERS)) + content[at + 8 :]
    return of_bytes(rng, content[: rng.choice((2_000, len(content)))])


WRITERS = {"tfrecord": tfrecord, "array_record": array_record}
IMAGES = {
    "image": {
        "image": {"dtype": "uint8", "shape": {"dimensions": ["4", "4", "1"]}},
        "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
    },
    "label": {
        "classLabel": {"numClasses": "3"},
        "pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
    },
}
SOUNDS = {
    "audio": {"audio": {"dtype": "int64", "sampleRate": "4000"}},
    "audio/filename": {"text": {}},
    "label": {"classLabel": {"numClasses": "10"}},
}


def described(features: dict[str, Any], counts: dict[str, int], file_format: str) -> Files:
    """What tensorflow_datasets writes beside the records."""
    splits = [{"name": name, "shardLengths": [str(n)]} for name, n in counts.items()]
    info = {"name": "letters", "fileFormat": file_format, "version": "1.0.0", "splits": splits}
    return {
        "features.json": json.dumps({"featuresDict": {"features": features}}).encode(),
        "dataset_info.json": json.dumps(info).encode(),
    }


def changed_prepared(rng: random.Random, file_format: str) -> Files:
    """A prepared set of pictures, its records or a file of them changed."""
    files = described(IMAGES, {"train": 18, "test": 6}, file_format)
    part, how = rng.choice(("train", "test")), rng.choice(("record", "file", "text"))
    for name, count in (("train", 18), ("test", 6)):
        bad = rng.randrange(count) if name == part and how == "record" else -1
        records = [image_record(rng, n % 3, n == bad) for n in range(count)]
        content = WRITERS[file_format](rng, records, name == part and how == "file")
        files[f"letters-{name}.{file_format}-00000-of-00001"] = content
    if how == "text":
        files["label.labels.txt"] = rng.choice(
            (b"a\nb\nc\n", b"a\na\nc", b"a\nb", b"\xff\xfe\n\n1", b"\0\n1\n2", b"a\n" * 10_001)
        )
    return {f"letters/1.0.0/{name}": content for name, content in files.items()}


def changed_description(rng: random.Random) -> Files:
    """A prepared set of pictures, its description changed."""
    files = described(IMAGES, {"train": 18, "test": 6}, "tfrecord")
    for name, count in (("train", 18), ("test", 6)):
        records = [image_record(rng, n % 3, False) for n in range(count)]
        files[f"letters-{name}.tfrecord-00000-of-00001"] = tfrecord(rng, records, False)
    name = rng.choice(("features.json", "dataset_info.json"))
    files[name] = changed_json(rng, files[name])
    return {f"letters/1.0.0/{name}": content for name, content in files.items()}


def changed_sounds(rng: random.Random) -> Files:
    """A prepared set of recordings, its records, their file or its description changed."""
    file_format, count = rng.choice(("tfrecord", "array_record")), 200
    files, how = described(SOUNDS, {"train": count}, file_format), rng.randrange(3)
    bad = rng.randrange(count) if how == 0 else -1
    records = [sound_record(rng, n, n == bad) for n in range(count)]
    content = WRITERS[file_format](rng, records, how == 1)
    files[f"letters-train.{file_format}-00000-of-00001"] = content
    if how == 2:
        name = rng.choice(("features.json", "dataset_info.json"))
        files[name] = changed_json(rng, files[name])
    return {f"letters/1.0.0/{name}": content for name, content in files.items()}


def read_prepared(folder: Path) -> None:
    """Reads a prepared set of pictures; the cache lies in the folder of the input."""
    prepared.load("letters", folder, folder / "cache")


def read_sounds(folder: Path) -> None:
    """Reads a prepared set of recordings."""
    spoken_digit.load("letters", folder, ())


# ---- JSON ----

VALUES = (
    None, True, 0, -1, 1.5, 10**30, 1e308, "", "0", "-1", "99999999999", "../../etc/passwd", "/etc",
    "a\0b", "x" * 5_000, [], {}, [[]], {"a": {}}, "os.system", "evil.Feature", "NaN", "é\ud800",
)  # fmt: skip


def change_value(rng: random.Random, tree: Any) -> Any:
    """The tree with one of its values replaced, removed, repeated or renamed."""
    if not isinstance(tree, (dict, list)) or not tree or rng.random() < 0.15:
        return rng.choice(VALUES)
    tree = dict(tree) if isinstance(tree, dict) else list(tree)
    key = rng.choice(list(tree)) if isinstance(tree, dict) else rng.randrange(len(tree))
    kind = rng.randrange(6)
    if kind == 0:
        del tree[key]
    elif kind == 1 and isinstance(tree, dict):
        tree[str(rng.choice(VALUES))[:50]] = tree.pop(key)
    elif kind == 1:
        tree += [tree[key]] * rng.choice((1, 50))
    else:
        tree[key] = change_value(rng, tree[key])
    return tree


def changed_json(rng: random.Random, content: bytes) -> bytes:
    """Another value in it, or other bytes."""
    kind = rng.randrange(8)
    if kind == 0:
        return of_bytes(rng, content)
    if kind == 1:
        return rng.choice(
            (b"[" * 100_000, b'{"a":' * 9_000, b"9" * 9_000, b"nul", b"\xef\xbb\xbf{}")
        )
    return json.dumps(change_value(rng, json.loads(content))).encode()


def changed_saved_json(rng: random.Random, content: dict[str, Any]) -> bytes:
    """As `changed_json`, with its checksum made right again where it can be."""
    from multimodal_vit.files import CHECKSUM, write_json

    changed = changed_json(rng, json.dumps(content).encode())
    try:
        tree = json.loads(changed)
        tree.pop(CHECKSUM, None)
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / "file", tree)
            return (Path(folder) / "file").read_bytes()
    except (ValueError, AttributeError, RecursionError, TypeError):
        return changed


def changed_config(rng: random.Random) -> Files:
    """A run's configuration, changed."""
    from multimodal_vit import config

    saved = changed_saved_json(rng, config.to_json(config.small()))
    return {"config.json": saved}


def read_config(folder: Path) -> None:
    """Reads and checks it, as the evaluation of a folder of somebody else does."""
    from multimodal_vit import config

    config.check(config.load(folder / "config.json"))


def changed_results(rng: random.Random) -> Files:
    """A run's results, changed."""
    content = {"test": {"accuracy": 0.5}, "data": {"fingerprint": "0-0-0"}, "steps": 3}
    return {"results.json": changed_saved_json(rng, content)}


def read_results(folder: Path) -> None:
    """Reads them."""
    from multimodal_vit.files import read_json

    read_json(folder / "results.json")


def changed_metrics(rng: random.Random) -> Files:
    """A run's metrics, a row of them changed."""
    row = {"split": "train", "step": 1, "samples": 8, "loss": 0.5}
    rows = [json.dumps(row | {"step": n}).encode() for n in range(5)]
    number = rng.randrange(len(rows))
    rows[number] = changed_json(rng, rows[number])
    return {"metrics.jsonl": b"\n".join(rows) + rng.choice((b"\n", b""))}


def read_metrics(folder: Path) -> None:
    """Reads them."""
    from multimodal_vit.train import writer

    writer.read_metrics(folder / "metrics.jsonl")


READERS: dict[str, tuple[Callable[[random.Random], Files], Callable[[Path], None]]] = {
    "idx": (changed_idx, read_idx),
    "npy": (changed_folder_of_npy, read_folder_of_npy),
    "tfrecord": (lambda rng: changed_prepared(rng, "tfrecord"), read_prepared),
    "array_record": (lambda rng: changed_prepared(rng, "array_record"), read_prepared),
    "description": (changed_description, read_prepared),
    "recordings": (changed_sounds, read_sounds),
    "cache": (changed_cache, read_cache),
    "predictions": (changed_predictions, read_predictions),
    "config": (changed_config, read_config),
    "results": (changed_results, read_results),
    "metrics": (changed_metrics, read_metrics),
}

# ---- the run ----


def clear(folder: Path) -> None:
    """Empties a folder of files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def give(name: str, seed: int, number: int, folder: Path) -> str:
    """Gives a reader one input.

    Returns:
      "read", "refused", or the fault.
    """
    make, read = READERS[name]
    for file, content in make(random.Random(f"{name} {seed} {number}")).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    try:
        read(folder)
    except UserError as error:
        if "MemoryError" in str(error) or "Unable to allocate" in str(error):
            return f"out of memory: {error}"
        lines = str(error).splitlines()
        mistakes = len(lines) > 1 and lines[0].endswith("mistakes in the configuration:")
        return "refused" if len(lines) == 1 or mistakes else f"refused in lines: {error!r}"
    except BaseException:
        return traceback.format_exc()
    finally:
        clear(folder)
    return "read"


def fuzz(name: str, inputs: range, seed: int, folder: Path) -> dict[str, Any]:
    """Gives a reader some inputs.

    Args:
      name: a key of `READERS`.
      inputs: their numbers.
      seed: of all of them.
      folder: empty; each input is written there.

    Returns:
      What became of them ("counts"), the first faults, CPU seconds and MiB of memory gained.
    """
    clear(folder)
    audio._AT_ONCE = 8  # recordings are padded to so many: the rest of the time is not the reader's
    arrays.MAX_BYTES = CAP
    started, counts, faults = time.process_time(), Counter(), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    last = Path(f"{folder}.input")
    for number in inputs:
        last.write_text(str(number))  # which one it was, should the process die of it
        outcome = give(name, seed, number, folder)
        kind = outcome if outcome in ("read", "refused") else "fault"
        counts[kind] += 1
        if kind == "fault" and len(faults) < 5:
            faults.append(f"{name}, input {number}: {outcome}")
    gained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    seconds = time.process_time() - started
    return {"counts": counts, "faults": faults, "seconds": seconds, "MiB": gained / 1024}


def child(name: str, inputs: range, seed: int, folder: Path) -> None:
    """One reader in this process, with little memory; the outcome is printed as JSON."""
    import logging

    logging.disable(logging.WARNING)
    for number in range(20):  # loads what the reader needs, and begins its threads
        give(name, seed, number, folder)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    print(json.dumps(fuzz(name, inputs, seed, folder)))


def main() -> int:
    """Prints a table; 1 if there was any fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="of each reader")
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=READERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one input")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    inputs = range(given.inputs) if given.only is None else range(given.only, given.only + 1)
    if given.child:
        child(given.readers[0], inputs, given.seed, Path(given.child))
        return 0
    print("| reader | inputs | read | refused | faults | CPU seconds | MiB gained |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    faults = []
    for name in given.readers:
        with tempfile.TemporaryDirectory() as folder:
            inside = Path(folder) / "input"
            inside.mkdir()
            command = [sys.executable, __file__, *sys.argv[1:], "--child", str(inside)]
            done = subprocess.run(
                [*command, "--readers", name],
                capture_output=True,
                text=True,
                env=os.environ | {"JAX_PLATFORMS": "cpu"},
            )
            if done.returncode:
                last, end = Path(f"{inside}.input"), done.stderr[-500:]
                at = last.read_text() if last.exists() else "?"
                faults.append(f"{name}: the process ended with {done.returncode} at {at}: {end}")
                print(f"| {name} | {at} | | | the process died | | |", flush=True)
                continue
        found = json.loads(done.stdout.splitlines()[-1])
        counts = found["counts"]
        print(
            f"| {name} | {len(inputs):,} | {counts.get('read', 0):,} "
            f"| {counts.get('refused', 0):,} | {counts.get('fault', 0):,} "
            f"| {found['seconds']:.0f} | {found['MiB']:.0f} |",
            flush=True,
        )
        faults += found["faults"]
    print("\n".join(["", *faults]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
