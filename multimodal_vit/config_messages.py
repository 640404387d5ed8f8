"""What is said of a configuration's fields, values and files: what is wrong, and the way out.

Also how the text of a value is read: as a person writes it, `1e5`, `words,patches` or `true`.
"""

import ast
import decimal
import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from multimodal_vit.errors import UserError

# What other programs call a field, by what it is called here.
ALIASES = {
    "train.learning_rate": "lr learningrate base_lr max_lr peak_lr step_size",
    "train.num_samples": "epochs num_epochs n_epochs max_epochs steps num_steps max_steps samples",
    "train.batch_size": "batch bs batchsize train_batch_size per_device_train_batch_size",
    "train.weight_decay": "wd decay l2",
    "train.optimizer": "optim opt optimiser",
    "train.schedule": "scheduler lr_schedule lr_scheduler",
    "train.warmup_steps": "warmup",
    "train.gradient_clip": "clip clip_norm grad_clip max_grad_norm gradient_clip_val",
    "train.objective": "loss criterion loss_fn",
    "train.num_seeds": "seeds n_seeds",
    "train.accumulate_steps": "accum grad_accum gradient_accumulation_steps",
    "model.dropout_rate": "dropout drop p_drop",
    "model.num_encoder_layers": "layers depth num_layers n_layers n_layer",
    "model.num_heads": "heads n_heads n_head nhead",
    "model.embedding_dim": "dim d_model hidden hidden_size hidden_dim width embed_dim n_embd",
    "model.mlp_dim": "mlp ffn ff_dim dim_feedforward intermediate_size",
    "model.patch_size": "patch",
    "model.dtype": "precision fp16 bf16 mixed_precision",
    "data.name": "dataset data_set data",
    "data.directory": "data_dir data_path data_root root",
    "seed": "random_seed rng rng_seed",
}
_EPOCHS = {"epochs", "num_epochs", "n_epochs", "max_epochs"}
MOST_DIGITS = 18  # of a whole number: no field comes near it
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def explain_unknown_field(name: str, known: Iterable[str]) -> str:
    """A line for a field that does not exist: what may have been meant.

    Args:
      name: dotted, as it was given.
      known: the fields that there are, dotted; of a study each condition's too.
    """
    known = list(known)
    group, _, last = name.rpartition(".")
    targets = [field for field, names in ALIASES.items() if last.lower() in names.split()]
    meant = [k for k in known for t in targets if k == t or k.endswith(f".{t}")]
    meant = meant or [k for k in known if k.rpartition(".")[2] == last]
    meant = [k for k in meant if k.startswith(f"{group}.")] or meant
    if not meant:
        lasts = {k.rpartition(".")[2]: k for k in reversed(known)}
        close = difflib.get_close_matches(last, lasts, n=1)
        meant = difflib.get_close_matches(name, known, n=1) or [lasts[match] for match in close]
    text = f"{name!r} is no field of a configuration"
    if not meant:
        return text
    unit = " It counts training pairs: the epochs times the training images" * (last in _EPOCHS)
    return f"{text} (did you mean {' or '.join(meant[:3])}?{unit})"


def parse_value(text: str, default: Any, field: str) -> Any:
    """The text of a value as a value of the type of a field's default.

    Args:
      text: `1e5` and `100_000` are whole numbers, `3,3`, `(3, 3)` and `[3, 3]` tuples, and so are
        `words,patches` and, empty, `()`; `true` and `false` may be written in any case.
      default: the field's.
      field: its dotted name.

    Raises:
      UserError: it is no such value.
    """
    given = f"--config.{field}={text}"
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if (said := text.strip().lower()) not in _TRUE + _FALSE:
            raise UserError(f"{given}: it must be True or False")
        return said in _TRUE
    if isinstance(default, int):
        return _whole_number(text, given, field)
    if isinstance(default, float):
        return _number(text, given)
    if isinstance(default, (tuple, list)):
        return _tuple(text, given, default)
    if default is None:
        value = _literal(text)
        return text if value is _NONE else value
    raise UserError(
        f"{given}: {field} is a group of fields; set them one by one, --config.{field}.<name>=…"
    )


