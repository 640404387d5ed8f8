"""Asks a trained model where it looks and what it uses, on the same pairs for every model."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from multimodal_vit import distributed
from multimodal_vit.models import MultimodalViT, example_inputs
from multimodal_vit.probes.maps import (
    AttentionMaps,
    attention_maps,
    patch_grid,
    quadrant_overlap,
)
from multimodal_vit.probes.measures import MAX_WEIGHTS, Measures, make_measure, occlude
from multimodal_vit.probes.numbers import (
    means,
    plain_numbers,
    rank_correlation,
    rank_correlations_of_rows,
)
from multimodal_vit.probes.occlusion import (
    quadrant_masks,
    window_masks,
    wrong_against_right,
)
from multimodal_vit.sampler import Batch, Corruption, Task, named_key, sample_batch
from multimodal_vit.suites import replace_one, swap_adjacent
from multimodal_vit.train.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class AttentionExample:
    """One image with two texts, and what a model makes of each; in host memory.

    Attributes:
      image: uint8 [H, W, C].
      labels: int [n], what it shows.
      words: int [2, n], the true text and one with one wrong word.
      maps: of the two pairs, see `AttentionMaps`.
      patches: rows and columns of the image tokens.
      quadrants: change of the logit where a quadrant is hidden, float [2, n].
      windows: the same for windows that slide over the image, float [2, r', c'].
    """

    image: np.ndarray
    labels: np.ndarray
    words: np.ndarray
    maps: AttentionMaps
    patches: tuple[int, int]
    quadrants: np.ndarray
    windows: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """Of "the text is true", float [2]."""
        return special.expit(self.maps.logit)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays by name."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        maps = own.pop("maps")._asdict()
        return {name: np.asarray(value) for name, value in (own | maps).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The example whose `arrays` these are."""
        own = dict(arrays)
        maps = AttentionMaps(*(own.pop(name) for name in AttentionMaps._fields))
        rows, columns = own.pop("patches").tolist()
        return cls(maps=maps, patches=(rows, columns), **own)


@dataclasses.dataclass(frozen=True)
class AttentionResult:
    """What `attention_probe` finds.

    Attributes:
      numbers: over many pairs, for JSON; see `attention_probe`.
      example: for the figures.
      grid: rows and columns of the task's grid.
      class_names: the K names.
    """

    numbers: dict[str, Any]
    example: AttentionExample
    grid: tuple[int, int]
    class_names: tuple[str, ...]


