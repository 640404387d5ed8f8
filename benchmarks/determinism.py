r"""What changes the bits of a training, and by how much: two programs, one comparison.

Trains a small model on the embedded digits for some steps and saves its parameters and losses; or
compares with what another device, another number of devices or CPU threads or another version has
saved. It prints the process's CPU seconds of the steps too, without the first, which compiles.

    python benchmarks/determinism.py --save two.npz
    python benchmarks/determinism.py --compare two.npz
    taskset -c 0 python benchmarks/determinism.py --compare two.npz
    taskset -c 0 python benchmarks/determinism.py --deterministic --compare two.npz
    XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python benchmarks/determinism.py --compare two.npz
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

from multimodal_vit.config import from_file
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.versions import fix_threads, versions

ROOT = Path(__file__).resolve().parent.parent


def trained(num_steps: int) -> tuple[dict[str, np.ndarray], float]:
    """The parameters by name after some steps, and "losses", float32 [num_steps]; CPU seconds."""
    config = from_file(ROOT / "configs" / "digits_conv.py")
    config.data.name = "digits"
    config.train.update({"optimizer": "adam", "weight_decay": 1.0})
    config.model.dropout_rate = 0.1
    config.train.warmup_steps = 5
    experiment = Experiment.create(config)
    state, data, losses = experiment.init_state(), experiment.train_data(), []
    step = jax.jit(experiment.train_step())
    start = 0.0
    for i in range(num_steps):
        if i == 1:
            start = time.process_time()
        before = float(state.sums["loss"])
        state = step(state, data, experiment.epoch(i // experiment.steps_per_epoch))
        losses.append(float(state.sums["loss"]) - before)
    seconds = time.process_time() - start
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    arrays["losses"] = np.array(losses, np.float32) / config.train.batch_size
    return arrays, seconds


def main() -> None:
    """Saves, or compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50, help="updates (default: 50)")
    parser.add_argument("--deterministic", action="store_true", help="as of the program itself")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--save", type=Path, help="where parameters and losses are written")
    group.add_argument("--compare", type=Path, help="a file that --save wrote")
    arguments = parser.parse_args()
    if arguments.deterministic:
        fix_threads()
    found, seconds = trained(arguments.steps)
    print(", ".join(f"{name} {value}" for name, value in versions().items()))
    print(f"{arguments.steps - 1} steps in {seconds:.2f} CPU seconds")
    if arguments.save:
        np.savez(arguments.save, **found)
        return
    with np.load(arguments.compare, allow_pickle=False) as saved:
        same = all(np.array_equal(saved[name], found[name]) for name in found)
        losses = abs(saved["losses"] - found["losses"]) / abs(saved["losses"])
        params = max(abs(saved[name] - found[name]).max() for name in found if name != "losses")
    print(
        f"bitwise {'the same' if same else 'different'}; losses differ by at most "
        f"{losses.max():.1e} (relative; after one step {losses[0]:.1e}), parameters by {params:.1e}"
    )


if __name__ == "__main__":
    main()
