"""Settings of each fusion within 5 % of the single encoder's parameters and training FLOP.

Two knobs: the width F of the MLPs sets the parameters; registers, or a design's own extra tokens
(queries, latents, bottlenecks), set the FLOP. For each number of extra tokens F is found from the
parameter count, which is linear in it; of these the nearest in FLOP is taken. Depths stand below.
FLOP are by formula, 3 · Σ 2·M·N·K over the forward pass's products (`train.flop.product_flop`).

    python benchmarks/match_budget.py                # what configs/fusion.py holds, as a table
    python benchmarks/match_budget.py --search       # the settings anew
    python benchmarks/match_budget.py --json budget.json
"""

import argparse
import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit.config import changed, from_file
from multimodal_vit.models import build_model, example_inputs, parameter_count
from multimodal_vit.parameters import plain
from multimodal_vit.sampler import Task
from multimodal_vit.train.flop import COUNTABLE, product_flop

CONFIG = Path(__file__).parent.parent / "configs" / "fusion.py"
TASK = Task((2, 2), (28, 28, 1), 10)
REFERENCE = "single_encoder"
TOLERANCE = 0.05
LAYERS, F, REGISTERS = "model.num_encoder_layers", "model.mlp_dim", "model.num_registers"
MOST_EXTRA = 24


def _options(**given: Any) -> dict[str, Any]:
    return {f"model.fusion_options.{name}": value for name, value in given.items()}


# What stays fixed, and the knob of the FLOP; where there is none F alone is searched.
SEARCHED: dict[str, tuple[dict[str, Any], str | None]] = {
    "product": ({LAYERS: 2}, REGISTERS),
    "concat": ({LAYERS: 2}, REGISTERS),
    "add": ({LAYERS: 3}, REGISTERS),
    "concat_linear": ({LAYERS: 3}, REGISTERS),
    "clip": ({LAYERS: 2}, REGISTERS),
    "vilbert": ({LAYERS: 1}, REGISTERS),
    "flava": ({LAYERS: 2}, REGISTERS),
    "late_transformer": ({LAYERS: 2}, REGISTERS),
    "unit": ({LAYERS: 2}, "model.fusion_options.num_queries"),
    "perceiver": ({LAYERS: 2}, "model.fusion_options.num_latents"),
    "hip": ({LAYERS: 1} | _options(group_latents=3), "model.fusion_options.num_latents"),
    "flamingo": ({LAYERS: 2}, REGISTERS),
    "mbt": ({LAYERS: 2}, "model.fusion_options.num_bottlenecks"),
    "moe": ({LAYERS: 3}, None),
    "limoe": ({LAYERS: 3}, REGISTERS),
    "memory": ({LAYERS: 3}, None),
    "meshed": ({LAYERS: 2}, REGISTERS),
    "causal": ({LAYERS: 3}, None),
    "local": ({LAYERS: 3} | _options(extent=0), None),
}


def count(config: ConfigDict, task: Task = TASK) -> tuple[int, float]:
    """The parameters of a configuration's model, and its FLOP in a training example."""
    config = changed(config, COUNTABLE)
    configuration.check(config)
    model, inputs = build_model(config.model, task), example_inputs(task)
    variables = plain(jax.eval_shape(model.init, jax.random.key(0), inputs))
    forward = jax.make_jaxpr(lambda v, i: model.apply(v, i)[0])(variables, inputs)
    return parameter_count(variables["params"]), 3 * product_flop(forward.jaxpr)


def row(design: str, config: ConfigDict, reference: tuple[int, float]) -> dict[str, Any]:
    """What a design costs, beside the single encoder."""
    parameters, flop = count(config)
    return {
        "design": design, "parameters": parameters, "flop": flop,
        "parameters_ratio": parameters / reference[0], "flop_ratio": flop / reference[1],
    }  # fmt: skip


def line(one: dict[str, Any]) -> str:
    """A row of the table in docs/fusion.md."""
    return (
        f"| `{one['design']}` | {one['parameters']:,} | {one['parameters_ratio']:.3f} | "
        f"{one['flop'] / 1e6:.2f} | {one['flop_ratio']:.3f} |"
    )


def search(
    base: ConfigDict, design: str, fixed: dict[str, Any], knob: str | None
) -> dict[str, Any]:
    """The fields of a design that come nearest to a configuration's parameters and FLOP."""
    parameters, flop = count(base)

    @functools.cache
    def at(extra: int) -> tuple[int, float]:
        """F for so many extra tokens, and the FLOP with it."""
        more = {"model.fusion": design} | fixed | ({} if knob is None else {knob: extra})
        (a, _), (b, _) = (count(changed(base, more | {F: width})) for width in (128, 256))
        slope = (b - a) / 128
        width = max(4, 4 * round((128 + (parameters - a) / slope) / 4))
        return width, count(changed(base, more | {F: width}))[1]

    least = 0 if knob == REGISTERS else 1
    extra = least
    while knob is not None and extra < MOST_EXTRA and at(extra)[1] < flop:
        extra += 1
    if extra > least and abs(at(extra - 1)[1] - flop) <= abs(at(extra)[1] - flop):
        extra -= 1
    return fixed | {F: at(extra)[0]} | ({} if knob is None else {knob: extra})


def designs() -> dict[str, dict[str, Any]]:
    """What `configs/fusion.py` sets for each design."""
    spec = importlib.util.spec_from_file_location("fusion_designs", CONFIG)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SETTINGS


def main() -> None:
    """Prints the table; writes it with --json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--search", action="store_true", help="find the settings anew")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    base = from_file(f"{CONFIG}:{REFERENCE}")
    reference, rows = count(base), []
    print("| design | parameters | ratio | MFLOP a training example | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for design, settings in designs().items():
        if arguments.search and design in SEARCHED:
            settings = search(base, design, *SEARCHED[design])
        one = row(design, changed(base, {"model.fusion": design} | settings), reference)
        rows.append(one)
        print(line(one) + (f" {settings}" if arguments.search else ""), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
