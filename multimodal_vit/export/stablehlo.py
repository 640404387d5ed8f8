"""The model as one StableHLO file, by `jax.export`: JAX alone runs it, on CPU, CUDA and TPU."""

from pathlib import Path

import jax
import numpy as np
from jax import export

from multimodal_vit.export.program import Inputs, Program

FILE = "model.stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def write(program: Program, path: Path) -> None:
    """Writes the program, for any number of pairs.

    Args:
      program: to be written.
      path: of the file.
    """
    scope = export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(
            export.symbolic_shape(", ".join(["b", *map(str, program.shapes[name])]), scope=scope),
            program.dtypes[name],
        )
        for name in program.inputs
    ]
    exported = export.export(jax.jit(program.function), platforms=PLATFORMS)(*specs)
    path.write_bytes(exported.serialize())


def run(program: Program, path: Path, inputs: Inputs) -> list[np.ndarray]:
    """Reads the file and gives what it answers."""
    loaded = export.deserialize(bytearray(path.read_bytes()))
    return [np.asarray(x) for x in loaded.call(*(inputs[name] for name in program.inputs))]
