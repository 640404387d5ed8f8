"""Bad input ends in one clear line on stderr, exit code 2, and nothing is written.

A case is what is given and words that the answer must hold: what is wrong, and the rule or the way
out. Most run in this process; a few as a command.
"""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run_command

from multimodal_vit import main as main_module

DIGITS = f"--config={ROOT / 'configs' / 'digits_conv.py'}"
STUDY = f"--config={ROOT / 'configs' / 'study_digits.py'}"
SEARCH = f"--config={ROOT / 'configs' / 'search_table41.py'}:small"
IDX = [f"--config={ROOT / 'configs' / 'mnist_conv.py'}:small", "--config.data.source=idx",
       "--config.data.name=letters", "--config.data.directory=data"]  # fmt: skip

# ---- fields of an experiment, on the command line ----

POSITIVE = (
    "model.patch_size", "model.embedding_dim", "model.num_encoder_layers", "model.num_heads",
    "model.mlp_dim", "train.num_samples", "train.batch_size", "train.epochs_per_validation",
    "train.log_every_steps", "evaluation.batch_size", "evaluation.num_passes", "train.num_seeds",
    "train.accumulate_steps",
)  # fmt: skip
NOT_NEGATIVE = (
    "seed", "evaluation.seed", "model.num_conv_layers", "train.warmup_steps", "train.patience",
)  # fmt: skip
FLOATS = (
    "task.false_rate", "task.replacement_rate", "model.dropout_rate", "train.learning_rate",
    "train.weight_decay", "train.gradient_clip", "train.checkpoint_seconds",
)  # fmt: skip
CHOICES = {
    "data.source": ("tfsd", "did you mean tfds?"),
    "task.corruption": ("permut", "is not one of"),
    "model.stem": ("stridde", "did you mean strided?"),
    "model.fusion": ("single_encode", "did you mean single_encoder?"),
    "model.dtype": ("bfloat61", "did you mean bfloat16?"),
    "model.attention": ("cudn", "did you mean cudnn?"),
    "train.objective": ("cross_entropy", "binary_cross_entropy"),
    "train.optimizer": ("moun", "did you mean muon?"),
    "train.schedule": ("cosin", "did you mean cosine?"),
}
MISSPELT = {
    "sed": "seed", "model.embeding_dim": "embedding_dim", "model.num_head": "num_heads",
    "train.learnin_rate": "learning_rate", "train.bach_size": "batch_size",
    "evaluation.num_pases": "num_passes", "task.gird": "grid", "data.nmae": "name",
    "modle.stem": "model", "trian.patience": "train",
}  # fmt: skip

