"""What foreign data may hold and decide: classes, parts, checksums, sizes, and no imports.

Small sets are written in every format; `benchmarks/fuzz_readers.py` makes valid and changed ones.
"""

import json
import random
import struct
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, load_module
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_vit import arrays, bounds, data, sampler
from multimodal_vit.data import description, idx, prepared, records
from multimodal_vit.data.image_set import ImageSet
from multimodal_vit.data.splitting import split, stratified
from multimodal_vit.data.values import as_labels, as_pixels
from multimodal_vit.errors import UserError
from multimodal_vit.train import memory

fuzzer = load_module(ROOT / "benchmarks" / "fuzz_readers.py")


def images_of(labels, names) -> ImageSet:
    labels = np.asarray(labels, np.int32)
    pixels = np.arange(len(labels) * 4, dtype=np.uint8).reshape(-1, 2, 2, 1)
    return ImageSet(pixels, labels, tuple(names))


def write(folder, files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_prepared(folder, counts, names=None, features=None, labels=None) -> None:
    """A prepared set in `folder/letters/1.0.0`, tfrecord."""
    rng = random.Random(0)
    files = fuzzer.described(features or fuzzer.IMAGES, counts, "tfrecord")
    for part, count in counts.items():
        found = [
            fuzzer.image_record(rng, labels[part][n] if labels else n % 3, False)
            for n in range(count)
        ]
        files[f"letters-{part}.tfrecord-00000-of-00001"] = fuzzer.tfrecord(rng, found, False)
    if names:
        files["label.labels.txt"] = "\n".join(names).encode()
    write(folder / "letters" / "1.0.0", files)


# ---- classes and parts ----


@settings(max_examples=8, deadline=None)
@given(
    labels=st.lists(st.integers(0, 40), min_size=24, max_size=60).filter(lambda x: len(set(x)) > 1),
    declared=st.integers(41, 60),
)
def test_every_drawn_replacement_occurs_in_the_training_labels(labels, declared):
    names = [f"class {i}" for i in range(declared)]
    train = images_of(labels, names)
    parts = split(train, images_of(labels[:1] * 3, names), "some images")
    shown = {parts.train.class_names[label] for label in parts.train.labels}
    assert shown == set(parts.train.class_names)
    before = dict(zip(map(bytes, train.images), (names[i] for i in labels), strict=False))
    for image, label in zip(parts.train.images, parts.train.labels, strict=True):
        assert before[bytes(image)] == parts.train.class_names[label]  # names are kept
    task = sampler.Task((2, 2), (2, 2, 1), parts.train.num_classes)
    texts = np.resize(parts.train.labels, (64, 4))
    for name in ("replace", "mixed"):
        words = sampler.CORRUPTIONS[name](jax.random.key(len(labels)), jnp.asarray(texts), task)
        assert set(np.unique(words)) <= set(parts.train.labels.tolist())


def test_labels_from_1_to_26_are_26_classes(tmp_path):
    labels = np.resize(np.arange(1, 27), 260).astype(np.uint8)
    for part in ("train", "test"):
        write(
            tmp_path,
            {
                idx.FILES[f"{part} images"]: fuzzer.idx_file(np.zeros((260, 2, 2), np.uint8)),
                idx.FILES[f"{part} labels"]: fuzzer.idx_file(labels),
            },
        )
    found = data.load_splits("idx", "letters", str(tmp_path))
    assert found.train.class_names == tuple(str(i) for i in range(1, 27))
    for part in (found.train, found.validation, found.test):
        assert (np.bincount(part.labels, minlength=26) > 0).all()


def test_a_class_that_training_lacks_is_named(tmp_path):
    write_prepared(tmp_path, {"train": 20, "test": 4}, "abc", labels={
        "train": [n % 2 for n in range(20)], "test": [0, 1, 2, 0]
    })  # fmt: skip
    with pytest.raises(UserError, match="the test part has images of classes .* lacks: 'c'"):
        prepared.load("letters", tmp_path, tmp_path / "cache")


def test_declared_classes_without_images_are_left_out_and_named(tmp_path, caplog):
    write_prepared(tmp_path, {"train": 24, "test": 4}, "abc", labels={
        "train": [n % 2 * 2 for n in range(24)], "test": [0, 2, 2, 0]
    })  # fmt: skip
    found = prepared.load("letters", tmp_path, tmp_path / "cache")
    assert found.train.class_names == ("a", "c")
    assert "no training image shows: 'b'" in caplog.text


def test_an_ordered_source_has_every_class_in_every_part():
    labels = np.sort(np.arange(240) % 5)
    found = split(images_of(labels, "abcde"), None, "sorted images")
    for part in (found.train, found.validation, found.test):
        assert (np.bincount(part.labels, minlength=5) > 0).all()
    assert found.fingerprint().endswith("-stratified")
    again = split(images_of(labels, "abcde"), None, "sorted images")
    assert again.fingerprint() == found.fingerprint()
    in_order = split(images_of(np.arange(240) % 5, "abcde"), None, "mixed", rule="order")
    assert in_order.fingerprint().count("-") == 2


def test_stratification_takes_one_of_each_class_and_never_the_last():
    labels = np.array([0] * 24 + [1] * 2 + [2])
    chosen = labels[stratified(labels, 1 / 12)]
    assert np.bincount(chosen, minlength=3).tolist() == [2, 1, 0]


def test_an_official_validation_part_is_used(tmp_path):
    write_prepared(tmp_path, {"train": 24, "validation": 9, "test": 6})
    found = prepared.load("letters", tmp_path, tmp_path / "cache")
    assert [len(p) for p in (found.train, found.validation, found.test)] == [24, 9, 6]
    assert found.rule == "official"
    assert found.fingerprint().endswith("-official")


def test_the_same_class_name_twice_is_refused(tmp_path):
    write_prepared(tmp_path, {"train": 24, "test": 6}, ["a", "b", "a"])
    with pytest.raises(UserError, match="both class 0 and class 2 'a'"):
        prepared.load("letters", tmp_path, tmp_path / "cache")


def test_speakers_without_recordings_are_refused():
    with pytest.raises(UserError, match="no recordings are read"):
        data.load_splits("digits", "digits", test_speakers=("theo",))


# ---- values, checksums, sizes ----


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.5, 256.0])
def test_pixels_that_are_none_are_refused(value):
    with pytest.raises(UserError, match="pixels"):
        as_pixels(np.array([0.0, value]), "a file")


