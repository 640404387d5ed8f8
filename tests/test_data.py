"""Every source gives the same type, damaged files are named, and nothing is substituted."""

import contextlib
import gzip
import os
import shutil
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_vit import data
from multimodal_vit.data import cache, description, idx, prepared
from multimodal_vit.data.image_set import ImageSet
from multimodal_vit.data.splitting import split
from multimodal_vit.errors import UserError


def image_set(count=24, side=4, num_classes=3) -> ImageSet:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, side, side, 1)).astype(np.uint8)
    labels = (np.arange(count) % num_classes).astype(np.int32)
    return ImageSet(images, labels, tuple("abcdefghij"[:num_classes]))


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder, train: ImageSet, test: ImageSet, zipped: bool) -> None:
    folder.mkdir(parents=True)
    for part, images in (("train", train), ("test", test)):
        for kind, array in (("images", images.images[..., 0]), ("labels", images.labels)):
            content = idx_bytes(array.astype(np.uint8))
            name = idx.FILES[f"{part} {kind}"] + (".gz" if zipped else "")
            (folder / name).write_bytes(gzip.compress(content) if zipped else content)


# ---- splits ----


def test_digits_are_split_by_the_documented_rule(digits):
    assert [len(p) for p in (digits.train, digits.validation, digits.test)] == [1412, 128, 257]
    assert digits.train.images.shape[1:] == (28, 28, 1)
    assert digits.train.images.dtype == np.uint8
    assert digits.train.images.max() == 255


def test_a_random_share_to_validate_is_drawn_of_training_and_validation(digits):
    drawn = data.load_splits("digits", "digits", validation_share=0.2)
    assert [len(p) for p in (drawn.train, drawn.validation, drawn.test)] == [1232, 308, 257]
    assert drawn.test.fingerprint() == digits.test.fingerprint()
    assert drawn.fingerprint().endswith("-random-0.2")

    def pictures(*parts):
        return sorted(image.tobytes() for part in parts for image in part.images)

    everything = pictures(digits.train, digits.validation)
    assert pictures(drawn.train, drawn.validation) == everything
    assert len(set(pictures(drawn.validation)) & set(pictures(digits.validation))) < 60
    again = data.load_splits("digits", "digits", validation_share=0.2)
    assert again.fingerprint() == drawn.fingerprint()
    with pytest.raises(UserError, match=r"data.validation_share=0.0001 .* take another share"):
        data.load_splits("digits", "digits", validation_share=0.0001)


@pytest.fixture(scope="module")
def varied():
    return data.load_splits("digits", "varied_digits")


def test_the_digits_stay_what_they_were(digits, varied):
    """Runs are bound to their data's fingerprint: it must not change with the code."""
    assert digits.fingerprint() == "23be744c-088fa5ae-19a83672"
    assert varied.fingerprint() == "689118bc-8f7534b3-296c90dd"


