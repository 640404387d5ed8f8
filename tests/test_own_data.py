"""Images of one's own: folders of pictures, and arrays in an .npz file."""

import numpy as np
import pytest
from PIL import Image

from multimodal_vit import components
from multimodal_vit import config as configuration
from multimodal_vit.data import load_local, load_splits
from multimodal_vit.errors import UserError
from multimodal_vit.train.experiment import Experiment

NAMES = ("blank", "circle", "line")


def picture(label: int, side: int, shade: int) -> Image.Image:
    tones = np.full((side, side), 255, np.uint8)
    if label == 1:
        y, x = np.mgrid[:side, :side] - side / 2 + 0.5
        tones[abs(np.hypot(y, x) - side / 3) < 2] = shade
    elif label == 2:
        tones[:, side // 2 - 1 : side // 2 + 1] = shade
    return Image.fromarray(tones)


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A data directory with 14 pictures of each of three classes, of one size."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for label, name in enumerate(NAMES):
        folder = tmp_path / "data" / "shapes" / name
        folder.mkdir(parents=True)
        for i in range(14):
            picture(label, 24, 10 * i).save(folder / f"{i}.png")
    return tmp_path / "data"


def read(directory, name="shapes", source="folder", **options):
    return load_splits(source, name, str(directory), source_options=tuple(options.items()))


def test_a_class_is_called_as_its_folder_and_each_part_has_all(shapes):
    splits = read(shapes)
    assert splits.train.class_names == NAMES
    assert splits.train.images.shape == (33, 24, 24, 1)
    assert [len(part) for part in (splits.validation, splits.test)] == [3, 6]
    for part in (splits.train, splits.validation, splits.test):
        assert set(part.labels.tolist()) == {0, 1, 2}
        for image, label in zip(part.images, part.labels, strict=True):
            assert (image == 255).all() == (label == 0)
    assert splits.fingerprint().endswith("-stratified")


def test_numbers_as_names_are_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(11):
        (tmp_path / "n" / str(i)).mkdir(parents=True)
        for j in range(3):
            picture(1, 8, i + j).save(tmp_path / "n" / str(i) / f"{j}.png")
    assert read(tmp_path, "n").train.class_names == tuple(map(str, range(11)))


def test_pictures_of_several_sizes_are_resized_or_refused(shapes):
    picture(1, 40, 0).save(shapes / "shapes" / "circle" / "large.png")
    with pytest.raises(UserError, match=r"of 2 sizes: 24×24 \(42\), 40×40 \(1\).*image_size=24"):
        read(shapes)
    splits = read(shapes, image_size=(16, 32))
    assert splits.train.images.shape[1:] == (16, 32, 1)
    with pytest.raises(UserError, match="must be a side, such as 28"):
        read(shapes, image_size=("28",))


def test_a_picture_in_colour_makes_three_channels(shapes):
    image = Image.new("RGB", (24, 24), (250, 0, 5))
    image.save(shapes / "shapes" / "line" / "red.png")
    splits = read(shapes)
    everything = np.concatenate(
        [part.images for part in (splits.train, splits.validation, splits.test)]
    )
    assert everything.shape == (43, 24, 24, 3)
    assert ((everything == (250, 0, 5)).all(axis=(1, 2, 3))).sum() == 1


def test_parts_in_folders_of_their_own_are_kept(shapes):
    (shapes / "parted").mkdir()
    (shapes / "shapes").rename(shapes / "parted" / "train")
    for name in NAMES:
        (shapes / "parted" / "test" / name).mkdir(parents=True)
        picture(NAMES.index(name), 24, 7).save(shapes / "parted" / "test" / name / "a.png")
    splits = read(shapes, "parted")
    assert len(splits.test) == 3
    assert len(splits.train) + len(splits.validation) == 42
    (shapes / "parted" / "extra").mkdir()
    with pytest.raises(UserError, match="holds train/ and also extra"):
        read(shapes, "parted")


def test_decoded_pictures_are_cached_until_one_changes(shapes, tmp_path, monkeypatch):
    before = read(shapes)
    (cached,) = (tmp_path / "cache" / "multimodal_vit").glob("shapes-own-train-*.npz")
    monkeypatch.setattr("multimodal_vit.data.folder.read", lambda path: pytest.fail("decoded"))
    assert read(shapes).fingerprint() == before.fingerprint()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    picture(1, 24, 99).save(shapes / "shapes" / "circle" / "0.png")
    assert read(shapes).fingerprint() != before.fingerprint()
    assert cached.exists()


def test_damaged_and_missing_pictures_are_named(shapes):
    for name in ("3.png", "5.png"):
        path = shapes / "shapes" / "line" / name
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"line/3\.png cannot be read .*\(2 pictures in .*mend or"):
        read(shapes)
    (shapes / "shapes" / "empty").mkdir()
    (shapes / "shapes" / "empty" / "notes.txt").write_text("")
    with pytest.raises(UserError, match="there are no pictures in empty"):
        read(shapes)
    with pytest.raises(UserError, match="there is no folder .*nowhere; pictures lie in"):
        read(shapes, "nowhere")
    (shapes / "bare").mkdir()
    with pytest.raises(UserError, match="there are no pictures"):
        read(shapes, "bare")


