"""What each figure of a page shows, as rows of a table: a catalogue, in the order of the figures.

Shares are fractions from 0 to 1. Positions, layers and heads count from 1, as in the figures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from multimodal_vit.analysis.design_figure import Flows
from multimodal_vit.analysis.failure_sheet import Failure
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.analysis.study_figures import intervals_by_replaced
from multimodal_vit.analysis.study_results import ConditionResults, Mistake
from multimodal_vit.probes.attention import AttentionResult
from multimodal_vit.probes.maps import shares

Row = dict[str, Any]


def places(conditions: Sequence[ConditionResults]) -> Iterator[Row]:
    """Of the strip: where each run stands on the scale."""
    for c in conditions:
        for run, said in zip(c.runs, c.verdicts, strict=True):
            if said["scale"]:
                low, high = said["scale"]["interval"]
                yield _of(c, run) | {"place": said["scale"]["place"], "low": low, "high": high}


def accuracies(
    conditions: Sequence[ConditionResults], published: Mapping[str, Summary]
) -> Iterator[Row]:
    """Each run's accuracy; the condition's mean and its 95 % interval; what was published."""
    for c in conditions:
        low, high = c.interval
        for run, value in zip(c.runs, c.accuracies, strict=True):
            yield _of(c, run) | {"accuracy": value}
        yield {"condition": c.name, "mean": np.mean(c.accuracies), "low": low, "high": high}
        if c.name in published:
            known = published[c.name]
            yield {"condition": c.name, "published": known.mean, "published_std": known.std}


def curves(
    conditions: Sequence[ConditionResults], validation: Sequence[str], training: Sequence[str] = ()
) -> Iterator[Row]:
    """Metrics over training, of every run."""
    for c in conditions:
        for part, metrics in (("validation", validation), ("train", training)):
            for metric in metrics:
                samples, values = c.curve(part, metric)
                for run, mine in zip(c.runs, values, strict=True):
                    for seen, value in zip(samples, mine, strict=True):
                        if np.isfinite(value):
                            yield _of(c, run) | {
                                "split": part, "training_pairs": seen, "metric": metric,
                                "value": value,
                            }  # fmt: skip


def by_replaced(conditions: Sequence[ConditionResults]) -> Iterator[Row]:
    """Right answers by the number of wrong labels; of a single run with the interval by image."""
    for c in conditions:
        between = intervals_by_replaced(c) if len(c.runs) == 1 else {}
        for number, values in c.accuracy_by_replaced().items():
            for run, value in zip(c.runs, values, strict=True):
                row = _of(c, run) | {"wrong_labels": number, "right": value}
                if number in between:
                    row |= dict(zip(("low", "high"), between[number], strict=True))
                yield row


def confusions(conditions: Sequence[ConditionResults]) -> Iterator[Row]:
    """How often a class shown was taken for a class named."""
    for c in conditions:
        for (shown, named), share in np.ndenumerate(c.confusion()):
            if np.isfinite(share):
                yield {
                    "condition": c.name, "shows": c.class_names[shown],
                    "says": c.class_names[named], "taken_for_right": share,
                }  # fmt: skip


def mistakes(condition: ConditionResults, found: Sequence[Mistake]) -> Iterator[Row]:
    """Of each wrong answer its text, what is shown and the model's probability of "true"."""
    for i, mistake in enumerate(found, 1):
        for row in pairs([mistake.words], [mistake.labels], condition.class_names):
            yield row | {"example": i, "probability_true": mistake.probability}


def pairs(
    words: Sequence[np.ndarray], labels: Sequence[np.ndarray], names: Sequence[str]
) -> Iterator[Row]:
    """Of each example, position by position, what the text says and the image shows."""
    for i, (text, shown) in enumerate(zip(words, labels, strict=True), 1):
        for position, (word, label) in enumerate(zip(text, shown, strict=True), 1):
            yield {
                "example": i, "position": position, "says": names[word], "shows": names[label],
            }  # fmt: skip


