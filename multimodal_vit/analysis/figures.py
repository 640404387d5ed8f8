"""Pictures for people: a sheet of task examples, and the curves of a run."""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from scipy.io import wavfile

from multimodal_vit import audio
from multimodal_vit.data import Recordings
from multimodal_vit.errors import UserError
from multimodal_vit.files import replacing
from multimodal_vit.train.experiment import Experiment

# Okabe & Ito's colours, told apart by colour-blind readers; line styles tell them apart in grey.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
# Else "$" and "\\" in a name are markup.
PLAIN_TEXT = {"text.parse_math": False, "text.usetex": False}
LONGEST_NAME = 40  # signs of a name in a picture


@contextlib.contextmanager
def names_as_text() -> Iterator[None]:
    """Within it, what is drawn shows every text as it is: no sign of a name is markup.

    A name whose signs the font lacks is drawn with boxes; matplotlib's warnings of each sign, at
    each drawing, are left out (see `names_without_signs`).
    """
    with mpl.rc_context(PLAIN_TEXT), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


def names_without_signs(names: Sequence[str]) -> list[str]:
    """The names with signs that the pictures' fonts lack, as matplotlib finds in drawing them."""
    signs = sorted({sign for name in names for sign in shortened(name) if not sign.isascii()})
    lines = ["".join(signs[i : i + 50]) for i in range(0, len(signs), 50)]
    figure = Figure()
    figure.text(0, 0, "\n".join(lines), parse_math=False, usetex=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FigureCanvasAgg(figure).draw()
    found = (re.match(r"Glyph (\d+) ", str(warning.message)) for warning in caught)
    missing = {chr(int(match[1])) for match in found if match}
    return [name for name in names if not missing.isdisjoint(name)]


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Writes a figure, whole or not at all, in the format that the path's ending names."""
    with names_as_text(), replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), dpi=dpi)


@names_as_text()
def sample_sheet(
    images: np.ndarray,
    words: np.ndarray,
    labels: np.ndarray,
    grid: tuple[int, int],
    class_names: tuple[str, ...],
    columns: int = 4,
    notes: Sequence[str] = (),
    sounds: np.ndarray | None = None,
    judged: bool = True,
) -> Figure:
    """Draws examples of the task with their texts and targets.

    Args:
      images: uint8 [B, H, W, C].
      words: int [B, n], their texts.
      labels: int [B, n], what they show.
      grid: rows and columns of images in each; thin lines show them, which are not in the data.
      class_names: the K names.
      columns: examples in a row.
      notes: a line below each, if given.
      sounds: float [B, T, F], spectrograms to show beside the images, if given.
      judged: whether it is said below each if its text is true.
    """
    class_names = tuple(map(shortened, class_names))
    rows = -(-len(images) // columns)
    ratio = images.shape[1] / images.shape[2]
    size = (3.1, 3.0 * ratio + 1.2) if sounds is None else (5.0, 2.4 * ratio + 0.7)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for i, (axes, image, text, shown) in enumerate(
        zip(panels, images, words, labels, strict=False)
    ):
        axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
        for row in range(1, grid[0]):
            axes.axhline(row * image.shape[0] / grid[0] - 0.5, color=GREEN, linewidth=0.8)
        for column in range(1, grid[1]):
            axes.axvline(column * image.shape[1] / grid[1] - 0.5, color=GREEN, linewidth=0.8)
        if sounds is not None:
            beside = axes.inset_axes((1.04, 0, 1, 1))
            beside.imshow(sounds[i].T, origin="lower", aspect="auto", cmap="magma")
            for word in range(1, len(text)):
                beside.axvline(word * len(sounds[i]) / len(text) - 0.5, color=GREEN, linewidth=0.8)
            beside.set_xticks([])
            beside.set_yticks([])
        is_true = (text == shown).all()
        wrong = [
            f"{class_names[word]} is {class_names[label]}"
            for word, label in zip(text, shown, strict=True)
            if word != label
        ]
        axes.set_title(_text([class_names[word] for word in text], grid[1]), fontsize=10, pad=5)
        verdict = "" if not judged else "true" if is_true else "false: " + _text(wrong, 1)
        axes.set_xlabel(
            f"{verdict}\n{notes[i]}" if notes else verdict,
            fontsize=9,
            color=BLUE if is_true else RED,
        )
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in figure.axes[len(images) :]:
        axes.set_axis_off()
    return figure


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


def shortened(name: str) -> str:
    """A name as a picture shows it: in one line, not too long, without signs that nobody sees."""
    seen = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    return seen if len(seen) <= LONGEST_NAME else seen[: LONGEST_NAME - 1] + "…"


def _text(parts: list[str], in_line: int) -> str:
    """Parts with commas, in one line where they are short, else so many in each line."""
    whole = ", ".join(parts)
    if len(whole) <= 30:
        return whole
    lines = [", ".join(parts[i : i + in_line]) for i in range(0, len(parts), in_line)]
    return ",\n".join(lines)


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
    known = "cross entropy (nats)" if classifies else "binary cross entropy (nats per output)"
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


def short_number(number: float) -> str:
    """A number as an axis shows it: 55k, 6.4M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
