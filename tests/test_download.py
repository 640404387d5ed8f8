"""Downloads for real, from an HTTP server on loopback that misbehaves as real ones do."""

import gzip
import hashlib
import http.server
import threading
from urllib.parse import urlparse

import pytest
import tensorflow_datasets as tfds
from test_data import idx_bytes, image_set

from multimodal_vit import data
from multimodal_vit.data import download
from multimodal_vit.data.idx import FILES
from multimodal_vit.errors import UserError


class Server:
    """Serves IDX files; `faults[name]` says what goes wrong, and how often."""

    def __init__(self) -> None:
        train, test = image_set(24), image_set(6)
        arrays = [train.images[..., 0], train.labels, test.images[..., 0], test.labels]
        self.files = {
            f"/{name}.gz": gzip.compress(idx_bytes(array.astype("uint8")))
            for name, array in zip(FILES.values(), arrays, strict=True)
        }
        self.faults: dict[str, tuple[str, int]] = {}
        self.requests: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                server.answer(self)

            def do_HEAD(self) -> None:  # noqa: N802
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = urlparse(handler.path).path
        self.requests.append(path)
        content = self.files[path]
        fault, times = self.faults.get(path, ("", 0))
        if times:
            self.faults[path] = fault, times - 1
        else:
            fault = ""
        length = len(content)
        if fault == "missing":
            handler.send_error(404)
            return
        if fault == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault == "truncated":  # a short file, sent as if it were whole
            content = content[: length // 2]
            length = len(content)
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if fault == "dies":  # the connection breaks half-way
            content = content[: length // 2]
        handler.wfile.write(content)

    def url_infos(self) -> dict:
        """As tensorflow_datasets records them, by name: the training images come third."""
        return {
            self.address + path: tfds.download.checksums.UrlInfo(
                size=tfds.core.utils.Size(len(content)),
                checksum=hashlib.sha256(content).hexdigest(),
                filename=path[1:],
            )
            for path, content in sorted(self.files.items())
        }

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.stop = lambda: None  # a second shutdown would wait for ever


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


IMAGES = "/train-images-idx3-ubyte.gz"


def files_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_four_files_land_in_the_folder_and_are_read(server, tmp_path):
    folder = download.fetch("letters", tmp_path, server.url_infos())
    assert files_in(folder) == {f"{name}.gz" for name in FILES.values()}
    assert len(data.load_splits("idx", "letters", str(tmp_path)).test) == 6


@pytest.mark.parametrize("fault", ["truncated", "wrong", "dies", "missing"])
def test_a_fault_that_passes_is_tried_again(server, tmp_path, fault):
    server.faults[IMAGES] = fault, 2
    folder = download.fetch("letters", tmp_path, server.url_infos())
    assert files_in(folder) == {f"{name}.gz" for name in FILES.values()}
    assert server.requests.count(IMAGES) == 3


@pytest.mark.parametrize("fault", ["truncated", "wrong", "dies", "missing"])
def test_a_fault_that_stays_is_reported_and_leaves_nothing(server, tmp_path, fault):
    server.faults[IMAGES] = fault, 99
    with pytest.raises(UserError, match=r"train-images.*3 attempts.*Nothing was kept"):
        download.fetch("letters", tmp_path, server.url_infos())
    assert not any(
        "train-images" in name or "download" in name for name in files_in(tmp_path / "letters")
    )
    server.faults.clear()
    server.requests.clear()
    download.fetch("letters", tmp_path, server.url_infos())
    assert IMAGES in server.requests
    # Of 24 images of three classes one of each validates.
    assert len(data.load_splits("idx", "letters", str(tmp_path)).train) == 21


def test_files_that_landed_are_not_fetched_again(server, tmp_path):
    download.fetch("letters", tmp_path, server.url_infos())
    server.requests.clear()
    download.fetch("letters", tmp_path, server.url_infos())
    assert server.requests == []


def test_a_server_that_is_not_there_is_reported(server, tmp_path):
    infos = server.url_infos()
    server.stop()
    with pytest.raises(UserError, match="could not be downloaded"):
        download.fetch("letters", tmp_path, infos)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        download.fetch("mnist", tmp_path / "file")


@pytest.mark.parametrize("name", download.DOWNLOADABLE)
def test_the_recorded_sums_are_those_of_the_four_original_files(name):
    infos = download.recorded(name)
    assert {info.filename for info in infos.values()} == {f"{f}.gz" for f in FILES.values()}
    images = next(i for i in infos.values() if i.filename == "train-images-idx3-ubyte.gz")
    assert images.checksum[:8] == {"mnist": "440fcabf", "fashion_mnist": "3aede38d"}[name]


def test_a_missing_set_is_downloaded_where_it_was_looked_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "recorded", lambda name: server.url_infos())
    monkeypatch.setitem(data.idx.CONTENTS_SHA256, "mnist", contents_sum(server))
    found = data.load_splits("auto", "mnist", str(tmp_path))
    assert "IDX" in found.origin
    assert files_in(tmp_path / "mnist") == {f"{name}.gz" for name in FILES.values()}


def test_a_download_that_broke_off_is_completed_at_the_next_start(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "recorded", lambda name: server.url_infos())
    monkeypatch.setitem(data.idx.CONTENTS_SHA256, "mnist", contents_sum(server))
    server.faults[IMAGES] = "dies", 99
    with pytest.raises(UserError, match="Try again"):
        data.load_splits("auto", "mnist", str(tmp_path))
    assert 0 < len(files_in(tmp_path / "mnist")) < 4
    server.faults.clear()
    assert len(data.load_splits("auto", "mnist", str(tmp_path)).train) == 22


def contents_sum(server) -> str:
    digest = hashlib.sha256()
    for name, content in server.files.items():
        digest.update(gzip.decompress(content)[16 if "images" in name else 8 :])
    return digest.hexdigest()
