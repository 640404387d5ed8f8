"""Which setting of the grid comes next: two samplers, neither of which tries a setting twice."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GridSampler, TPESampler
from optuna.trial import FrozenTrial

Space = Mapping[str, tuple[Any, ...]]


class _RandomGrid(GridSampler):
    """The settings of the grid in an order that the seed gives; trial n has the n-th of them."""

    def after_trial(self, *args: Any) -> None:
        """Does not stop the study when the grid is exhausted: whoever asks counts the trials."""


class _UntriedTpe(TPESampler):
    """A tree-structured Parzen estimator; where it names a tried setting, a random untried one."""

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, multivariate=True)
        self._values, self._seed = space, seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole grid, from the first trial on."""
        return {name: CategoricalDistribution(values) for name, values in self._values.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A setting that no trial has."""
        tried = {
            tuple(other.params.get(name) for name in self._values)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
        }
        params = super().sample_relative(study, trial, search_space)
        if params and tuple(params[name] for name in self._values) not in tried:
            return params
        untried = [s for s in itertools.product(*self._values.values()) if s not in tried]
        chosen = np.random.default_rng((self._seed, trial.number)).integers(len(untried))
        return dict(zip(self._values, untried[chosen], strict=True))


def make_sampler(name: str, space: Space, seed: int) -> BaseSampler:
    """The sampler "random" or "tpe"."""
    return {"random": _RandomGrid, "tpe": _UntriedTpe}[name](space, seed)
