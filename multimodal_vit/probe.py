"""What a model uses: its answers to evaluation suites and checks, beside those of references."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from multimodal_vit import evaluate
from multimodal_vit.errors import UserError
from multimodal_vit.evaluate import Predictions
from multimodal_vit.references import expected, readers
from multimodal_vit.suites import BEFORE, SUITES, Suite, checks_for, published
from multimodal_vit.train.experiment import Experiment, Predictor

CHECK = "check "  # before the name of a check's suite, which is no suite of its own


def predictor(experiment: Experiment, suites: Mapping[str, Suite], checks: bool) -> Predictor:
    """What predicts the task, some suites and, if wanted, the pairs of the checks."""
    asked = dict(suites)
    if "near_foil" in asked:
        asked["confusable"] = SUITES["single_foil"]
    if checks:
        asked[f"{CHECK}before"] = BEFORE
        for name, check in checks_for(experiment.task).items():
            asked[CHECK + name] = check.after
    return experiment.predictor(asked)


def probe(
    experiment: Experiment, params: Any, suites: Mapping[str, Suite], everything: bool
) -> tuple[Predictions, dict[str, Any]]:
    """Asks a model the test split, suites and, with `everything`, the checks.

    Args:
      experiment: of the model.
      params: of the model.
      suites: by name.
      everything: also the checks.

    Returns:
      The answers to the test split, and the results: "test", as `evaluate.metrics`; "suites", as
      `evaluate.suite_metrics`; "references", for each suite each reader's share of right answers,
      or of rejected foils; with `everything` "checks" and "expected", the readers' exact
      accuracies on the published task; "skipped", why a suite was not asked, by its name.
    """
    predict = predictor(experiment, suites, everything)
    answers = predict(params, "test")
    results: dict[str, Any] = {"test": evaluate.metrics(answers)}
    if "near_foil" in suites:
        predict.confusable = evaluate.confusable(predict(params, "validation", "confusable"))
    labels = experiment.splits.train.labels
    task = published(experiment.task)
    frequencies = np.bincount(labels, minlength=task.num_classes) / len(labels)
    read = readers(task, frequencies)
    results |= {"suites": {}, "references": {}, "skipped": {}}
    for name, suite in suites.items():
        try:
            predictions = predict(params, "test", name)
        except UserError as error:
            results["skipped"][name] = str(error)
            continue
        if len(predictions.match) == 0:
            results["skipped"][name] = "no pair of the test split belongs to it"
            continue
        results["suites"][name] = evaluate.suite_metrics(suite, predictions)
        if suite.shows_labels:
            counts = ~predictions.match if suite.foil else np.ones(len(predictions.match), bool)
            words, shown = predictions.words[counts], predictions.labels[counts]
            results["references"][name] = {
                reader: float((says(words, shown) == predictions.match[counts]).mean())
                for reader, says in read.items()
            }
    if everything:
        before = predict(params, "test", f"{CHECK}before", stream="checks")
        results["checks"] = {
            name: evaluate.check_metrics(
                check, before, predict(params, "test", CHECK + name, stream="checks")
            )
            for name, check in checks_for(experiment.task).items()
        }
        results["checks"]["consistent"] = evaluate.consistency_metrics(before)
        results["expected"] = expected(task, frequencies)
    return answers, results