def test_fractions_and_whole_numbers_become_pixels():
    assert as_pixels(np.array([0.0, 0.5, 1.0]), "").tolist() == [0, 128, 255]
    assert as_pixels(np.array([0, 200], np.int64), "").tolist() == [0, 200]


@pytest.mark.parametrize("value", [np.nan, -1.0, 0.5, 2.0**31])
def test_labels_that_are_none_are_refused(value):
    with pytest.raises(UserError, match="label"):
        as_labels(np.array([0.0, value]), "a file")


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1, 0)])
def test_no_images_of_any_size_are_refused(shape, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(fuzzer.idx_file(np.zeros(0, np.uint8), 8, shape))
    with pytest.raises(UserError, match="images promises"):
        idx.read(path)


def test_every_flipped_byte_of_a_tfrecord_file_is_noticed(tmp_path):
    path = tmp_path / "records"
    content = fuzzer.tfrecord(random.Random(0), [b"first", b"second one"], False)
    path.write_bytes(content)
    assert list(records.records(path, "tfrecord")) == [b"first", b"second one"]
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        path.write_bytes(bytes(flipped))
        with pytest.raises(UserError, match=r"records is|records promises"):
            list(records.records(path, "tfrecord"))


def test_what_an_array_record_file_unpacks_to_is_known_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "records"
    path.write_bytes(fuzzer.array_record(random.Random(0), [b"x" * 50_000] * 40, False))
    assert len(list(records.records(path, "array_record"))) == 40
    monkeypatch.setattr(arrays, "MAX_BYTES", 1_000_000)
    with pytest.raises(UserError, match="promises records of"):
        list(records.records(path, "array_record"))


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -3), }",
        b"(" * 3_000,
        b"{'descr': __import__('os').system('touch x')}",
        b"\0\0",
    ],
)
def test_a_broken_npy_header_is_refused_at_once(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(24))
    with pytest.raises(UserError, match=r"a\.npy"):
        arrays.read_npy(path)


