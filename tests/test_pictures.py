"""Sheets of pairs, failed checks as pictures, and attention as light over an image."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from multimodal_vit.analysis.drawing import ORANGE, RED, TINY
from multimodal_vit.analysis.failure_sheet import NO_CHANGE, Failure, failure_sheet, failures_in
from multimodal_vit.analysis.overlays import glow
from multimodal_vit.analysis.sheets import apart, differences, fitting_columns, sample_sheet
from multimodal_vit.analysis.study_figures import accuracies

NAMES = ("zero", "one", "two", "three")
GRID = (2, 2)
IMAGE = np.full((16, 16, 1), 200, np.uint8)
TEXT = np.array([0, 1, 2, 3])


def frames(axes):
    return [p for p in axes.patches if isinstance(p, Rectangle)]


def test_the_images_of_a_sheet_stand_apart():
    shown = apart(IMAGE, GRID)
    assert shown.shape == (17, 17, 4)
    assert (shown[8] == 0).all()  # the margin, which nothing fills
    assert (shown[:, 8] == 0).all()
    assert (np.delete(np.delete(shown, 8, 0), 8, 1) == [200, 200, 200, 255]).all()


def test_a_caption_says_what_is_wrong_by_position_and_frames_it():
    assert differences(np.array([0, 3, 2, 1]), TEXT, NAMES) == [
        "position 2: says three, shows one",
        "position 4: says one, shows three",
    ]
    words = np.stack([TEXT, TEXT[[0, 3, 2, 1]]])
    figure = sample_sheet(np.stack([IMAGE] * 2), words, np.stack([TEXT] * 2), GRID, NAMES)
    true, false = figure.axes
    assert true.get_xlabel() == "true"
    assert frames(true) == []
    assert "position 2: says three" in false.get_xlabel().replace("\n", " ")
    assert len(frames(false)) == 2
    of_true = sample_sheet(
        np.stack([IMAGE] * 2), np.stack([TEXT] * 2), np.stack([TEXT] * 2), GRID, NAMES
    )
    assert of_true.get_figheight() < figure.get_figheight() - 0.5  # as high as its lines need


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (4, 4), (5, 3), (8, 4), (9, 3)])
def test_a_sheet_leaves_as_little_empty_as_it_can(count, columns):
    assert fitting_columns(count, 4) == columns


def failure(check="swap_words", must="it must turn false", **changed):
    after = IMAGE.copy()
    after[:8, 8:] = 100  # the second image
    pair = {
        "images": (IMAGE, after), "words": (TEXT, TEXT[[3, 1, 2, 0]]), "labels": (TEXT, TEXT),
        "probabilities": (0.9, 0.8),
    }  # fmt: skip
    return Failure(check, must, **(pair | changed))


def test_a_failure_stands_before_and_after_with_the_wrong_answer_marked():
    found = failure()
    assert found.changed(GRID) == ([0, 3], [1])
    assert (found.right(0), found.right(1)) == (True, False)
    before, after = failure_sheet([found], GRID, NAMES).axes
    assert before.get_title().startswith("swap_words\nbefore: zero, one")
    assert before.get_xlabel() == "the text is true\nsays true, p = 0.900 ✓"
    assert after.get_xlabel() == (
        "the text is false\nsays true, p = 0.800 ✗ wrong\nchanged: word 1, zero → three\n"
        "changed: word 4, three → zero\nchanged: image 2"
    )
    assert after.xaxis.label.get_color() == RED
    assert frames(before) == []
    assert len(frames(after)) == 3
    assert {p.get_edgecolor() for p in frames(after)} == {frames(after)[0].get_edgecolor()}
    assert [p.arrow_patch is not None for p in after.texts] == [True]  # from before to after


def test_failures_without_a_change_fill_the_places_after_those_with_one():
    alone = failure(
        "consistent", NO_CHANGE, images=(IMAGE,), words=(TEXT,), labels=(TEXT,),
        probabilities=(0.7,),
    )  # fmt: skip
    figure = failure_sheet([alone, failure(), alone], GRID, NAMES)
    assert [axes.get_title().partition("\n")[0] for axes in figure.axes] == [
        "swap_words", "it must turn false", "consistent", "consistent",
    ]  # fmt: skip
    assert "contradicts its classes" in figure.axes[-1].get_xlabel()
    assert ORANGE != RED


def test_failures_are_read_from_what_a_run_keeps():
    evidence = {}
    for when in ("before", "after"):
        evidence[f"swap_words/{when}/image"] = np.stack([IMAGE] * 3)
        evidence[f"swap_words/{when}/words"] = np.stack([TEXT] * 3)
        evidence[f"swap_words/{when}/labels"] = np.stack([TEXT] * 3)
        evidence[f"swap_words/{when}/probability"] = np.array([0.6, 0.7, 0.8], np.float32)
    first, second = failures_in(evidence)
    assert first.must == "it must turn false"
    assert second.probabilities == pytest.approx((0.7, 0.7))


def test_bright_is_attended_whatever_the_image_shows():
    image = np.zeros((8, 8, 1), np.uint8)
    image[::2] = 255  # black and white in each patch
    shares = np.linspace(0, 0.5, 16).reshape(4, 4)
    lit = glow(image, shares, 0.5) @ [0.2126, 0.7152, 0.0722]
    for rows in (lit[0::2, ::2], lit[1::2, ::2]):  # of white, of black
        assert (np.diff(rows.ravel()) > 0).all()
    assert lit[1, 0] == pytest.approx(0, abs=0.01)  # nothing there, nothing seen
    assert lit[-1, -1] > 0.5


def test_a_single_run_has_its_interval_on_its_dot():
    condition = SimpleNamespace(
        name="one", accuracies=[0.9], interval=(0.85, 0.93), task=SimpleNamespace(classifies=False)
    )
    (axes,) = accuracies([condition], {}, "").axes
    (bar,) = (c for c in axes.containers if isinstance(c, ErrorbarContainer))
    (ends,) = bar.lines[2][0].get_segments()
    np.testing.assert_allclose(ends[:, 0], [0.85, 0.93])
    np.testing.assert_allclose(ends[:, 1], 0)  # where the dot is
    assert bar.get_label() == "its 95 % interval, by image"


def test_no_letter_of_a_sheet_is_small():
    figure = failure_sheet([failure()], GRID, NAMES)
    sizes = [axes.xaxis.label.get_fontsize() for axes in figure.axes]
    assert min(sizes + [axes.title.get_fontsize() for axes in figure.axes]) >= TINY