ARGUMENTS: dict[str, tuple[list[str], str]] = {
    **{f"{f} 0": ([f"--config.{f}=0"], f"{f}=0 is out of range: it must be") for f in POSITIVE},
    **{
        f"{f} negative": ([f"--config.{f}=-1"], f"{f}=-1 is out of range: it must be")
        for f in POSITIVE + NOT_NEGATIVE
    },
    **{
        f"{f} of text": ([f"--config.{f}=many"], f.rpartition(".")[2])
        for f in POSITIVE + NOT_NEGATIVE + FLOATS
    },
    **{f"{f} of 1.5": ([f"--config.{f}=1.5"], f.rpartition(".")[2]) for f in POSITIVE},
    **{f"{f} nan": ([f"--config.{f}=nan"], f"{f}=nan") for f in FLOATS},
    **{f"{f} infinite": ([f"--config.{f}=inf"], f"{f}=inf") for f in FLOATS},
    **{f"{f} negative": ([f"--config.{f}=-0.5"], f"{f}=-0.5") for f in FLOATS},
    **{f"{f} above 1": ([f"--config.{f}=1.5"], f"{f}=1.5") for f in FLOATS[:3]},
    **{f"{f} unknown": ([f"--config.{f}={v}"], text) for f, (v, text) in CHOICES.items()},
    **{f"{f} misspelt": ([f"--config.{f}=1"], right) for f, right in MISSPELT.items()},
    "seed too large": (["--config.seed=4294967296"], "at most 4,294,967,295"),
    "evaluation.seed too large": (["--config.evaluation.seed=4294967296"], "at most 4,294,967,295"),
    "learning rate 0": (["--config.train.learning_rate=0"], "must be a positive number"),
    "dropout 1": (["--config.model.dropout_rate=1.0"], "at least 0 and below 1"),
    "three match outputs": (["--config.model.num_match_outputs=3"], "must be 0, 1 or 2"),
    "seeds that are too large": (
        ["--config.seed=4294967295", "--config.train.num_seeds=2"], "take a smaller seed"
    ),
    "parts that do not divide": (
        ["--config.train.accumulate_steps=3"], "does not divide train.batch_size=128"
    ),
    "parts that 8 devices cannot share": (
        ["--config.train.accumulate_steps=32"], "8 devices cannot share equally; take fewer parts"
    ),
    "cuDNN in single precision": (["--config.model.attention=cudnn"], "model.dtype='bfloat16'"),
    "cuDNN without a GPU": (
        ["--config.model.attention=cudnn", "--config.model.dtype=bfloat16"], "needs an NVIDIA GPU"
    ),
    "remat of a number": (["--config.model.remat=2"], "remat"),
    "seeds and cut parameters": (
        ["--config.train.num_seeds=2", "--config.train.layout=fsdp"], "'replicated', not 'fsdp'"
    ),
    "seeds into a file": (
        ["--config.train.num_seeds=2", "--workdir=file"], "is a file; name a folder"
    ),
    "seeds into a folder of others": (
        ["--config.train.num_seeds=2", "--workdir=full"], "holds other files (full/"
    ),
    "a profile into a folder of others": (
        ["--mode=profile", "--workdir=full"], "holds other files and no run"
    ),
    "heads that do not divide": (["--config.model.num_heads=5"], "these do: 1, 2, 4, 8"),
    "a grid of three": (["--config.task.grid=(2, 2, 2)"], "must be (rows, columns)"),
    "a grid of one": (["--config.task.grid=(2,)"], "must be (rows, columns)"),
    "an empty grid": (["--config.task.grid=()"], "must be (rows, columns)"),
    "a grid of 0": (["--config.task.grid=(0, 2)"], "must be (rows, columns)"),
    "a grid of text": (["--config.task.grid=('a', 2)"], "grid"),
    "a grid of fractions": (["--config.task.grid=(1.5, 2)"], "grid"),
    "a number as grid": (["--config.task.grid=4"], "grid"),
    "no modality": (["--config.model.modalities=()"], "at least one"),
    "a modality twice": (["--config.model.modalities=('words', 'words')"], "each modality once"),
    "an unknown modality": (["--config.model.modalities=('wrods',)"], "did you mean words?"),
    "a modality of a number": (["--config.model.modalities=(1,)"], "modalities"),
    "an unknown suite": (["--config.evaluation.suites=('single_fiol',)"], "mean single_foil?"),
    "a suite of a number": (["--config.evaluation.suites=(3,)"], "evaluation.suites"),
    "no data name": (["--config.data.name="], "data.name is empty"),
    "digits of another name": (["--config.data.name=mnist"], "not 'mnist'"),
    "a name that leaves the folder": (
        ["--config.data.source=auto", "--config.data.name=../secret"], "data.name='../secret'"
    ),
    "an absolute name": (
        ["--config.data.source=auto", "--config.data.name=/etc"], "data.name='/etc'"
    ),
    "a patch that does not tile": (["--config.model.patch_size=5"], "these patch sizes: 1, 2, 7"),
    "a patch larger than the image": (["--config.model.patch_size=99"], "does not tile"),
    "more layers than the image has": (
        ["--config.model.num_conv_layers=9"], "these model.num_conv_layers fit"
    ),
    "a batch that 8 devices cannot share": (
        ["--config.train.batch_size=100"], "cannot be shared equally by 8 devices"
    ),
    "an evaluation batch that 8 devices cannot share": (
        ["--config.evaluation.batch_size=12"], "take a multiple of 8, such as 16"
    ),
    "a whole group": (["--config.train=5"], "train"),
    "an unknown mode": (["--mode=trian"], "train"),
    "no mode": (["--mode="], "mode"),
    "an empty workdir": (["--workdir="], "--workdir= is empty"),
    "a file of flags": (["--flagfile=flags.txt"], "--flagfile is not taken"),
    "flags that may be unknown": (["--undefok=workdri"], "--undefok is not taken"),
    "a field of another name": (["--config.train.lr=0.1"], "did you mean train.learning_rate?"),
    "epochs": (["--config.train.epochs=3"], "did you mean train.num_samples?"),
    "several seeds as one": (["--config.seed=0,1,2"], "--config.train.num_seeds"),
    "an unknown flag": (["--workdri=x"], "workdir"),
    "a stray word": (["train"], "not a flag: 'train'"),
    "a flag with one dash too few": (["-workdir"], "workdir"),
    "a flag without its value": (["--workdir"], "workdir"),
    "suites of a training": (["--suites=all"], "--suites is for --mode=evaluate"),
    "workers of one run": (["--workers=2"], "--workers is for --mode=study and --mode=search"),
    "an experiment as study": (["--mode=study"], "give --mode=train"),
    "an experiment as search": (["--mode=search"], "give --mode=train"),
    "a preset of a file without": (None, "has no presets"),
    "a workdir that is a file": (["--workdir=file"], "is a file; name a folder"),
    "a workdir of others": (["--workdir=full"], "holds other files and no run"),
    "a workdir below a file": (["--workdir=file/run"], "cannot be written"),
    "a workdir that cannot be made": (["--workdir=/proc/none/run"], "cannot be written"),
    "a workdir of a name too long": ([f"--workdir={'x' * 300}"], "too long"),
    "a workdir that is not UTF-8": (["--workdir=run\udcff"], "is not UTF-8"),
    "a data folder that is not UTF-8": (["--config.data.directory=\udcff"], "is not UTF-8"),
    "a workdir of a newer version": (["--workdir=newer"], "has format version 99"),
    "a workdir without fields": (["--workdir=strange"], "is not a configuration of this program"),
    "a sheet into a file": (["--mode=sample", "--workdir=file"], "is a file; name a folder"),
    "missing data": (
        ["--config.data.source=auto", "--config.data.name=letters"], "no data set 'letters'"
    ),
    "missing IDX files": (["--config.data.source=idx", "--config.data.name=x"], "no IDX files"),
    "missing prepared set": (
        ["--config.data.source=tfds", "--config.data.name=x"], "features.json does not exist"
    ),
    "a data folder that is a file": (
        ["--config.data.source=auto", "--config.data.name=x", "--config.data.directory=file"],
        "no data set 'x' in file",
    ),
}  # fmt: skip
ARGUMENTS = {
    what: ([DIGITS + ":small"] if given is None else [DIGITS, *given], text)
    for what, (given, text) in ARGUMENTS.items()
} | {
    "nothing": ([], "no experiment is named"),
    "no config file": (["--config=configs/nothing.py"], "there is no configuration file"),
    "a folder as config": (["--config=full"], "there is no configuration file"),
    "an unknown preset": (
        [f"--config={ROOT / 'configs' / 'mnist_conv.py'}:smal"], "did you mean small?"
    ),
    "evaluation of nothing": (["--mode=evaluate"], "--workdir=FOLDER"),
    "evaluation of no run": (["--mode=evaluate", "--workdir=nowhere"], "holds no run"),
    "evaluation of other files": (["--mode=evaluate", "--workdir=full"], "holds no run"),
    "evaluation of a study": (["--mode=evaluate", "--workdir=study"], "holds a study; name one"),
    "evaluation of a newer run": (["--mode=evaluate", "--workdir=newer"], "format version 99"),
    "evaluation of a damaged config": (["--mode=evaluate", "--workdir=broken"], "config.json"),
    "a study as experiment": ([STUDY], "give --mode=study"),
    "a search as experiment": ([SEARCH], "give --mode=search"),
    "a study without seeds": ([STUDY, "--mode=study", "--config.num_seeds=0"], "at least 1"),
    "a study with no worker": ([STUDY, "--mode=study", "--workers=0"], "a number from 1 to 1024"),
    "a study of seed -1": ([STUDY, "--mode=study", "--config.first_seed=-1"], "at least 0"),
    "a study's field misspelt": ([STUDY, "--mode=study", "--config.num_seed=1"], "num_seeds"),
    "a study's condition": (
        [STUDY, "--mode=study", "--config.conditions.decay.model.stem=x"],
        "conditions.decay.model.stem='x' is not one of",
    ),
    "a study in a file": ([STUDY, "--mode=study", "--workdir=file"], "is a file; name a folder"),
    "a study in a run": ([STUDY, "--mode=study", "--workdir=newer"], "holds a single run"),
    "a search without trials": ([SEARCH, "--mode=search", "--config.num_trials=0"], "at least 1"),
    "a search of an unknown sampler": (
        [SEARCH, "--mode=search", "--config.sampler=rando"], "did you mean random?"
    ),
    "a search in a file": ([SEARCH, "--mode=search", "--workdir=file"], "is a file"),
    "a search in other files": ([SEARCH, "--mode=search", "--workdir=full"], "holds other files"),
}  # fmt: skip

