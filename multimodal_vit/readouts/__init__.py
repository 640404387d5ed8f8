"""Read-outs: what can be read from a trained model beside its verdict.

Each is a function of an experiment and its variables that gives numbers; a configuration asks for
them by name in `evaluation.readouts`, and a run's `results.json` holds them in "readouts".
"""

from collections.abc import Callable, Sequence
from typing import Any

from multimodal_vit.errors import UserError
from multimodal_vit.readouts.linear import linear_probe
from multimodal_vit.readouts.retrieval import retrieve
from multimodal_vit.readouts.wrong_word import find_wrong_word
from multimodal_vit.readouts.zero_shot import naming
from multimodal_vit.train.experiment import Experiment

READOUTS: dict[str, Callable[[Experiment, Any], dict[str, Any]]] = {
    "linear": linear_probe,
    "zero_shot": naming,
    "retrieval": retrieve,
    "wrong_word": find_wrong_word,
}


def read_out(experiment: Experiment, variables: Any, names: Sequence[str]) -> dict[str, Any]:
    """What some read-outs give, by name; of one that cannot be asked {"skipped": why}.

    Args:
      experiment: of the model.
      variables: of model and objective.
      names: keys of `READOUTS`.
    """
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = READOUTS[name](experiment, variables)
        except UserError as error:
            found[name] = {"skipped": str(error)}
    return found


__all__ = ["READOUTS", "find_wrong_word", "linear_probe", "naming", "read_out", "retrieve"]
