"""The steps of `accelerator.py`: what is measured, by which command, and what is read of it.

A catalogue. Each step is a program that this project has anyway; its results are files that it
writes, or lines that it prints.
"""

import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MAIN = (sys.executable, "-m", "multimodal_vit.main")
TABLE = ("mnist_conv", "mnist_patch", "fashion_conv", "fashion_patch")
TINY = {
    "data.source": "digits", "data.name": "digits", "model.stem": "strided",
    "model.num_conv_layers": 2, "model.patch_size": 14, "model.embedding_dim": 16,
    "model.num_encoder_layers": 1, "model.num_heads": 2, "model.mlp_dim": 32,
    "train.num_samples": 1412, "train.batch_size": 32, "train.warmup_steps": 2,
    "evaluation.suites": "standard",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing that is measured.

    Attributes:
      name: names its folder.
      about: what, in a line.
      minutes: that it takes about on one large GPU; it is not begun with less time left.
      commands: programs, one after the other; "{out}" is the step's folder.
      found: reads what they wrote there.
      rows: what `found` gave, as rows of a Markdown table, the heading first.
      needs: keys of `missing`.
      environment: besides the own.
      open_end: whether it uses all the time that is left, and keeps what it did.
    """

    name: str
    about: str
    minutes: float
    commands: tuple[tuple[str, ...], ...]
    found: Callable[[Path], Any]
    rows: Callable[[Any], list[Sequence[str]]]
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    open_end: bool = False


def steps(tiny: bool) -> list[Step]:
    """All of them, the worthiest first."""
    found = []
    models = {"conv": "thesis conv", "patch": "thesis patch"}
    for short, model in models.items():
        for seeds in (1, 5):
            found.append(_comparison(short, model, 512, seeds, tiny))
    for short in models:
        for seeds in (1, 5):
            found.append(_profile(short, seeds, tiny))
    found += [_same_bits(), _resume(tiny)]
    for short, dataset in (("mnist", "mnist"), ("fashion", "fashion_mnist")):
        found.append(_time_to_accuracy(short, dataset, tiny))
    for short, model in models.items():
        found.append(_comparison(short, model, 2048, 1, tiny))
    return [*found, _table(tiny)]


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(ROOT / "benchmarks" / name), *arguments)


def _set(changes: Mapping[str, Any], prefix: str = "") -> list[str]:
    return [f"--config.{prefix}{field}={value}" for field, value in changes.items()]


def _comparison(short: str, model: str, batch_size: int, seeds: int, tiny: bool) -> Step:
    turns = ("--repeats", "5", "--seconds", "2")
    if tiny:
        model, batch_size, turns = "small", 32, ("--repeats", "1", "--seconds", "0.1")
    size = ("--batch-size", str(batch_size), "--seeds", str(seeds), "--json", "{out}/rows.json")
    command = _script("compare_torch.py", "--models", model, *turns, *size)
    return Step(
        f"torch-{short}-{batch_size}-{seeds}",
        f"{model} beside PyTorch, batches of {batch_size}, {_counted(seeds)}",
        2.5, (command,), _json("rows.json"), _compared, ("torch",),
    )  # fmt: skip


def _compared(found: list[dict[str, Any]]) -> list[Sequence[str]]:
    heading = ("model", "batch", "seeds", "ours", "PyTorch", "`torch.compile`", "ratio", "device")
    return [heading] + [
        (
            row["model"], str(row["batch_size"]), str(row["seeds"]), f"{row['ours']:,.0f} /s",
            f"{row['torch_eager']:,.0f} /s", f"{row['torch_compile']:,.0f} /s",
            f"{row['ratio']:.2f}", row["device"],
        )
        for row in found
    ]  # fmt: skip


def _profile(short: str, seeds: int, tiny: bool) -> Step:
    changes: dict[str, Any] = TINY if tiny else {
        "model.dtype": "bfloat16", "train.batch_size": 512
    }  # fmt: skip
    command = (
        *MAIN, "--mode=profile", f"--config={ROOT}/configs/mnist_{short}.py", "--workdir={out}/run",
        *_set(changes), f"--config.train.num_seeds={seeds}",
    )  # fmt: skip
    return Step(
        f"profile-{short}-{seeds}",
        f"a training step of mnist_{short}, {_counted(seeds)}: share of the ceiling, sampler",
        1.5, (command,), _json("run/profile.json"), _profiled, () if tiny else ("mnist",),
    )  # fmt: skip


def _profiled(found: dict[str, Any]) -> list[Sequence[str]]:
    return [
        ("batch", "seeds", "ms a step", "examples/s", "sampler", "TFLOP/s by formula",
         "of the measured ceiling", "device"),
        (
            str(found["batch_size"]), str(found["num_seeds"]), f"{1e3 * found['step_seconds']:.2f}",
            f"{found['examples_per_second']:,.0f}", f"{found['sampler_share']:.1%}",
            f"{found['share_of_ceiling'] * found['ceiling_flop_per_second'] / 1e12:.2f}",
            f"{found['share_of_ceiling']:.1%} of {found['ceiling_flop_per_second'] / 1e12:.1f}",
            found["devices"],
        ),
    ]  # fmt: skip


def _same_bits() -> Step:
    commands: list[tuple[str, ...]] = []
    for name, flags in (("plain", ()), ("fixed", ("--deterministic",))):
        for what in ("--save", "--compare"):
            file = f"{{out}}/{name}.npz"
            commands.append(_script("determinism.py", "--steps", "20", *flags, what, file))
    on_cpu = ("env", "JAX_PLATFORMS=cpu", *_script("determinism.py", "--steps", "20"))
    commands.append((*on_cpu, "--compare", "{out}/plain.npz"))
    compared = ("once more", "once more, --deterministic", "on the CPU")
    return Step(
        "bits", "the same training once more, so with --deterministic, and on the CPU", 1.5,
        tuple(commands), _lines(r"bitwise .*"),
        lambda found: [("what", "found"), *zip(compared, found, strict=False)],
    )  # fmt: skip


def _resume(tiny: bool) -> Step:
    kills = ("--kinds", "run", "--kills", "2" if tiny else "3", "--epochs", "2" if tiny else "6")
    command = _script("crash_test.py", *kills, "--json", "{out}/counts.json")
    return Step(
        "resume", "a run killed and gone on with, compared bit for bit with one that was not", 2.5,
        (command,), _json("counts.json"),
        lambda found: [("killed", "tried", "lost")] + [
            (moment, str(row["tried"]), str(row["lost"]))
            for moment, row in found["counts"]["run"].items()
        ],
        environment={
            "XLA_FLAGS": _with_flag("--xla_gpu_deterministic_ops=true"),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # two processes hold the device at a time
        },
    )  # fmt: skip


def _with_flag(flag: str) -> str:
    return f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


def _time_to_accuracy(short: str, dataset: str, tiny: bool) -> Step:
    changes: dict[str, Any] = {
        "train.num_samples": 1_100_000, "model.dtype": "bfloat16", "train.batch_size": 256,
        "train.epochs_per_validation": 20,
    }  # fmt: skip
    command = _script(
        "time_to_accuracy.py", "--datasets", dataset, "--preset", "thesis", "--seeds", "0",
        "--json", "{out}/rows.json", "--change",
        *(f"{field}={value}" for field, value in (TINY if tiny else changes).items()
          if field != "evaluation.suites"),
    )  # fmt: skip
    return Step(
        f"time-{short}", f"time to the thesis's accuracy on {dataset}, at the thesis's size", 3.0,
        (command,), _json("rows.json"),
        lambda found: [("data", "pairs", "accuracy", "thesis", "seconds", "of them compiling")] + [
            (row["dataset"], f"{row['samples']:,.0f}", f"{row['accuracy']:.2%}",
             f"{row['target']:.2%}", f"{row['seconds']:.0f}", f"{row['compile_seconds']:.0f}")
            for row in found
        ],
        () if tiny else (dataset,),
    )  # fmt: skip


def _table(tiny: bool) -> Step:
    changes = TINY if tiny else {"model.dtype": "bfloat16"}
    command = (
        *MAIN, "--mode=study", f"--config={ROOT}/configs/study_table41.py:thesis",
        "--workdir={out}/study", "--workers=1",
        *(flag for name in TABLE for flag in _set(changes, f"conditions.{name}.")),
        *(("--config.num_seeds=1",) if tiny else ()),
    )  # fmt: skip
    return Step(
        "table", "Table 4.1 at 6.4 million pairs a run, convolutions and raw patches in turn", 1.0,
        (command,), _runs, _table_rows, () if tiny else ("mnist", "fashion_mnist"), open_end=True,
    )  # fmt: skip


def _runs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The finished runs of the study by condition."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLE}
    for path in sorted((folder / "study" / "runs").glob("*/seed_*/results.json")):
        results = json.loads(path.read_text())
        found[path.parent.parent.name].append(
            {"seed": results["seed"], "accuracy": results["test"]["match_accuracy"]}
            | {name: results[name] for name in ("samples_seen", "train_seconds", "pflop")}
            | {"devices": results["versions"]["devices"]}
        )
    return found


def _table_rows(found: dict[str, list[dict[str, Any]]]) -> list[Sequence[str]]:
    heading = ("condition", "seed", "true/false", "pairs", "minutes", "PFLOP", "device")
    return [heading] + [
        (name, str(run["seed"]), f"{run['accuracy']:.2%}", f"{run['samples_seen']:,}",
         f"{run['train_seconds'] / 60:.1f}", f"{run['pflop']:.3f}", run["devices"])
        for name, runs in found.items() for run in runs
    ]  # fmt: skip


def _counted(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"{seeds} seeds in one program"


def _json(name: str) -> Callable[[Path], Any]:
    return lambda folder: json.loads((folder / name).read_text())


def _lines(pattern: str) -> Callable[[Path], list[str]]:
    return lambda folder: re.findall(pattern, (folder / "log.txt").read_text())
