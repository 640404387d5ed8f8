"""The modular oracle with its classifier's certainty put right: a stronger reader beside it.

The Bayes rule multiplies what the classifier says of each image, and a classifier that is too sure
of itself misleads it. One number, the temperature, divides its logits (Guo et al. 2017); it is
fitted on the validation split to the loss of the true/false output.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy import optimize

from multimodal_vit import evaluate
from multimodal_vit.models.fusions.bayes_rule import BayesRule
from multimodal_vit.suites import Suite
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.predictor import Predictor

ASKED = ("standard", "single_foil", "order_foil", "near_foil")  # where it can matter
RANGE = (1 / 16, 16.0)  # of the temperature


def tempered(variables: Any, temperature: float) -> Any:
    """The variables of an oracle whose class logits of each image are divided by a temperature."""

    def scaled(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        names = [getattr(part, "key", None) for part in path]
        return leaf / temperature if "classes" in names else leaf

    return jax.tree_util.tree_map_with_path(scaled, variables)


def fit(predict: Predictor, variables: Any) -> float:
    """The temperature with the lowest true/false loss on the validation split.

    Args:
      predict: of an oracle.
      variables: of its model.
    """

    def loss(log_temperature: float) -> float:
        answers = predict(tempered(variables, math.exp(log_temperature)), "validation")
        wrong_way = np.where(answers.match, -1.0, 1.0) * answers.true_logit.astype(np.float64)
        return float(np.logaddexp(0, wrong_way).mean())

    bounds = tuple(map(math.log, RANGE))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.05})
    return math.exp(found.x)


def tempered_results(
    experiment: Experiment, predict: Predictor, variables: Any, suites: Mapping[str, Suite]
) -> dict[str, Any] | None:
    """What an oracle reaches at its best temperature; None for any other model.

    Args:
      experiment: of the model.
      predict: of its suites.
      variables: of the model.
      suites: that may be asked; of these `ASKED` are.

    Returns:
      "temperature"; "test" and "suites", as `answers.probe` gives them.
    """
    if not isinstance(experiment.model.fusion, BayesRule):
        return None
    temperature = fit(predict, variables)
    variables = tempered(variables, temperature)
    asked = {name: suites[name] for name in ASKED if name in suites}
    return {
        "temperature": temperature,
        "test": evaluate.metrics(predict(variables, "test")),
        "suites": {
            name: evaluate.suite_metrics(
                suite,
                predict(variables, "test", name),
                predict(variables, "test", name, flipped=True) if suite.foil else None,
            )
            for name, suite in asked.items()
        },
    }
