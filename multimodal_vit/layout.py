"""How the arrays of a training lie on the devices: a mesh, and a short table of layouts.

The mesh has two axes. "data" counts the copies of the model; along "model", of
`train.model_devices` devices, a layout may cut parameters and optimizer state into parts.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from multimodal_vit.parameters import Declaration, name_of

MIN_ELEMENTS = 1024  # smaller arrays are not worth a message

Cut = Callable[[tuple[int, ...], int, Declaration], int | None]


def largest(shape: tuple[int, ...], parts: int, declaration: Declaration) -> int | None:
    """The largest dimension that the devices can share, from the end; None: not worth it."""
    del declaration
    if np.prod(shape) < MIN_ELEMENTS:
        return None
    sizes = [size if size % parts == 0 else 0 for size in shape]
    return int(np.argmax(sizes)) - len(shape)


def as_declared(shape: tuple[int, ...], parts: int, declaration: Declaration) -> int | None:
    """The dimension that the parameter's module says."""
    del shape, parts
    return declaration.cut


def _no_problems(config: ConfigDict) -> Iterator[str]:
    del config
    yield from ()


def _uneven_heads(config: ConfigDict) -> Iterator[str]:
    """Heads and MLPs that the devices cannot share."""
    parts = config.train.model_devices
    for field in ("num_heads", "mlp_dim"):
        if config.model[field] % parts:
            yield (
                f"train.layout='tensor' cuts model.{field}={config.model[field]} into "
                f"train.model_devices={parts} parts, which does not come out even; take a divisor"
            )


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the arrays of a training lie.

    Attributes:
      about: what it does.
      cut: the dimension that is cut along "model", counted from the end, of an array of some shape,
        by the number of parts and what is declared of the parameter; the optimizer's moments lie as
        their parameter. None, or where it cannot be cut so: every device has a copy.
      batch_axes: the axes whose devices share the rows of a batch.
      problems: yields a line for every mistake of a configuration that chooses it.
      declared: what is known of each parameter, by its path.
    """

    about: str
    cut: Cut | None
    batch_axes: tuple[str, ...]
    problems: Callable[[ConfigDict], Iterator[str]] = _no_problems
    declared: Mapping[str, Declaration] = dataclasses.field(default_factory=dict)

    @property
    def cuts(self) -> bool:
        """Whether any array is cut."""
        return self.cut is not None

    @property
    def gathers(self) -> bool:
        """Whether a step gathers the cut parameters: its devices hold different rows."""
        return self.cuts and "model" in self.batch_axes

    def batch(self, mesh: Mesh, num_before: int = 0) -> NamedSharding:
        """Of arrays whose first axis, after `num_before` others, is that of the examples."""
        return NamedSharding(mesh, P(*[None] * num_before, self.batch_axes))

    def shardings(self, mesh: Mesh, tree: Any) -> Any:
        """Of a state, or a part of it, by its paths and shapes.

        Args:
          mesh: the devices.
          tree: of arrays, or of their shapes.
        """

        def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            return NamedSharding(mesh, self._spec(name_of(path), leaf.shape, mesh.shape["model"]))

        return jax.tree_util.tree_map_with_path(of, tree)

    def _spec(self, name: str, shape: tuple[int, ...], parts: int) -> P:
        if self.cut is None or parts == 1 or not shape:
            return P()
        dimension = self.cut(shape, parts, self._declaration(name))
        if dimension is None or -dimension > len(shape) or shape[dimension] % parts:
            return P()
        return P(*[None] * (len(shape) + dimension), "model")

    def _declaration(self, name: str) -> Declaration:
        """Of the parameter that a path ends with, such as "opt_state/0/mu/head/kernel"."""
        parts = name.split("/")
        for start in range(len(parts)):
            if (found := self.declared.get("/".join(parts[start:]))) is not None:
                return found
        return Declaration()


LAYOUTS = {
    "replicated": Layout(
        "Every device holds all parameters; a step adds up the gradients.", None, ("data", "model")
    ),
    "fsdp": Layout(
        "Parameters and optimizer state are cut (Rajbhandari et al. 2020, ZeRO); a step gathers "
        "the parameters for its own rows, and each device updates its part.",
        largest,
        ("data", "model"),
    ),
    "tensor": Layout(
        "Heads and MLPs are cut, and each device computes its own for all rows of its copy "
        "(Shoeybi et al. 2019, Megatron-LM).",
        as_declared,
        ("data",),
        _uneven_heads,
    ),
}


def make_mesh(devices: Sequence[jax.Device], model_devices: int = 1) -> Mesh:
    """The mesh of some devices: "data" × "model", of which neighbours share a copy.

    Args:
      devices: a multiple of `model_devices`.
      model_devices: the size of "model".
    """
    return Mesh(np.array(devices).reshape(-1, model_devices), ("data", "model"))
