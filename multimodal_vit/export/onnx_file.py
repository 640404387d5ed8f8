"""The model as one ONNX file, by jax2onnx, checked with ONNX Runtime."""

import logging
import warnings
from pathlib import Path

import jax
import numpy as np

from multimodal_vit.errors import UserError
from multimodal_vit.export.program import Inputs, Program
from multimodal_vit.models.convolution import plain_convolutions

FILE = "model.onnx"
OPSET = 21  # of those that jax2onnx writes and every runtime of today reads
_MISSING = (
    "needs jax2onnx and onnxruntime: pip install 'multimodal_vit[onnx]', in an environment of its "
    "own, since jax2onnx asks for an older orbax-checkpoint; it reads the same runs"
)


def check_installed() -> None:
    """Raises a `UserError` unless ONNX files can be written and run here."""
    try:
        import jax2onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"--formats=onnx {_MISSING}") from error
    del jax2onnx, onnxruntime


def converted(program: Program) -> bytes:
    """The program as the content of an ONNX file, for any number of pairs.

    Convolutions are plain ones: half the nodes, and one that the runtimes are fast at.

    Raises:
      UserError: the model has operations that ONNX lacks.
    """
    from jax2onnx import to_onnx

    specs = [
        jax.ShapeDtypeStruct(("B", *program.shapes[name]), program.dtypes[name])
        for name in program.inputs
    ]
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of shapes that nobody asked for
    try:
        with plain_convolutions(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = to_onnx(
                program.function,
                specs,
                model_name="multimodal_vit",
                opset=OPSET,
                input_names=program.inputs,
                output_names=program.outputs,
            )
            return model.SerializeToString()
    except Exception as error:  # of many kinds: whatever the converter meets
        raise UserError(
            f"the model cannot be written as ONNX: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}. Take --formats=stablehlo"
        ) from error


def run(program: Program, path: Path, inputs: Inputs) -> list[np.ndarray]:
    """Reads the file with ONNX Runtime, on one thread, and gives what it answers.

    Raises:
      UserError: it cannot be run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return session.run(list(program.outputs), {n: inputs[n] for n in program.inputs})
    except Exception as error:  # of many kinds: whatever the runtime raises
        raise UserError(
            f"the model's ONNX file cannot be run: {' '.join(str(error).split())[:300]}. Take "
            "--formats=stablehlo"
        ) from error