@pytest.mark.parametrize("name", fuzzer.READERS)
def test_changed_inputs_are_read_or_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_BYTES", arrays.MAX_BYTES)
    monkeypatch.setattr(fuzzer.audio, "_AT_ONCE", fuzzer.audio._AT_ONCE)
    found = fuzzer.fuzz(name, range(20), 1, tmp_path / "input")
    assert found["faults"] == []
    assert sum(found["counts"].values()) == 20


# ---- no imports ----


@pytest.mark.parametrize("where", ["class", "module", "template", "beside"])
def test_a_data_folder_does_not_decide_what_is_imported(where, tmp_path, monkeypatch):
    (tmp_path / "evil_feature.py").write_text(
        f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Image: pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "letters" / "1.0.0"
    features = json.loads(json.dumps(fuzzer.IMAGES))
    if where == "class":
        features["image"]["pythonClassName"] = "evil_feature.Image"
    write_prepared(tmp_path, {"train": 24, "test": 6}, features=features)
    info = json.loads((folder / "dataset_info.json").read_text())
    if where == "module":
        info["moduleName"] = "evil_feature"
    if where == "template":
        info["splits"][0]["filepathTemplate"] = "../../../../etc/{DATASET}"
    if where == "beside":
        (folder / "letters.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    (folder / "dataset_info.json").write_text(json.dumps(info))
    if where in ("class", "template"):
        with pytest.raises(UserError, match="not imported|is no name of a file"):
            prepared.load("letters", tmp_path, tmp_path / "cache")
    else:
        prepared.load("letters", tmp_path, tmp_path / "cache")
    assert "evil_feature" not in sys.modules
    assert not (tmp_path / "executed").exists()


# ---- names of files and folders ----


def test_dotted_idx_names_are_found(tmp_path):
    for name, content in fuzzer.idx_values(random.Random(0)).items():
        write(tmp_path, {name.replace("-idx", ".idx"): content})
    assert len(data.load_splits("idx", "letters", str(tmp_path)).test) == 6


@pytest.mark.parametrize("name", ["1.0.0", "1.0.0.incompleteQ3X"])
def test_an_incomplete_prepared_folder_is_called_incomplete(name, tmp_path):
    (tmp_path / "letters" / name).mkdir(parents=True)
    assert description.find("letters", tmp_path) is None
    for source in ("tfds", "auto"):
        with pytest.raises(UserError, match="is incomplete"):
            data.load_splits(source, "letters", str(tmp_path))


# ---- bounds of a configuration, memory of a run ----


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.num_encoder_layers", 10**9), ("train.num_seeds", 10**10), ("seed", 2**32),
        ("train.batch_size", 10**5_000), ("task.grid", (10**6, 10**6)), ("task.grid", (True, 2)),
        ("evaluation.other_data", "../secret"), ("data.test_speakers", ("theo",)),
        ("train.learning_rate", float("nan")), ("train.weight_decay", float("inf")),
        ("data.directory", "x" * 10**6), ("train.num_samples", 10**12),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)  # fmt: skip
def test_every_size_has_a_bound_that_is_checked_at_once(field, value):
    started = time.perf_counter()
    (line,) = bounds.experiment_problems({field: value})
    assert time.perf_counter() - started < 0.05
    assert field in line
    assert len(line) < 400


def test_seeds_of_a_study_stay_in_the_range_of_a_run():
    (line,) = bounds.study_problems({"first_seed": 2**32 - 2, "num_seeds": 3})
    assert "below 2**32" in line
    assert list(bounds.study_problems({"first_seed": 2**32 - 3, "num_seeds": 3})) == []
    assert len(list(bounds.study_problems({"num_seeds": 10**10}))) == 1


def test_a_run_that_cannot_fit_is_refused_with_the_estimate(tiny_config, tiny_splits):
    from multimodal_vit.train.experiment import Experiment

    experiment = Experiment.create(tiny_config, tiny_splits, devices=jax.devices()[:1])
    need = memory.need(experiment)
    state = jax.tree.leaves(experiment.abstract_state())
    assert need.parameters + need.optimizer == sum(x.size * x.dtype.itemsize for x in state)
    assert need.activation > 0
    memory.check(experiment)
    memory.check(experiment, need.total)
    with pytest.raises(UserError, match=r"needs at least [\d.]+ [KM]iB .* parameters"):
        memory.check(experiment, need.total - need.activation - 1)