# ---- configuration files ----

START = "from multimodal_vit.config import small\n\n\ndef get_config():\n    config = small()\n"
DIGITS_TOO = "    config.data.source = config.data.name = 'digits'\n"


def edited(*lines: str) -> str:
    return START + DIGITS_TOO + "".join(f"    {line}\n" for line in (*lines, "return config"))


FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "get_config"),
    "not Python": ("this is no Python", "invalid syntax"),
    "not UTF-8": (b"name = '\xff'\n", "utf-8"),
    "a NUL in it": (b"x = 1\0\n", "null bytes"),
    "raises": ("def get_config():\n    raise ValueError('the way out is left')", "way out is left"),
    "raises at import": ("raise RuntimeError('not today')", "not today"),
    "divides by zero": ("def get_config():\n    return 1 / 0", "division by zero"),
    "imports what is not there": ("import nothing_of_this_name", "nothing_of_this_name"),
    "exits": ("def get_config():\n    raise SystemExit(3)", "SystemExit"),
    "a name that is not defined": ("def get_config():\n    return cofnig", "cofnig"),
    "returns nothing": ("def get_config():\n    pass", "get_config"),
    "returns a number": ("def get_config():\n    return 3", "get_config"),
    "returns a dict": ("def get_config():\n    return {'seed': 3}", "get_config"),
    "returns another ConfigDict": (
        "from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict()",
        "the group model is missing",
    ),
    "get_config is no function": ("get_config = 3", "not callable"),
    "get_config needs two arguments": ("def get_config(a, b):\n    return a", "get_config"),
    "a new field": (edited("config.train.bach_size = 64"), "did you mean train.batch_size?"),
    "a new group": (edited("config.optimizer = 'adam'"), "optimizer is no field"),
    "a field removed": (edited("del config.train.batch_size"), "train.batch_size is missing"),
    "a group removed": (edited("del config.evaluation"), "the group evaluation is missing"),
    "a group as a number": (edited("config.train = 5"), "Could not override field 'train'"),
    "text for a number": (edited("config.model.__dict__['_fields']['mlp_dim'] = '256'"), "mlp_dim"),
    "a list as size": (
        edited("config.model = dict(config.model) | {'embedding_dim': [64]}"),
        "embedding_dim=(64,) must be a whole number",
    ),
    "nothing as seed": (edited("config.seed = None"), "seed=None"),
    "a flag as batch size": (
        edited("config.train = dict(config.train) | {'batch_size': True}"), "batch_size=True"
    ),
    "a text as grid": (
        edited("config.task = dict(config.task) | {'grid': '2x2'}"), "task.grid='2x2'"
    ),
    "a number as data name": (
        edited("config.data = dict(config.data) | {'name': 7}"), "data.name=7"
    ),
    "a function as rate": (
        edited("config.train = dict(config.train) | {'learning_rate': print}"), "learning_rate="
    ),
}  # fmt: skip

