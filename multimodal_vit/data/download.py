"""MNIST and Fashion-MNIST from their publishers, checked against recorded sha256 sums.

The addresses, sizes and sums are those that tensorflow_datasets records, and its download manager
fetches and verifies them; neither needs TensorFlow.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_vit.data.idx import FILES
from multimodal_vit.errors import UserError
from multimodal_vit.files import remove_left_over, temporary_folder

DOWNLOADABLE = ("mnist", "fashion_mnist")
ATTEMPTS = 3


def recorded(name: str) -> dict[str, Any]:
    """URL → tensorflow_datasets' record of its size, sha256 and file name, for one data set."""
    import tensorflow_datasets as tfds

    infos = tfds.builder_cls(name).url_infos
    return {
        url: infos[url] for url in infos if Path(url).name.removesuffix(".gz") in FILES.values()
    }


def fetch(name: str, directory: Path, url_infos: Mapping[str, Any] | None = None) -> Path:
    """Downloads the four IDX files of `name` into `directory/name`.

    A file lands there, by a rename, only after its size and its sha256 were found right; whatever
    breaks off leaves nothing behind, and files that landed before are not fetched again.

    Args:
      name: one of `DOWNLOADABLE`.
      directory: the data folder.
      url_infos: other addresses and sums, as `recorded` returns them (for mirrors and tests).

    Raises:
      UserError: the network, the server, the checksum or the disk fails `ATTEMPTS` times.
    """
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    folder = directory / name
    url_infos = dict(recorded(name) if url_infos is None else url_infos)
    wanted = {u: i for u, i in url_infos.items() if not (folder / Path(u).name).exists()}
    logging.warning("Downloading %s (%d files) into %s", name, len(wanted), folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_left_over(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); name a folder that can be written with "
            "--config.data.directory=…"
        ) from error
    for url, info in wanted.items():
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # The download manager takes minutes to find that nobody answers; this does not.
                requests.head(url, timeout=20, allow_redirects=True).raise_for_status()
                with temporary_folder(folder) as temporary:
                    manager = tfds.download.DownloadManager(
                        download_dir=str(temporary),
                        url_infos={url: info},
                        force_checksums_validation=True,
                    )
                    path = Path(manager.download(url))
                    path.rename(folder / Path(url).name)
                break
            except (
                OSError,
                requests.RequestException,
                tfds.download.DownloadError,
                NonMatchingChecksumError,
            ) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                if attempt == ATTEMPTS:
                    raise UserError(
                        f"{url} could not be downloaded in {ATTEMPTS} attempts: {reason}. Nothing "
                        f"was kept of it. Try again, or put the file into {folder} by hand"
                    ) from error
                logging.warning("Attempt %d of %d failed: %s", attempt, ATTEMPTS, reason)
    return folder
