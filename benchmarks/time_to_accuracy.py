r"""How long it takes to the thesis's accuracies: seconds and FLOP, the mean of several seeds.

Each seed trains the preset `:speedrun` (or another, `--preset`) for its fixed budget and is then
asked all pairs of the test split. The seconds are those from the data in host memory to the trained
parameters: copying the data, initialising, compiling, training; programs compiled before are
forgotten. Not in them: starting Python, reading the files, the test. On a machine with other work
the process's own CPU seconds, of all its threads, say more than the clock's: both are shown.

The settings were chosen on the validation split, by `--part validation` and `--change`; nothing is
stopped or chosen by the test accuracy (docs/speed.md). The mean reaches the thesis's accuracy for
sure where it lies two of its standard errors above.

    python benchmarks/time_to_accuracy.py --json speedrun.json
    python benchmarks/time_to_accuracy.py --datasets mnist --seeds 0 1 2
    python benchmarks/time_to_accuracy.py --datasets mnist --part validation \
        --change train.optimizer=adam train.learning_rate=1e-3
"""

import argparse
import ast
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from multimodal_vit import evaluate
from multimodal_vit.config import changed, from_file
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.flop import flop_per_example
from multimodal_vit.train.predictor import Predictor
from multimodal_vit.train.step import make_train_steps

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
DATASETS = {  # the configuration, and the thesis's accuracy (Table 4.1)
    "mnist": ("mnist_conv.py", 0.9773),
    "fashion_mnist": ("fashion_conv.py", 0.9570),
}


def speedrun(config: ConfigDict, seed: int, part: str = "test") -> dict[str, float]:
    """Trains with one seed; the seconds, the first of them to compile, and a part's accuracy."""
    config.seed = seed
    experiment = Experiment.create(config)
    jax.clear_caches()
    start, cpu_start = time.perf_counter(), time.process_time()
    state, data = experiment.init_state(), experiment.train_data()
    train_steps = make_train_steps(experiment.train_step())
    state, token = train_steps(state, data, experiment.epoch(0), 1)
    jax.block_until_ready(token)
    compiled, step = time.perf_counter() - start, 1
    while step < experiment.total_steps:
        epoch = step // experiment.steps_per_epoch
        num_steps = (epoch + 1) * experiment.steps_per_epoch - step
        state, token = train_steps(state, data, experiment.epoch(epoch), num_steps)
        step += num_steps
    jax.block_until_ready(token)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    samples = experiment.samples_seen(step)
    values = evaluate.metrics(Predictor(experiment)(state.variables, part))
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "compile_seconds": compiled,
        "accuracy": values["match_accuracy"],
        "samples": samples,
        "pflop": flop_per_example(experiment) * samples / 1e15,
    }


def row(
    dataset: str,
    seeds: list[int],
    part: str = "test",
    changes: Mapping[str, Any] | None = None,
    preset: str = "speedrun",
) -> dict[str, Any]:
    """The means over seeds, the standard error of the accuracy's, and what each seed gave."""
    file, target = DATASETS[dataset]
    runs = []
    for seed in seeds:
        config = changed(from_file(f"{CONFIGS / file}:{preset}"), changes or {})
        runs.append(run := speedrun(config, seed, part))
        print(
            f"{dataset}, seed {seed}: {part} {run['accuracy']:.2%} after {run['seconds']:.1f} s, "
            f"{run['compile_seconds']:.1f} s of them compiling; CPU {run['cpu_seconds']:.1f} s",
            flush=True,
        )
    mean = {name: statistics.mean(run[name] for run in runs) for name in runs[0]}
    accuracies = [run["accuracy"] for run in runs]
    error = statistics.stdev(accuracies) / len(runs) ** 0.5 if len(runs) > 1 else None
    about = {"dataset": dataset, "preset": preset, "part": part, "target": target}
    about |= {"changes": dict(changes or {})}
    return about | mean | {"standard_error": error, "seeds": seeds, "runs": runs}


def change(text: str) -> tuple[str, Any]:
    """FIELD=VALUE, the value as Python writes it; what is not Python is text."""
    field, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE")
    try:
        return field, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return field, value


def main() -> None:
    """Trains every seed, prints a table, writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--preset", default="speedrun", help="of the configuration")
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument(
        "--change", nargs="+", type=change, default=[], metavar="FIELD=VALUE", help="of the preset"
    )
    parser.add_argument("--json", type=Path, help="where the rows are written")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    changes = dict(arguments.change)
    settings = arguments.seeds, arguments.part, changes, arguments.preset
    rows = [row(name, *settings) for name in arguments.datasets]
    for found in rows:
        error, surely = found["standard_error"], ""
        if error is not None and found["accuracy"] - 2 * error >= found["target"]:
            surely = " by two standard errors or more"
        reached = "reaches" if found["accuracy"] >= found["target"] else "MISSES"
        spread = "–" if error is None else f"{error:.2%}"
        print(
            f"{found['dataset']}: mean of {len(found['seeds'])} seeds {found['accuracy']:.2%} ± "
            f"{spread} (standard error; {reached} {found['target']:.2%}"
            f"{surely}), {found['seconds']:.1f} s "
            f"(CPU {found['cpu_seconds']:.1f} s), "
            f"{found['samples']:,.0f} pairs, {found['pflop']:.4f} PFLOP"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
