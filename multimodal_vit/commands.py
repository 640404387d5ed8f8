"""What the modes of the command line do: train, evaluate, sample, profile, study."""

import contextlib
import dataclasses
import signal
from collections.abc import Sequence

from ml_collections import ConfigDict
from rich.console import Console

from multimodal_vit import config as configuration
from multimodal_vit import distributed
from multimodal_vit.analysis import drawing, figures, tables
from multimodal_vit.errors import UserError
from multimodal_vit.files import remove_left_over
from multimodal_vit.interruption import stop_on_signal
from multimodal_vit.lengthening import lengthen
from multimodal_vit.mending import mend
from multimodal_vit.probes.answers import probe
from multimodal_vit.probes.verdict import verdict
from multimodal_vit.profiling import profile
from multimodal_vit.run import (
    best_parameters,
    keep_probes,
    run,
    run_seeds,
    seeds_of,
)
from multimodal_vit.run_files import PREDICTIONS, PROFILE, SAMPLES, SOUNDS
from multimodal_vit.showing import (
    SHEET_EXAMPLES,
    describe,
    draw_curves,
    draw_samples,
    say_missing_signs,
    show_probes,
    show_results,
    show_verdict,
)
from multimodal_vit.suites import ALL, choose_suites
from multimodal_vit.terminal import show
from multimodal_vit.train import initial, memory
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.progress import Display, ProgressDisplay
from multimodal_vit.versions import versions
from multimodal_vit.workdir import Workdir


def run_train(config: ConfigDict, workdir: Workdir, console: Console, slow_hint: str = "") -> int:
    """Trains, tests the best checkpoint and draws; continues a run that was interrupted.

    Of several processes the main one writes, draws and speaks. Several seeds (`train.num_seeds`)
    are trained as one program, each in a folder of its own.

    Returns:
      The exit code: 0; 130 where Ctrl-C stopped it; 2 where one of several seeds diverged.

    Raises:
      UserError: the configuration, the data or the workdir cannot be used.
    """
    configuration.check(config)
    if config.train.num_seeds > 1:
        return _train_seeds(config, workdir, console, slow_hint)

    def finished() -> bool:
        lengthen(config, workdir, lambda text: console.print(text, soft_wrap=True))
        workdir.check(config)
        mend(workdir, lambda text: console.print(text, soft_wrap=True))
        if (results := workdir.results()) is not None:
            console.print(f"The run in {workdir.path} is finished; nothing is left to train.")
            show_results(results, workdir, console)
        return results is not None

    if distributed.from_main(finished):
        return 0
    experiment = Experiment.create(config)
    memory.check(experiment)
    initial.check(experiment, workdir.path)
    is_main = distributed.is_main()
    with workdir.locked() if is_main else contextlib.nullcontext() as free:
        if not distributed.from_main(lambda: free):
            raise UserError(
                f"--workdir={workdir.path} is in use: {workdir.lock.holder()} trains there; wait "
                "for it, stop it, or name another folder"
            )
        if is_main:
            workdir.begin(config)
            describe(experiment, workdir, console)
            draw_samples(experiment, workdir.path / SAMPLES, console)
        with stop_on_signal() as received:
            outcome, results = run(
                experiment,
                workdir,
                ProgressDisplay(console) if is_main else Display(),
                lambda: bool(received),
                slow_hint=slow_hint,
            )
    if results is None:
        console.print(f"Stopped at step {outcome.step} and saved. The same command continues.")
        return 130 if signal.SIGINT in received[:1] else 0
    if is_main:
        show_results(results, workdir, console)
    return 0


def _train_seeds(config: ConfigDict, workdir: Workdir, console: Console, slow_hint: str) -> int:
    """`run_train` for several seeds."""
    if distributed.several():
        raise UserError(
            f"train.num_seeds={config.train.num_seeds} is for one process; train one seed with "
            "several, or all seeds with one"
        )
    workdir.check_seeds()
    runs = seeds_of(config, workdir)
    left = []
    for own, folder in runs:
        lengthen(own, folder, lambda text: console.print(text, soft_wrap=True))
        folder.check(own)
        mend(folder, lambda text: console.print(text, soft_wrap=True))
        if folder.results() is None:
            left.append((own, folder))
        else:
            console.print(f"The run in {folder.path} is finished.")
    diverged: list[str] = []
    if left:
        shared = Experiment.create(config)
        memory.check(shared)
        experiments = [shared.with_seed(own.seed) for own, _ in left]
        with contextlib.ExitStack() as stack:
            for _, folder in left:
                if not stack.enter_context(folder.locked()):
                    raise UserError(
                        f"{folder.path} is in use: {folder.lock.holder()} trains there; wait for "
                        "it, stop it, or name another --workdir"
                    )
            describe(shared, workdir, console)
            names = ", ".join(str(own.seed) for own, _ in left)
            console.print(f"Seeds {names}, as one program")
            for experiment, (own, folder) in zip(experiments, left, strict=True):
                folder.begin(own)
                draw_samples(experiment, folder.path / SAMPLES, console)
            received = stack.enter_context(stop_on_signal())
            found = run_seeds(
                experiments,
                [folder for _, folder in left],
                ProgressDisplay(console),
                lambda: bool(received),
                slow_hint=slow_hint,
            )
        outcomes = [outcome for outcome, _ in found]
        diverged = [str(outcome.error) for outcome in outcomes if outcome.error]
        if received and any(results is None for _, results in found):
            steps = ", ".join(str(outcome.step) for outcome in outcomes)
            console.print(
                f"Stopped at steps {steps} of the seeds and saved. The same command continues."
            )
            return 130 if received[0] == signal.SIGINT else 0
    ended = [(folder, r) for _, folder in runs if (r := folder.results()) is not None]
    for folder, results in ended:
        title = f"{results['config_name']}, seed {results['seed']}"
        draw_curves(folder, title, console)
    if ended:
        show(console, tables.seeds_table(config.name, [results for _, results in ended]))
    console.print(f"In {workdir.path}/seed_…: what a single run writes, of each seed")
    if diverged:
        raise UserError("\n".join(diverged))
    return 0


