"""Components from a user's own files: what `config.components` names, executed and kept.

A file is known by its name and the sha256 of its source, "my_fusion.py@1f3a…": that stands in saved
configurations, and no path does. Training executes the file that its configuration names, as it
executes the configuration file. A workdir keeps the source, in `components/`; whoever evaluates
from there executes it with `trust` alone.
"""

import contextlib
import hashlib
import importlib.abc
import importlib.util
import re
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from multimodal_vit import components
from multimodal_vit.errors import UserError
from multimodal_vit.files import replacing

FOLDER = "components"
MAX_BYTES = 2**20
_IDENTITY = re.compile(r"([\w.-]+\.py)@([0-9a-f]{64})")
_sources: dict[str, str] = {}  # by identity, of the files that were executed
_folders: list[Path] = []  # of the configuration files that are being read


def identity(entry: str) -> tuple[str, str] | None:
    """The name and the sha256 of a file that a saved configuration names; None: it is a path."""
    found = _IDENTITY.fullmatch(entry)
    return (found[1], found[2]) if found else None


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Within, files are looked for in this folder too: that of a configuration file."""
    _folders.append(folder)
    try:
        yield
    finally:
        _folders.pop()


def load(path: str | Path) -> str:
    """Executes a file of components, once, and returns what it is known by.

    Args:
      path: of the file; one beside the configuration file comes first.

    Raises:
      UserError: there is no such file, or it fails.
    """
    file = Path(path).expanduser()
    if _folders and not file.is_absolute() and (_folders[-1] / file).is_file():
        file = _folders[-1] / file
    if not file.is_file():
        raise UserError(
            f"components: there is no file {path}; name a Python file that is there, or one beside "
            "the configuration file"
        )
    if file.suffix != ".py":
        raise UserError(f"components: {file} is no Python file; its name must end in .py")
    return _execute(file.name, _read(file))


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_BYTES:
        raise UserError(
            f"components: {file} is larger than {MAX_BYTES:,} bytes; name a source file"
        )
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"components: {file} is no UTF-8 text ({error})") from error


class _Source(importlib.abc.InspectLoader):
    """Imports a module from its source; no file of its name need exist."""

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name

    def get_source(self, fullname: str) -> str:
        """The source, for tracebacks too."""
        del fullname
        return self.source

    def get_code(self, fullname: str) -> types.CodeType:
        """Compiled under the file's own name, without a path."""
        del fullname
        return self.source_to_code(self.source, self.name)


def _execute(name: str, source: str) -> str:
    """Runs the source of a file, and notes what it was."""
    sha = hashlib.sha256(source.encode()).hexdigest()
    known = f"{name}@{sha}"
    if known in _sources:
        return known
    for other in [other for other in _sources if other.startswith(f"{name}@")]:
        components.forget(other)  # an edited file takes the place of what it was
        del _sources[other]
    loader = _Source(source, name)
    spec = importlib.util.spec_from_loader(
        f"multimodal_vit_components.{Path(name).stem}_{sha[:8]}", loader, origin=name
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look themselves up there
    try:
        with components.from_origin(known):
            loader.exec_module(module)
    except BaseException as error:
        components.forget(known)
        del sys.modules[module.__name__]
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, UserError):
            raise UserError(f"components: {name}: {error}") from error
        line = _line_of(error, name)
        reason = " ".join(str(error).split())
        own = " (a file of components stands alone: what it imports must be installed)"
        raise UserError(
            f"components: {name} cannot be used: {type(error).__name__}{': ' if reason else ''}"
            f"{reason}{line}{own if isinstance(error, ImportError) else ''}"
        ) from error
    _sources[known] = source
    return known


def _line_of(error: BaseException, name: str) -> str:
    number, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f", line {number}" if number else ""


def load_all(entries: Sequence[str]) -> tuple[str, ...]:
    """Executes what a configuration names and returns the identities.

    Args:
      entries: paths, or identities of files that were executed already.

    Raises:
      UserError: as `load`; or the source of an identity is not at hand.
    """
    found = []
    for entry in entries:
        if (known := identity(entry)) is None:
            found.append(load(entry))
        elif entry in _sources:
            found.append(entry)
        else:
            raise UserError(
                f"components: the source of {known[0]} (sha256 {known[1][:12]}…) is not at hand; "
                "name the file itself, or evaluate the workdir that keeps it"
            )
    if len({known.partition("@")[0] for known in found}) < len(found):
        raise UserError("components: two files have the same name; rename one")
    return tuple(found)


def keep(entries: Iterable[str], folder: Path) -> None:
    """Writes the sources of executed files into `folder`/components."""
    for entry in entries:
        known = identity(entry)
        if known is None or entry not in _sources:
            continue
        place = folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        with replacing(place / known[0], "wb") as file:
            file.write(_sources[entry].encode())


def load_kept(entries: Iterable[str], folder: Path, trust: bool) -> None:
    """Executes the files that a saved configuration names, from where `keep` has put them.

    What this process has executed already is not executed again, and needs no trust.

    Args:
      entries: identities.
      folder: a workdir.
      trust: whether they may be executed.

    Raises:
      UserError: they may not; or a file is missing or is not what the run was trained with.
    """
    missing = [entry for entry in entries if entry not in _sources]
    if missing and not trust:
        files = ", ".join(
            f"{folder / FOLDER / name} (sha256 {sha[:12]}…)"
            for name, sha in filter(None, map(identity, missing))
        )
        raise UserError(
            f"the model in {folder} is made of components of its own; using it would execute "
            f"{files}. Read it, and allow it with --trust_components"
        )
    for entry in missing:
        known = identity(entry)
        if known is None:
            raise UserError(f"components: {entry!r} is no name of a kept file")
        name, sha = known
        file = folder / FOLDER / name
        if not file.is_file():
            raise UserError(f"{file} is missing; put it back from a copy (sha256 {sha})")
        source = _read(file)
        if hashlib.sha256(source.encode()).hexdigest() != sha:
            raise UserError(
                f"{file} is not what the run was trained with (sha256 {sha}); put that back from a "
                "copy"
            )
        _execute(name, source)