def designs(found: Mapping[str, Flows]) -> Iterator[Row]:
    """Which tokens take from which, layer by layer."""
    for name, (kinds, layers) in found.items():
        for layer, takes in enumerate(layers, 1):
            for into, source in np.argwhere(takes):
                yield {
                    "fusion": name, "layer": layer, "tokens": list(kinds)[into],
                    "take_from": list(kinds)[source],
                }  # fmt: skip


def reliability(conditions: Sequence[ConditionResults]) -> Iterator[Row]:
    """The bins of each run's reliability diagram."""
    for c in conditions:
        for run, bins in zip(c.runs, c.probed("suites", "standard", "reliability"), strict=True):
            for count, certainty, right in zip(
                bins["count"], bins["certainty"], bins["right"], strict=True
            ):
                if count:
                    yield _of(c, run) | {"answers": count, "certainty": certainty, "right": right}


def failures(found: Sequence[Failure], names: Sequence[str]) -> Iterator[Row]:
    """Failed checks, before and after their change, position by position."""
    for i, failure in enumerate(found, 1):
        for when, words in enumerate(failure.words):
            told = {"failure": i, "check": failure.check, "after_change": when}
            told["probability_true"] = failure.probabilities[when]
            for row in pairs([words], [failure.labels[when]], names):
                yield told | {name: row[name] for name in ("position", "says", "shows")}


def own_shares(result: AttentionResult) -> Iterator[Row]:
    """The shares between word i and quadrant i, by layer and head."""
    for name in ("own_quadrant_share", "own_word_share"):
        for (layer, head), share in np.ndenumerate(np.array(result.numbers[name])):
            yield {"measure": name, "layer": layer + 1, "head": head + 1, "share": share}


def attention(direction: str) -> Callable[[AttentionResult], Iterator[Row]]:
    """Of the example's true text the attention between words and patches, by layer and head."""

    def rows(result: AttentionResult) -> Iterator[Row]:
        yield from _attention(result, direction, 0)

    return rows


def true_and_false(result: AttentionResult) -> Iterator[Row]:
    """Both texts of the example: attention, and the change of the logit where a part is hidden."""
    example = result.example
    for k, text in enumerate(("true", "false")):
        for measure, change in (
            ("quadrant hidden", example.quadrants[k].reshape(result.grid)),
            ("window hidden", example.windows[k]),
        ):
            for (row, column), value in np.ndenumerate(change):
                place = {"row": row + 1, "column": column + 1}
                yield {"text": text, "measure": measure, "value": value} | place
        for direction in ("word_to_patch", "patch_to_word"):
            for row in _attention(result, direction, k):
                yield {"text": text, "measure": direction} | row


def rollout(result: AttentionResult) -> Iterator[Row]:
    """Of the true text: attention rollout, and the change of the logit where a part is hidden."""
    example = result.example
    mass = np.asarray(shares(example.maps.rollout[0])).reshape(example.patches)
    for measure, values in (
        ("rollout", mass),
        ("quadrant hidden", example.quadrants[0].reshape(result.grid)),
        ("window hidden", example.windows[0]),
    ):
        for (row, column), value in np.ndenumerate(values):
            yield {"measure": measure, "row": row + 1, "column": column + 1, "value": value}


def _attention(result: AttentionResult, direction: str, k: int) -> Iterator[Row]:
    """The mean over heads, which most figures show, of each layer."""
    weights = np.asarray(shares(getattr(result.example.maps, direction)[k]))
    if direction == "patch_to_word":
        weights = weights.swapaxes(-1, -2)
    columns = result.example.patches[1]
    names = [result.class_names[word] for word in result.example.words[k]]
    for (layer, head, word, patch), share in np.ndenumerate(weights):  # [L, heads, n, P]
        row, column = divmod(patch, columns)
        yield {
            "layer": layer + 1, "head": head + 1, "position": word + 1, "word": names[word],
            "row": row + 1, "column": column + 1, "share": f"{share:.5g}",
        }  # fmt: skip


def _of(condition: ConditionResults, run: Any) -> Row:
    return {"condition": condition.name, "seed": run.config.seed}
