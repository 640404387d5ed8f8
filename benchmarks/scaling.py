r"""Weak scaling from vendors' figures: the roofline of each chip, the all-reduce of each step.

Calculates, measures nothing on an accelerator. A model's floating-point operations are those of
its matrix products and convolutions (`train.flop.formula_flop`), its parameters are counted; the
rest is the formula in docs/scaling.md. Needs no data set but the embedded digits.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --batch 512 --share-of-peak 0.25
    XLA_FLAGS=--xla_force_host_platform_device_count=8 python benchmarks/scaling.py --compiled

The last compares the bytes of the all-reduce in a compiled step with the formula's.
"""

import argparse
import dataclasses
import math
import re

import jax
from ml_collections import ConfigDict

from multimodal_vit.config import small, thesis
from multimodal_vit.models import parameter_count
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.flop import formula_flop
from multimodal_vit.train.step import make_train_steps


@dataclasses.dataclass(frozen=True)
class Chip:
    """A vendor's figures; the sources stand in docs/scaling.md.

    Attributes:
      flops: peak of dense bfloat16 products, FLOP/s.
      memory: bandwidth of its memory, bytes/s.
      link: what it can send to its neighbours at once, bytes/s: half of "bidirectional".
      node: chips that `link` connects; beyond them the network does.
      network: what it can send to other nodes, bytes/s.
    """

    flops: float
    memory: float
    link: float
    node: int
    network: float


CHIPS = {
    "A100 SXM 80 GB": Chip(312e12, 2039e9, 300e9, 8, 25e9),
    "H100 SXM": Chip(989e12, 3350e9, 450e9, 8, 50e9),
    "H200 SXM": Chip(989e12, 4800e9, 450e9, 8, 50e9),
    "TPU v4": Chip(275e12, 1200e9, 300e9, 4096, math.inf),
    "TPU v5e": Chip(197e12, 819e9, 200e9, 256, math.inf),
    "TPU v5p": Chip(459e12, 2765e9, 600e9, 8960, math.inf),
    "TPU v6e": Chip(918e12, 1600e9, 400e9, 256, math.inf),
}
LATENCY = 5e-6  # assumed, of one stage of a collective: no vendor prints it
BYTES_OF_GRADIENT = 2  # for each parameter, where the model computes in bfloat16
BYTES_OF_ADAM = 28  # for each parameter: p, m, v read and written, the gradient read; float32


@dataclasses.dataclass(frozen=True)
class Model:
    """What a step costs.

    Attributes:
      parameters: P.
      flop: of one training example.
      activation_bytes: of one example, in bfloat16.
    """

    parameters: int
    flop: float
    activation_bytes: float

    @classmethod
    def of(cls, config: ConfigDict) -> "Model":
        """Counts a configuration's model."""
        experiment = Experiment.create(config, devices=jax.devices()[:1])
        state, size = experiment.abstract_state(), config.model
        tokens = state.params["fusion"]["positions"].shape[1]
        per_layer = tokens * size.embedding_dim * 34 + 5 * size.num_heads * tokens**2
        return cls(
            parameter_count(state.params),
            formula_flop(experiment),
            size.num_encoder_layers * per_layer,  # Korthikanti et al. 2022, equation 1
        )


def models() -> dict[str, Model]:
    """The thesis's two conditions, and a model of ViT-B's size on the same task."""
    configs = {"thesis conv": thesis(), "thesis patch": thesis(), "ViT-B size": thesis()}
    configs["thesis patch"].model.num_conv_layers = 0
    configs["ViT-B size"].model.update(
        {
            "num_conv_layers": 0,
            "embedding_dim": 768,
            "num_encoder_layers": 12,
            "num_heads": 12,
            "mlp_dim": 3072,
        }
    )
    for config in configs.values():
        config.data.source = config.data.name = "digits"  # 28 × 28 pixels, 10 classes, as MNIST
        config.model.dtype = "bfloat16"
    return {name: Model.of(config) for name, config in configs.items()}


