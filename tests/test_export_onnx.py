"""ONNX and the page, in the environment of the extra `onnx`: python -m pytest -m onnx.

The page runs in headless Chromium: its answers are those of the model, for test images and for what
is drawn, at a phone's and a desktop's width, light and dark, by keyboard alone.
"""

import re

import numpy as np
import pytest
from test_web_fitting import CHROMIUM, browser_page, served

import multimodal_vit
from multimodal_vit.errors import UserError
from multimodal_vit.export.writing import export
from multimodal_vit.pictures.fitting import fit

pytestmark = pytest.mark.onnx


@pytest.fixture(scope="module")
def model(trained):
    return multimodal_vit.load(trained[1])


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "model"
    return out, export(model, None, out, ["onnx", "web"])


def test_onnx_answers_as_the_model_for_any_number_of_pairs(written, model, trained):
    import onnxruntime

    out, (onnx, web) = written
    assert onnx.difference < 1e-4
    assert web.difference < 1e-4
    session = onnxruntime.InferenceSession(out / "model.onnx")
    for count in (1, 7):
        batch = trained[0].examples(count)
        inputs = {name: np.asarray(x) for name, x in batch.inputs.items()}
        logits, attention = session.run(["logits", "attention"], inputs)
        assert logits == pytest.approx(model.logits(inputs), abs=1e-4)
        assert attention.shape == (count, 1, 2, 4, 16)


def test_a_model_that_onnx_cannot_hold_is_said_in_one_line_and_leaves_nothing(
    model, tmp_path, monkeypatch
):
    import jax2onnx

    def refuses(*_, **__):
        raise TypeError("float64\nis not")

    monkeypatch.setattr(jax2onnx, "to_onnx", refuses)
    with pytest.raises(UserError, match="cannot be written as ONNX: TypeError: float64 is not"):
        export(model, None, tmp_path / "out", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def probability(page) -> float:
    return float(re.search(r"([\d.]+) %", page.text_content("#verdict"))[1]) / 100


def settled(page) -> None:
    page.evaluate("new Promise(done => setTimeout(done, 300))")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_the_page_answers_as_the_model(written, model, width, scheme):
    said, failed = [], []
    context = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with served(written[0] / "web") as address, browser_page(**context) as page:
        page.on("console", lambda message: said.append(message.text))
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        assert page.text_content("#verdict") == "Fill all images."
        # Test images, by keyboard alone.
        selects = page.locator("#grid select")
        for i, name in enumerate("3141"):
            selects.nth(i).focus()
            page.keyboard.press(name)
        page.locator("#text").focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("3 1 4 1")
        settled(page)
        images = page.evaluate(
            "[...document.querySelectorAll('.seen')].map(c => "
            "[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
        )
        seen = [np.reshape(image, (28, 28, 4))[..., :1].astype(np.uint8) for image in images]
        (expected,) = model.predict(seen, "3 1 4 1")
        assert probability(page) == pytest.approx(expected.true, abs=1e-3)
        bars = page.evaluate("[...document.querySelectorAll('meter')].map(m => m.value)")
        assert bars == pytest.approx(list(expected.classes.values()), abs=1e-3)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the button that swaps
        settled(page)
        (swapped,) = model.predict(seen, "1 3 4 1")
        answer = page.text_content("#swapped")
        assert "“1 3 4 1” (words 1 and 2 swapped)" in answer
        turns = (swapped.true > 0.5) != (expected.true > 0.5)
        assert ("turns" if turns else "stays") in answer
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # where the first word looks
        assert page.get_attribute("#look-buttons button", "aria-pressed") == "true"
        assert page.evaluate(
            "[...document.querySelectorAll('.look')].some(c => "
            "c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0))"
        )
        # An unknown word, and a word too few.
        page.locator("#text").fill("3 1 4 x")
        settled(page)
        assert "“x” is none of the words" in page.text_content("#words")
        assert page.text_content("#verdict") == ""
        page.locator("#text").fill("3 1 4 1")
        # What is drawn is fitted as Python fits it.
        pad = page.locator(".pad canvas").first
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
        page.mouse.up()
        settled(page)
        drawn, again = page.evaluate(
            "['.pad canvas', '.seen'].map(s => document.querySelector(s)).map(c => "
            "[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
        )
        tones = 1 - np.reshape(drawn, (168, 168, 4))[..., 3:] / 255
        expected = fit(tones, model.about.appearance, model.task.image_shape).astype(int)
        found = np.reshape(again, (28, 28, 4))[..., :1]
        assert found.max() > 200
        assert abs(found - expected).max() <= 1
        assert "image 1: drawn" in pad.get_attribute("aria-label")
        # Nothing overflows, nothing is asked of another server, nothing is said.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(re.search(r"\d+", background)[0])
        assert red > 200 if scheme == "light" else red < 60
        assert [
            text for text in said if "willReadFrequently" not in text
        ] == []  # read by this test
        assert failed == []