def test_varied_digits_are_the_same_digits_in_the_same_parts(digits, varied):
    assert [len(p) for p in (varied.train, varied.validation, varied.test)] == [12708, 128, 257]
    labels = varied.train.labels.reshape(9, 1412)
    np.testing.assert_array_equal(labels, np.tile(digits.train.labels, (9, 1)))
    as_they_are = [varied.train[:1412], varied.validation, varied.test]
    for part, source in zip(
        as_they_are, (digits.train, digits.validation, digits.test), strict=True
    ):
        np.testing.assert_array_equal(part.labels, source.labels)
        inner = part.images[:, 4:24, 4:24]
        assert inner.sum() == part.images.sum()  # a black margin
        quarters = [
            x.reshape(len(x), 2, x.shape[1] // 2, 2, x.shape[1] // 2).mean(axis=(2, 4)).ravel()
            for x in (inner, source.images)
        ]
        assert np.corrcoef(*quarters)[0, 1] > 0.99


def test_variants_are_moved_turned_and_scaled_by_little(varied):
    images = varied.train.images.reshape(9, 1412, 28, 28).astype(float)
    ink = images.sum(axis=(2, 3))  # (9, 1412)
    centres = [
        (images.sum(axis=axis) * np.arange(28)).sum(axis=2) / ink for axis in (2, 3)
    ]  # right and down
    for centre in centres:
        moved = centre[1:] - centre[0]
        assert abs(moved).max() < 3.5  # the shift, and what turning about the middle does
        assert 0.8 < moved.std() < 1.6  # uniform over 4 pixels: 1.15
        assert abs(moved.mean()) < 0.2
    assert abs(np.log(ink[1:] / ink[0])).max() < 0.4  # areas: twice a tenth, and what is cut off
    some = images[:, :100].reshape(9, -1)
    alike = np.corrcoef(some)  # each with each
    assert alike[~np.eye(9, dtype=bool)].max() < 0.9  # no two are the same
    others = np.corrcoef(np.roll(some[0], 28 * 28), some[1])[0, 1]  # each with the digit before
    assert alike[0].min() > others + 0.15


def test_the_last_twelfth_of_the_training_images_validates():
    train, test = image_set(60), image_set(10)
    parts = split(train, test, "somewhere", rule="order")
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [55, 5, 10]
    np.testing.assert_array_equal(parts.validation.images, train.images[55:])
    parts = split(image_set(70), None, "somewhere", rule="order")
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [55, 5, 10]


def test_too_few_images_for_three_parts_are_refused():
    with pytest.raises(UserError, match="5 training and 3 test images"):
        split(image_set(5), image_set(3), "somewhere")


def test_one_class_only_is_refused():
    one = ImageSet(np.zeros((30, 2, 2, 1), np.uint8), np.zeros(30, np.int32), ("a", "b"))
    with pytest.raises(UserError, match="only one class"):
        split(one, None, "somewhere")


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        (np.zeros((3, 2, 2), np.uint8), np.zeros(3, np.int32), "ab", r"\[N, H, W, C\]"),
        (np.zeros((3, 2, 2, 1), np.float32), np.zeros(3, np.int32), "ab", "float32"),
        (np.zeros((3, 2, 2, 1), np.uint8), np.zeros(2, np.int32), "ab", "3 images have labels"),
        (np.zeros((0, 2, 2, 1), np.uint8), np.zeros(0, np.int32), "ab", "empty"),
        (np.zeros((1, 2, 2, 1), np.uint8), np.array([2], np.int32), "ab", "2 class names"),
        (np.zeros((1, 2, 2, 1), np.uint8), np.array([-1], np.int32), "ab", "from -1"),
    ],
)
def test_parts_that_do_not_fit_make_no_image_set(images, labels, names, message):
    with pytest.raises(UserError, match=message):
        ImageSet(images, labels, tuple(names))


# ---- real data ----


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_idx_and_prepared_files_hold_the_same_images(name, idx_directory, tfds_directory):
    from_idx = data.load_splits("auto", name, str(idx_directory))
    assert [len(p) for p in (from_idx.train, from_idx.validation, from_idx.test)] == [
        55_000, 5_000, 10_000,
    ]  # fmt: skip
    assert "IDX" in from_idx.origin
    # The records of the test split are few enough to decode here; their order differs.
    folder = description.find(name, tfds_directory)
    records = prepared._decode(description.read(folder), "test")

    def contents(images: ImageSet) -> list[bytes]:
        pairs = zip(images.images, images.labels, strict=True)
        return sorted(image.tobytes() + bytes([label]) for image, label in pairs)

    assert contents(records) == contents(from_idx.test)


@pytest.mark.data
def test_a_prepared_set_is_decoded_once_and_then_cached(tfds_directory, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_directory))
    first = data.load_splits("tfds", "mnist")
    assert [len(p) for p in (first.train, first.validation, first.test)] == [55_000, 5_000, 10_000]
    monkeypatch.setattr(prepared, "_decode", None)  # a second decoding would fail
    second = data.load_splits("auto", "mnist")
    assert second.fingerprint() == first.fingerprint()
    assert second.origin == first.origin


@pytest.mark.data
def test_files_of_another_data_set_in_the_folder_are_noticed(idx_directory, tmp_path):
    shutil.copytree(idx_directory / "fashion_mnist", tmp_path / "mnist")
    with pytest.raises(UserError, match="does not hold mnist"):
        data.load_splits("auto", "mnist", str(tmp_path))
    with pytest.raises(UserError, match="does not hold mnist"):
        data.load_splits("idx", "mnist", str(tmp_path / "mnist"))


