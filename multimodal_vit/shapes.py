"""Shapes and dtypes at the seams, checked where a program is traced: they cost nothing in a step.

The annotations are those of jaxtyping: `Float[Array, "B T D"]` is an array of floats with three
axes. What does not fit raises a `ShapeError` that names the argument, what came and what was
expected.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from beartype import beartype
from jaxtyping import Bool, Float, Int, Num, TypeCheckError, jaxtyped

from multimodal_vit.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
AnyArray = Any  # of JAX or of NumPy


class ShapeError(UserError, TypeError):
    """An array has another shape or dtype than a seam takes."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Checks a function's arguments and result against its annotations."""
    inner = jaxtyped(function, typechecker=beartype)

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return inner(*arguments, **named)
        except TypeCheckError as error:
            raise ShapeError(_in_one_line(str(error), function.__qualname__)) from error

    return call


def _in_one_line(text: str, function: str) -> str:
    """What jaxtyping says in several lines."""

    def find(pattern: str) -> str:
        found = re.search(pattern, text)
        return found[1].strip() if found else ""

    argument = find(r"whilst typechecking parameter '(\w+)'")
    came = find(r"Actual value: (.*)")
    expected = find(r"Expected type: (.*)").rstrip(".").replace("jaxlib._jax.", "")
    expected = re.sub(r"<class '(.*)'>", r"\1", expected)
    sizes = find(r"The current values for each jaxtyping axis annotation are as follows\.\n(.*)")
    what = f"the argument {argument!r} of {function}" if argument else f"what {function} returns"
    tail = f" (so far {', '.join(sizes.split())})" if "=" in sizes else ""
    return f"{what} is {came or 'something else'}; expected {expected}{tail}"


def in_words(value: Any) -> str:
    """An array's dtype and shape, such as float32[8, 4, 128]; of anything else its type."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    return f"a {type(value).__name__}"


def expect(value: Any, annotation: Any, what: str, expected: str) -> None:
    """Raises a `ShapeError` unless a value fits an annotation; sizes hold within one `jaxtyped`."""
    if not isinstance(value, annotation):
        raise ShapeError(f"{what}: {in_words(value)} came; expected {expected}")


def check_inputs(inputs: Mapping[str, Any]) -> None:
    """Raw inputs of a model, by name; see `MultimodalViT.__call__`.

    Raises:
      ShapeError: one of them does not fit, or they are not of the same number of examples.
    """
    rules = {
        "image": (Num[AnyArray, "B H W C"], "numbers [B, H, W, C], uint8 as a rule"),
        "words": (Int[AnyArray, "B n"], "int32 [B, n]"),
        "audio": (Float[AnyArray, "B n F c"], "float32 [B, n, F, C]"),
        "present": (Bool[AnyArray, "B 3"], "bool [B, 3]"),
    }
    with jaxtyped("context"):
        for name, value in inputs.items():
            if name in rules:
                annotation, expected = rules[name]
                what = f"the input {name!r}"
                expect(value, annotation, what, f"{expected} with one B for all inputs")


def check_tokens(tokens: Mapping[str, Any], what: str, batch_size: int) -> None:
    """Token sequences by modality, [B, T, D] each.

    Args:
      tokens: by modality.
      what: gave them, to be named.
      batch_size: B.

    Raises:
      ShapeError: one of them does not fit.
    """
    for name, value in tokens.items():
        expected = f"floats [B, T, D] with B = {batch_size}"
        label = f"the tokens that {what} gives for the modality {name!r}"
        expect(value, Float[AnyArray, "_ _ _"], label, expected)
        if value.shape[0] != batch_size:
            raise ShapeError(f"{label} are {in_words(value)}; expected {expected}")


def check_summary(summary: Any, batch_size: int, intermediates: Any) -> None:
    """What a fusion returns: the summary [B, D] and a dict.

    Raises:
      ShapeError: it does not fit.
    """
    expected = f"floats [B, D] with B = {batch_size}"
    expect(summary, Float[AnyArray, "_ _"], "the summary that the fusion returns", expected)
    if summary.shape[0] != batch_size:
        raise ShapeError(
            f"the summary that the fusion returns is {in_words(summary)}; expected {expected}"
        )
    if not isinstance(intermediates, Mapping):
        raise ShapeError(
            f"the second result of the fusion is {in_words(intermediates)}; expected a dict of "
            "intermediates"
        )


def check_loss(loss: Any, batch_size: int, what: str) -> None:
    """A loss for each example, [B].

    Raises:
      ShapeError: it does not fit.
    """
    if not isinstance(loss, Float[AnyArray, "_"]) or len(loss) != batch_size:
        raise ShapeError(f"{what} is {in_words(loss)}; expected floats [B] with B = {batch_size}")
