"""A JAX/Flax laboratory for one transformer encoder that reads several modalities at once.

    model = multimodal_vit.load("runs/digits_conv")
    model.predict(["a.png", "b.png", "c.png", "d.png"], "3 1 4 1")

The parts, in the order in which an experiment uses them (see `docs/architecture.md`):
`config`, `data`, `sampler`, `models`, `objective`, `train`, `evaluate`, `analysis`, `use`. Nothing
is imported here, so that `import multimodal_vit` costs nothing; import the part that you need.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal_vit.use import Model, load

__all__ = ["Model", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load` and `Model`, imported when they are first asked for."""
    if name in __all__:
        return getattr(_import_module("multimodal_vit.use"), name)
    raise AttributeError(f"module 'multimodal_vit' has no attribute {name!r}")
