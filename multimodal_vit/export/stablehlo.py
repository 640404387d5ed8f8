"""The model as one StableHLO file, by `jax.export`: JAX alone runs it, on CPU, CUDA and TPU."""

from pathlib import Path

import jax
import numpy as np
from jax import export

from multimodal_vit.errors import UserError
from multimodal_vit.export.program import Inputs, Program

FILE = "model.stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def write(program: Program, path: Path) -> None:
    """Writes the program, for any number of pairs.

    Args:
      program: to be written.
      path: of the file.

    Raises:
      UserError: the model is not made for any number of pairs.
    """
    scope = export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(
            export.symbolic_shape(", ".join(["b", *map(str, program.shapes[name])]), scope=scope),
            program.dtypes[name],
        )
        for name in program.inputs
    ]
    try:
        exported = export.export(jax.jit(program.function), platforms=PLATFORMS)(*specs)
    except Exception as error:  # of many kinds: whatever a component makes of a size without value
        raise UserError(
            f"the model cannot be written for any number of pairs ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); a component of its own must ask for "
            "x.shape[0], and not for len(x)"
        ) from error
    path.write_bytes(exported.serialize())


def run(program: Program, path: Path, inputs: Inputs) -> list[np.ndarray]:
    """Reads the file and gives what it answers."""
    loaded = export.deserialize(bytearray(path.read_bytes()))
    return [np.asarray(x) for x in loaded.call(*(inputs[name] for name in program.inputs))]
