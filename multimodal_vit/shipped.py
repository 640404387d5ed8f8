"""The experiments that come with the program, found by name: the files of `configs/`.

In an installed package they lie in it; in a checkout beside it.
"""

from pathlib import Path

from multimodal_vit.errors import UserError, hint

_PACKAGE = Path(__file__).resolve().parent


def folder() -> Path:
    """Where they lie."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Their names, sorted."""
    return sorted(path.stem for path in folder().glob("*.py"))


def find(given: str) -> Path:
    """The file of an experiment.

    Args:
      given: FILE or a name of `names`, with or without :PRESET. A file that is there comes first;
        `configs/NAME.py` is found from any folder too.

    Raises:
      UserError: there is none.
    """
    text = given.partition(":")[0]
    path = Path(text)
    if path.is_file():
        return path
    shipped = folder() / f"{path.name.removesuffix('.py')}.py"
    if path.parent in (Path(), Path("configs")) and path.name and shipped.is_file():
        return shipped
    known = names()
    raise UserError(
        f"there is no configuration file {text}; name one, or one of these that come with the "
        f"program: {', '.join(known) or 'none'}{hint(path.stem, known)}"
    )