# ---- data ----


def idx_file(shape: tuple[int, ...], data: bytes | None = None, magic: int | None = None) -> bytes:
    data = bytes(int(np.prod(shape))) if data is None else data
    magic = 0x0800 + len(shape) if magic is None else magic
    return struct.pack(f">I{len(shape)}I", magic, *shape) + data


LABELS = bytes([0, 1, 2] * 20)
FLOATS = np.full((60, 28, 28), np.nan, ">f4")
GOOD = {
    "train-images-idx3-ubyte": idx_file((60, 28, 28)),
    "train-labels-idx1-ubyte": idx_file((60,), LABELS),
    "t10k-images-idx3-ubyte": idx_file((12, 28, 28)),
    "t10k-labels-idx1-ubyte": idx_file((12,), LABELS[:12]),
}
TRAIN, TRAIN_LABELS, TEST, TEST_LABELS = GOOD
DATA: dict[str, tuple[dict[str, bytes | None], str]] = {
    "a missing file": ({TEST: None}, "lacks t10k-images-idx3-ubyte"),
    "an empty file": ({TRAIN: b""}, "begins with nothing"),
    "a text file": ({TRAIN: b"5,0,0,0,0\n"}, "is not an IDX file"),
    "a PNG": ({TRAIN: b"\x89PNG\r\n\x1a\n" + bytes(50)}, "is not an IDX file"),
    "an archive": ({TRAIN: b"PK\x03\x04" + bytes(50)}, "is not an IDX file"),
    "a gzip file without its name": ({TRAIN: b"\x1f\x8b\x08" + bytes(50)}, "is not an IDX file"),
    "floats cut off": ({TRAIN: idx_file((60, 28, 28), magic=0x0D03)}, "holds only 47,040"),
    "values of an unknown type": ({TRAIN: idx_file((60, 28, 28), magic=0x0A03)}, "not an IDX file"),
    "pixels that are not finite": (
        {TRAIN: idx_file((60, 28, 28), FLOATS.tobytes(), 0x0D03)}, "no finite numbers"
    ),
    "pixels above 255": (
        {TRAIN: idx_file((60, 28, 28), b"\1\0" * 47_040, 0x0B03)}, "pixels from 256 to 256"
    ),
    "negative pixels": (
        {TRAIN: idx_file((60, 28, 28), b"\xff" * 47_040, 0x0903)}, "pixels from -1 to -1"
    ),
    "labels that are no whole numbers": (
        {TRAIN_LABELS: idx_file((60,), np.full(60, 0.5, ">f4").tobytes(), 0x0D01)}, "the label 0.5"
    ),
    "negative labels": (
        {TRAIN_LABELS: idx_file((60,), b"\xff" * 60, 0x0901)}, "labels from -1 to -1"
    ),
    "rows of labels": (
        {TRAIN_LABELS: idx_file((60, 8), bytes(60 * 32), 0x0C02)}, "2-dimensional data"
    ),
    "images of a side of 5,000": (
        {TRAIN: idx_file((6, 1, 5_000)), TRAIN_LABELS: idx_file((6,), LABELS[:6])},
        "the largest side that is read is 4,096",
    ),
    "more classes than are told apart": (
        {TRAIN_LABELS: idx_file((20_000,), np.arange(20_000, dtype=">i4").tobytes(), 0x0C01)},
        "at most 10,000",
    ),
    "a file under a name like the wanted one": (
        {TEST: None, "T10k_images-idx3-ubyte.zip": b"PK"}, "T10k_images-idx3-ubyte.zip lies there"
    ),
    "a header cut off": ({TRAIN: GOOD[TRAIN][:10]}, "ends within its header"),
    "images cut off": ({TRAIN: GOOD[TRAIN][:-1]}, "is damaged"),
    "images and more": ({TRAIN: GOOD[TRAIN] + b"\0"}, "holds more"),
    "4 billion images in 16 bytes": (
        {TRAIN: struct.pack(">4I", 0x803, 0xFFFFFFFF, 0xFFFF, 0xFFFF)}, "holds only 0"
    ),
    "4 billion labels in 10 bytes": (
        {TRAIN_LABELS: struct.pack(">2I", 0x801, 0xFFFFFFFF) + b"\0\0"}, "holds only 2"
    ),
    "labels as images": ({TRAIN: GOOD[TRAIN_LABELS]}, "1-dimensional data"),
    "images as labels": ({TRAIN_LABELS: GOOD[TRAIN]}, "3-dimensional data"),
    "fewer labels than images": (
        {TRAIN_LABELS: idx_file((59,), LABELS[:59])}, "one int32 label for each image"
    ),
    "no images": (
        {TRAIN: idx_file((0, 28, 28)), TRAIN_LABELS: idx_file((0,))}, "the image set is empty"
    ),
    "no test images": (
        {TEST: idx_file((0, 28, 28)), TEST_LABELS: idx_file((0,))}, "the image set is empty"
    ),
    "images without pixels": ({TRAIN: idx_file((60, 0, 28))}, "without pixels"),
    "two images": (
        {TRAIN: idx_file((2, 28, 28)), TRAIN_LABELS: idx_file((2,), b"\0\2")},
        "at least 6 training images",
    ),
    "one class": (
        {TRAIN_LABELS: idx_file((60,)), TEST_LABELS: idx_file((12,))}, "only one class"
    ),
    "a class of the test part alone": (
        {TEST_LABELS: idx_file((12,), bytes([9] * 12))}, "classes that the training part lacks: '9'"
    ),
    "images of two sizes": (
        {TEST: idx_file((12, 14, 14))}, "all parts need images of one size"
    ),
    "a size that no patch fits": (
        {TRAIN: idx_file((60, 11, 11)), TEST: idx_file((12, 11, 11))}, "does not tile"
    ),
}  # fmt: skip