_NONE = object()


def _literal(text: str) -> Any:
    """The Python value that a text writes; `_NONE` where it writes none."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _NONE


def _whole_number(text: str, given: str, field: str) -> int:
    if "," in text:
        if field.rpartition(".")[2] in ("seed", "first_seed"):
            raise UserError(
                f"{given}: it is one seed; several, one after the other from it, are "
                "--config.train.num_seeds=… of an experiment, --config.num_seeds=… of a study"
            )
        raise UserError(f"{given}: it must be one whole number, without commas")
    try:
        value = decimal.Decimal(text.strip())
    except decimal.InvalidOperation:
        raise UserError(f"{given}: it must be a whole number, such as 64 or 1e5") from None
    if not value.is_finite():
        raise UserError(f"{given}: it must be a whole number, such as 64 or 1e5")
    if value.adjusted() > MOST_DIGITS:
        raise UserError(f"{given}: it is larger than any number that can be used here")
    if value != int(value):
        raise UserError(f"{given}: it must be a whole number, without a fraction")
    return int(value)


def _number(text: str, given: str) -> float:
    try:
        return float(text)
    except ValueError:
        whole, comma, fraction = text.strip().partition(",")
        way = f"; write {whole}.{fraction}" if comma and (whole + fraction).isdecimal() else ""
        raise UserError(f"{given}: it must be one number, such as 0.1 or 1e-3{way}") from None


def _tuple(text: str, given: str, default: Any) -> tuple[Any, ...]:
    value = _literal(text)
    if value is _NONE or isinstance(value, str):
        inner = text.strip()
        if inner[:1] + inner[-1:] in ("()", "[]"):
            inner = inner[1:-1]
        parts = [part.strip().strip("'\"") for part in inner.split(",")]
        if parts[-1] == "":  # "()", or a comma at the end
            parts.pop()
        if "" in parts:
            raise UserError(f"{given}: there is nothing between two of its commas")
        value = tuple(int(part) if part.isdecimal() else part for part in parts)
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if any(not isinstance(part, (str, int, float, tuple)) for part in value):
        raise UserError(f"{given}: write its values with commas between, such as {_shown(default)}")
    return value


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) or "first,second"


def explain_exception_of_config_file(error: BaseException, path: str | Path) -> str:
    """Why a configuration file cannot be used, in one line: what was raised, and where in the file.

    Args:
      error: what its execution raised.
      path: the file.
    """
    path = Path(path)
    name = type(error).__name__
    if isinstance(error, SyntaxError):
        at = f"line {error.lineno}: " if error.lineno and _same(error.filename, path) else ""
        return f"{at}{name}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _same(f.filename, path)]
    at = f"line {frames[-1].lineno}: " if frames else ""
    said = error.args[0] if isinstance(error, KeyError) and error.args else error
    text = " ".join(str(said).split())
    if isinstance(error, UserError):
        return f"{at}{text}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        beside = path.parent / f"{error.name.partition('.')[0]}.py"
        if beside.exists() or beside.with_suffix("").is_dir():
            text += (
                f" ({beside.name} lies beside the file, whose folder is not searched: set "
                f"PYTHONPATH={path.parent.absolute()})"
            )
    if not text and frames:
        text = f"without a text, raised by: {frames[-1].line}"
    if "FrozenConfigDict is immutable" in text:
        text += " (change a copy of it: ml_collections.ConfigDict(config))"
    if name == "RequiredValueError":
        text += " (a placeholder has no value: set the field in the file)"
    return f"{at}{name}: {text}".rstrip(": ")


def _same(filename: str | None, path: Path) -> bool:
    return filename is not None and Path(filename).absolute() == path.absolute()