# ---- IDX files ----


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("own_folder", [True, False])
def test_idx_files_are_read_zipped_or_not_in_either_folder(tmp_path, zipped, own_folder):
    train, test = image_set(24), image_set(6)
    folder = tmp_path / "letters" if own_folder else tmp_path / "flat"
    write_idx(folder, train, test, zipped)
    found = data.load_splits("idx", "letters", str(tmp_path if own_folder else folder))
    np.testing.assert_array_equal(found.test.images, test.images)
    np.testing.assert_array_equal(found.test.labels, test.labels)
    assert (len(found.train), len(found.validation)) == (21, 3)  # one of each class


def test_missing_idx_files_are_named(tmp_path):
    write_idx(tmp_path / "letters", image_set(24), image_set(6), zipped=True)
    (tmp_path / "letters" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="lacks t10k-labels-idx1-ubyte"):
        data.load_splits("idx", "letters", str(tmp_path))
    with pytest.raises(UserError, match="no IDX files"):
        data.load_splits("idx", "others", str(tmp_path))


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "header alone": content[:4],
        "half a header": content[:9],
        "truncated": content[:-1],
        "too long": content + b"x",
        "not IDX": b"\x89PNG" + content[4:],
        "floats": content[:2] + b"\x0d" + content[3:],
        "claims 4 billion images": content[:4] + b"\xff" * 12 + content[16:],
    }


@pytest.mark.parametrize("what", damaged(b""))
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_idx_file_is_named_and_refused(tmp_path, what, zipped):
    content = damaged(idx_bytes(image_set().images[..., 0]))[what]
    path = tmp_path / ("images.gz" if zipped else "images")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(UserError, match="images"):
        idx.read(path)


@pytest.mark.parametrize("what", ["cut", "flipped", "not gzip"])
def test_a_damaged_gzip_file_is_named_and_refused(tmp_path, what):
    content = bytearray(gzip.compress(idx_bytes(image_set().images[..., 0])))
    content[len(content) // 2] ^= 0xFF
    contents = {"cut": content[:-20], "flipped": content, "not gzip": b"hello"}
    path = tmp_path / "images.gz"
    path.write_bytes(bytes(contents[what]))
    with pytest.raises(UserError, match=r"images\.gz"):
        idx.read(path)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=64) | st.binary(max_size=40).map(lambda b: b"\0\0\x08\x03" + b))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert idx.read(path).dtype == np.uint8


# ---- where data is looked for ----