def attention_probe(
    experiment: Experiment, variables: Any, num_pairs: int = 1000
) -> AttentionResult | None:
    """Asks a model where it looks and what it uses, on pairs of the test split.

    Half of the pairs are true, in the others one word is wrong; a second set has two neighbouring
    words swapped. They depend on the data, the grid, their number and `config.evaluation.seed`.

    The numbers, by layer and head where not said otherwise; "intervals" are 95 %, by image:
      num_pairs, match_accuracy: of the first set. chance: 1 / n.
      own_quadrant_share, own_quadrant_share_by_word: see the function; its mean over words, and
        for each word. own_word_share: the other way. image_attention: the share of a word's
        attention that falls on the image at all.
      correlation: Spearman's, over pairs, of the own-quadrant share with the answer being right;
        over "all" pairs and over those with a wrong word ("foils"), None where every answer is
        right or every share the same. Where there is none, 95 % of such values lie within
        ±"bound_all" and ±"bound_foils".
      occlusion: the change of the true/false output where a quadrant is black. "true": of true
        pairs, by quadrant, "logit" and "probability". "single_foil" and "swap_adjacent": of false
        pairs, see `wrong_against_right`, for the "logit" and for the "probability"; None where no
        quadrant has a right word. A model that compares which labels occur, and where not, shows
        a difference in the first, and hardly any in the second.
      rollout_occlusion: Spearman's correlation of the rollout mass that the class token has on a
        quadrant with the size of the logit's change: "pooled" over pairs and quadrants, and
        "within_pairs", the mean of the correlations over the n quadrants of a pair.

    Args:
      experiment: what the variables were trained in.
      variables: of its model, on its mesh.
      num_pairs: of the first set; the second is half as large.

    Returns:
      None for a model that returns no attention weights, or reads other than words and image.
    """
    model, task = experiment.model, experiment.task
    patches = patch_grid(model, task)
    if patches is None or not (per_pair := _num_weights(model, task, variables)):
        return None
    overlap = quadrant_overlap(patches, task.grid)
    devices = experiment.mesh.size
    most = min(experiment.config.evaluation.batch_size, MAX_WEIGHTS * devices // per_pair)
    measure = make_measure(experiment, overlap, max(most // devices, 1) * devices)
    key = named_key(jax.random.key(experiment.config.evaluation.seed), "attention")
    pairs = _draw(experiment, named_key(key, "pairs"), num_pairs, replace_one, 0.5)
    found = measure(variables, pairs.inputs)
    numbers = _attention_numbers(found, pairs) | {
        "rollout_occlusion": _agreement(found, pairs.chosen)
    }
    numbers["occlusion"] = {
        "true": _effects_on_true_pairs(found, pairs),
        "single_foil": _effects_on_false_pairs(found, pairs),
        "swap_adjacent": None,
    }
    if task.num_positions > 2:  # else no word stays right
        swaps = _draw(experiment, named_key(key, "swaps"), -(-num_pairs // 2), swap_adjacent, 1.0)
        swapped = measure(variables, swaps.inputs)
        numbers["occlusion"]["swap_adjacent"] = _effects_on_false_pairs(swapped, swaps)
    example = _example(experiment, variables, patches, pairs)
    names = experiment.splits.test.class_names
    return AttentionResult(plain_numbers(numbers), example, task.grid, names)


def _num_weights(model: MultimodalViT, task: Task, variables: Any) -> int:
    """The attention weights of one pair, L·heads·T·T; 0 where the model does not return them."""

    def intermediates(variables: Any) -> dict[str, Any]:
        inputs = example_inputs(task)
        return model.apply(variables, inputs, return_attention=True)[1]

    found = jax.eval_shape(intermediates, variables)
    if set(found.get("spans", {})) != {"words", "patches"}:
        return 0
    return sum(layer.size for layer in found.get("attention_weights", []))


def _draw(
    experiment: Experiment, key: jax.Array, count: int, corruption: Corruption, false_rate: float
) -> Batch:
    """Some pairs of the test split, in host memory; its images are base images in turn."""
    task = dataclasses.replace(experiment.task, false_rate=false_rate)
    test = experiment.splits.test

    @jax.jit
    def draw(images: jax.Array, labels: jax.Array) -> Batch:
        order = jax.random.permutation(named_key(key, "base"), len(labels))
        base, weight = jnp.resize(order, count), jnp.ones(count)
        batch_key = named_key(key, "batch")
        return sample_batch(batch_key, images, labels, base, weight, task, corruption)

    return jax.device_get(draw(test.images, test.labels))


def _example(
    experiment: Experiment, variables: Any, patches: tuple[int, int], pairs: Batch
) -> AttentionExample:
    """Of a few false pairs the first with the most different classes, with its true text too."""
    objective, task = experiment.objective, experiment.task
    different = [len(set(labels)) for labels in pairs.labels[:100].tolist()]
    i = int(np.where(pairs.match[:100], 0, different).argmax())
    inputs = {name: array[[i, i]] for name, array in pairs.inputs.items()}
    inputs["words"] = np.stack([pairs.labels[i], pairs.inputs["words"][i]])  # (2, n)
    windows = window_masks(task)  # (r', c', H, W)

    @jax.jit
    def ask(variables: Any, inputs: dict[str, jax.Array]) -> tuple[AttentionMaps, jax.Array]:
        masks = np.concatenate([quadrant_masks(task), windows.reshape(-1, *windows.shape[2:])])
        maps = attention_maps(objective, variables, inputs)
        occluded = occlude(objective, variables, inputs, masks)
        return maps, occluded - maps.logit[:, None]

    maps, change = distributed.to_host(ask(variables, experiment.on_mesh(inputs)))
    n = task.num_positions
    return AttentionExample(
        image=inputs["image"][0],
        labels=pairs.labels[i],
        words=inputs["words"],
        maps=maps,
        patches=patches,
        quadrants=change[:, :n],
        windows=change[:, n:].reshape(2, *windows.shape[:2]),
    )


def _attention_numbers(found: Measures, pairs: Batch) -> dict[str, Any]:
    share = found.own_quadrant.mean(axis=-1)  # (N, L, heads)
    right = (found.logit > 0) == pairs.match
    parts = {"all": np.full(len(right), True), "foils": ~pairs.match}
    correlation: dict[str, Any] = {}
    for name, part in parts.items():
        correlate = functools.partial(rank_correlation, right[part].astype(float))
        by_layer = np.moveaxis(share[part], 0, -1)  # (L, heads, M)
        correlation[name] = [[correlate(head) for head in layer] for layer in by_layer]
        # The variance of Spearman's coefficient under independence is 1 / (M - 1), ties or not.
        correlation[f"bound_{name}"] = 1.96 / np.sqrt(max(part.sum() - 1, 1))
    values = means(
        {
            "match_accuracy": right,
            "own_quadrant_share": share,
            "own_quadrant_share_by_word": found.own_quadrant,
            "own_word_share": found.own_word.mean(axis=-1),
            "image_attention": found.image_attention,
        },
        pairs.chosen,
    )
    return values | {"chance": 1 / pairs.replaced.shape[1], "correlation": correlation}


def _changes(found: Measures, part: np.ndarray) -> dict[str, np.ndarray]:
    """Of the logit and of the probability of "true" where each quadrant is hidden, [M, n]."""
    before, after = found.logit[part, None], found.occluded[part]
    return {
        "logit": after - before,
        "probability": special.expit(after) - special.expit(before),
    }


def _effects_on_true_pairs(found: Measures, pairs: Batch) -> dict[str, Any] | None:
    if not pairs.match.any():
        return None
    return means(_changes(found, pairs.match), pairs.chosen[pairs.match])


def _effects_on_false_pairs(found: Measures, pairs: Batch) -> dict[str, Any] | None:
    compared = {
        name: wrong_against_right(change, pairs.replaced[~pairs.match])
        for name, change in _changes(found, ~pairs.match).items()
    }
    if not len(compared["logit"]["wrong"]):
        return None
    some = pairs.replaced.any(axis=1) & ~pairs.replaced.all(axis=1)  # as `wrong_against_right`
    images = pairs.chosen[~pairs.match & some]
    return {name: means(values, images) for name, values in compared.items()}


def _agreement(found: Measures, images: np.ndarray) -> dict[str, Any]:
    """How far the attention's story and the occlusion's agree on what matters."""
    size = np.abs(found.occluded - found.logit[:, None])  # (N, n)
    pooled = rank_correlation(found.rollout.ravel(), size.ravel())
    within = rank_correlations_of_rows(found.rollout, size)
    known = np.isfinite(within)
    if not known.any():
        return {"pooled": pooled}
    return {"pooled": pooled} | means({"within_pairs": within[known]}, images[known])
