"""A model as files for other programs. ONNX and the page: tests/test_export_onnx.py."""

import json
import re
import shutil
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
from conftest import command_environment

import multimodal_vit
from multimodal_vit import about_data, main
from multimodal_vit.config import changed, small
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.export import pairs, stablehlo, writing
from multimodal_vit.export.writing import FORMATS, Format, export
from multimodal_vit.models.fusions import COMPONENTS as FUSIONS
from multimodal_vit.use.exported import without_folders
from multimodal_vit.use.loading import build
from multimodal_vit.workdir import Workdir


@pytest.fixture(scope="module")
def model(trained):
    return multimodal_vit.load(trained[1])


@pytest.fixture(scope="module")
def written(trained, model, tmp_path_factory):
    """The folder of an export as safetensors and StableHLO, and what was said to be written."""
    out = tmp_path_factory.mktemp("export") / "model"
    results = Workdir(trained[1]).results()
    return out, export(model, results, out, ["safetensors", "stablehlo"])


def test_an_exported_folder_loads_to_the_same_bits(written, model, trained):
    out, said = written
    assert {path.name for path in out.iterdir()} == {
        "README.md", "config.json", "model.safetensors", "model.stablehlo", "repeat.py",
    }  # fmt: skip
    assert [(one.name, one.difference, one.num_pairs) for one in said] == [
        ("safetensors", 0.0, 64), ("stablehlo", 0.0, 64),
    ]  # fmt: skip
    again = multimodal_vit.load(out)
    batch = trained[0].examples(16)
    inputs = {name: np.asarray(x) for name, x in batch.inputs.items()}
    assert (again.logits(inputs) == model.logits(inputs)).all()
    assert (again.class_names, again.about, again.origin) == (
        model.class_names, model.about, model.origin,
    )  # fmt: skip


def test_an_export_names_no_folder_of_the_machine():
    named = "mnist (tensorflow_datasets, /home/some one/data/tfds/mnist/3.0.1)"
    assert without_folders(named) == "mnist (tensorflow_datasets, …/3.0.1)"
    assert without_folders("scikit-learn digits") == "scikit-learn digits"


def test_stablehlo_runs_where_neither_flax_nor_this_package_is(written, model, trained, tmp_path):
    """In another process, with another number of pairs, to the same numbers."""
    inputs, _ = pairs.real_pairs(model)
    inputs = {name: x[:5] for name, x in inputs.items()}
    np.savez(tmp_path / "inputs.npz", **inputs)
    code = (
        "import sys, numpy as np\n"
        "from jax import export\n"
        f"file = open({str(written[0] / stablehlo.FILE)!r}, 'rb')\n"
        "program = export.deserialize(bytearray(file.read()))\n"
        "assert program.platforms == ('cpu', 'cuda', 'tpu')\n"
        f"x = np.load({str(tmp_path / 'inputs.npz')!r})\n"
        "logits, attention = program.call(x['image'], x['words'])\n"
        f"np.savez({str(tmp_path / 'answers.npz')!r}, logits=logits, attention=attention)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('flax', 'multimodal_vit')])\n"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=command_environment() | {"PYTHONPATH": ""},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    with np.load(tmp_path / "answers.npz", allow_pickle=False) as found:
        assert found["logits"] == pytest.approx(model.logits(inputs), abs=1e-6)
        assert found["attention"].shape == (5, 1, 2, 4, 16)


def test_the_card_says_what_the_model_does_not_do(written, trained):
    card = (written[0] / "README.md").read_text()
    results = Workdir(trained[1]).results()
    block = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1]
    assert "library_name: multimodal_vit" in block
    low, high = results["test"]["intervals"]["match_accuracy"]
    accuracy = f"| {results['test']['match_accuracy']:.2%} | {low:.2%} – {high:.2%} |"
    assert f"| true/false accuracy {accuracy}" in card
    order = results["suites"]["order_foil"]
    assert f"| the labels are right but in another order | {order['auroc']:.3f} |" in card
    assert "a picture of anything else gets an answer" in card
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in card
    for name in ("model.safetensors", "model.stablehlo"):
        assert f"| `{name}` |" in card
    compile((written[0] / "repeat.py").read_text(), "repeat.py", "exec")


