"""The arguments of the command line: flags, the named configuration, the fields set there."""

import ast
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from multimodal_vit import shipped
from multimodal_vit.command_flags import MODES
from multimodal_vit.config_messages import explain_exception_of_config_file
from multimodal_vit.errors import UserError


def is_one_of_several(values: flags.FlagValues) -> bool:
    """Whether other processes take part in the run.

    Raises:
      UserError: a mistake in the flags that say so.
    """
    names = ("coordinator", "num_processes", "process_id")
    missing = [f"--{name}" for name in names if values[name].value is None]
    if not values.distributed and len(missing) == len(names):
        return False
    if values.mode != "train":
        raise UserError(
            f"--mode={values.mode} is for one process; give neither --coordinator nor "
            "--distributed (processes that are started each by itself share a study or a search)"
        )
    if values.distributed:
        if len(missing) < len(names):
            raise UserError(
                "--distributed finds out by itself what --coordinator, --num_processes and "
                "--process_id say; give either it or these"
            )
        return True
    if missing:
        raise UserError(
            "--coordinator, --num_processes and --process_id belong together; give "
            f"{' and '.join(missing)} too"
        )
    host, _, port = values.coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(
            f"--coordinator={values.coordinator} must be HOST:PORT, such as {port or 'host'}:9876"
        )
    if not 0 <= values.process_id < values.num_processes:
        raise UserError(
            f"--process_id={values.process_id} must be from 0 to --num_processes - 1, here "
            f"{values.num_processes - 1}"
        )
    return True


def parse(values: flags.FlagValues, argv: list[str]) -> ConfigDict | None:
    """Parses the flags and returns the named configuration, if any.

    Raises:
      UserError: whatever is wrong with the flags or the configuration file.
    """
    given = config_argument(argv)
    named, _, preset = given.partition(":")
    file = shipped.find(given) if given else Path()
    if preset and not takes_preset(file):
        raise UserError(f"{named} has no presets, so {preset!r} is none; give --config={named}")
    try:
        rest = values(_without_fields(argv))[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from error
    if rest:
        raise UserError(_stray(rest))
    config = _configuration(given, argv) if given else None
    if config is not None and config.get("name") == "":
        config.name = f"{file.stem}_{preset}" if preset and preset != "thesis" else file.stem
    return config


def _stray(words: list[str]) -> str:
    """What to say of words that stand without a flag."""
    meant = [_meant(word) for word in words]
    said = f"not a flag: {words[0]!r}; flags are written --name=value"
    return f"{said}. Did you mean {' '.join(meant)}?" if all(meant) else said


def _meant(word: str) -> str:
    """The flag that a word without one is likely to belong to; "" where none is."""
    if word in MODES:
        return f"--mode={word}"
    name, equals, _ = word.partition("=")
    if equals and name in ("mode", "workdir", "config", "suites", "images", "text"):
        return f"--{word}"
    if equals:
        return f"--{word}" if name.startswith("config.") else f"--config.{word}"
    if Path(word).is_dir():
        return f"--workdir={word}"
    if Path(word).suffix.lower() in (".png", ".jpg", ".jpeg"):
        return f"--images={word}"
    try:
        shipped.find(word)
        return f"--config={word}"
    except UserError:
        return ""


def _without_fields(argv: list[str]) -> list[str]:
    """The arguments but for those that set a field of the configuration."""
    from multimodal_vit.config.override import split  # late: it imports JAX

    return split(argv)[1] if any("config." in argument for argument in argv) else argv


def _configuration(given: str, argv: list[str]) -> ConfigDict:
    """The configuration of a file, with the fields that are set on the command line.

    Raises:
      UserError: whatever is wrong with either.
    """
    from multimodal_vit.config import from_file
    from multimodal_vit.config.override import overridden, split

    try:
        config = from_file(given)
    except UserError as error:
        raise UserError(f"{given}: {error}") from error
    except SystemExit as error:  # a configuration file is a program
        raise UserError(
            f"{given}: it ends the program (SystemExit); return a ConfigDict"
        ) from error
    except Exception as error:  # a configuration file is a program: it can raise anything
        reason = explain_exception_of_config_file(error, shipped.find(given))
        raise UserError(f"{given}: {reason}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{given}: its get_config returns {config!r:.40}; it must return a ConfigDict, such as "
            "multimodal_vit.config.small() with some fields changed"
        )
    return overridden(config, split(argv)[0])


def config_argument(argv: list[str]) -> str:
    """The value of --config, or "": FILE or FILE:PRESET."""
    for i, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            return value if equals else "".join(argv[i + 1 : i + 2])
    return ""


def takes_preset(file: Path) -> bool:
    """Whether a configuration file's `get_config` has a parameter; a broken file passes."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError):
        return True
    functions = [f for f in body if isinstance(f, ast.FunctionDef) and f.name == "get_config"]
    return not functions or bool(functions[0].args.args)
