"""Pictures for people: a sheet of task examples and their sounds, and the curves of a run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from scipy.io import wavfile

from multimodal_vit import audio
from multimodal_vit.analysis.drawing import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    names_as_text,
    save,
    short_number,
)
from multimodal_vit.analysis.sheets import sample_sheet
from multimodal_vit.data import Recordings
from multimodal_vit.errors import UserError
from multimodal_vit.train.experiment import Experiment


def task_sheet(experiment: Experiment, count: int) -> Figure:
    """Draws training pairs of an experiment."""
    batch = experiment.examples(count)
    recordings = experiment.splits.train.recordings
    sounds = None if recordings is None else spectrograms(recordings, batch.spoken)
    return sample_sheet(
        batch.inputs["image"],
        batch.inputs["words"],
        batch.labels,
        experiment.task.grid,
        experiment.splits.train.class_names,
        sounds=sounds,
        judged=not experiment.task.classifies,
    )


def spectrograms(recordings: Recordings, spoken: np.ndarray) -> np.ndarray:
    """What is heard of each example, its n recordings one after the other.

    Args:
      recordings: of a part of the data.
      spoken: int32 [B, n], places in them.

    Returns:
      float32 [B, n·T, F], mel spectrograms in decibels; of recordings without their sound, the
      cepstral coefficients.
    """
    if recordings.waves is None:
        found = recordings.features[spoken]  # (B, n, T, F)
    else:
        waves = recordings.waves[spoken.ravel()].astype(np.float32) / 2**15
        found = np.asarray(audio.log_mel(waves, recordings.sample_rate))  # (B·n, T, F)
    return found.reshape(len(spoken), -1, found.shape[-1])


def check_sounds(experiment: Experiment) -> None:
    """Checks that `write_sounds` has what it writes.

    Raises:
      UserError: the data have no sound, or cepstral coefficients alone.
    """
    recordings = experiment.splits.train.recordings
    if recordings is None or recordings.waves is None:
        raise UserError(
            "--wav: there is no sound to write; data.audio="
            f"{experiment.config.data.audio!r} has none. Take --config.data.audio=spoken_digit"
        )


def write_sounds(experiment: Experiment, count: int, folder: Path) -> int:
    """Writes the sound of the examples of `task_sheet` as WAV files, in the order of the sheet.

    A file is one example, its recordings in reading order; its name says the words.

    Raises:
      UserError: the data have no sound, or cepstral coefficients alone.
    """
    check_sounds(experiment)
    recordings = experiment.splits.train.recordings
    batch = experiment.examples(count)
    names = experiment.splits.train.class_names
    folder.mkdir(parents=True, exist_ok=True)
    for i, (spoken, words) in enumerate(zip(batch.spoken, batch.inputs["words"], strict=True)):
        said = re.sub(r"[^\w-]", "_", "-".join(names[word] for word in words))
        path = folder / f"{i + 1:02d}_{said}.wav"
        wavfile.write(path, recordings.sample_rate, recordings.waves[spoken].ravel())
    return len(batch.spoken)


@names_as_text()
def curves(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draws loss and accuracy over the samples seen, like the thesis's Figure 4.1.

    What an objective measures besides, such as how far vectors lie apart, has a panel of its own.

    Args:
      rows: of `metrics.jsonl`.
      title: of the figure.
      path: the PNG to write.
    """
    own = _own_metrics(rows)
    figure = Figure(figsize=(15 if own else 10, 4), layout="constrained")
    figure.suptitle(title)
    loss, accuracy, *others = figure.subplots(1, 3 if own else 2)
    styles = {"train": {"linewidth": 1.0}, "validation": {"linewidth": 1.8, "marker": "o"}}
    panels = [
        (loss, "loss", "", {"train": ORANGE, "validation": BLUE}),
        (accuracy, "match_accuracy", "true/false, ", {"train": ORANGE, "validation": BLUE}),
        (accuracy, "class_accuracy", "per class, ", {"train": RED, "validation": GREEN}),
        (accuracy, "accuracy", "", {"train": ORANGE, "validation": BLUE}),
    ]
    for axes in others:
        for i, name in enumerate(own):
            panels.append(
                (axes, name, f"{name}, ", {"train": f"C{2 * i}", "validation": f"C{2 * i + 1}"})
            )
        axes.set_ylabel("the objective's own metrics")
    classifies = any("accuracy" in row for row in rows)
    for axes, metric, prefix, colours in panels:
        for part, colour in colours.items():
            points = [(r["samples"], r[metric]) for r in rows if r["split"] == part and metric in r]
            if points:
                label = prefix + {"train": "training", "validation": "validation"}[part]
                dashes = "--" if metric == "class_accuracy" else "-"
                axes.plot(
                    *zip(*points, strict=True), dashes, color=colour, label=label,
                    markersize=3.5, **styles[part],
                )  # fmt: skip
    known = "cross entropy (nats)" if classifies else "binary cross entropy (mean over the outputs)"
    loss.set_ylabel("loss" if own else known)
    loss.set_ylim(bottom=0)
    accuracy.set_ylabel("accuracy")
    accuracy.set_ylim(0.45, 1.01)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if not classifies:
        accuracy.axhline(0.5, color="0.6", linewidth=0.8, linestyle=":")
    for axes in (loss, accuracy, *others):
        axes.set_xlabel("training pairs seen")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short_number(x)))
        axes.set_xlim(left=0)
        axes.grid(color="0.9")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=9)
    save(figure, path, dpi=110)


_OF_EVERY_RUN = {
    "split", "step", "samples", "loss", "match_accuracy", "class_accuracy", "accuracy"
}  # fmt: skip


def _own_metrics(rows: list[dict[str, Any]]) -> list[str]:
    """What both training and validation measure and only some objectives have."""
    keys = [set().union(*(r for r in rows if r["split"] == s)) for s in ("train", "validation")]
    return sorted(set.intersection(*keys) - _OF_EVERY_RUN)