def make_surroundings(folder: Path) -> None:
    """What the cases find in the folder where they start."""
    (folder / "file").write_text("")
    for name, file, content in (
        ("full", "thesis.doc", ""),
        ("newer", "config.json", '{"format_version": 99, "config": {}}'),
        ("strange", "config.json", '{"format_version": 1, "config": {"x": 3}}'),
        ("broken", "config.json", '{"format_version": 1, "con'),
        ("study/runs/decay/seed_0", "config.json", "{"),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_text(content)


def refused(arguments: list[str], message: str, folder: Path, capsys) -> None:
    """Asserts that a command ends in one line with a message, and writes nothing."""
    sys.modules.pop("config_config", None)  # ml_collections' name for the last configuration
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main_module.main(["main", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    lines = said.splitlines()
    assert len(lines) == 1 or lines[0] == f"error: {len(lines) - 1} mistakes in the configuration:"
    assert len(said) > len("error: ") + 20
    assert "Traceback" not in said
    after = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if "__pycache__" not in str(p)}
    assert {path: after[path] for path in after if path.is_file()} == {
        path: before[path] for path in before if path.is_file()
    }
    assert set(after) == set(before)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    make_surroundings(tmp_path)
    return tmp_path


def test_there_are_at_least_150_cases():
    assert len(ARGUMENTS) + len(FILES) + len(DATA) >= 150


@pytest.mark.parametrize("what", ARGUMENTS)
def test_a_bad_argument(what, folder, capsys):
    refused(*ARGUMENTS[what], folder, capsys)


@pytest.mark.parametrize("what", FILES)
def test_a_bad_configuration_file(what, folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    content, message = FILES[what]
    path = folder / "bad.py"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(["--config=bad.py"], message, folder, capsys)


@pytest.mark.parametrize("what", DATA)
def test_bad_data(what, folder, capsys):
    changes, message = DATA[what]
    (folder / "data" / "letters").mkdir(parents=True)
    for name, content in (GOOD | changes).items():
        if content is not None:
            (folder / "data" / "letters" / name).write_bytes(content)
    refused(IDX, message, folder, capsys)


def test_several_mistakes_are_told_at_once(folder, capsys):
    text = edited(
        "config.seed = None", "config.train.bach_size = 3", "config.model.patch_size = 0",
        "config.task.false_rate = 2.0",
    )  # fmt: skip
    (folder / "bad.py").write_text(text)
    assert main_module.main(["main", "--config=bad.py", "--config.model.stem=x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: 5 mistakes in the configuration:\n")
    for part in ("seed=None", "bach_size", "patch_size=0", "false_rate=2.0", "stem='x'"):
        assert part in said


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([DIGITS], {"JAX_PLATFORMS": "cuda"}, "no device"),
        ([DIGITS, "--config.train.bach_size=3"], {}, "batch_size"),
    ],
    ids=["no such GPU", "a misspelt field"],
)
def test_as_a_command(arguments, environment, message, tmp_path):
    done = run_command(*arguments, cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
