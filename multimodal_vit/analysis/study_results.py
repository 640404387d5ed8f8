"""The results of a study, read from its runs' folders."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from scipy import special

from multimodal_vit import sampler
from multimodal_vit.analysis.statistics import Summary
from multimodal_vit.data import Splits
from multimodal_vit.evaluate import Predictions, main_metric
from multimodal_vit.models import example_inputs
from multimodal_vit.objectives import match_logit
from multimodal_vit.probes.verdict import at_chance, verdict
from multimodal_vit.run_files import METRICS, PREDICTIONS
from multimodal_vit.sampler import Task
from multimodal_vit.study.definition import StudyRun
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.writer import read_metrics


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A test pair that was answered wrongly.

    Attributes:
      image: uint8 [H, W, C].
      words: int32 [n], the text.
      labels: int32 [n], what the image shows.
      probability: of "true", the mean over seeds.
    """

    image: np.ndarray
    words: np.ndarray
    labels: np.ndarray
    probability: float

    @property
    def certainty(self) -> float:
        """The probability of the answer given."""
        return max(self.probability, 1 - self.probability)


class ConditionResults:
    """The finished runs of one condition.

    Attributes:
      name: the condition's.
      runs: at least one, by seed.
      experiment: the first run's, for the shapes and the task.
    """

    def __init__(self, name: str, runs: Sequence[StudyRun], splits: Splits) -> None:
        self.name = name
        self.runs = runs
        self.experiment = Experiment.create(runs[0].config, splits, for_training=False)

    @property
    def config(self) -> ConfigDict:
        """The configuration of the first run."""
        return self.runs[0].config

    @property
    def task(self) -> Task:
        """The task."""
        return self.experiment.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K names."""
        return self.experiment.splits.test.class_names

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """The runs' `results.json`."""
        return [run.workdir.results() or {} for run in self.runs]

    @property
    def accuracies(self) -> list[float]:
        """The test accuracy of each run's true/false answers, or of a classifier's."""
        return [main_metric(results["test"]) for results in self.results]

    @cached_property
    def verdicts(self) -> list[dict[str, Any]]:
        """What is said of each run; see `probes.verdict`."""
        return [verdict(results) for results in self.results]

    @property
    def chance(self) -> float:
        """The accuracy of always giving the commoner answer, the mean over runs."""
        main = "accuracy" if self.task.classifies else "match_accuracy"
        return float(np.mean(self.values("test", "chance", main)))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy: over seeds, or of a single run over images."""
        if len(self.runs) > 1:
            return Summary.of(self.accuracies).interval()
        main = "accuracy" if self.task.classifies else "match_accuracy"
        low, high = self.results[0]["test"]["intervals"][main]
        return low, high

    @property
    def at_chance(self) -> bool:
        """Whether the accuracy cannot be told from always giving the commoner answer."""
        return at_chance(float(np.mean(self.accuracies)), self.interval[0], self.chance)

    @property
    def reads_order(self) -> list[bool]:
        """Of each run that was asked, whether it reads in order."""
        return [v["reads_order"] for v in self.verdicts if v["reads_order"] is not None]

    def leading(self) -> dict[str, list[float]]:
        """What leads of each suite and check that every run was asked, of each run.

        Of foils and checks the AUROC, of other suites the share of right answers.
        """
        found: dict[str, list[float]] = {}
        for name in self.results[0].get("suites", {}):
            foil = "rejection_rate" in self.results[0]["suites"][name]
            main = "accuracy" if self.task.classifies else "match_accuracy"
            found[name] = self.probed("suites", name, "auroc" if foil else main)
        for name in self.results[0].get("checks", {}):
            found[f"check {name}"] = self.probed("checks", name, "auroc")
        return {name: values for name, values in found.items() if values}

    def values(self, *place: str) -> list[float]:
        """A number of each run's results, such as `values("test", "class_accuracy")`."""
        found = []
        for results in self.results:
            value: Any = results
            for name in place:
                value = value[name]
            found.append(value)
        return found

    def probed(self, *place: str) -> list[Any]:
        """As `values`, or nothing where some run was not asked that."""
        try:
            return self.values(*place)
        except KeyError:
            return []

    def curve(self, part: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """A metric over training.

        Args:
          part: "train" or "validation".
          metric: such as "loss".

        Returns:
          The samples seen, int [T], and the values, float [runs, T]; NaN after a run's end.
        """
        points = [
            {r["samples"]: r[metric] for r in rows if r["split"] == part and metric in r}
            for rows in self._metrics
        ]
        samples = sorted(set().union(*points))
        values = [[run.get(at, np.nan) for at in samples] for run in points]
        return np.array(samples), np.array(values)

    @cached_property
    def _metrics(self) -> list[list[dict[str, Any]]]:
        return [read_metrics(run.workdir.path / METRICS) for run in self.runs]

    @cached_property
    def predictions(self) -> list[Predictions]:
        """Each run's answers to the test pairs."""
        return [Predictions.load(Path(run.workdir.path / PREDICTIONS)) for run in self.runs]

    @cached_property
    def evidence(self) -> dict[str, np.ndarray]:
        """What the first run kept for pictures; see `probe.Probed`."""
        return self.runs[0].workdir.evidence()

    def accuracy_by_replaced(self) -> dict[int, list[float]]:
        """The share of right answers by the number of wrong labels, from 0; one value a run."""
        numbers = range(self.task.num_positions + 1)
        found = {}
        for number in numbers:
            shares = []
            for p in self.predictions:
                there = p.num_replaced == number
                if there.any():
                    shares.append(float(self._right(p)[there].mean()))
            if shares:
                found[number] = shares
        return found

    def _logit(self, predictions: Predictions) -> np.ndarray:
        return np.asarray(match_logit(predictions.logits, self.task.num_classes))

    def _right(self, predictions: Predictions) -> np.ndarray:
        return (self._logit(predictions) > 0) == predictions.match

    def confusion(self) -> np.ndarray:
        """How often one wrong label passes for right, float [K shown, K named]; NaN: never asked.

        Over the false pairs with a single wrong label, of all runs. Of a classifier, how often a
        class [shown] is taken for another [said].
        """
        K = self.task.num_classes
        asked, accepted = np.zeros((K, K)), np.zeros((K, K))
        if self.task.classifies:
            for p in self.predictions:
                np.add.at(accepted, (p.labels[:, 0], p.logits.argmax(axis=1)), 1)
            asked += accepted.sum(axis=1, keepdims=True)
            np.fill_diagonal(asked, 0)
            return np.divide(accepted, asked, out=np.full((K, K), np.nan), where=asked > 0)
        for p in self.predictions:
            single = p.num_replaced == 1
            words, labels = p.words[single], p.labels[single]
            row, place = np.nonzero(words != labels)
            shown, named = labels[row, place], words[row, place]
            np.add.at(asked, (shown, named), 1)
            np.add.at(accepted, (shown, named), self._logit(p)[single] > 0)
        return np.divide(accepted, asked, out=np.full((K, K), np.nan), where=asked > 0)

    def mistakes(self, count: int) -> list[Mistake]:
        """The pairs that the runs' mean probability gets wrong with the greatest certainty."""
        first = self.predictions[0]
        same = [p for p in self.predictions if np.array_equal(p.chosen, first.chosen)]
        probability = np.mean([special.expit(self._logit(p)) for p in same], axis=0)  # (N,)
        wrong = np.nonzero((probability > 0.5) != first.match)[0]
        certainty = np.abs(probability[wrong] - 0.5)
        worst = wrong[np.argsort(-certainty, kind="stable")][:count]
        images = self.experiment.splits.test.images
        return [
            Mistake(
                np.asarray(sampler.paste(images[first.chosen[i]][None], self.task.grid))[0],
                first.words[i],
                first.labels[i],
                float(probability[i]),
            )
            for i in worst
        ]

    def shapes(self) -> dict[str, str]:
        """The model in words: what becomes of a pair and how large it is; "–" for what it lacks."""
        model, experiment = self.config.model, self.experiment
        inputs = jax.eval_shape(lambda: example_inputs(self.task))
        variables = experiment.abstract_state().variables
        _, intermediates = jax.eval_shape(experiment.model.apply, variables, inputs)
        tokens = [f"{intermediates['embedded'][m].shape[1]} {m}" for m in model.modalities]
        fusion = experiment.model.fusion
        if fusion.num_extra_tokens:
            tokens = [str(fusion.num_extra_tokens), *tokens]
        height, width, channels = self.task.canvas_shape
        of_inputs = {"stem": "–", "patch": "–"}
        for embedding in experiment.model.embeddings.values():
            of_inputs |= embedding.describe()
        of_fusion = {"layers": "–", "width": "–", "MLP": "–", "heads": "–"} | fusion.describe()
        if fusion.describe():
            of_fusion["width"] = str(model.embedding_dim)
        return {
            "image": f"{height}×{width}×{channels}",
            **of_inputs,
            "tokens": " + ".join(tokens),
            "fusion": model.fusion,
            **of_fusion,
            "parameters": f"{self.results[0]['parameters']:,}",
            "MFLOP per example": f"{self.results[0]['flop_per_example'] / 1e6:,.0f}",
        }


def class_shares(experiment: Experiment) -> np.ndarray:
    """Table D.1: how often each class fills each position, float [K, n]; all of it sums to 1.

    Counted over the pairs of one epoch, drawn as in training.
    """
    task, size = experiment.task, experiment.config.train.batch_size
    num_images = len(experiment.splits.train)
    steps = sampler.steps_per_epoch(num_images, size)

    @jax.jit
    def count(key: jax.Array, images: jax.Array, labels: jax.Array, order: jax.Array) -> jax.Array:
        def step(i: jax.Array) -> jax.Array:
            base, weight = sampler.base_images(order, i, size, num_images)
            batch_key = jax.random.fold_in(key, i)
            batch = sampler.sample_batch(batch_key, images, labels, base, weight, task)
            classes = jnp.arange(task.num_classes)
            present = batch.labels[..., None] == classes  # (B, n, K)
            return (present * weight[:, None, None]).sum(axis=0).T  # (K, n)

        return jax.lax.map(step, jnp.arange(steps)).sum(axis=0)

    key = sampler.named_key(jax.random.key(experiment.config.seed), "class shares")
    data = experiment.train_data()
    order = experiment.epoch(0).order
    if task.num_labelled:  # those of the split, of which the pairs are drawn
        order = sampler.epoch_order(key, num_images, size)
    counts = np.asarray(count(key, data.images, data.labels, order))
    return counts / counts.sum()
