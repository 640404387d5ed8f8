"""What the modes of the command line print and draw of runs and studies."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from multimodal_vit.analysis import drawing, figures, probe_screens, tables
from multimodal_vit.errors import DamagedError
from multimodal_vit.models import parameter_count
from multimodal_vit.run_files import METRICS
from multimodal_vit.terminal import show
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.progress import duration
from multimodal_vit.train.writer import read_metrics
from multimodal_vit.versions import devices
from multimodal_vit.workdir import Workdir

SHEET_EXAMPLES = 16


def describe(experiment: Experiment, workdir: Workdir, console: Console) -> None:
    """What is about to be trained: data, size, devices, folder."""
    config, splits = experiment.config, experiment.splits
    sizes = " / ".join(f"{len(s):,}" for s in (splits.train, splits.validation, splits.test))
    epochs = f"{experiment.total_steps / experiment.steps_per_epoch:,.2f}".removesuffix(".00")
    parameters = parameter_count(experiment.abstract_state().params)
    for line in (
        f"{config.name}: {splits.origin}, {sizes} images for training / validation / test",
        f"{parameters:,} parameters, {epochs} epochs of {experiment.steps_per_epoch} steps, "
        f"{devices()}, in {workdir.path}",
    ):
        console.print(line, soft_wrap=True)


def draw_samples(experiment: Experiment, path: Path, console: Console) -> None:
    """Draws the sheet beside a run, which no picture ends."""
    with beside(path, console):
        drawing.save(figures.task_sheet(experiment, SHEET_EXAMPLES), path, dpi=110)
        say_missing_signs(experiment, console)


def draw_curves(workdir: Workdir, title: str, console: Console) -> None:
    """Loss and accuracy over a run, `curves.png`."""
    with beside(workdir.path / "curves.png", console):
        figures.curves(read_metrics(workdir.path / METRICS), title, workdir.path / "curves.png")


@contextlib.contextmanager
def beside(path: Path, console: Console) -> Iterator[None]:
    """Says why a picture is not there, where it cannot be drawn or written."""
    try:
        yield
    except DamagedError:
        raise
    except Exception as error:  # of many kinds: whatever matplotlib, its fonts or the disk raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        console.print(f"{path} could not be drawn ({reason}); all else goes on", soft_wrap=True)


def say_missing_signs(experiment: Experiment, console: Console) -> None:
    """Says which class names have signs that pictures cannot show."""
    if missing := drawing.names_without_signs(experiment.splits.train.class_names):
        names = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        console.print(
            f"The pictures' font has no signs for {names}: there they show boxes. Name another "
            "font in a matplotlibrc file (font.family)",
            soft_wrap=True,
        )


def show_results(results: dict[str, Any], workdir: Workdir, console: Console) -> None:
    """A finished run: curves, table, verdict, cost and files."""
    title = f"{results['config_name']}, seed {results['seed']}"
    draw_curves(workdir, title, console)
    show(console, tables.results_table(title, results["test"]))
    if results.get("suites"):
        show_probes("What it uses (docs/reading.md)", results, console)
    if results.get("readouts"):
        show(console, tables.readouts_table(results["readouts"]))
    if results.get("verdict"):
        show_verdict(results["verdict"], console)
    console.print(
        f"{results['samples_seen']:,} training pairs in {duration(results['train_seconds'])}, "
        f"{results['examples_per_second']:,.0f} examples/s; best checkpoint: step "
        f"{results['best_step']}.\nIn {workdir.path}: results.json, metrics.jsonl, curves.png, "
        "samples.png, tensorboard, checkpoints",
        soft_wrap=True,
    )


def show_verdict(said: Mapping[str, Any], console: Console) -> None:
    """What a model can do and what it uses, in words."""
    console.print()
    for line in probe_screens.verdict_lines(said):
        console.print(line, soft_wrap=True, highlight=False)


def show_study(found: Mapping[str, Any], console: Console) -> None:
    """What a study found: first which conditions are at chance, then the rest, then the tests."""
    console.print()
    conditions = sorted(found["conditions"].values(), key=lambda known: not known["at_chance"])
    for sentence in (*(known["sentence"] for known in conditions), *found["answers"]):
        console.print(sentence, soft_wrap=True, highlight=False)
    for table in tables.study_tables(found):
        show(console, table)


def show_probes(title: str, found: Mapping[str, Any], console: Console) -> None:
    """The tables of suites and checks, and what was not asked."""
    for table in probe_screens.probe_tables(title, found):
        show(console, table)
    for name, reason in found.get("skipped", {}).items():
        console.print(f"not asked: {name}: {reason}", soft_wrap=True)
