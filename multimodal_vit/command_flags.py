"""The flags of the command line, and the modes that take each."""

from absl import flags

from multimodal_vit.errors import UserError

MODES = (
    "train", "evaluate", "sample", "profile", "study", "search", "list", "predict", "export",
)  # fmt: skip
OF_A_FOLDER = ("evaluate", "predict", "export")  # these need --workdir alone

# Flags of one mode each, and what else is said to whom gives it to another.
_OF_MODE = {
    "suites": ("evaluate", "; a run's own suites are --config.evaluation.suites=…"),
    "wav": ("sample", ""),
    "slot": ("list", ""),
    "images": ("predict", ""),
    "text": ("predict", ""),
    "fit": ("predict", ""),
    "formats": ("export", ""),
    "out": ("export", ""),
}


def define(values: flags.FlagValues) -> None:
    """Defines all flags."""

    def text(name: str, about: str) -> None:
        flags.DEFINE_string(name, None, about, flag_values=values)

    def switch(name: str, about: str, short: str | None = None) -> None:
        flags.DEFINE_bool(name, False, about, short_name=short, flag_values=values)

    def several(name: str, about: str) -> None:
        flags.DEFINE_list(name, [], about, flag_values=values)

    flags.DEFINE_enum("mode", "train", MODES, "What to do.", flag_values=values)
    text("workdir", "The run's folder; runs/<config name> by default.")
    text(
        "config",
        "The experiment: a name or a file, and a preset: digits_conv, mnist_conv:small, "
        "FILE[:PRESET]. Any field is set by --config.FIELD=…",
    )
    several("suites", "With --mode=evaluate: evaluation suites, names with commas between, or all.")
    switch("wav", "With --mode=sample: also write the sound of the examples.")
    several(
        "images",
        "With --mode=predict: picture files with commas between, in reading order, or one picture "
        "that has them all.",
    )
    text("text", 'With --mode=predict: the text, such as "3 1 4 1".')
    text(
        "fit",
        "With --mode=predict: auto (make the pictures look like the training's, the default) or "
        "plain (only resize them).",
    )
    several(
        "formats", "With --mode=export: what to write, names with commas between (docs/use.md)."
    )
    text("out", "With --mode=export: the folder to write; WORKDIR/export by default.")
    text(
        "workers",
        "With --mode=study or search: how many processes share it, or auto: one for each core "
        "where that pays (a study's default; a search's is 1).",
    )
    text("slot", "With --mode=list: one slot, such as model.fusion.")
    switch(
        "trust_components",
        "With a workdir: the files of components that it keeps may be executed.",
    )
    switch(
        "deterministic",
        "The same numbers on any number of CPU cores (docs/reliability.md says what it costs).",
    )
    text(
        "coordinator",
        "Several processes train together: the address of process 0, HOST:PORT (launch/).",
    )
    flags.DEFINE_integer("num_processes", None, "How many these are.", flag_values=values)
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.", flag_values=values)
    switch("distributed", "The same, found out from the cluster: SLURM, Open MPI or a TPU pod.")
    switch("help", "Show this help.", short="h")


def check(values: flags.FlagValues) -> None:
    """Refuses flags that the mode has no use for, and a folder without a name.

    Raises:
      UserError: there is one.
    """
    for name, (mode, more) in _OF_MODE.items():
        if values[name].value and values.mode != mode:
            raise UserError(f"--{name} is for --mode={mode}{more}")
    if values.workers is not None and values.mode not in ("study", "search"):
        raise UserError("--workers is for --mode=study and --mode=search")
    for name in ("workdir", "out"):
        given = values[name].value
        if given is not None and not given.strip():
            raise UserError(
                f"--{name}= is empty; name a folder, or leave the flag out for the default"
            )
