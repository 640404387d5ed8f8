"""The page fits pictures as Python does: the same vectors through both, in a real browser."""

import contextlib
import functools
import http.server
import shutil
import threading

import numpy as np
import pytest
from conftest import ROOT, load_module

from multimodal_vit.pictures.appearance import Appearance, measure
from multimodal_vit.pictures.fitting import fit
from multimodal_vit.pictures.reading import read

PAGE = ROOT / "multimodal_vit" / "export" / "page"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FIT = """async ([height, width, channels, data, appearance, shape, how]) => {
  const { fit } = await import("./fitting.js");
  const picture = { height, width, channels, data: Float64Array.from(data) };
  try {
    return Array.from(fit(picture, appearance, shape, how));
  } catch (error) {
    return error.constructor.name;
  }
}"""


@contextlib.contextmanager
def served(folder):
    """The address of a static server of a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@contextlib.contextmanager
def browser_page(**context):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser.new_context(**context).new_page()
        browser.close()


def vectors(digits):
    """Pictures of every kind, what they are fitted to, and how."""
    rng = np.random.default_rng(0)
    photograph = load_module(ROOT / "benchmarks" / "photographs.py").photograph
    images = digits.test.images
    found = measure(digits.train.images)
    mass = Appearance("ink", 0.0, 1.0, 20.0, (14.5, 14.5), "mass")
    dark = Appearance("ink", 0.9, 0.1, 24.3, (15.2, 13.1), "box")
    for i, how in enumerate(["auto"] * 6 + ["plain"]):
        picture = read(photograph(images[i], rng, bool(i % 2)))
        yield picture, (found, mass, dark)[i % 3], (28, 28, 1), how
    large = np.ones((300, 411, 1))
    large[100:250, 150:170] = 0.2
    yield large, mass, (28, 28, 1), "auto"
    yield read(images[5]), found, (28, 28, 1), "auto"
    yield rng.random((37, 20, 3)), Appearance(), (16, 24, 3), "auto"
    yield rng.random((10, 21, 3)), Appearance(), (16, 24, 1), "plain"
    yield rng.random((10, 20, 3)), mass, (28, 28, 3), "auto"
    yield np.full((30, 30, 1), 0.5), mass, (28, 28, 1), "auto"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_javascript_and_python_fit_alike(digits):
    cases = list(vectors(digits))
    with served(PAGE) as address, browser_page() as page:
        page.goto(address + "style.css")  # any page of the same origin
        for pixels, appearance, shape, how in cases:
            own = {
                "kind": appearance.kind, "paper": appearance.paper, "ink": appearance.ink,
                "longSide": appearance.long_side, "centre": list(appearance.centre),
                "centred": appearance.centred,
            }  # fmt: skip
            asked = [*pixels.shape, pixels.reshape(-1).tolist(), own, list(shape), how]
            answer = page.evaluate(FIT, asked)
            if np.ptp(pixels) == 0:
                assert answer == "NothingDrawn"
                continue
            expected = fit(pixels, appearance, shape, how)
            assert np.ptp(expected) > 100
            difference = np.abs(np.reshape(answer, shape) - expected.astype(int))
            assert difference.max() <= 1, (how, appearance)  # rounding
            assert difference.mean() < 0.01
