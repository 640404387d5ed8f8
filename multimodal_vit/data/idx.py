"""Raw IDX files, the format of MNIST and its successors, gzipped or not."""

import difflib
import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from multimodal_vit.arrays import check_size, most_unpacked
from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.splitting import split
from multimodal_vit.data.values import as_labels, as_pixels, check_class_names
from multimodal_vit.errors import UserError

FILES = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}

CLASS_NAMES = {
    "fashion_mnist": (
        "T-shirt", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip

# MNIST and its successors share their file names, so a file in the wrong folder would pass for
# another data set. The sha256 of the four files' contents, in the order of `FILES`, tells.
CONTENTS_SHA256 = {
    "mnist": "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
    "fashion_mnist": "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f",
}


# By the third byte of a file: what its values are, the most significant byte first.
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def _spellings(file_name: str) -> list[str]:
    """The names that one of `FILES` is found under: some copies have a dot for the last dash."""
    dotted = file_name.replace("-idx", ".idx")
    return [file_name, file_name + ".gz", dotted, dotted + ".gz"]


def _folder_files(folder: Path) -> dict[str, Path]:
    found = {}
    for part, file_name in FILES.items():
        candidates = [folder / spelling for spelling in _spellings(file_name)]
        existing = [path for path in candidates if path.is_file()]
        if existing:
            found[part] = existing[0]
    return found


def find(name: str, directory: Path, flat: bool = True) -> dict[str, Path]:
    """Those of `FILES` that lie in `directory/name`, else, if `flat`, in `directory` itself."""
    return _folder_files(directory / name) or (_folder_files(directory) if flat else {})


def look_alikes(folder: Path, wanted: str) -> str:
    """What lies in a folder under a name like one of `FILES`, as advice; "" if nothing does."""
    known = {spelling for file_name in FILES.values() for spelling in _spellings(file_name)}
    try:
        there = [path.name for path in folder.iterdir() if path.name not in known]
    except OSError:
        return ""
    by_simple_name = {name.lower().replace("_", "-"): name for name in sorted(there)}
    stem = wanted.partition("-idx")[0]
    near = [name for simple, name in by_simple_name.items() if simple.startswith(stem)]
    close = difflib.get_close_matches(wanted, by_simple_name, n=1, cutoff=0.75)
    near += [by_simple_name[simple] for simple in close]
    return f"; {near[0]} lies there: is it that file, packed or renamed?" if near else ""


def read(path: Path) -> np.ndarray:
    """Reads one IDX file.

    The header's sizes are held against the file's length and a cap before anything of that size is
    held in memory.

    Returns:
      An array of the shape and the type that the header names, one of `DTYPES`; of unsigned bytes
      in MNIST and its successors.

    Raises:
      UserError: not an IDX file, damaged, shorter or longer than its header says, or too large.
    """
    zipped = path.suffix == ".gz"
    try:
        length = path.stat().st_size
        with (gzip.open if zipped else open)(path, "rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not magic[3]:
                raise UserError(
                    f"{path} is not an IDX file: it begins with {magic.hex() or 'nothing'}, not "
                    "00000801 (labels) or 00000803 (images). Fetch it again"
                )
            sizes = file.read(4 * magic[3])
            if len(sizes) < 4 * magic[3]:
                raise UserError(f"{path} is damaged: it ends within its header. Fetch it again")
            shape, dtype = struct.unpack(f">{magic[3]}I", sizes), np.dtype(DTYPES[magic[2]])
            size = math.prod(shape) * dtype.itemsize
            most = most_unpacked(length) if zipped else length
            if size <= most:  # else it cannot be there, and what is, is counted below
                # As if no size were 0: NumPy cannot shape nothing into what it could not hold.
                least = math.prod(max(side, 1) for side in shape) * dtype.itemsize
                check_size(path, f"{dtype} {list(shape)}", least)
            data = bytearray()  # grows with what is there: a header can claim anything
            wanted = size + 1 if size <= most else 0
            while len(data) < wanted and (chunk := file.read(min(wanted - len(data), 1 << 20))):
                data += chunk
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read: {reason}. Fetch it again") from error
    if len(data) != size:
        found = f"only {len(data):,}" if len(data) < size else "more"
        if size > most:
            header = 4 + len(sizes)
            found = f"at most {most:,}" if zipped else f"only {length - header:,}"
        raise UserError(
            f"{path} is damaged: its header promises {size:,} bytes, shape {list(shape)}, but it "
            f"holds {found}. Fetch it again"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def load(name: str, directory: Path, cache: Path | None = None) -> Splits:
    """Reads the four IDX files of `name`, from `directory/name` or from `directory` itself.

    MNIST and Fashion-MNIST are split in their order, as documented; others class by class, since
    nothing is known of their order.

    Raises:
      UserError: files missing or damaged, or files of another data set under this name.
    """
    files = find(name, directory)
    if not files:
        near = look_alikes(directory / name, FILES["train images"])
        raise UserError(
            f"no IDX files in {directory / name} or {directory}; expected "
            f"{', '.join(FILES.values())}, each with or without .gz{near}. Name their folder with "
            "--config.data.directory=…"
        )
    missing = [FILES[part] for part in FILES if part not in files]
    if missing:
        folder = next(iter(files.values())).parent
        near = look_alikes(folder, missing[0])
        raise UserError(f"{folder} lacks {', '.join(missing)} (or the same with .gz){near}")
    arrays = {part: read(path) for part, path in files.items()}
    for part, array in arrays.items():
        if array.ndim not in ((3, 4) if part.endswith("images") else (1,)):
            raise UserError(
                f"{files[part]} holds {array.ndim}-dimensional data, not {part}: images are "
                "[N, H, W] or [N, H, W, C], labels [N]"
            )
    if name in CONTENTS_SHA256:
        digest = hashlib.sha256()
        for part in FILES:
            digest.update(arrays[part])
        if digest.hexdigest() != CONTENTS_SHA256[name]:
            raise UserError(
                f"{files['train images'].parent} does not hold {name}: the sha256 of its contents "
                "differs. If this is another data set, give it its own name: --config.data.name=…"
            )
    labels = {p: as_labels(arrays[f"{p} labels"], files[f"{p} labels"]) for p in ("train", "test")}
    names = CLASS_NAMES.get(name)
    if names is None:  # named by their labels, whatever numbers these are
        known = np.unique(np.concatenate(list(labels.values())))
        labels = {p: np.searchsorted(known, found).astype(np.int32) for p, found in labels.items()}
        names = tuple(str(label) for label in known.tolist())
        check_class_names(names, files["train labels"].parent)
    parts = []
    for p in ("train", "test"):
        images = as_pixels(arrays[f"{p} images"], files[f"{p} images"])
        parts.append(ImageSet(images if images.ndim == 4 else images[..., None], labels[p], names))
    return split(
        *parts,
        origin=f"{name} (IDX files in {files['train images'].parent})",
        rule="order" if name in CONTENTS_SHA256 else "stratified",
    )