ALONE = ("concatenation", "addition", "bayes_rule")  # they read what others do not


@pytest.mark.parametrize("name", [name for name in FUSIONS if name not in ALONE])
def test_every_fusion_is_traced_for_any_number_of_pairs(name, trained):
    """Nothing in it asks how many these are: no len() of an array with a batch."""
    changes = {"model.fusion": name, "model.embedding_dim": 16, "model.num_encoder_layers": 1}
    model = build(changed(small(), changes), about_data.read(trained[1])).model
    batch = jax.export.symbolic_shape("b")
    inputs = {
        "image": jax.ShapeDtypeStruct((*batch, 56, 56, 1), np.uint8),
        "words": jax.ShapeDtypeStruct((*batch, 4), np.int32),
    }
    (logits, _), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), inputs)
    assert logits.shape == (*batch, 11)


def test_a_format_that_answers_otherwise_leaves_nothing(model, tmp_path, monkeypatch):
    def wrong(job, folder):
        (folder / "model.stablehlo").write_bytes(b"wrong")
        return 1e-3

    monkeypatch.setitem(FORMATS, "stablehlo", Format(wrong, "model.stablehlo", 1e-4))
    with pytest.raises(UserError, match="as stablehlo answers otherwise .* by up to 0.001; it is"):
        export(model, None, tmp_path / "out", ["stablehlo"])
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_earlier_export_as_it_was(written, model, tmp_path, monkeypatch):  # fmt: skip  # noqa: E501
    out = tmp_path / "out"
    shutil.copytree(written[0], out)
    before = {path: path.read_bytes() for path in out.iterdir()}

    def fails(program, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.stablehlo, "write", fails)
    with pytest.raises(UserError, match="cannot be written .*make room there"):
        export(model, None, out, ["stablehlo"])
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_data_that_are_others_or_not_at_hand_are_said(model, tiny_splits, tmp_path, monkeypatch):
    def missing(*_):
        raise UserError("no data set 'digits'")

    monkeypatch.setattr(pairs, "load_splits", missing)
    with pytest.raises(UserError, match=r"compared with the model on its own data.*no data set"):
        export(model, None, tmp_path / "out", ["safetensors"])
    monkeypatch.setattr(pairs, "load_splits", lambda *_: tiny_splits)
    with pytest.raises(UserError, match="was trained on other data than 96 digits"):
        export(model, None, tmp_path / "out", ["safetensors"])
    assert list(tmp_path.iterdir()) == []


def test_damaged_exports_are_named(written, tmp_path):
    for name, message in (
        ("config.json", r"config\.json is damaged"),
        ("model.safetensors", r"model\.safetensors cannot be read"),
    ):
        folder = tmp_path / name
        shutil.copytree(written[0], folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(DamagedError, match=message):
            multimodal_vit.load(folder)


def test_export_from_the_command_line(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained[1], "run")
    flags = ["main", "--mode=export", "--workdir=run"]
    assert main.main([*flags, "--formats=safetensors"]) == 0
    said = capsys.readouterr().out
    assert "run/export/model.safetensors" in said
    assert "seed 0, step 24" in said
    config = json.loads((tmp_path / "run" / "export" / "config.json").read_text())
    assert config["class_names"] == list("0123456789")
    assert main.main(["main", "--mode=export", "--workdir=run/export", "--formats=onnx"]) == 2
    assert "is an exported model; name another folder with --out=" in capsys.readouterr().err
    for more, message in {
        (): "--mode=export writes what is asked for",
        ("--formats=safetensor",): "did you mean safetensors?",
        ("--formats=safetensors", "--out=full"): "--out=full holds other files",
    }.items():
        (tmp_path / "full").mkdir(exist_ok=True)
        (tmp_path / "full" / "thesis.doc").write_text("")
        assert main.main([*flags, *more]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
