"""A run made longer: `train.num_samples` is larger than what its folder says, and nothing else."""

from collections.abc import Callable

from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit.errors import DamagedError, UserError
from multimodal_vit.train.checkpoint import Checkpoints
from multimodal_vit.train.optimizers import learning_rate_schedule
from multimodal_vit.workdir import Workdir


def lengthen(config: ConfigDict, workdir: Workdir, say: Callable[[str], None]) -> None:
    """Lets a run that is at its end, or on its way there, go on to a later end.

    Its results are kept as `results_<samples>.json`. Does nothing where no run is there, or the
    configuration differs in another way: `Workdir.check` says so.

    Args:
      config: of the longer run.
      workdir: its folder.
      say: is told what becomes of the learning rate.

    Raises:
      UserError: the run stopped early, diverged, or is being trained.
    """
    try:
        saved = configuration.load(workdir.config_path)
    except (DamagedError, FileNotFoundError):
        return
    if not configuration.lengthens(saved, config) or workdir.failure() is not None:
        return
    with workdir.locked() as free:
        if not free:
            raise UserError(
                f"--workdir={workdir.path} is in use: {workdir.lock.holder()} trains there; wait "
                "for it before it is made longer"
            )
        results = workdir.results()
        if results is not None:
            _refuse_stopped_early(workdir, saved)
            say(_schedule(saved, config, results["steps"]))
            kept = workdir.path / f"results_{saved.train.num_samples}.json"
            workdir.results_path.replace(kept)  # first: a kill here leaves a run that ends anew
        else:
            say(
                f"train.num_samples={config.train.num_samples:,} in place of "
                f"{saved.train.num_samples:,}: the run is made longer before its end"
            )
        workdir.save_json(workdir.config_path.name, configuration.to_json(config))


def _refuse_stopped_early(workdir: Workdir, saved: ConfigDict) -> None:
    checkpoints = Checkpoints(workdir.path / "checkpoints", read_only=True)
    if not (steps := checkpoints.steps()):
        raise UserError(
            f"{workdir.path} has no checkpoint to go on from; train the longer run in another "
            "--workdir"
        )
    without_gain = checkpoints.progress(steps[-1])["validations_without_gain"]
    if 0 < saved.train.patience <= without_gain:
        raise UserError(
            f"the run in {workdir.path} stopped early, after {without_gain} validations without a "
            f"lower loss (train.patience={saved.train.patience}): more train.num_samples do not "
            "lengthen it. Train anew, with --config.train.patience=0, in another --workdir"
        )


def _schedule(saved: ConfigDict, config: ConfigDict, steps: int) -> str:
    """What becomes of the learning rate after so many steps."""
    before, now = saved.train.num_samples, config.train.num_samples
    said = f"The run is made longer: {now:,} training pairs in place of {before:,}"
    if config.train.schedule == "constant":
        return (
            f"{said}. Its learning rate is constant, so that the numbers are those of a run of "
            "this length from the start"
        )
    total = max(round(steps * now / before), steps + 1)
    rate = float(learning_rate_schedule(config.train, total)(steps))
    share = rate / config.train.learning_rate
    return (
        f"{said}. Its cosine schedule had come to 0; spread over the whole it goes on at "
        f"{rate:.2g}, {share:.0%} of the peak, and falls to 0 once more. That is not the run of "
        "this length from the start, which is trained in another --workdir"
    )
