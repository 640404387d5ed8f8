"""Pictures of one's own, fitted: what a reader of the data's own arrays makes of photographs."""

import numpy as np
import pytest
from conftest import ROOT, data_path, load_module
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from multimodal_vit.data import load_splits
from multimodal_vit.errors import UserError
from multimodal_vit.pictures.appearance import Appearance, measure
from multimodal_vit.pictures.fitting import fit
from multimodal_vit.pictures.reading import read

NUM_PICTURES = 200


photograph = load_module(ROOT / "benchmarks" / "photographs.py").photograph


@pytest.fixture(scope="module")
def mnist():
    return load_splits("tfds", "mnist", str(data_path("tfds")))


@pytest.mark.parametrize("dark_ink", [True, False], ids=["dark on light", "light on dark"])
@pytest.mark.parametrize("name", ["digits", pytest.param("mnist", marks=pytest.mark.data)])
def test_photographs_are_read_as_well_as_the_datas_own_arrays(name, dark_ink, request):
    """By their nearest neighbours among the training images, which know no shift or polarity."""
    splits = request.getfixturevalue(name)
    train, test = splits.train[:4000], splits.test[:NUM_PICTURES]
    appearance = measure(splits.train.images)
    shape, rng = train.images.shape[1:], np.random.default_rng(0)
    taken = [read(photograph(image, rng, dark_ink)) for image in test.images]
    reader = KNeighborsClassifier(3).fit(train.images.reshape(len(train), -1), train.labels)

    def accuracy(images) -> float:
        return reader.score(np.reshape(images, (len(images), -1)), test.labels)

    own = accuracy(test.images)
    fitted = accuracy([fit(picture, appearance, shape) for picture in taken])
    plain = accuracy([fit(picture, appearance, shape, "plain") for picture in taken])
    assert own > 0.9
    assert fitted >= own - 0.02
    assert plain < own - 0.3


def test_what_is_measured_is_what_the_makers_say(mnist, digits):
    """MNIST: 20 pixels, centred by mass; the digits of scikit-learn fill their height."""
    found = measure(mnist.train.images)
    assert (found.kind, found.paper, found.ink, found.long_side) == ("ink", 0, 1, 20)
    assert found.centred == "mass"
    assert found.centre == pytest.approx((14.5, 14.5), abs=0.05)
    found = measure(digits.train.images)
    assert (found.kind, found.long_side, found.centred) == ("ink", 28, "box")


@pytest.mark.data
def test_fashion_mnist_is_measured_as_its_makers_placed_it():
    """Longest edge 28, in the middle, on black (Xiao et al. 2017, section 2)."""
    found = measure(load_splits("tfds", "fashion_mnist", str(data_path("tfds"))).train.images)
    assert (found.kind, found.paper, found.centred) == ("ink", 0, "box")
    assert found.long_side == 28
    assert found.centre == pytest.approx((14, 14), abs=0.25)


def test_pictures_without_a_paper_of_one_tone_are_taken_whole():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (50, 16, 16, 1), np.uint8)
    colour = np.zeros((50, 16, 16, 3), np.uint8)
    colour[:, 4:9, 4:9, 0] = 255  # red on black: ink is grey
    for images in (noise, colour, np.zeros((50, 16, 16, 1), np.uint8)):
        assert measure(images).kind == "whole"
    tall = np.concatenate([np.zeros((8, 8, 1)), np.full((8, 8, 1), 0.5), np.ones((8, 8, 1))])
    found = fit(tall, Appearance(), (4, 4, 3))
    assert found.shape == (4, 4, 3)
    assert abs(found.astype(int) - 128).max() <= 64  # the middle alone
    ends = fit(tall, Appearance(), (4, 4, 1), "plain")[[0, -1]].mean(axis=(1, 2))
    assert ends == pytest.approx([0, 255], abs=3)  # all of it


def test_a_picture_of_the_data_itself_stays_as_it_is(digits):
    appearance = measure(digits.train.images)
    for image in digits.test.images[:50]:
        assert (fit(read(image), appearance, (28, 28, 1)) == image).all()


def test_dark_ink_on_light_paper_in_the_data_is_kept(digits):
    images = 255 - digits.train.images
    appearance = measure(images)
    assert (appearance.paper, appearance.ink) == (1, 0)
    one = fit(read(digits.test.images[0]), appearance, (28, 28, 1)).astype(int)
    assert (one[0, 0, 0], one[-1, -1, 0], one.min()) == (255, 255, 0)
    assert one.mean() == pytest.approx(255 - digits.test.images[0].mean(), abs=8)


def test_a_picture_with_nothing_in_it_is_refused(digits):
    appearance = measure(digits.train.images)
    with pytest.raises(UserError, match=r"blank shows nothing that differs .*--fit=plain"):
        fit(np.full((50, 50, 1), 0.7), appearance, (28, 28, 1), name="blank")


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 51, [0.2]), ("1", 1, [1.0]), ("P", 0, [0.0]), ("I;16", 65535, [1.0]),
        ("RGB", (51, 51, 51), [0.2]), ("RGB", (51, 0, 255), [0.2, 0, 1]),
        ("RGBA", (0, 0, 0, 0), [1.0]), ("LA", (0, 51), [0.8]),
    ],
)  # fmt: skip
def test_every_kind_of_picture_becomes_tones(mode, value, expected, tmp_path):
    image = Image.new(mode, (3, 2), value)
    for given in (image, tmp_path / "picture.png"):
        if isinstance(given, Image.Image):
            given.save(tmp_path / "picture.png")
        found = read(given)
        assert found.shape == (2, 3, len(expected))
        assert found == pytest.approx(np.broadcast_to(expected, found.shape))


def test_what_is_no_picture_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (20, 20)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    cases = {
        "there is no picture": tmp_path / "nowhere.png",
        "text.png cannot be read as a picture": tmp_path / "text.png",
        "cut.png cannot be read as a picture": tmp_path / "cut.png",
        "must be|are uint8, or fractions": np.full((4, 4), 300),
        r"is an array \[2, 3, 4, 5\]": np.zeros((2, 3, 4, 5)),
    }
    for message, given in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            read(given)
        assert "\n" not in str(caught.value)
