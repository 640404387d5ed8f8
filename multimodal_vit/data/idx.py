"""Raw IDX files, the format of MNIST and its successors, gzipped or not."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from multimodal_vit.data.image_set import ImageSet, Splits, split
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


def _folder_files(folder: Path) -> dict[str, Path]:
    found = {}
    for part, file_name in FILES.items():
        candidates = [folder / file_name, folder / (file_name + ".gz")]
        existing = [path for path in candidates if path.is_file()]
        if existing:
            found[part] = existing[0]
    return found


def find(name: str, directory: Path, flat: bool = True) -> dict[str, Path]:
    """Those of `FILES` that lie in `directory/name`, else, if `flat`, in `directory` itself."""
    return _folder_files(directory / name) or (_folder_files(directory) if flat else {})


def read(path: Path) -> np.ndarray:
    """Reads one IDX file of unsigned bytes.

    The header's sizes are checked against the file before anything of that size is held in memory.

    Returns:
      uint8, with the shape that the header names.

    Raises:
      UserError: not an IDX file of bytes, damaged, or shorter or longer than its header says.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or magic[3] not in (1, 3):
                raise UserError(
                    f"{path} is not an IDX file of images or labels: it begins with "
                    f"{magic.hex() or 'nothing'}, not 00000801 or 00000803. Fetch it again"
                )
            sizes = file.read(4 * magic[3])
            if len(sizes) < 4 * magic[3]:
                raise UserError(f"{path} is damaged: it ends within its header. Fetch it again")
            shape = struct.unpack(f">{magic[3]}I", sizes)
            size = math.prod(shape)
            data = bytearray()  # grows with what is there: a header can claim anything
            while len(data) <= size and (chunk := file.read(min(size + 1 - len(data), 1 << 20))):
                data += chunk
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}. Fetch it again") from error
    if len(data) != size:
        found = f"only {len(data):,}" if len(data) < size else "more"
        raise UserError(
            f"{path} is damaged: its header promises {size:,} bytes, shape {list(shape)}, but it "
            f"holds {found}. Fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def load(name: str, directory: Path, cache: Path | None = None) -> Splits:
    """Reads the four IDX files of `name`, from `directory/name` or from `directory` itself.

    Raises:
      UserError: files missing or damaged, or files of another data set under this name.
    """
    files = find(name, directory)
    if not files:
        raise UserError(
            f"no IDX files in {directory / name} or {directory}; expected "
            f"{', '.join(FILES.values())}, each with or without .gz. Name their folder with "
            "--config.data.directory=…"
        )
    missing = [FILES[part] for part in FILES if part not in files]
    if missing:
        folder = next(iter(files.values())).parent
        raise UserError(f"{folder} lacks {', '.join(missing)} (or the same with .gz)")
    arrays = {part: read(path) for part, path in files.items()}
    for part, array in arrays.items():
        if array.ndim != (3 if part.endswith("images") else 1):
            raise UserError(f"{files[part]} holds {array.ndim}-dimensional data, not {part}")
    if name in CONTENTS_SHA256:
        digest = hashlib.sha256()
        for part in FILES:
            digest.update(arrays[part])
        if digest.hexdigest() != CONTENTS_SHA256[name]:
            raise UserError(
                f"{files['train images'].parent} does not hold {name}: the sha256 of its contents "
                "differs. If this is another data set, give it its own name: --config.data.name=…"
            )
    names = CLASS_NAMES.get(name)
    if names is None:
        names = tuple(str(i) for i in range(int(arrays["train labels"].max(initial=0)) + 1))
    parts = [
        ImageSet(arrays[f"{p} images"][..., None], arrays[f"{p} labels"].astype(np.int32), names)
        for p in ("train", "test")
    ]
    return split(*parts, origin=f"{name} (IDX files in {files['train images'].parent})")
