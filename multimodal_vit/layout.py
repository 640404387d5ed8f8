"""How the arrays of a training lie on the devices: a mesh, and a short table of rules.

The mesh has two axes. "data" counts the copies of the model; along "model", of
`train.model_devices` devices, a layout may cut parameters and optimizer state into parts. To add a
layout, write an entry in `LAYOUTS`.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

LARGEST = None  # the largest dimension that the devices can share
MIN_ELEMENTS = 1024  # smaller arrays are not worth a message


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the arrays of a training lie.

    Attributes:
      rules: a pattern that is searched for in an array's path, such as
        "params/fusion/encoder/block_0/mlp_in/kernel" (the optimizer's moments end alike), and the
        dimension that is cut along "model", counted from the end. The first that matches counts; an
        array that none matches, or that cannot be cut so, has a copy on every device.
      batch_axes: the axes whose devices share the rows of a batch.
    """

    rules: tuple[tuple[str, int | None], ...]
    batch_axes: tuple[str, ...]

    @property
    def gathers(self) -> bool:
        """Whether a step gathers the cut parameters: its devices hold different rows."""
        return bool(self.rules) and "model" in self.batch_axes

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
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return NamedSharding(mesh, self._spec(name, leaf.shape, mesh.shape["model"]))

        return jax.tree_util.tree_map_with_path(of, tree)

    def _spec(self, name: str, shape: tuple[int, ...], parts: int) -> P:
        for pattern, dimension in self.rules:
            if re.search(pattern, name):
                if dimension is LARGEST and np.prod(shape) >= MIN_ELEMENTS:
                    sizes = [size if size % parts == 0 else 0 for size in shape]
                    dimension = int(np.argmax(sizes)) - len(shape)
                if dimension is LARGEST or parts == 1 or shape[dimension] % parts:
                    return P()
                return P(*[None] * (len(shape) + dimension), "model")
        return P()


LAYOUTS = {
    # Every device holds all parameters; a step adds up the gradients.
    "replicated": Layout((), ("data", "model")),
    # Parameters and optimizer state are cut (Rajbhandari et al. 2020, "ZeRO"); a step gathers the
    # parameters for its own rows, and each device updates its part.
    "fsdp": Layout(((r"/", LARGEST),), ("data", "model")),
    # Heads and MLPs are cut, and each device computes its own for all rows of its copy (Shoeybi et
    # al. 2019, "Megatron-LM").
    "tensor": Layout(
        (
            (r"/qkv/(kernel|bias)$", -2),  # (D, 3, heads, d)
            (r"/attention/out/kernel$", -2),  # (heads·d, D)
            (r"/mlp_in/(kernel|bias)$", -1),  # (D, mlp)
            (r"/mlp_out/kernel$", -2),  # (mlp, D)
        ),
        ("data",),
    ),
}


def make_mesh(devices: Sequence[jax.Device], model_devices: int = 1) -> Mesh:
    """The mesh of some devices: "data" × "model", of which neighbours share a copy.

    Args:
      devices: a multiple of `model_devices`.
      model_devices: the size of "model".
    """
    return Mesh(np.array(devices).reshape(-1, model_devices), ("data", "model"))
