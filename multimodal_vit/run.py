"""One run, from a configuration to its results: train, test the best checkpoint, keep both.

The command line, a study and a search all run experiments through `run`; each run has a workdir of
its own and a lock on it, so that several processes can share a list of runs.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import about_data, distributed, evaluate
from multimodal_vit.config import changed
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.files import file_checksum
from multimodal_vit.models import parameter_count
from multimodal_vit.probes.answers import Probed, probe
from multimodal_vit.probes.verdict import verdict
from multimodal_vit.readouts import read_out
from multimodal_vit.run_files import METRICS, PREDICTIONS
from multimodal_vit.suites import ALL, choose_suites, suites_for
from multimodal_vit.train import memory
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.flop import flop_per_example
from multimodal_vit.train.loop import train, train_seeds
from multimodal_vit.train.one_run import Outcome
from multimodal_vit.train.predictor import Predictor
from multimodal_vit.train.progress import Display
from multimodal_vit.train.resume import Progress, check_same_data, load_checkpoint
from multimodal_vit.train.writer import OnRow, read_metrics
from multimodal_vit.versions import versions
from multimodal_vit.workdir import Workdir


def run(
    experiment: Experiment,
    workdir: Workdir,
    display: Display | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_validation: Callable[[int, dict[str, Any]], None] = lambda step, values: None,
    *,
    test: bool = True,
    slow_hint: str = "",
    on_row: OnRow | None = None,
) -> tuple[Outcome, dict[str, Any] | None]:
    """Trains in a workdir that the caller has locked, or continues there, and tests.

    Args:
      experiment: what to run.
      workdir: its folder.
      display: where progress is shown; by default nowhere.
      should_stop: asked between dispatches; True saves a checkpoint and returns.
      on_validation: told the step and the metrics of every validation of this call.
      test: whether the test split is looked at; a search does without.
      slow_hint: see `train`.
      on_row: see `train`.

    Returns:
      How training ended, and the results, as `results.json` holds them; None where it was stopped.

    Raises:
      UserError: the workdir or the data cannot be used, or training diverged.
    """
    memory.check(experiment)
    distributed.from_main(lambda: _begin(experiment, workdir))
    outcome = train(
        experiment, workdir.path, display, should_stop, on_validation, slow_hint, on_row
    )
    if not outcome.finished:
        return outcome, None
    return outcome, _finish(experiment, workdir, outcome, flop_per_example(experiment), test)


def run_seeds(
    experiments: Sequence[Experiment],
    workdirs: Sequence[Workdir],
    display: Display | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    slow_hint: str = "",
    on_row: OnRow | None = None,
) -> list[tuple[Outcome, dict[str, Any] | None]]:
    """Runs that differ in their seed alone, trained as one program; see `run` and `train_seeds`.

    Args:
      experiments: what to run.
      workdirs: of each; the caller has locked them.
      display: where progress is shown.
      should_stop: asked between dispatches, and before a run is tested.
      slow_hint: see `train`.
      on_row: see `train`.

    Returns:
      For each what `run` returns. The results are None where a run was stopped or diverged; its
      outcome then tells which.
    """
    memory.check(experiments[0])
    for experiment, workdir in zip(experiments, workdirs, strict=True):
        _begin(experiment, workdir)
    folders = [workdir.path for workdir in workdirs]
    outcomes = train_seeds(
        experiments, folders, display, should_stop, slow_hint=slow_hint, on_row=on_row
    )
    flop = flop_per_example(experiments[0]) if any(o.finished for o in outcomes) else 0.0
    found: list[tuple[Outcome, dict[str, Any] | None]] = []
    for experiment, workdir, outcome in zip(experiments, workdirs, outcomes, strict=True):
        results = None
        if outcome.finished and not should_stop():
            results = _finish(experiment, workdir, outcome, flop)
        found.append((outcome, results))
    return found


def _begin(experiment: Experiment, workdir: Workdir) -> None:
    """Saves the configuration, and what the model must know of its data."""
    workdir.begin(experiment.config)
    about_data.keep(experiment.splits, workdir.path)


def seeds_of(config: ConfigDict, workdir: Workdir) -> list[tuple[ConfigDict, Workdir]]:
    """The configuration and the folder of each seed; a single one has the whole workdir."""
    seeds = range(config.seed, config.seed + config.train.num_seeds)
    if len(seeds) == 1:
        return [(config, workdir)]
    return [
        (changed(config, {"seed": seed, "train.num_seeds": 1}), workdir.of_seed(seed))
        for seed in seeds
    ]


def _finish(
    experiment: Experiment, workdir: Workdir, outcome: Outcome, flop: float, test: bool = True
) -> dict[str, Any]:
    """Tests the best checkpoint of a run that is trained, and saves the results."""
    results = distributed.from_main(lambda: _results(experiment, workdir, outcome, flop))
    if test:
        _, variables = best_parameters(experiment, workdir)
        names = tuple(experiment.config.evaluation.suites)
        chosen = choose_suites(names, experiment.task)
        probed = probe(experiment, variables, chosen, everything=names == ALL)
        if distributed.is_main():
            probed.predictions.save(workdir.path / PREDICTIONS)
            workdir.save_evidence(probed.evidence)
        results |= probed.results
        results["verdict"] = verdict(results)
        if asked := tuple(experiment.config.evaluation.readouts):
            results["readouts"] = read_out(experiment, variables, asked)
    elif _asks_order(experiment) and f"suites.{ORDER}" not in results["validation"]:
        results["validation"] |= _order_on_validation(experiment, workdir)
    if distributed.is_main():
        workdir.save_results(results)
    return results


ORDER = "order_foil"  # the suite that says whether a model reads in order


def _asks_order(experiment: Experiment) -> bool:
    return experiment.objective.answers and ORDER in suites_for(experiment.task)


def _order_on_validation(experiment: Experiment, workdir: Workdir) -> dict[str, float]:
    """What `evaluation.suites_in_training` would have logged of the best checkpoint."""
    suite = choose_suites((ORDER,), experiment.task)
    _, variables = best_parameters(experiment, workdir)
    predict = Predictor(experiment, suite)
    answers = predict(predict.fitted(variables), "validation", ORDER)
    curve = evaluate.suite_curve(suite[ORDER], answers)
    return {f"suites.{ORDER}{ending}": value for ending, value in curve.items()}


def _results(
    experiment: Experiment, workdir: Workdir, outcome: Outcome, flop: float
) -> dict[str, Any]:
    """What is known of a finished run before its test; `flop` is of an example."""
    config, progress = experiment.config, outcome.progress
    seconds = progress.step_seconds or progress.train_seconds
    steps = progress.timed_steps or outcome.step
    samples = experiment.samples_seen(outcome.step)
    return {
        "config_name": config.name,
        "seed": config.seed,
        "data": {
            "origin": experiment.splits.origin,
            "fingerprint": progress.data_fingerprint,
        },
        "validation": _best_validation(workdir, progress.best_step),
        "best_step": progress.best_step,
        "steps": outcome.step,
        "samples_seen": samples,
        "skipped_steps": progress.skipped_steps,
        "metrics_sha256": file_checksum(workdir.path / METRICS),
        "train_seconds": progress.train_seconds,
        "examples_per_second": steps * config.train.batch_size / seconds,
        "flop_per_example": flop,
        "pflop": flop * samples / 1e15,
        "parameters": parameter_count(experiment.abstract_state().params),
        "trained_on": progress.trained_on,
        "versions": versions(),
    } | ({} if progress.initial is None else {"initial": progress.initial})


def finished(experiment: Experiment, workdir: Workdir) -> dict[str, Any] | None:
    """The results of a finished run, with all suites of its configuration; None if unfinished.

    Suites that were added to the configuration since are evaluated and saved, and so are those
    whose results are of an older version.

    Raises:
      UserError: the run was trained on other data.
    """
    results = workdir.results()
    if results is None:
        return None
    check_same_data(Progress(results["data"]["fingerprint"]), experiment)
    names = tuple(experiment.config.evaluation.suites)
    asked = {name: s for name, s in results.get("suites", {}).items() if not _is_old(s)}
    known = asked | results.get("skipped", {})
    chosen = choose_suites(names, experiment.task)
    missing = {name: suite for name, suite in chosen.items() if name not in known}
    checked = results.get("checks", {})
    unchecked = names == ALL and not experiment.task.classifies and experiment.objective.answers
    unchecked &= not checked or any(map(_is_old, checked.values()))
    if (missing or unchecked) and "test" in results:
        _, variables = best_parameters(experiment, workdir)
        results = keep_probes(workdir, probe(experiment, variables, missing, everything=unchecked))
    unread = set(experiment.config.evaluation.readouts) - results.get("readouts", {}).keys()
    if unread and "test" in results:
        _, variables = best_parameters(experiment, workdir)
        found = read_out(experiment, variables, sorted(unread))
        with workdir.locked(wait=True):
            results = workdir.results() or {}
            results["readouts"] = results.get("readouts", {}) | found
            workdir.save_results(results)
    return results


def _is_old(found: dict[str, Any]) -> bool:
    """Whether figures of true/false answers are of a version that knew no bias."""
    if "failure_rate" in found:
        return "num_compared" not in found
    return "match_accuracy" in found and "called_false" not in found


def keep_probes(workdir: Workdir, probed: Probed) -> dict[str, Any]:
    """Adds what `probe` found to a finished run's results and returns these."""
    with workdir.locked(wait=True):
        workdir.save_evidence(probed.evidence)
        results = workdir.results() or {}
        for name, values in probed.results.items():
            if name == "threshold":
                results[name] = values
            elif name != "test":
                results[name] = results.get(name, {}) | values
            elif _is_old(results.get("test", {})):
                results["test"] = values
        for name in results["suites"].keys() & results["skipped"].keys():  # asked at last
            del results["skipped"][name]
        results["verdict"] = verdict(results)
        workdir.save_results(results)
    return results


def best_parameters(experiment: Experiment, workdir: Workdir) -> tuple[int, Any]:
    """The step and the model's variables of the best checkpoint.

    Raises:
      UserError: no checkpoint yet, one that cannot be read, or of a run on other data.
    """
    directory = workdir.path / "checkpoints"
    best = None
    if distributed.from_main(directory.is_dir):
        checkpoints = Checkpoints(directory, read_only=True)
        best = checkpoints.best_step()
    if best is None:
        raise UserError(
            f"{directory} holds no checkpoint with a validation yet; train on until the first one"
        )
    try:
        state, _, _ = load_checkpoint(experiment, checkpoints, best)
    except DamagedError as error:
        raise UserError(
            f"{error}. It is the best one of the run: put it back from a copy; or start an "
            "unfinished run again, which goes on without it"
        ) from error
    finally:
        checkpoints.close()
    return best, state.variables


def _best_validation(workdir: Workdir, best_step: int) -> dict[str, Any]:
    (row,) = (
        row
        for row in read_metrics(workdir.path / METRICS)
        if row["split"] == "validation" and row["step"] == best_step
    )
    return {name: value for name, value in row.items() if name not in ("split", "step", "samples")}
