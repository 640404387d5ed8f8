"""The command line: parses flags, names a mode, hands over.

    multimodal-vit --config=digits_conv
    multimodal-vit --config=mnist_conv:small --config.seed=1
    multimodal-vit --mode=evaluate --workdir=runs/digits_conv --suites=all
    multimodal-vit --mode=predict --workdir=runs/digits_conv --images=a.png,b.png,c.png,d.png \
        --text="3 1 4 1"
    multimodal-vit --mode=export --workdir=runs/digits_conv --formats=safetensors,onnx
    multimodal-vit --mode=profile --config=digits_conv
    multimodal-vit --mode=study --config=study_table41:small
    multimodal-vit --mode=search --config=search_table41:small
    multimodal-vit --mode=list --slot=model.fusion
    multimodal-vit --config=mnist_conv --coordinator=host0:9876 --num_processes=2 --process_id=0

`python -m multimodal_vit.main` is the same command.

Exit codes: 0, done, or stopped by SIGTERM or SIGHUP and saved; 2, a mistake in what was given; 130,
stopped by Ctrl-C and saved.
"""

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from rich.console import Console

from multimodal_vit import command_flags, shipped
from multimodal_vit.command_line import config_argument, is_one_of_several, parse, takes_preset
from multimodal_vit.errors import UserError, is_out_of_memory, way_out
from multimodal_vit.interruption import in_time
from multimodal_vit.terminal import open_standard_streams, unfailing_output


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
      argv: the program's name and the arguments; `sys.argv` by default.
    """
    argv = list(sys.argv if argv is None else argv)
    open_standard_streams()
    with unfailing_output():
        return _main(argv)


def _main(argv: list[str]) -> int:
    try:
        with in_time():
            return _run(argv)
    except UserError as error:
        if error.everywhere and _leave():
            return 2
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or error
        print(f"error: {where}{reason}; {way_out(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except RuntimeError as error:
        reason = _fault_of_devices(error)
        if reason is None:
            raise
        print(f"error: {reason}", file=sys.stderr)
        return 2


def _fault_of_devices(error: RuntimeError) -> str | None:
    """What JAX met that a user can mend, in words; None where it is none of that."""
    import jax  # late, as everywhere here

    from multimodal_vit import distributed

    if not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    said = str(error).partition("\n")[0]
    if is_out_of_memory(error):
        return (
            f"the device's memory is too small ({said}); in another --workdir, with a smaller "
            "--config.train.batch_size or --config.evaluation.batch_size, with "
            "--config.train.accumulate_steps=4 or with --config.model.remat, a step needs less"
        )
    if distributed.several():
        return (
            f"another process of this run has ended or cannot be reached ({said}); the same "
            "command in all of them goes on from the last checkpoint"
        )
    return None


def _run(argv: list[str]) -> int:
    for argument in argv:
        if argument.encode(errors="ignore").decode() != argument:
            raise UserError(
                f"the argument {ascii(argument)} is not UTF-8 text; rename the file or folder that "
                "it names"
            )
    for name in ("flagfile", "undefok"):  # absl has them; a mistake in one would go unseen
        if any(argument.lstrip("-").partition("=")[0] == name for argument in argv[1:]):
            raise UserError(f"--{name} is not taken; give each flag on the command line")
    values = flags.FlagValues()
    command_flags.define(values)
    config = parse(values, argv)
    if values.help:
        print(f"{__doc__}\nFlags:\n{values.main_module_help()}")
        return 0
    command_flags.check(values)
    if values.mode == "list":
        from multimodal_vit.listing import run_list  # late: it imports JAX

        return run_list(Console(highlight=False), values.slot)
    if values.mode in command_flags.OF_A_FOLDER and values.workdir is None and config is None:
        raise UserError(f"--mode={values.mode} needs the folder of a run; give --workdir=FOLDER")
    if values.mode not in command_flags.OF_A_FOLDER and config is None:
        raise UserError(
            "no experiment is named; give --config=digits_conv, say, or "
            "--mode=evaluate --workdir=FOLDER"
        )
    several = is_one_of_several(values)
    # Pictures are files: whatever a notebook says in MPLBACKEND, which may not be installed here.
    if "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"
    from multimodal_vit import (  # late: a mistake in the flags is told at once
        commands,
        distributed,
        jax_settings,
        study_command,
    )
    from multimodal_vit.versions import fix_threads
    from multimodal_vit.workdir import Workdir

    if values.deterministic:
        fix_threads()
    jax_settings.compute_as_documented()
    jax_settings.keep_compiled_programs()
    kind = config.get("kind", "experiment") if config is not None else "experiment"
    if kind != (values.mode if values.mode in ("study", "search") else "experiment"):
        mode, article = ("train", "an") if kind == "experiment" else (kind, "a")
        raise UserError(
            f"{config_argument(argv)} is the configuration of {article} {kind}, which "
            f"--mode={values.mode} does not take; give --mode={mode}"
        )
    if several:
        distributed.start(values.coordinator, values.num_processes, values.process_id)
    console = Console(markup=False, highlight=False, quiet=not distributed.is_main())
    folder = values.workdir or f"runs/{config.get('name', '')}"
    command = shlex.join(["python", "-m", "multimodal_vit.main", *argv[1:]])
    if values.mode == "study":
        return study_command.run_study(config, Path(folder), console, command, argv, values.workers)
    if values.mode == "search":
        from multimodal_vit.search_command import run_search  # late: only a search needs Optuna

        return run_search(config, Path(folder), console, command, argv, values.workers)
    if values.mode in ("predict", "export"):
        from multimodal_vit.use_command import run_use  # late: nothing else needs it

        return run_use(Path(folder), values, console, config)
    workdir = Workdir(folder)
    if values.mode == "evaluate":
        return commands.run_evaluate(
            workdir, console, config, values.suites, command, values.trust_components
        )
    if values.mode == "sample":
        return commands.run_sample(config, workdir, console, values.wav)
    if values.mode == "profile":
        return commands.run_profile(config, workdir, console)
    code = commands.run_train(config, workdir, console, _slow_hint(argv))
    _leave()
    return code


def _leave() -> bool:
    """Parts from the other processes, if there are any; whether the main one speaks for this."""
    from multimodal_vit import distributed  # late: it imports JAX

    spoken_for = not distributed.is_main()
    if distributed.several():
        distributed.stop()
    return spoken_for


def _slow_hint(argv: list[str]) -> str:
    given = config_argument(argv)
    file, _, preset = given.partition(":")
    if preset == "small" or not takes_preset(shipped.find(given)):
        return ""
    return f"That is a run for a GPU; the preset for two cores is --config={file}:small"


def command() -> None:
    """The command `multimodal-vit`: `main`, then the end of the process."""
    try:
        code = main()
    except BaseException:  # else the interpreter would wait for the other processes of the run
        traceback.print_exc()
        code = 1
    with unfailing_output():
        pass  # it flushes what is left
    os._exit(code)  # all is written: taking JAX apart costs seconds on a busy machine


if __name__ == "__main__":
    command()
