"""A trained model in use: loaded from its folder alone, asked about pictures and texts."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import multimodal_vit
from multimodal_vit import about_data, main
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.run import best_parameters
from multimodal_vit.use import loading
from multimodal_vit.use.words import labels_of
from multimodal_vit.workdir import Workdir


@pytest.fixture(scope="module")
def model(trained):
    return multimodal_vit.load(trained[1])


@pytest.fixture
def pictures(digits, tmp_path):
    """Four test digits as files: dark on grey paper, with a margin."""
    paths = []
    for i, image in enumerate(digits.test.images[:4]):
        tones = 200 - np.pad(image[..., 0], 20) // 2
        Image.fromarray(tones.astype(np.uint8)).resize((150, 150)).save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    return paths


def test_a_loaded_model_answers_as_the_trained_one_without_its_data(trained, monkeypatch):
    experiment, folder = trained
    monkeypatch.setattr(loading, "load_splits", lambda *_: pytest.fail("the data were read"))
    model = multimodal_vit.load(folder)
    step, variables = best_parameters(experiment, Workdir(folder))
    assert model.origin.endswith(f"step {step}")
    batch = experiment.examples(24)
    expected = experiment.objective.verdict(variables, batch.inputs)
    found = model.logits({name: np.asarray(x) for name, x in batch.inputs.items()})
    assert found == pytest.approx(np.asarray(expected), abs=1e-5)
    assert model.class_names == experiment.splits.train.class_names


def test_pictures_as_files_images_and_arrays_get_the_same_answer(model, pictures):
    opened = [Image.open(path) for path in pictures]
    arrays = [np.asarray(image) for image in opened]
    pasted = np.concatenate(
        [np.concatenate(arrays[:2], axis=1), np.concatenate(arrays[2:], axis=1)], axis=0
    )
    answers = [
        model.predict(images, "3 1 4 1")[0].true for images in (pictures, opened, arrays, pasted)
    ]
    assert max(answers) - min(answers) < 1e-6
    both = model.predict([pictures, pasted], [("3", 1, "4", "1"), "0, 0, 0, 0"], attention=True)
    assert both[0].true == pytest.approx(answers[0], abs=1e-6)
    assert both[1].text == ("0", "0", "0", "0")
    assert set(both[0].classes) == set("0123456789")
    assert all(0 < value < 1 for value in both[0].classes.values())
    weights = both[1].attention.of_words()  # (1, n, P)
    assert weights.shape == (1, 4, 16)
    assert weights.sum(axis=-1) == pytest.approx(1)
    assert len(both[1].attention.plot().axes) == 4


def test_the_datas_own_images_are_seen_as_they_are(model, trained):
    batch = trained[0].examples(3)
    words = [[model.class_names[word] for word in text] for text in batch.inputs["words"]]
    found = model.inputs(list(np.asarray(batch.inputs["image"])), words)
    assert (found["image"] == batch.inputs["image"]).all()
    assert (found["words"] == batch.inputs["words"]).all()


NAMES = ("T-shirt", "Ankle boot", "Bag", "Boot")


def test_words_are_read_as_people_type_them():
    assert labels_of("bag ankle boot  t-shirt BOOT", NAMES, 4) == [2, 1, 0, 3]
    assert labels_of("Bag, Ankle boot,boot", NAMES, 3) == [2, 1, 3]
    assert labels_of(["boot", "Bag"], NAMES, 2) == [3, 2]
    assert labels_of([3, 1], "0123", 2) == [3, 1]


WRONG = {
    "an unknown word": (4, "3 1 4 x", "'x' is none of the words that the model knows: 0, 1"),
    "a word too few": (4, "3 1 4", "has 3 words; the model reads 4"),
    "an image too few": (3, "3 1 4 1", "has 3 images; the model reads 4, in 2 rows of 2"),
    "no text": (4, None, "reads a text too"),
    "another number of texts": (4, ["3 1 4 1"] * 2, "4 grids of images and 2 texts"),
}


@pytest.mark.parametrize("what", WRONG)
def test_mistakes_are_said_in_one_line(what, model, pictures):
    count, text, message = WRONG[what]
    with pytest.raises(UserError, match=message) as caught:
        model.predict(pictures[:count], text)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"did you mean plain"):
        model.predict(pictures, "3 1 4 1", fit="plian")
    with pytest.raises(UserError, match="reads words too"):
        model.logits({"image": np.zeros((1, 56, 56, 1), np.uint8)})


def test_a_run_from_before_needs_its_data(trained, tmp_path, monkeypatch):
    experiment, folder = trained
    shutil.copytree(folder, tmp_path / "old")
    (tmp_path / "old" / about_data.ABOUT_DATA).unlink()
    monkeypatch.setattr(loading, "load_splits", lambda *_: experiment.splits)
    assert multimodal_vit.load(tmp_path / "old").about == about_data.read(folder)
    assert not (tmp_path / "old" / about_data.ABOUT_DATA).exists()  # nothing is written

    def missing(*_):
        raise UserError("no data set")

    monkeypatch.setattr(loading, "load_splits", missing)
    with pytest.raises(UserError, match="kept no data.json: its data are needed"):
        multimodal_vit.load(tmp_path / "old")


def test_a_description_that_is_damaged_or_of_other_data_is_refused(trained, tmp_path):
    experiment, folder = trained
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / about_data.ABOUT_DATA
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"fingerprint": "another"}))
    with pytest.raises(DamagedError, match=r"data\.json is damaged"):
        multimodal_vit.load(tmp_path / "run")
    about_data.keep(experiment.splits, tmp_path / "run")  # as a run that goes on does
    assert about_data.read(tmp_path / "run") == about_data.read(folder)
    assert len(list((tmp_path / "run" / "damaged").iterdir())) == 1
    content.pop("sha256")
    for wrong in ({"image_shape": [28, 10**6, 1]}, {"class_names": ["one"]}, {"appearance": {}}):
        about_data.write_json(path, content | wrong)
        with pytest.raises(DamagedError, match="is not a description of data"):
            multimodal_vit.load(tmp_path / "run")
    about_data.write_json(path, content | {"fingerprint": "another"})
    with pytest.raises(UserError, match="is of other data"):
        multimodal_vit.load(tmp_path / "run")


def test_predict_prints_a_table_and_draws(trained, pictures, tmp_path, monkeypatch, capsys):
    shutil.copytree(trained[1], tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    flags = ["--mode=predict", "--workdir=run", f"--images={','.join(pictures)}"]
    assert main.main(["main", *flags, "--text=3 1 4 1"]) == 0
    said = capsys.readouterr().out
    assert "“3 1 4 1” names the images in reading order" in said
    assert said.count("an image shows") == 10
    with Image.open(tmp_path / "run" / "prediction.png") as drawn:
        assert min(drawn.size) > 250
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 100


BAD_FLAGS = {
    "no workdir": (["--mode=predict"], "needs the folder of a run; give --workdir=FOLDER"),
    "no images": (["--mode=predict", "--workdir=."], "give --images="),
    "nothing there": (["--mode=predict", "--workdir=.", "--images=a.png"], "holds no run"),
    "images of a training": (["--config=digits_conv", "--images=a"], "is for --mode=predict"),
    "words": (["train", "digits_conv"], "mean --mode=train --config=digits_conv?"),
    "a field": (["digits_conv", "seed=1"], "--config=digits_conv --config.seed=1?"),
    "a name that is near": (["--config=digit_conv"], "did you mean digits_conv?"),
}


@pytest.mark.parametrize("what", BAD_FLAGS)
def test_a_mistake_on_the_command_line_says_the_way_out(what, tmp_path, monkeypatch, capsys):
    arguments, message = BAD_FLAGS[what]
    monkeypatch.chdir(tmp_path)
    assert main.main(["main", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