def test_the_directory_is_the_configured_one_then_the_environment_then_home(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/from/environment")
    assert str(data.data_directory("/configured")) == "/configured"
    assert str(data.data_directory("")) == "/from/environment"
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(data.data_directory("")) == "/home/somebody/tensorflow_datasets"


def test_a_set_that_is_nowhere_is_an_error_and_never_another_set(tmp_path):
    write_idx(tmp_path / "letters", image_set(24), image_set(6), zipped=True)
    with pytest.raises(UserError, match="no data set 'numerals'"):
        data.load_splits("auto", "numerals", str(tmp_path))
    with pytest.raises(UserError, match="no prepared tensorflow_datasets set 'letters'"):
        data.load_splits("tfds", "letters", str(tmp_path))
    with pytest.raises(UserError, match="data.source='zip' is not one of auto, digits"):
        data.load_splits("zip", "letters", str(tmp_path))


def test_unnamed_files_are_taken_only_when_asked_for(tmp_path):
    write_idx(tmp_path / "flat", image_set(24), image_set(6), zipped=True)
    with pytest.raises(UserError, match="data.source=idx"):
        data.load_splits("auto", "letters", str(tmp_path / "flat"))
    assert len(data.load_splits("idx", "letters", str(tmp_path / "flat")).test) == 6


def test_the_digits_are_not_taken_for_another_set():
    with pytest.raises(UserError, match="not 'mnist'"):
        data.load_splits("digits", "mnist")
    with pytest.raises(UserError, match=r"digits, varied_digits.*did you mean varied_digits"):
        data.load_splits("digits", "varied_digit")


# ---- prepared by tensorflow_datasets ----


def test_several_prepared_configurations_must_be_told_apart(tmp_path):
    for folder in ("emnist/balanced/3.1.0", "emnist/letters/3.1.0", "emnist/letters/3.0.0"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "features.json").write_text("{}")
    with pytest.raises(UserError, match="emnist/balanced, emnist/letters"):
        description.find("emnist", tmp_path)
    assert description.find("emnist/letters", tmp_path) == tmp_path / "emnist/letters/3.1.0"


@pytest.mark.data
def test_the_newest_prepared_version_is_taken(tfds_directory, tmp_path):
    for version in ("3.0.1", "10.0.0", "9.2.0"):
        (tmp_path / "mnist" / version).mkdir(parents=True)
        shutil.copy(tfds_directory / "mnist/3.0.1/features.json", tmp_path / "mnist" / version)
    assert description.find("mnist", tmp_path).name == "10.0.0"
    assert description.find("mnist/3.0.1", tmp_path) is not None
    assert description.find("fashion_mnist", tmp_path) is None


def small_prepared(source, target, file_format: str, count: int = 120):
    """A prepared MNIST of `count` real records for each split, in either file format."""
    import json

    from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
    from tensorboardX.record_writer import RecordWriter

    folder = target / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    for name in ("features.json", "dataset_info.json"):
        shutil.copy(source / "mnist/3.0.1" / name, folder)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = file_format
    for part in info["splits"]:
        part["shardLengths"] = [str(count)]
        original = source / f"mnist/3.0.1/mnist-{part['name']}.array_record-00000-of-00001"
        records = ArrayRecordReader(str(original)).read(0, count)
        path = folder / f"mnist-{part['name']}.{file_format}-00000-of-00001"
        if file_format == "tfrecord":
            writer = RecordWriter(str(path))
            for record in records:
                writer.write(record)
        else:
            writer = ArrayRecordWriter(str(path), "group_size:1")
            for record in records:
                writer.write(record)
        writer.close()
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


@pytest.mark.data
def test_tfrecord_and_array_record_hold_the_same(tfds_directory, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prints = set()
    for file_format in ("tfrecord", "array_record"):
        small_prepared(tfds_directory, tmp_path / file_format, file_format)
        found = data.load_splits("tfds", "mnist", str(tmp_path / file_format))
        assert [len(p) for p in (found.train, found.validation, found.test)] == [110, 10, 120]
        prints.add(found.fingerprint())
    assert len(prints) == 1


@pytest.mark.data
@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("damage", ["cut", "missing", "description"])
def test_a_damaged_prepared_set_is_refused(
    tfds_directory, tmp_path, monkeypatch, file_format, damage
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = small_prepared(tfds_directory, tmp_path, file_format)
    path = folder / f"mnist-train.{file_format}-00000-of-00001"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "missing":
        path.unlink()
    else:
        (folder / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match="Prepare"):
        data.load_splits("tfds", "mnist", str(tmp_path))


@pytest.mark.data
def test_a_set_without_images_is_refused(tfds_directory):
    with pytest.raises(UserError, match="no image classification set"):
        data.load_splits("tfds", "spoken_digit", str(tfds_directory))


# ---- the cache ----


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other arrays"])
def test_a_damaged_cache_is_noticed_and_rebuilt(tmp_path, damage, caplog):
    path = tmp_path / "cache" / "set.npz"
    original = image_set(200, side=8)
    cache.cached(path, lambda: original)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0x01
    contents = {"cut": content[:-100], "flipped": content, "empty": b"", "text": b"hello"}
    if damage == "other arrays":
        np.savez(path, something=np.zeros(3))
    else:
        path.write_bytes(bytes(contents[damage]))
    found = cache.cached(path, lambda: original)
    np.testing.assert_array_equal(found.images, original.images)
    assert "damaged" in caplog.text
    caplog.clear()
    again = cache.cached(path, lambda: pytest.fail("was not rebuilt"))
    np.testing.assert_array_equal(again.images, original.images)
    assert again.class_names == original.class_names


def test_no_flipped_byte_of_a_cache_goes_unnoticed(tmp_path):
    path = tmp_path / "set.npz"
    original = image_set(8, side=2)
    cache.cached(path, lambda: original)
    content = path.read_bytes()
    for position in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[position] ^= 0xFF
        path.write_bytes(bytes(flipped))
        found = cache.cached(path, lambda: original)
        np.testing.assert_array_equal(found.images, original.images)
        np.testing.assert_array_equal(found.labels, original.labels)
        assert found.class_names == original.class_names


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    original = image_set()
    assert cache.cached(tmp_path / "file" / "set.npz", lambda: original) is original
    assert "going on without it" in caplog.text


def test_the_cache_key_changes_with_the_files(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"one")
    first = cache.source_key(path)
    assert cache.source_key(path) == first
    os.utime(path, ns=(0, 0))
    assert cache.source_key(path) != first