def run_evaluate(
    workdir: Workdir,
    console: Console,
    given: ConfigDict | None = None,
    suites: Sequence[str] = (),
    command: str = "",
    trust_components: bool = False,
) -> int:
    """Tests the best checkpoint of a workdir, which need not be finished.

    Args:
      workdir: its saved configuration is used.
      console: for the table; `evaluation.json` holds the same, and `results.json`, where the run is
        finished, the suites.
      given: a configuration that must be the saved one; only its free fields, such as the data
        directory, are taken from it.
      suites: names of evaluation suites, or "all".
      command: the command line, for the report.
      trust_components: whether files of components that the workdir keeps may be executed.

    Raises:
      UserError: no run there, no checkpoint yet, no such suite, or data that cannot be read.
    """
    config = workdir.saved_config(trust_components)
    if given is not None:
        workdir.check(given)
        free = {name: configuration.fields(given)[name] for name in configuration.FREE_FIELDS}
        config = configuration.changed(config, free)
    workdir.check_writable()
    finished = bool(suites) and workdir.results() is not None
    remove_left_over(workdir.path)
    experiment = Experiment.create(config, for_training=False)
    chosen = choose_suites(suites, experiment.task)
    best_step, variables = best_parameters(experiment, workdir)
    probed = probe(experiment, variables, chosen, everything=tuple(suites) == ALL)
    found = probed.results
    content = {"config_name": config.name, "seed": config.seed, "best_step": best_step}
    content |= found | {"versions": versions()}
    content["verdict"] = verdict(content)
    probed.predictions.save(workdir.path / PREDICTIONS)
    path = workdir.save_json("evaluation.json", content)
    if finished:
        keep_probes(workdir, probed)
    show(
        console,
        tables.results_table(f"{config.name}, checkpoint of step {best_step}", found["test"]),
    )
    if chosen:
        show_probes("What it uses (docs/reading.md)", found, console)
    show_verdict((workdir.results() or {}).get("verdict", content["verdict"]), console)
    console.print(f"Written to {path}", soft_wrap=True)
    if finished and probed.predictions.answered:
        from multimodal_vit.analysis.run_report import write_run_report  # late: it takes a second

        page = write_run_report(config, workdir, command)
        console.print(f"What it uses, with pictures: {page}", soft_wrap=True)
    return 0


def run_sample(config: ConfigDict, workdir: Workdir, console: Console, wav: bool = False) -> int:
    """Draws a sheet of task examples, `samples.png`, from the training split.

    Args:
      config: of the task.
      workdir: where the sheet is written.
      console: for what was written.
      wav: also write what is heard of each example, in `sounds/`.

    Raises:
      UserError: the configuration, the data or the workdir cannot be used.
    """
    workdir.check(config)
    experiment = Experiment.create(config, for_training=False)
    if wav:
        figures.check_sounds(experiment)
    workdir.make_folder()
    remove_left_over(workdir.path)
    path = workdir.path / SAMPLES
    drawing.save(figures.task_sheet(experiment, SHEET_EXAMPLES), path, dpi=110)
    console.print(f"{SHEET_EXAMPLES} examples of the task in {path}", soft_wrap=True)
    say_missing_signs(experiment, console)
    if wav:
        folder = workdir.path / SOUNDS
        count = figures.write_sounds(experiment, SHEET_EXAMPLES, folder)
        console.print(f"{count} of them to hear in {folder}", soft_wrap=True)
    return 0


def run_profile(config: ConfigDict, workdir: Workdir, console: Console) -> int:
    """Measures some training steps; writes `profile.json` and a trace, and prints a table.

    Raises:
      UserError: the configuration, the data or the workdir cannot be used.
    """
    configuration.check(config)
    if config.train.num_seeds > 1:
        workdir.check_seeds()
    else:
        workdir.check(config)
    experiment = Experiment.create(config)
    workdir.make_folder()
    found = profile(experiment, workdir.path / PROFILE)
    path = workdir.save_json(
        f"{PROFILE}.json", dataclasses.asdict(found) | {"versions": versions()}
    )
    show(console, tables.profile_table(found))
    console.print(
        f"In {path} the same. The trace, for TensorBoard (with the xprof plugin): --logdir "
        f"{found.traces}; for https://ui.perfetto.dev: perfetto_trace.json.gz in it",
        soft_wrap=True,
    )
    return 0
