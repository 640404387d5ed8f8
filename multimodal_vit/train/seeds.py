"""Several seeds in one program, and a single run as the simplest case, behind one interface.

The runs share data, model and devices and differ in their seed alone. Their states are one tree
of arrays with a first axis for the runs. On an accelerator `vmap` makes one larger model of them,
which fills the chip; on the CPU, which one small model fills already, and on several accelerators,
which share each batch, a loop on the device computes them one after the other. The loop gives each
run the bits that it has alone; under `vmap` products are summed in another order, which changes a
loss by rounding.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.state import Epoch, TrainData, TrainState
from multimodal_vit.train.step import make_train_steps, many_steps


class SingleRun:
    """The training steps of one run."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.train_steps = make_train_steps(experiment.train_step())

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """The states of all runs as one."""
        (state,) = states
        return state

    def of(self, tree: Any, i: int) -> Any:
        """The i-th run's part of what the other methods return."""
        del i
        return tree

    def epoch(self, number: int) -> Epoch:
        """What the steps of an epoch are drawn from."""
        return self.experiment.epoch(number)

    def steps(
        self,
        state: TrainState,
        data: TrainData,
        epoch: Epoch,
        num_steps: int,
        active: Sequence[bool],
    ) -> tuple[TrainState, jax.Array]:
        """Makes steps of the runs that are `active`; the others stay as they are.

        Returns:
          The next state, and a token for each run; see `make_train_steps`.
        """
        return self.train_steps(state, data, epoch, self.count(num_steps, active))

    def count(self, num_steps: int, active: Sequence[bool]) -> Any:
        """The steps of each run, as `train_steps` takes them."""
        del active
        return num_steps

    def take_sums(
        self, state: TrainState, active: Sequence[bool]
    ) -> tuple[dict[str, jax.Array], TrainState]:
        """The metric sums, and the state in which those of the `active` runs begin anew."""
        del active
        return state.sums, state.replace(sums=self.experiment.zero_sums())


class Seeds(SingleRun):
    """The training steps of several runs.

    Attributes:
      at_once: whether `vmap` computes them; None chooses by the devices.
    """

    def __init__(self, experiments: Sequence[Experiment], at_once: bool | None = None) -> None:
        self.experiments = experiments
        self.experiment = first = experiments[0]
        on_mesh = NamedSharding(first.mesh, P())
        if at_once is None:
            at_once = jax.default_backend() != "cpu" and first.mesh.size == 1

        def one(data: TrainData, run: tuple[Any, ...]) -> tuple[TrainState, jax.Array]:
            state, epoch, num_steps = run
            return many_steps(first.train_step(), state, data, epoch, num_steps)

        def train_steps(
            state: TrainState, data: TrainData, epoch: Epoch, num_steps: jax.Array
        ) -> tuple[TrainState, jax.Array]:
            runs = state, epoch, num_steps
            if at_once:
                return jax.vmap(one, in_axes=(None, 0))(data, runs)
            return jax.lax.map(lambda run: one(data, run), runs)

        def take_sums(state: TrainState, active: jax.Array) -> tuple[Any, Any]:
            left = jax.tree.map(lambda x: jnp.where(active, 0, x), state.sums)
            return state.sums, left

        self.train_steps = jax.jit(train_steps, donate_argnums=0, out_shardings=on_mesh)
        self._stack = jax.jit(_stack, out_shardings=on_mesh)
        self._take_sums = jax.jit(take_sums, out_shardings=on_mesh)

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """The states of all runs as one."""
        return self._stack(*states)

    def of(self, tree: Any, i: int) -> Any:
        """The i-th run's part of what the other methods return."""
        return jax.tree.map(lambda x: x[i], tree)

    def epoch(self, number: int) -> Epoch:
        """What the steps of an epoch are drawn from, of each run."""
        return self._stack(*(e.epoch(number) for e in self.experiments))

    def count(self, num_steps: int, active: Sequence[bool]) -> Any:
        """The steps of each run, as `train_steps` takes them."""
        return num_steps * np.array(active, np.int32)

    def take_sums(
        self, state: TrainState, active: Sequence[bool]
    ) -> tuple[dict[str, jax.Array], TrainState]:
        """The metric sums, and the state in which those of the `active` runs begin anew."""
        sums, left = self._take_sums(state, np.array(active))
        return sums, state.replace(sums=left)


def program(experiments: Sequence[Experiment]) -> SingleRun:
    """The training steps of one or more runs that differ in their seed alone."""
    return SingleRun(experiments[0]) if len(experiments) == 1 else Seeds(experiments)


def _stack(*trees: Any) -> Any:
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)
