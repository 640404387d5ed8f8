"""A picture of a model's design: which tokens take from which, layer by layer.

It is read off the model itself: the joint attention maps of an untrained model say where attention
can flow, whatever the design, also one of the user's own.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multimodal_vit.analysis.drawing import BLUE, RED, SMALL, TINY, WIDE
from multimodal_vit.analysis.study_results import ConditionResults
from multimodal_vit.models import example_inputs
from multimodal_vit.parameters import plain
from multimodal_vit.train.experiment import Experiment

COLUMNS = 3


def flows(experiment: Experiment) -> tuple[dict[str, int], list[np.ndarray]]:
    """Between which kinds of tokens attention can flow in each layer of a model.

    Args:
      experiment: of the model; it is not trained.

    Returns:
      The number of tokens of each kind, and for each layer bool [kinds, kinds]: whether tokens of
      the row take from others, of the column. A last one is the read-out, where there is one. No
      layers for a fusion without attention.
    """
    model, inputs = experiment.model, example_inputs(experiment.task)

    def untrained(key: jax.Array) -> Any:
        variables = plain(model.init(key, inputs))
        return model.apply(variables, inputs, return_attention=True)[1].get("attention_weights", [])

    index: dict[str, Any] = {}

    def look(key: jax.Array) -> None:
        variables = plain(model.init(key, inputs))
        index.update(model.apply(variables, inputs, return_attention=True)[1].get("index", {}))

    jax.eval_shape(look, jax.random.key(0))
    kinds = {name: (int(start), int(end)) for name, (start, end) in index.items() if end > start}
    found = []
    for weights in jax.jit(untrained)(jax.random.key(0)) if kinds else ():
        own = np.asarray(weights, np.float32)[0].max(axis=0)  # (T, T)
        stays = np.abs(own - np.eye(len(own))).max(axis=1) < 1e-6  # nothing is taken
        own = np.where(stays[:, None], 0, own)
        found.append(
            np.array([[own[slice(*a), slice(*b)].max() > 0 for b in kinds.values()]
                      for a in kinds.values()])
        )  # fmt: skip
    return {name: end - start for name, (start, end) in kinds.items()}, found


Flows = tuple[dict[str, int], list[np.ndarray]]


def flows_of(conditions: Sequence[ConditionResults]) -> dict[str, Flows]:
    """`flows` of each fusion, of the first condition that has it."""
    drawn: dict[str, ConditionResults] = {}
    for c in conditions:
        drawn.setdefault(c.config.model.fusion, c)
    return {name: flows(c.experiment) for name, c in drawn.items()}


def designs(found: Mapping[str, Flows]) -> Figure:
    """A panel for each fusion, of `flows_of`; columns are layers."""
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(WIDE * columns / COLUMNS, 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, (name, own) in zip(panels, found.items(), strict=False):
        axes.set_title(name, fontsize=SMALL)
        _draw(axes, *own)
    return figure


def _by_stream(names: Sequence[str]) -> list[str]:
    """The summary, each stream's tokens side by side, then what belongs to none."""
    streams = [name for name in names if any(f"class_{name}" == other for other in names)]

    def place(name: str) -> tuple[int, int]:
        of = name.partition("_")[2] if "_" in name else name
        if name == "summary":
            return -1, 0
        return (streams.index(of) if of in streams else len(streams)), names.index(name)

    return sorted(names, key=place)


def _draw(axes: Axes, kinds: Mapping[str, int], layers: Sequence[np.ndarray]) -> None:
    if not layers:
        axes.text(0.5, 0.5, "no attention", ha="center", transform=axes.transAxes, fontsize=SMALL)
        return
    names = _by_stream(list(kinds))
    places = [list(kinds).index(name) for name in names]
    for layer, takes in enumerate(own[np.ix_(places, places)] for own in layers):
        for row, column in itertools.product(range(len(names)), repeat=2):
            if takes[row, column]:
                to_summary = names[row] == "summary"
                axes.plot(
                    [layer, layer + 1], [-column, -row], "-", linewidth=1.1, alpha=0.8,
                    color=RED if to_summary else BLUE, zorder=1,
                )  # fmt: skip
    for place, name in enumerate(names):
        axes.plot(range(len(layers) + 1), [-place] * (len(layers) + 1), "o", color="0.55",
                  markersize=4, zorder=2)  # fmt: skip
        label = name.replace("_", " ") + (f" × {kinds[name]}" if kinds[name] > 1 else "")
        axes.text(-0.15, -place, label, ha="right", va="center", fontsize=TINY)
    axes.set_xlim(-1.6, len(layers) + 0.2)
    axes.set_ylim(-len(names) + 0.4, 0.6)