def test_the_patch_sizes_that_fit_other_images_are_proposed(shapes):
    changes = {
        "data.source": "folder",
        "data.name": "shapes",
        "data.directory": str(shapes),
        "train.batch_size": 32,
        "evaluation.batch_size": 32,
    }
    config = configuration.changed(configuration.small(), changes)
    with pytest.raises(UserError, match=r"model\.patch_size=7 does not tile.*sizes: 1, 2, 3, 4"):
        Experiment.create(config)
    config = configuration.changed(config, {"model.patch_size": 6})
    assert Experiment.create(config).task.image_shape == (24, 24, 1)


def test_a_source_of_ones_own_has_its_defaults_wherever_it_is_read(shapes):
    """Also where a control reads another of its sets, and nobody names options."""
    splits = read(shapes)
    asked = []

    with components.from_origin("a test"):

        @components.component(
            "data.source", "test_source", options={"noise": components.option(8, "of it")}
        )
        def source(name, directory, cache, noise):
            asked.append((name, noise))
            return splits

    try:
        load_local("test_source", "others")
        read(shapes, "own", "test_source", noise=3)
    finally:
        components.forget("a test")
    assert asked == [("others", 8), ("own", 3)]


# ---- arrays ----


def arrays(count: int, label_shape=(-1, 1), num_classes=3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return images, np.arange(count).reshape(label_shape) % num_classes


def test_medmnists_keys_and_parts_are_read(tmp_path):
    parts = {"train": arrays(30), "val": arrays(9), "test": arrays(12)}
    saved = {f"{p}_images": x for p, (x, _) in parts.items()}
    saved |= {f"{p}_labels": y for p, (_, y) in parts.items()}
    np.savez_compressed(tmp_path / "bloodmnist.npz", **saved)
    splits = read(tmp_path, "bloodmnist", "arrays")
    assert [len(p) for p in (splits.train, splits.validation, splits.test)] == [30, 9, 12]
    assert (splits.train.images == parts["train"][0]).all()
    assert (splits.test.labels == parts["test"][1][:, 0]).all()
    assert splits.train.class_names == ("0", "1", "2")


def test_ones_own_keys_names_and_fractions_are_read(tmp_path):
    images, labels = arrays(42, (-1,))
    np.savez(
        tmp_path / "mine.npz", images=images[..., 0] / 255, labels=labels + 0.0,
        class_names=np.array(["ant", "bee", "cat"]),
    )  # fmt: skip
    splits = read(tmp_path, "mine.npz", "arrays")
    assert splits.train.class_names == ("ant", "bee", "cat")
    assert splits.train.images.shape == (33, 6, 6, 1)
    keys = ("x_train", "y_train", "x_test", "y_test")
    values = (images, labels + 5, images[:6], labels[:6] + 5)
    np.savez(tmp_path / "keras.npz", **dict(zip(keys, values, strict=True)))
    assert read(tmp_path, "keras", "arrays").test.class_names == ("5", "6", "7")


SQUARES, NINE = np.zeros((9, 4, 4)), np.arange(9)
BAD = {
    "holds the arrays pictures; needed are images, labels; or train_images": {"pictures": SQUARES},
    "lacks the array test_labels": {
        "train_images": SQUARES, "train_labels": NINE, "test_images": SQUARES,
    },
    r"images is \[9, 4, 4, 4\]; images are": {"images": np.zeros((9, 4, 4, 4)), "labels": NINE},
    r"labels is \[9, 5\], several labels": {"images": SQUARES, "labels": np.zeros((9, 5))},
    "pixels from -1 to 0": {"images": SQUARES - np.eye(4), "labels": NINE},
    "9 images have labels": {"images": SQUARES, "labels": NINE[:8]},
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_arrays_that_are_no_image_set_are_refused(message, tmp_path):
    np.savez(tmp_path / "bad.npz", **BAD[message])
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, "bad", "arrays")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="there is no file"):
        read(tmp_path, "nowhere", "arrays")
