"""What several seeds cost in one program: one alone, all in a loop on the device, all by `vmap`.

Prints the time of a step per seed, the median of repeats that alternate. On a CPU it is computing
time, which other work on the machine disturbs less than the clock.

    python benchmarks/seeds.py --config configs/digits_conv.py --seeds 5
"""

import argparse
import statistics
import time

import jax

from multimodal_vit.config import from_file
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.seeds import Seeds, SingleRun


def main() -> None:
    """Compiles the three programs and times them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/digits_conv.py")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5, help="in a dispatch")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    config = from_file(arguments.config)
    config.name, config.train.batch_size = "seeds", arguments.batch_size
    shared = Experiment.create(config)
    runs = [shared.with_seed(seed) for seed in range(arguments.seeds)]
    clock = time.process_time if jax.default_backend() == "cpu" else time.monotonic
    data, found = shared.train_data(), {}
    for name, program in (
        ("alone", SingleRun(runs[0])),
        ("loop", Seeds(runs, at_once=False)),
        ("vmap", Seeds(runs, at_once=True)),
    ):
        count = 1 if name == "alone" else len(runs)
        found[name] = (program, count, program.epoch(0), [])
    states = {
        name: program.join([run.init_state() for run in runs[:count]])
        for name, (program, count, _, _) in found.items()
    }
    for repeat in range(1 + arguments.repeats):  # the first compiles
        for name, (program, count, epoch, seconds) in found.items():
            began = clock()
            states[name], token = program.steps(
                states[name], data, epoch, arguments.steps, [True] * count
            )
            jax.block_until_ready(token)
            if repeat:
                seconds.append((clock() - began) / arguments.steps / count)
    alone = statistics.median(found["alone"][3])
    for name, (_, _, _, seconds) in found.items():
        median = statistics.median(seconds)
        print(f"{name:6s} {1e3 * median:8.2f} ms a step and seed, {median / alone:.2f} of alone")


if __name__ == "__main__":
    main()
