"""What a model uses: its answers to evaluation suites and checks, beside those of references."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from multimodal_vit import evaluate
from multimodal_vit.errors import UserError
from multimodal_vit.evaluate_checks import check_metrics, consistency_metrics
from multimodal_vit.predict import Predictions
from multimodal_vit.probes.attention import attention_probe
from multimodal_vit.probes.references import expected, readers
from multimodal_vit.probes.temperature import tempered_results
from multimodal_vit.suites import BEFORE, SUITES, Suite, checks_for, published
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.predictor import Predictor

CHECK = "check "  # begins the name of a check's suite, and of the random numbers of all checks
ATTENTION_PAIRS = 1000  # of a suite's, that are asked where the model looks


def predictor(experiment: Experiment, suites: Mapping[str, Suite], checks: bool) -> Predictor:
    """What predicts the task, some suites and, if wanted, the pairs of the checks."""
    asked = dict(suites)
    if "near_foil" in asked:
        asked["confusable"] = SUITES["single_foil"]
    if checks:
        asked[f"{CHECK}before"] = BEFORE
        for name, check in checks_for(experiment.task).items():
            asked[CHECK + name] = check.after
    return Predictor(experiment, asked)


@dataclasses.dataclass(frozen=True)
class Probed:
    """What `probe` found.

    Attributes:
      predictions: the answers to the test split.
      results: "test", as `evaluate.metrics`; "suites", as `evaluate.suite_metrics`; "references",
        for each suite each reader's share of right answers, or of rejected foils, and
        "reference_auroc"; "skipped", why a suite was not asked, by its name; of a verdict that is
        a score its "threshold", fitted on the validation pairs; with everything also
        "checks", as `check_metrics`, "expected", the readers' exact accuracies on the
        published task, "attention", as `attention_probe`, where the model has any, and
        "tempered", as `temperature.tempered_results`, of an oracle.
      evidence: for pictures: failed pairs of each check, before and after its change:
        "<check>/before/image" uint8 [F, H, W, C], ".../words" and ".../labels" int32 [F, n] and
        ".../probability" of "true" float32 [F]. And "attention/…", an `AttentionExample`.
    """

    predictions: Predictions
    results: dict[str, Any]
    evidence: dict[str, np.ndarray]


def probe(
    experiment: Experiment, variables: Any, suites: Mapping[str, Suite], everything: bool
) -> Probed:
    """Asks a model the test split, suites and, with `everything`, the checks and its attention.

    Args:
      experiment: of the model.
      variables: of the model.
      suites: by name.
      everything: also the checks and the attention.
    """
    predict = predictor(experiment, suites, everything)
    variables = predict.fitted(variables)
    answers = predict(variables, "test")
    results: dict[str, Any] = {"test": evaluate.metrics(answers)}
    if not answers.answered:
        why = f"train.objective={experiment.config.train.objective!r} has no verdict to ask"
        results |= {"suites": {}, "references": {}, "reference_auroc": {}}
        return Probed(answers, results | {"skipped": dict.fromkeys(suites, why)}, {})
    if experiment.objective.scores:
        results["threshold"] = float(experiment.objective.threshold(variables))
    if "near_foil" in suites:
        predict.confusable = evaluate.confusable(predict(variables, "validation", "confusable"))
    task = published(experiment.task)
    frequencies = experiment.splits.train.class_frequencies
    judges = not experiment.task.classifies  # else there is no text to read
    read = readers(task, frequencies) if judges else {}
    results |= {"suites": {}, "references": {}, "reference_auroc": {}, "skipped": {}}
    for name, suite in suites.items():
        try:
            predictions = predict(variables, "test", name)
        except UserError as error:
            results["skipped"][name] = str(error)
            continue
        if len(predictions.match) == 0:
            results["skipped"][name] = "no pair of the test split belongs to it"
            continue
        flipped = None
        if suite.foil:  # the same grids, each with its other text
            flipped = predict(variables, "test", name, flipped=True)
        results["suites"][name] = evaluate.suite_metrics(suite, predictions, flipped)
        if suite.shows_labels and judges:
            counts = ~predictions.match if suite.foil else np.ones(len(predictions.match), bool)
            words, shown = predictions.words[counts], predictions.labels[counts]
            results["references"][name] = {
                reader: float((says(words, shown) == predictions.match[counts]).mean())
                for reader, says in read.items()
            }
            results["reference_auroc"][name] = {
                reader: _auroc(says(predictions.words, predictions.labels), predictions.match)
                for reader, says in read.items()
            }
    evidence: dict[str, np.ndarray] = {}
    if everything and judges:
        results["expected"] = expected(task, frequencies)
        results["checks"], failures = _check(experiment, variables, predict)
        evidence |= failures
        at_best = tempered_results(experiment, predict, variables, suites)
        if at_best is not None:
            results["tempered"] = at_best
        most = min(experiment.config.evaluation.suite_pairs or ATTENTION_PAIRS, ATTENTION_PAIRS)
        if (attention := attention_probe(experiment, variables, most)) is not None:
            results["attention"] = attention.numbers
            example = attention.example.arrays()
            evidence |= {f"attention/{name}": array for name, array in example.items()}
        elif experiment.model.fusion.no_attention:
            results["skipped"]["attention"] = experiment.model.fusion.no_attention
    return Probed(answers, results, evidence)


def _auroc(says: np.ndarray, match: np.ndarray) -> float | None:
    """Of answers of yes or no; None where all pairs are of one kind."""
    if match.all() or not match.any():
        return None
    return float((1 + says[match].mean() - says[~match].mean()) / 2)


def _check(
    experiment: Experiment, variables: Any, predict: Predictor
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The results of all checks, and failed pairs, see `Probed.evidence`."""
    found, evidence = {}, {}
    before_name = f"{CHECK}before"
    before = predict(variables, "test", before_name, stream=CHECK)

    def keep(check: str, when: str, suite: str, answers: Predictions) -> None:
        rows = found[check].get("failures", [])
        if rows:
            pairs = predict.pairs("test", rows, suite, stream=CHECK)
            for name, arrays in (
                ("image", [pair.inputs["image"] for pair in pairs]),
                ("words", [pair.inputs["words"] for pair in pairs]),
                ("labels", [pair.labels for pair in pairs]),
            ):
                evidence[f"{check}/{when}/{name}"] = np.concatenate(arrays)
            evidence[f"{check}/{when}/probability"] = special.expit(answers.true_logit[rows])

    for name, check in checks_for(experiment.task).items():
        after = predict(variables, "test", CHECK + name, stream=CHECK)
        found[name] = check_metrics(check, before, after)
        if check.kind != "minimal":
            keep(name, "before", before_name, before)
        keep(name, "after", CHECK + name, after)
    if before.has_classes:
        found["consistent"] = consistency_metrics(before)
        keep("consistent", "after", before_name, before)
    return found, evidence
