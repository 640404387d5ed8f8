"""Sound: coefficients against librosa, recordings and their splits, and what a batch speaks."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, run_command

from multimodal_vit import audio, data
from multimodal_vit.data import ImageSet, written_spoken
from multimodal_vit.data.recordings import Recordings, checked, split_recordings
from multimodal_vit.errors import UserError
from multimodal_vit.sampler import Speech, Task, sample_batch
from multimodal_vit.suites import BEFORE, CHECKS, SUITES, Pool, suites_for

NAMES = tuple(str(i) for i in range(10))


@pytest.fixture(scope="session")
def spoken(tfds_directory):
    """The real recordings, split by recording; the test is skipped where they are missing."""
    folder = tfds_directory / "spoken_digit"
    if not folder.exists():
        pytest.skip(f"no data in {folder}")
    return data.AUDIO_SOURCES["spoken_digit"]("spoken_digit", tfds_directory, ())


def librosa_mfcc(wave, sample_rate):
    librosa = pytest.importorskip("librosa")
    return librosa.feature.mfcc(
        y=wave, sr=sample_rate, n_mfcc=13, n_fft=sample_rate // 20, hop_length=sample_rate // 40,
        n_mels=audio.NUM_MEL_BANDS, center=False,
    ).T  # fmt: skip


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_the_coefficients_of_made_up_sound_are_librosas(sample_rate):
    rng = np.random.default_rng(0)
    time = np.arange(sample_rate) / sample_rate
    noise = 0.1 * rng.normal(size=sample_rate)
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 800 * time) * time) * np.exp(-3 * time)
    waves = np.stack([noise, chirp, np.zeros_like(time)]).astype(np.float32)
    found = np.asarray(audio.mfcc(waves, sample_rate))
    assert found.shape == (3, 39, 13)
    for wave, mine in zip(waves, found, strict=True):
        np.testing.assert_allclose(mine, librosa_mfcc(wave, sample_rate), atol=1e-3)


@pytest.mark.data
def test_the_coefficients_of_real_recordings_are_librosas(spoken):
    waves = spoken.test.waves[::10]
    found = audio.mfcc_of(waves, spoken.test.sample_rate)
    for wave, mine in zip(waves, found, strict=True):
        expected = librosa_mfcc(wave.astype(np.float32) / 2**15, 8000)
        np.testing.assert_allclose(mine, expected, atol=1e-3)


def test_a_recording_is_cut_or_filled_at_its_end():
    np.testing.assert_array_equal(audio.fit(np.arange(1, 9001), 8000), np.arange(1, 8001))
    filled = audio.fit(np.arange(1, 5), 8000)
    np.testing.assert_array_equal(filled[:5], [1, 2, 3, 4, 0])
    assert filled.shape == (8000,)
    assert not filled[4:].any()


@pytest.mark.data
def test_real_recordings_are_split_by_take(spoken):
    sizes = {part: len(getattr(spoken, part)) for part in ("train", "validation", "test")}
    assert sizes == {"train": 2460, "validation": 240, "test": 300}  # 6 speakers, 10 digits
    for part in (spoken.train, spoken.validation, spoken.test):
        assert (np.diff(part.labels) >= 0).all()
        assert len(set(part.speakers.tolist())) == 6
        assert part.features.shape[1:] == (39, 13)
    np.testing.assert_allclose(spoken.train.features.mean(axis=(0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(spoken.train.features.std(axis=(0, 1)), 1, atol=1e-3)


@pytest.mark.data
def test_unseen_speakers_are_in_the_test_alone(spoken, tfds_directory):
    load = data.AUDIO_SOURCES["spoken_digit"]
    found = load("spoken_digit", tfds_directory, ("theo", "yweweler"))
    assert set(found.test.speakers.tolist()) == {"theo", "yweweler"}
    assert len(found.test) == 1000
    for part in (found.train, found.validation):
        assert not set(part.speakers.tolist()) & {"theo", "yweweler"}
    with pytest.raises(UserError, match=r"'teo' is no speaker.*did you mean theo\?"):
        load("spoken_digit", tfds_directory, ("teo",))


def test_missing_recordings_are_said_in_one_line(tmp_path, digits):
    with pytest.raises(UserError, match=r"no recordings 'spoken_digit' in .*features.json"):
        data.load_splits("digits", "digits", str(tmp_path), "spoken_digit")
    with pytest.raises(UserError, match=r"labels_train.npy does not exist; the six files"):
        written_spoken.load("written_spoken_digits", tmp_path)
    with pytest.raises(UserError, match="data.audio='parrots' is not one of spoken_digit"):
        data.load_splits("digits", "digits", str(tmp_path), "parrots")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f["featuresDict"]["features"].pop("audio/filename"), "needed are `audio`"),
        (lambda f: f["featuresDict"]["features"].pop("audio"), "is no prepared set"),
    ],
)
@pytest.mark.data
def test_another_kind_of_prepared_set_is_no_recordings(tfds_directory, tmp_path, damage, message):
    (source,) = (tfds_directory / "spoken_digit").glob("*.*.*")
    target = tmp_path / "spoken_digit" / source.name
    target.mkdir(parents=True)
    features = json.loads((source / "features.json").read_text())
    damage(features)
    (target / "features.json").write_text(json.dumps(features))
    (target / "dataset_info.json").write_text((source / "dataset_info.json").read_text())
    with pytest.raises(UserError, match=message):
        data.AUDIO_SOURCES["spoken_digit"]("spoken_digit", tmp_path, ())


# ---- the Written and Spoken Digits Database, as files made in its format ----


def write_database(folder, count=240, repeats=2):
    """Six files; each recording, of its own values, occurs `repeats` times."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, size in (("train", count), ("test", 60)):
        labels = np.arange(size) % 10
        sound = rng.normal(size=(size // repeats, 507)) + labels[: size // repeats, None]
        np.save(folder / f"labels_{part}.npy", labels)
        np.save(folder / f"data_sp_{part}.npy", np.tile(sound, (repeats, 1)))
        images = np.zeros((size, 784), np.float32)
        images[:, 28] = labels / 9  # row 1, column 0
        np.save(folder / f"data_wr_{part}.npy", images)


def test_the_written_and_spoken_digits_are_read(tmp_path):
    write_database(tmp_path / "written_spoken_digits")
    found = data.load_splits(
        "written_spoken", "written_spoken_digits", str(tmp_path), "written_spoken_digits"
    )
    assert found.train.images.shape == (220, 28, 28, 1)
    np.testing.assert_array_equal(
        found.test.images[:10, 1, 0, 0], np.round(np.arange(10) * 255 / 9).astype(np.uint8)
    )
    parts = [part.recordings for part in (found.train, found.validation, found.test)]
    assert [len(part) for part in parts] == [110, 10, 30]  # each recording once
    assert all(part.features.shape[1:] == (39, 13) for part in parts)
    rows = [set(map(bytes, part.features.reshape(len(part), -1))) for part in parts]
    assert not rows[0] & rows[1]
    # The values of a row are frame by frame: the first 13 are the first frame.
    raw = np.load(tmp_path / "written_spoken_digits" / "data_sp_test.npy").astype(np.float32)
    order = np.argsort(np.arange(30) % 10, kind="stable")
    frames = raw[:30].reshape(30, 39, 13)[order]
    for coefficient in (0, 12):
        mine, theirs = parts[2].features[..., coefficient], frames[..., coefficient]
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("data_sp_train", np.zeros((240, 500)), r"\[240, 500\], not numbers \[N, 507\]"),
        ("data_sp_train", np.zeros((239, 507)), "239 recordings for 240 labels"),
        ("data_sp_test", np.full((60, 507), np.nan), "values that are no numbers"),
        ("labels_test", np.full(60, 10), "labels must be 0 to 9"),
        ("data_wr_test", np.zeros((59, 784)), "59 images for 60 labels"),
        ("data_wr_train", np.array(["a"] * 240), r"not numbers \[N, 784\]"),
    ],
)
def test_wrong_files_of_the_database_are_refused(tmp_path, name, array, message):
    folder = tmp_path / "written_spoken_digits"
    write_database(folder)
    np.save(folder / f"{name}.npy", array)
    arguments = ("written_spoken", folder.name, str(tmp_path), folder.name)
    with pytest.raises(UserError, match=message):
        data.load_splits(*arguments)
    (folder / f"{name}.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="cannot be read as a .npy file"):
        data.load_splits(*arguments)


def test_the_database_names_no_speakers(tmp_path):
    write_database(tmp_path / "written_spoken_digits")
    with pytest.raises(UserError, match="does not say who speaks"):
        written_spoken.recordings("written_spoken_digits", tmp_path, ("theo",))


# ---- splits and batches, with sounds that name their class and place ----


def make_recordings(takes=12, speakers=("ann", "bob", "eve")):
    """Recordings whose first value is their class, the second their place."""
    labels = np.repeat(np.arange(10), takes * len(speakers)).astype(np.int32)
    who = np.tile(np.repeat(speakers, takes), 10)
    features = np.zeros((len(labels), 39, 13), np.float32)
    features[:, 0, 0], features[:, 0, 1] = labels, np.arange(len(labels))
    return Recordings(features, labels, who), np.tile(np.arange(takes), 10 * len(speakers))


def test_no_recording_is_in_two_parts_and_each_is_in_one():
    recordings, takes = make_recordings()
    for unseen in ((), ("eve",)):
        found = split_recordings(recordings, takes, NAMES, unseen, "made up")
        places = [np.round(p.features[:, 0, 1], 4) for p in (found.train, found.validation)]
        sizes = [len(p) for p in (found.train, found.validation, found.test)]
        assert sizes == ([90, 120, 150] if not unseen else [160, 80, 120])
        assert len(np.unique(np.concatenate(places))) == sizes[0] + sizes[1]


def test_a_part_without_a_word_is_refused():
    recordings, takes = make_recordings()
    with pytest.raises(UserError, match="the training part has no recording of '0'"):
        split_recordings(recordings, takes, NAMES, ("ann", "bob", "eve"), "made up")
    few = recordings[recordings.labels < 9]
    with pytest.raises(UserError, match="no recording of '9'"):
        checked(few, few, few, NAMES, "made up")


def test_recordings_must_speak_the_classes_of_the_images(tmp_path, monkeypatch):
    write_database(tmp_path / "written_spoken_digits")
    labels = np.arange(60, dtype=np.int32) % 2
    letters = ImageSet(np.zeros((60, 4, 4, 1), np.uint8), labels, ("a", "b"))
    monkeypatch.setitem(data.SOURCES, "idx", lambda *_: data.split(letters, None, "letters"))
    with pytest.raises(UserError, match="take images of the same classes"):
        data.load_splits("idx", "letters", str(tmp_path), "written_spoken_digits")


TASK = Task((2, 2), (4, 4, 1), 10, audio_shape=(39, 13))
B = 512


@pytest.fixture(scope="module")
def pool():
    recordings, _ = make_recordings()
    labels = jnp.arange(50, dtype=jnp.int32) % 10
    images = jnp.broadcast_to(labels[:, None, None, None] * 20 + 5, (50, 4, 4, 1))
    first = np.searchsorted(recordings.labels, np.arange(11)).astype(np.int32)
    speech = Speech(jnp.asarray(recordings.features), jnp.asarray(first))
    confusable = (jnp.arange(10, dtype=jnp.int32) + 1) % 10
    return Pool(images.astype(jnp.uint8), labels, confusable, speech)


def draw(suite, pool, task=TASK):
    base = jnp.arange(B, dtype=jnp.int32) % len(pool.labels)
    return jax.device_get(suite.draw(jax.random.key(3), pool, base, jnp.ones(B), task))


def said(batch):
    """The classes that are heard, int [B, n]."""
    return batch.inputs["audio"][:, :, 0, 0].astype(int)


def test_every_word_is_spoken_by_any_recording_of_its_class(pool):
    batch = draw(SUITES["standard"], pool)
    np.testing.assert_array_equal(said(batch), batch.inputs["words"])
    np.testing.assert_array_equal(batch.inputs["audio"], pool.speech.features[batch.spoken])
    assert batch.inputs["present"].all()
    assert len(np.unique(batch.spoken)) > 350  # of 360


def test_sound_changes_nothing_else_of_a_batch(pool):
    arguments = (jax.random.key(0), pool.images, pool.labels, jnp.arange(8), jnp.ones(8))
    mute = sample_batch(*arguments, dataclasses.replace(TASK, audio_shape=None))
    loud = sample_batch(*arguments, TASK, speech=pool.speech)
    assert set(mute.inputs) == {"image", "words"}
    assert mute.spoken is None
    for name in ("image", "words"):
        np.testing.assert_array_equal(mute.inputs[name], loud.inputs[name])
    np.testing.assert_array_equal(mute.match, loud.match)


def test_in_every_suite_but_the_blind_one_the_text_is_spoken_as_it_is_written(pool):
    for name, suite in suites_for(TASK).items():
        batch = draw(suite, pool)
        same = (said(batch) == batch.inputs["words"]).all()
        assert same == (name != "blind_audio"), name


def test_order_foils_are_heard(pool):
    batch = draw(SUITES["order_foil"], pool)
    counts = batch.weight > 0
    foils = counts & ~batch.match
    assert (said(batch)[foils] != batch.labels[foils]).any(axis=1).all()
    np.testing.assert_array_equal(np.sort(said(batch)), np.sort(batch.labels))


def test_exchanged_words_are_heard_exchanged_and_the_others_stay(pool):
    before = draw(BEFORE, pool)
    after = draw(CHECKS["swap_words"].after, pool)
    moved = before.inputs["words"] != after.inputs["words"]
    assert set(moved.sum(axis=1)) <= {0, 2}
    np.testing.assert_array_equal(said(after), after.inputs["words"])
    np.testing.assert_array_equal(before.spoken[~moved], after.spoken[~moved])


@pytest.mark.parametrize(
    ("suite", "there"),
    [
        ("without_image", (False, True, True)),
        ("without_words", (True, False, True)),
        ("without_audio", (True, True, False)),
        ("only_image", (True, False, False)),
        ("only_words", (False, True, False)),
        ("only_audio", (False, False, True)),
    ],
)
def test_every_subset_of_the_inputs_can_be_missing(pool, suite, there):
    batch = draw(suites_for(TASK)[suite], pool)
    assert (batch.inputs["present"] == there).all()


def test_a_task_without_sound_has_no_suites_of_sound():
    mute = suites_for(dataclasses.replace(TASK, audio_shape=None))
    assert not {"blind_audio", "without_image", "only_audio"} & set(mute)


def test_suites_of_a_classifier_have_no_false_texts(pool):
    task = dataclasses.replace(TASK, grid=(1, 1), false_rate=0.0)
    found = suites_for(task)
    assert set(found) >= {"standard", "blind_audio", "without_image", "without_audio"}
    for name, suite in found.items():
        batch = draw(suite, pool, task)
        assert batch.match.all(), name
        if name != "blind_audio":
            np.testing.assert_array_equal(said(batch), batch.labels)


@pytest.mark.data
def test_the_sheet_is_drawn_and_its_sound_written(tfds_directory, tmp_path):
    from scipy.io import wavfile

    if not (tfds_directory / "spoken_digit").exists():
        pytest.skip(f"no data in {tfds_directory / 'spoken_digit'}")
    done = run_command(
        "--mode=sample", "--wav", "--config=configs/mnist_spoken_grid.py:small",
        f"--workdir={tmp_path / 'look'}", "--config.data.name=digits",
        "--config.data.source=digits", f"--config.data.directory={tfds_directory}",
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "look" / "sounds").iterdir())
    assert len(files) == 16
    rate, sound = wavfile.read(files[0])
    assert (rate, sound.shape, sound.dtype) == (8000, (32000,), np.int16)
    assert (tmp_path / "look" / "samples.png").stat().st_size > 10_000