def roofline(model: Model, chip: Chip, batch: int) -> tuple[float, float]:
    """The least seconds of a step: by the arithmetic, and by the memory traffic."""
    moved = BYTES_OF_ADAM * model.parameters + 2 * batch * model.activation_bytes
    return batch * model.flop / chip.flops, moved / chip.memory


def all_reduce(num_bytes: float, chip: Chip, chips: int) -> float:
    """The seconds in which so many chips add up arrays of so many bytes.

    Within a node each of k sends 2 (k - 1) / k of the bytes over its links; between m nodes, of its
    share of 1 / k, 2 (m - 1) / m over the network.
    """
    inside = min(chips, chip.node)
    nodes = chips // inside
    seconds = 2 * (inside - 1) / inside * num_bytes / chip.link
    seconds += 2 * (nodes - 1) / nodes * (num_bytes / inside) / chip.network
    return seconds + LATENCY * 2 * math.ceil(math.log2(chips))


def efficiency(compute: float, reduce: float) -> tuple[float, float]:
    """Weak-scaling efficiency: if nothing overlaps; and if all of the backward pass can hide it."""
    hidden = max(0.0, reduce - 2 / 3 * compute)
    return compute / (compute + reduce), compute / (compute + hidden)


def compiled_bytes() -> tuple[int, int]:
    """The bytes of the all-reduce of a compiled step, and those of the parameters."""
    config = small()
    config.data.source = config.data.name = "digits"
    experiment = Experiment.create(config)
    state = experiment.init_state()
    arguments = state, experiment.train_data(), experiment.epoch(0), 1
    text = make_train_steps(experiment.train_step()).lower(*arguments).compile().as_text()
    (line,) = (line for line in text.splitlines() if re.search(r" all-reduce(-start)?\(", line))
    shapes = re.findall(r"f32\[([\d,]*)\]", line.partition(" all-reduce")[0])
    count = sum(math.prod(int(n) for n in shape.split(",") if n) for shape in shapes)
    return 4 * count, 4 * parameter_count(state.params)


def main() -> None:
    """Prints the tables of docs/scaling.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128, help="examples on each chip (128)")
    parser.add_argument(
        "--share-of-peak", type=float, default=0.4, help="assumed of the arithmetic (0.4)"
    )
    parser.add_argument(
        "--compiled", action="store_true", help="bytes of a compiled all-reduce of a float32 model"
    )
    arguments = parser.parse_args()
    if arguments.compiled:
        found, expected = compiled_bytes()
        print(f"all-reduce {found:,} bytes on {jax.device_count()} devices; 4 P = {expected:,}")
        return
    counted = models()
    print("| model | parameters | GFLOP / example | all-reduce |\n| --- | --- | --- | --- |")
    for name, model in counted.items():
        print(
            f"| {name} | {model.parameters:,} | {model.flop / 1e9:.1f} | "
            f"{BYTES_OF_GRADIENT * model.parameters / 1e6:.1f} MB |"
        )
    print("\n| chip | FLOP / byte | " + " | ".join(counted) + " |")
    print("| --- | --- |" + " --- |" * len(counted))
    for name, chip in CHIPS.items():
        cells = []
        for model in counted.values():
            arithmetic, memory = roofline(model, chip, arguments.batch)
            cells.append(f"{1e3 * arithmetic:.2f} / {1e3 * memory:.2f}")
        print(f"| {name} | {chip.flops / chip.memory:.0f} | " + " | ".join(cells) + " |")
    for model_name, model in counted.items():
        print(f"\n{model_name}:\n")
        print("| chip | step (ms) | 8 chips | 64 chips | 256 chips |")
        print("| --- | --- | --- | --- | --- |")
        for name, chip in CHIPS.items():
            arithmetic, memory = roofline(model, chip, arguments.batch)
            compute = max(arithmetic / arguments.share_of_peak, memory)
            cells = []
            for chips in (8, 64, 256):
                reduce = all_reduce(BYTES_OF_GRADIENT * model.parameters, chip, chips)
                low, high = efficiency(compute, reduce)
                cells.append(f"{1e3 * reduce:.2f} ms: {low:.0%} – {high:.0%}")
            print(f"| {name} | {1e3 * compute:.2f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
