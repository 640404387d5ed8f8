"""What optimizer and layout must know of a parameter, declared where it is made.

Of the layers of flax (and `models.convolution.Conv`) it is known: their kernels are matrices from
inputs to outputs and have weight decay, embeddings have decay, nothing else has either. A parameter
that a module makes itself, with `self.param`, has none of it unless it says so:

    self.param("experts", declare(init, matrix=((1,), (2,)), decay=True), (E, D, F))
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
from flax.core import meta

Axes = tuple[tuple[int, ...], tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What is to be known of a parameter.

    Attributes:
      matrix: the axes of its inputs and of its outputs, where it is a matrix that Muon may make
        orthogonal; other axes count matrices. None: it is none.
      decay: whether weight decay acts on it.
      cut: the dimension, counted from the end, in which `train.layout="tensor"` cuts it; None: all
        devices have a copy.
    """

    matrix: Axes | None = None
    decay: bool = False
    cut: int | None = None


class Declared(flax.struct.PyTreeNode, meta.AxisMetadata):
    """A parameter with what was declared of it; only while a model is initialised."""

    value: Any
    given: tuple[tuple[str, Any], ...] = flax.struct.field(pytree_node=False)

    def unbox(self) -> Any:
        """The parameter itself."""
        return self.value

    def replace_boxed(self, val: Any) -> "Declared":
        """The same with another value."""
        return self.replace(value=val)

    def add_axis(self, index: int, params: dict[Any, Any]) -> "Declared":
        """Lifted transformations of flax: nothing is declared of the new axis."""
        del index, params
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> "Declared":
        """As `add_axis`."""
        del index, params
        return self


def declare(init: Callable[..., Any], **given: Any) -> Callable[..., Declared]:
    """An initialiser whose parameter carries what `Declaration` says; the rest stays as it is.

    Args:
      init: the initialiser, (key, shape, …) → array.
      **given: fields of `Declaration`.
    """
    Declaration(**given)  # a misspelt field is told here
    fixed = tuple(given.items())

    def declared(*arguments: Any, **named: Any) -> Declared:
        return Declared(init(*arguments, **named), fixed)

    return declared


def plain(variables: Any) -> Any:
    """Variables without what was declared of them: the arrays that training keeps."""
    return meta.unbox(variables)


# By the kind of layer: how many of a kernel's axes are inputs. None: all but the last.
KNOWN_LAYERS: dict[type[nn.Module], int | None] = {nn.Dense: None, nn.Conv: None}


def declarations(init: Callable[..., Mapping[str, Any]], *arguments: Any) -> dict[str, Declaration]:
    """What is known of each parameter, by its path, such as "fusion/encoder/norm/scale".

    Args:
      init: makes the variables, such as a model's `init`; it is traced and not computed.
      *arguments: of it.
    """
    owners: dict[tuple[str, ...], nn.Module] = {}

    def note(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        owners[context.module.scope.path if context.module.scope else ()] = context.module
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        variables = jax.eval_shape(init, *arguments)
    found = {}
    leaves = jax.tree_util.tree_leaves_with_path(
        variables["params"], is_leaf=lambda x: isinstance(x, Declared)
    )
    for path, leaf in leaves:
        keys = tuple(str(getattr(part, "key", part)) for part in path)
        shape = plain(leaf).shape
        known = _of_layer(owners.get(keys[:-1]), keys[-1], len(shape))
        if isinstance(leaf, Declared):
            known = dataclasses.replace(known, **dict(leaf.given))
        found["/".join(keys)] = known
    return found


def _of_layer(layer: nn.Module | None, name: str, ndim: int) -> Declaration:
    """What is known of a parameter of one of flax's layers."""
    axes = tuple(range(ndim))
    if isinstance(layer, nn.Embed):
        return Declaration(decay=name == "embedding")
    inputs: int | None = None
    if isinstance(layer, nn.DenseGeneral):
        inputs = len(layer.axis) if isinstance(layer.axis, (tuple, list)) else 1
    elif not any(isinstance(layer, kind) for kind in KNOWN_LAYERS):
        return Declaration()
    if name != "kernel":
        return Declaration()
    inputs = ndim - 1 if inputs is None else inputs
    return Declaration(matrix=(axes[:inputs], axes[inputs:]), decay=True)


def name_of(path: tuple[Any, ...]) -> str:
    """A parameter's path in a tree as its name, such as "fusion/encoder/norm/scale"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def leaves_by_name(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their names."""
    return {name_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def begins(name: str, parts: Sequence[str]) -> bool:
    """Whether a parameter's name begins with one of some parts."""
    return any(name.startswith(part) for part in parts)


def beginnings(names: Iterable[str]) -> str:
    """What the names of parameters begin with, for a message."""
    return ", ".join(sorted({name.partition("/")[0] for name in names}))


def by_path(
    tree: Any, declared: Mapping[str, Declaration], of: Callable[[Declaration], Any]
) -> Any:
    """A tree like one of parameters, with what `of` says of each one's declaration."""

    def at(path: tuple[Any, ...], leaf: Any) -> Any:
        del leaf
        return of(declared[name_of(path)])

    return jax.tree_util.tree_map_with_path(at, tree)
