"""What the rules say about made-up models: readers that use only a part, biased and noisy ones.

They answer the real suites' pairs on made-up images, of which only the classes count. Prints the
table of docs/probes.md, and the coverage of the 95 % intervals in simulation:

    python benchmarks/verdicts.py
    python benchmarks/verdicts.py --coverage
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from multimodal_vit import evaluate, intervals
from multimodal_vit.predict import Predictions
from multimodal_vit.probes.references import readers
from multimodal_vit.probes.verdict import verdict
from multimodal_vit.sampler import Task
from multimodal_vit.suites import Pool, Suite, suites_for

TASK = Task(grid=(2, 2), image_shape=(1, 1, 1), num_classes=10)
SUITES = ("standard", "single_foil", "count_foil", "order_foil")
NUM_PAIRS = 2500  # of a suite, as evaluation.suite_pairs
FREQUENCIES = np.full(10, 0.1)

# From words and labels, int [N, n], to the log odds of "true", float [N].
Model = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def reader(name: str, sure: float = 4.0, bias: float = 0.0, noise: float = 0.0) -> Model:
    """A reader of `references`, with a bias and with noise on its log odds."""
    says = readers(TASK, FREQUENCIES)[name]

    def answer(words: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        logit = np.where(says(words, labels), sure, -sure) + bias
        return logit + noise * rng.normal(size=len(words))

    return answer


def now_and_then(often: Model, else_: Model, share: float) -> Model:
    """One model on a share of the pairs, another on the rest."""

    def answer(words: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        first = rng.random(len(words)) < share
        return np.where(first, often(words, labels, rng), else_(words, labels, rng))

    return answer


def at_random(bias: float = 0.0) -> Model:
    """Answers that depend on nothing."""
    return lambda words, labels, rng: bias + rng.normal(size=len(words))


MODELS: dict[str, Model] = {
    "always says true": lambda words, labels, rng: np.full(len(words), 3.0),
    "answers at random": at_random(),
    "answers at random, mostly false": at_random(-0.65),
    "text alone": reader("text_only", sure=0.5),
    "hardly trained: a trace of which labels, mostly false": reader(
        "label_set", sure=0.3, bias=-0.5, noise=1.0
    ),
    "which labels": reader("label_set"),
    "which labels, biased to false": reader("label_set", sure=0.5, bias=-1.0, noise=0.6),
    "which labels, noisy": reader("label_set", sure=1.0, noise=1.0),
    "which labels and how often": reader("label_multiset"),
    "the same, on two pairs of three also where": now_and_then(
        reader("quadrants_4"), reader("label_multiset"), 2 / 3
    ),
    "reads one position": reader("quadrants_1"),
    "reads two positions": reader("quadrants_2"),
    "reads three positions": reader("quadrants_3"),
    "reads all positions": reader("quadrants_4"),
    "reads all positions, biased to false": reader("quadrants_4", sure=1.0, bias=-0.9, noise=0.5),
    "reads all positions, biased to true": reader("quadrants_4", sure=1.0, bias=1.2, noise=0.3),
    "reads all positions, noisy": reader("quadrants_4", sure=1.0, noise=1.0),
}


def draw_all(num_images: int = 10_000) -> dict[str, tuple[Suite, Any, Any]]:
    """Pairs of the suites that the verdict rests on, and the same grids with their other texts.

    Each suite is drawn once, with false texts; half of them, drawn anew, become true.
    """
    labels = jnp.arange(num_images, dtype=jnp.int32) % 10
    images = jnp.zeros((num_images, 1, 1, 1), jnp.uint8)
    pool = Pool(images, labels, (jnp.arange(10, dtype=jnp.int32) + 1) % 10)
    base = jnp.arange(NUM_PAIRS, dtype=jnp.int32) % num_images
    known = suites_for(TASK)
    found = {}
    for i, name in enumerate(SUITES):
        suite = dataclasses.replace(known[name], false_rate=1.0)
        key = jax.random.fold_in(jax.random.key(0), i)
        false = jax.device_get(suite.draw(key, pool, base, jnp.ones(NUM_PAIRS), TASK))
        is_true = np.random.default_rng(i).random(NUM_PAIRS) < 0.5
        found[name] = known[name], *(
            false.replace(
                inputs={"words": np.where(true[:, None], false.labels, false.inputs["words"])},
                match=true,
            )
            for true in (is_true, ~is_true)
        )  # fmt: skip
    return found


def answers(batch: Any, model: Model, rng: np.random.Generator) -> Predictions:
    """What a made-up model says to a batch; of the classes it knows all."""
    logit = model(batch.inputs["words"], batch.labels, rng)[:, None]
    logits = np.concatenate([logit, np.where(batch.classes, 3.0, -3.0)], axis=1).astype(np.float32)
    loss = np.logaddexp(0, np.where(batch.match, -logits[:, 0], logits[:, 0]))
    arrays = (logits, loss, batch.match, batch.classes, batch.inputs["words"], batch.chosen)
    there = batch.weight > 0
    return Predictions(*(array[there] for array in (*arrays, batch.labels)))


def results(model: Model, drawn: dict[str, tuple[Suite, Any, Any]]) -> dict[str, Any]:
    """What `results.json` would hold of a model."""
    rng = np.random.default_rng(1)
    suites = {
        name: evaluate.suite_metrics(suite, answers(batch, model, rng), answers(other, model, rng))
        for name, (suite, batch, other) in drawn.items()
    }
    return {"test": evaluate.metrics(answers(drawn["standard"][1], model, rng)), "suites": suites}


def coverage(
    num_images: int, num_pairs: int, repeats: int, misread: float, seed: int = 0
) -> dict[str, float]:
    """How often the 95 % intervals hold the truth, for a reader that misreads some images.

    Some images are misread, and always so; the evidence of a pair is that of its worst position,
    with noise. The truth is that of 200,000 pairs of other images.

    Returns:
      The shares of `repeats` simulated test splits whose interval holds it: of the accuracy, of
      AUROC, of the rejection difference; and, "independent", of the accuracy's interval were pairs
      independent.
    """
    rng = np.random.default_rng(seed)

    def simulate(images: int, pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        base = np.resize(rng.permutation(images), pairs)[:, None]
        chosen = np.concatenate([base, rng.integers(0, images, (pairs, 3))], axis=1)
        true = rng.random(pairs) < 0.5
        quality = np.where(rng.random(images) < misread, -1.0, 3.0)
        evidence = quality[chosen] + rng.normal(size=(pairs, 4))
        wrong = np.arange(pairs), rng.integers(0, 4, pairs)
        evidence[wrong] *= np.where(true, 1, -1)
        return evidence.min(axis=1), true, chosen

    def figures(logit: np.ndarray, true: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
        right = (logit > 0) == true
        return {
            "accuracy": intervals.share(right, chosen),
            "auroc": intervals.auroc(logit, true, chosen),
            "rejection_difference": intervals.rejected_more(logit <= 0, true, chosen),
            "independent": (right.mean(), intervals.wilson(right.mean(), len(right))),
        }

    truth = {name: value for name, (value, _) in figures(*simulate(200_000, 200_000)).items()}
    found = dict.fromkeys(truth, 0.0)
    for _ in range(repeats):
        for name, (_, (low, high)) in figures(*simulate(num_images, num_pairs)).items():
            found[name] += (low <= truth[name] <= high) / repeats
    return found


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--coverage", action="store_true", help="simulate the intervals instead")
    if parser.parse_args().coverage:
        print("| images | pairs | misread | accuracy | AUROC | difference | pairs independent |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for images, pairs in ((257, 2056), (257, 2500), (10_000, 2500), (10_000, 10_000)):
            for misread in (0.003, 0.05):
                found = coverage(images, pairs, 300, misread)
                shares = " | ".join(f"{100 * share:.0f} %" for share in found.values())
                print(f"| {images:,} | {pairs:,} | {100 * misread:g} % | {shares} |", flush=True)
        return
    drawn = draw_all()
    print(
        "| made-up model | right | order foils rejected | true texts rejected | place | verdict |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, model in MODELS.items():
        found = results(model, drawn)
        order, says = found["suites"]["order_foil"], verdict(found)
        shares = (found["test"]["match_accuracy"], order["rejection_rate"])
        cells = [f"{100 * x:.1f} %" for x in (*shares, order["true_rejection_rate"])]
        print(f"| {name} | {' | '.join(cells)} | {says['scale']['place']:.2f} | {says['uses']} |")


if __name__ == "__main__":
    main()
