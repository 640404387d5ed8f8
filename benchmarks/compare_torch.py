r"""Training speed beside PyTorch, eager and compiled: the same models, the same step, in one run.

Three models (the `:small` kind at D = 64, and the thesis's two) train on MNIST, or on random images
where it is not found: sampling, forward, backward, clipping, AdamW, the metrics of a log line. The
PyTorch side is written as a PyTorch user would, its data and its sampler on the device too. Before
anything is timed, both get the same weights and must give the same logits and gradients. The three
then take turns, so that what else the machine does falls on all of them; of the rounds the
medians are shown.

    pip install -e '.[benchmark]'
    python benchmarks/compare_torch.py --json compare.json
    python benchmarks/compare_torch.py --models small --seconds 5 --repeats 9
    taskset -c 0 python benchmarks/compare_torch.py --cpu-time  # one core, which others use too

On a GPU that both see, in bfloat16 with batches of 512. With `--seeds 5` ours trains five seeds in
one program, beside one of PyTorch's, and the examples of all five count.
"""

import argparse
import contextlib
import copy
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from ml_collections import ConfigDict
from torch import nn

from multimodal_vit.config import changed, from_file
from multimodal_vit.data import ImageSet, Splits
from multimodal_vit.errors import UserError
from multimodal_vit.objectives import Keys
from multimodal_vit.profiling import (
    CEILING_PRODUCTS,
    CEILING_SIDE,
    CEILING_SIDE_CPU,
    ceiling_flop,
)
from multimodal_vit.sampler import Batch
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.seeds import program
from multimodal_vit.train.step import loss_and_sums
from multimodal_vit.versions import cpu_threads

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SMALL = {"model.embedding_dim": 64, "model.num_encoder_layers": 2, "model.mlp_dim": 256}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("mnist_conv.py:small", SMALL),
    "thesis conv": ("mnist_conv.py:thesis", {"train.batch_size": 32}),
    "thesis patch": ("mnist_patch.py:thesis", {"train.batch_size": 32}),
}
SIDES = ("ours", "torch_eager", "torch_compile")
GPU = {"train.batch_size": 512, "evaluation.batch_size": 512, "model.dtype": "bfloat16"}


Clock = Callable[[], float]


class Attention(nn.Module):
    """Multi-head self-attention through PyTorch's own fused function."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, T, D] to [B, T, D]."""
        B, T, D = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.num_heads, D // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        y = F.scaled_dot_product_attention(query, key, value)
        return self.out(y.transpose(1, 2).reshape(B, T, D))


class Norm(nn.LayerNorm):
    """Layer normalisation whose result has its input's dtype, also under autocast."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [..., D] to the same."""
        return super().forward(x).to(x.dtype)


class Block(nn.Module):
    """A pre-norm encoder block."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, dropout_rate: float) -> None:
        super().__init__()
        self.attention_norm = Norm(dim, eps=1e-6)
        self.attention = Attention(dim, num_heads)
        self.mlp_norm = Norm(dim, eps=1e-6)
        self.mlp_in = nn.Linear(dim, mlp_dim)
        self.mlp_out = nn.Linear(mlp_dim, dim)
        self.dropout = nn.Dropout(dropout_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, T, D] to [B, T, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        y = self.dropout(F.gelu(self.mlp_in(self.mlp_norm(x)), approximate="tanh"))
        return x + self.dropout(self.mlp_out(y))


class ChannelNorm(Norm):
    """Layer normalisation over the channels of [B, C, H, W]; free where these lie innermost."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C, H, W] to the same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stem(nn.Sequential):
    """The convolutions before the patches; `strided` as in `models.stems`."""

    def __init__(self, model: ConfigDict) -> None:
        layers: list[nn.Module] = []
        channels = 1
        for i in range(model.num_conv_layers):
            if model.stem == "strided":
                features = 16 * 2**i
                # JAX's SAME padding of even sides with stride 2: nothing before, one after.
                pad, conv = nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, features, 3, stride=2)
                layers += [pad, conv, ChannelNorm(features, eps=1e-6), nn.ReLU()]
            else:
                features = 16 * (i + 1)
                layers += [nn.Conv2d(channels, features, 3), nn.ReLU()]
            channels = features
        super().__init__(*layers)
        self.channels = channels


class TorchViT(nn.Module):
    """The model of `models.MultimodalViT`, as one writes it in PyTorch."""

    def __init__(self, model: ConfigDict, num_tokens: int, num_classes: int) -> None:
        super().__init__()
        dim = model.embedding_dim
        self.words = nn.Embedding(num_classes, dim)
        self.stem = Stem(model)
        size = model.patch_size
        self.projection = nn.Conv2d(self.stem.channels, dim, size, stride=size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, num_tokens, dim))
        self.dropout = nn.Dropout(model.dropout_rate)
        sizes = (dim, model.num_heads, model.mlp_dim, model.dropout_rate)
        self.blocks = nn.Sequential(*[Block(*sizes) for _ in range(model.num_encoder_layers)])
        self.norm = Norm(dim, eps=1e-6)
        self.head = nn.Linear(dim, model.num_match_outputs + num_classes)

    def forward(self, image: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Maps uint8 [B, 1, H, W] and int64 [B, n] to logits [B, U]."""
        device = image.device.type
        half = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if half else torch.float32
        features = self.stem(image.to(dtype) / 255)
        patches = self.projection(features).flatten(2).transpose(1, 2)  # (B, P, D)
        class_token = self.class_token.expand(len(image), -1, -1)
        x = torch.cat([class_token, self.words(words), patches.to(class_token.dtype)], dim=1)
        x = (x + self.positions).to(dtype)
        x = self.norm(self.blocks(self.dropout(x)))
        return self.head(x[:, 0])

    @torch.no_grad()
    def load_flax(self, params: Mapping[str, Any]) -> None:
        """Takes the parameters of the Flax model, or a tree like it, such as its gradient."""
        flat = {
            "/".join(key.key for key in path): torch.tensor(np.asarray(leaf, np.float32))
            for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        }
        images = "embeddings_patches/"

        def put(parameter: torch.Tensor, value: torch.Tensor) -> None:
            parameter.copy_(value.reshape(parameter.shape))

        def dense(layer: nn.Linear, name: str) -> None:
            kernel = flat[f"{name}/kernel"]
            put(layer.weight, kernel.reshape(layer.in_features, -1).T)
            put(layer.bias, flat[f"{name}/bias"])

        def norm(layer: nn.LayerNorm, name: str) -> None:
            put(layer.weight, flat[f"{name}/scale"])
            put(layer.bias, flat[f"{name}/bias"])

        for i, conv in enumerate(m for m in self.stem if isinstance(m, nn.Conv2d)):
            put(conv.weight, flat[f"{images}stem/conv_{i}/kernel"].permute(3, 2, 0, 1))
            put(conv.bias, flat[f"{images}stem/conv_{i}/bias"])
        for i, layer in enumerate(m for m in self.stem if isinstance(m, nn.LayerNorm)):
            norm(layer, f"{images}stem/norm_{i}")
        dim, channels, size, _ = self.projection.weight.shape
        kernel = flat[f"{images}patches/projection/kernel"].reshape(size, size, channels, dim)
        put(self.projection.weight, kernel.permute(3, 2, 0, 1))
        put(self.projection.bias, flat[f"{images}patches/projection/bias"])
        put(self.words.weight, flat["embeddings_words/Embed_0/embedding"])
        put(self.class_token, flat["fusion/class_token"])
        put(self.positions, flat["fusion/positions"])
        for i, block in enumerate(self.blocks):
            name = f"fusion/encoder/block_{i}"
            norm(block.attention_norm, f"{name}/attention_norm")
            norm(block.mlp_norm, f"{name}/mlp_norm")
            dense(block.attention.qkv, f"{name}/attention/qkv")
            dense(block.attention.out, f"{name}/attention/out")
            dense(block.mlp_in, f"{name}/mlp_in")
            dense(block.mlp_out, f"{name}/mlp_out")
        norm(self.norm, "fusion/encoder/norm")
        dense(self.head, "head")


def torch_targets(match: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The targets of the 11 outputs, float32 [B, 11]."""
    return torch.cat([match[:, None], classes], dim=1).float()


class TorchSampler:
    """The published task, vectorised, from images and labels that lie on the device."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.order = torch.randperm(len(labels), device=labels.device)
        self.next = 0

    def __call__(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One batch: images uint8 [B, 1, H, W], words int64 [B, 4], targets float32 [B, 11]."""
        if self.next + self.batch_size > len(self.order):
            self.order = torch.randperm(len(self.labels), device=self.labels.device)
            self.next = 0
        base = self.order[self.next : self.next + self.batch_size]
        self.next += self.batch_size
        return self.draw(base)

    def draw(self, base: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The pairs of some base images."""
        B, device = len(base), base.device
        others = torch.randint(len(self.labels), (B, 3), device=device)
        chosen = torch.cat([base[:, None], others], dim=1)  # (B, 4)
        labels = self.labels[chosen]
        first = torch.randint(4, (B, 1), device=device)
        replaced = torch.rand(B, 4, device=device) < 0.25
        replaced |= torch.arange(4, device=device) == first
        replaced &= torch.rand(B, 1, device=device) < 0.5
        shift = torch.randint(1, 10, (B, 4), device=device)
        words = torch.where(replaced, (labels + shift) % 10, labels)
        classes = F.one_hot(labels, 10).amax(dim=1)  # (B, 10)
        H, W = self.images.shape[1:3]
        grid = self.images[chosen].view(B, 2, 2, H, W).transpose(2, 3)  # (B, 2, H, 2, W)
        targets = torch_targets((words == labels).all(dim=1), classes)
        return grid.reshape(B, 1, 2 * H, 2 * W), words, targets


class TorchTraining:
    """The PyTorch side: model, optimizer, sampler, and a number of steps."""

    def __init__(
        self, experiment: Experiment, device: str, compiled: bool, mode: str = "default"
    ) -> None:
        config = experiment.config
        self.train, self.device = config.train, device
        self.half = config.model.dtype == "bfloat16"
        torch.manual_seed(config.seed)
        num_tokens = experiment.abstract_state().params["fusion"]["positions"].shape[1]
        model = TorchViT(config.model, num_tokens, experiment.task.num_classes)
        self.model = model.to(device, memory_format=torch.channels_last)
        split = experiment.splits.train
        images = torch.tensor(split.images[..., 0], device=device)
        labels = torch.tensor(split.labels, dtype=torch.int64, device=device)
        self.sampler = TorchSampler(images, labels, config.train.batch_size)
        decayed = [p for n, p in self.model.named_parameters() if _is_decayed(n, p)]
        rest = [p for n, p in self.model.named_parameters() if not _is_decayed(n, p)]
        groups = [{"params": decayed, "weight_decay": self.train.weight_decay}]
        self.optimizer = torch.optim.AdamW(
            [*groups, {"params": rest, "weight_decay": 0.0}],
            lr=self.train.learning_rate,
            fused=True,
        )
        warmup = max(1, self.train.warmup_steps)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min(1.0, step / warmup)
        )
        self.loss: Callable[..., Any] = self.loss_of
        if compiled:
            self.loss = torch.compile(self.loss_of, mode=mode)
            self.sampler.draw = torch.compile(self.sampler.draw, mode=mode)

    def loss_of(
        self, image: torch.Tensor, words: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of a batch, and its metrics: loss, right true/false and class answers."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            logits = self.model(image, words)
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets)
        right = ((logits > 0) == (targets > 0)).float()
        metrics = torch.stack([loss.detach(), right[:, 0].mean(), right[:, 1:].mean()])
        return loss, metrics

    def steps(self, count: int) -> None:
        """So many training steps, to their end."""
        sums = torch.zeros(3, device=self.device)
        for _ in range(count):
            torch.compiler.cudagraph_mark_step_begin()  # for "reduce-overhead"
            loss, metrics = self.loss(*self.sampler())
            self.optimizer.zero_grad()
            loss.backward()
            if self.train.gradient_clip:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.train.gradient_clip)
            self.optimizer.step()
            self.schedule.step()
            sums += metrics
        sums.tolist()  # waits for the device


def _is_decayed(name: str, parameter: torch.Tensor) -> bool:
    return parameter.ndim > 1 and name not in ("class_token", "positions")


class OurTraining:
    """Our side: the compiled steps that the training loop dispatches, of one seed or several."""

    def __init__(self, experiment: Experiment, num_seeds: int) -> None:
        runs = [experiment.with_seed(seed) for seed in range(num_seeds)]
        self.program, self.active = program(runs), [True] * num_seeds
        self.state = self.program.join([run.init_state() for run in runs])
        self.data, self.epoch = experiment.train_data(), self.program.epoch(0)

    def steps(self, count: int) -> None:
        """So many training steps of each seed, to their end."""
        self.state, token = self.program.steps(
            self.state, self.data, self.epoch, count, self.active
        )
        jax.block_until_ready(token)


def random_splits() -> Splits:
    """Random images in MNIST's shape, where only the time matters."""
    rng = np.random.default_rng(0)

    def part(count: int) -> ImageSet:
        images = rng.integers(0, 256, (count, 28, 28, 1), np.uint8)
        labels = np.resize(np.arange(10, dtype=np.int32), count)
        return ImageSet(images, labels, tuple("0123456789"))

    return Splits(part(55_000), part(1_000), part(1_000), "random images")


def experiment_of(name: str, gpu: bool, batch_size: int | None = None) -> Experiment:
    """One of `MODELS`, on MNIST or, where that is not found, on random images."""
    file, changes = MODELS[name]
    asked = {"train.batch_size": batch_size} if batch_size else {}
    config = changed(from_file(CONFIGS / file), changes | (GPU if gpu else {}) | asked)
    devices = jax.devices()[:1]
    try:
        return Experiment.create(config, devices=devices)
    except UserError:
        return Experiment.create(config, random_splits(), devices)


def disagreement(experiment: Experiment, device: str) -> tuple[float, float]:
    """How far the two sides are apart with the same weights, on the same pairs, without dropout.

    Compared in float32, where a difference of a hundredth would be a mistake; in bfloat16 it may be
    rounding.

    Returns:
      The largest difference of a logit, and of an entry of a parameter's gradient, the latter as a
      share of that gradient's largest entry.
    """
    exact = {"model.dropout_rate": 0.0, "model.dtype": "float32"}
    quiet = changed(experiment.config, exact)
    experiment = Experiment.create(quiet, experiment.splits, list(experiment.mesh.devices.flat))
    # Random weights everywhere, so that a mistake in a bias or a scale shows.
    params, rng = experiment.init_state().params, np.random.default_rng(0)
    noisy = lambda x: x + 0.05 * rng.standard_normal(x.shape).astype(np.float32)  # noqa: E731
    params = jax.tree.map(noisy, params)
    batch: Batch = jax.tree.map(jnp.asarray, experiment.batch(0))

    @jax.jit
    def ours(params: Any) -> tuple[jax.Array, Any]:
        logits, _ = experiment.model.apply({"params": params}, batch.inputs, train=True)
        key = jax.random.key(0)
        loss = lambda p: loss_and_sums(p, {}, experiment.objective, batch, Keys(key))[0]  # noqa: E731
        return logits, jax.grad(loss)(params)

    with jax.default_matmul_precision("highest"):
        logits, gradient = ours(params)
    torch_side = TorchTraining(experiment, device, compiled=False)
    torch_side.model.load_flax(params)
    image, words, match, classes = (
        torch.tensor(np.asarray(x), device=device)
        for x in (batch.inputs["image"], batch.inputs["words"], batch.match, batch.classes)
    )
    image = image.permute(0, 3, 1, 2)
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = torch_side.model(image, words).detach().cpu().numpy()
        torch_side.loss_of(image, words, torch_targets(match, classes))[0].backward()
    wanted = copy.deepcopy(torch_side.model).cpu()
    wanted.load_flax(gradient)  # the same tree, so the same places
    apart = [
        float(
            (ours.detach() - theirs.grad.cpu()).abs().max()
            / ours.detach().abs().max().clamp(min=1e-12)
        )
        for ours, theirs in zip(wanted.parameters(), torch_side.model.parameters(), strict=True)
    ]
    return float(np.abs(np.asarray(logits) - found).max()), max(apart)


def compare(
    name: str,
    gpu: bool,
    batch_size: int | None,
    num_seeds: int,
    mode: str,
    repeats: int,
    seconds: float,
    clock: Clock,
) -> dict[str, Any]:
    """Checks that the sides agree, lets them take turns, and returns a row of the table.

    Args:
      name: one of `MODELS`.
      gpu: whether both sides compute on a GPU.
      batch_size: None: the model's own, on a GPU 512.
      num_seeds: that ours trains in one program.
      mode: of `torch.compile`.
      repeats: the rounds.
      seconds: of a turn.
      clock: returns seconds.
    """
    experiment = experiment_of(name, gpu, batch_size)
    device = "cuda" if gpu else "cpu"
    with full_precision():
        logits, gradient = disagreement(experiment, device)
    print(f"{name}: logits differ by {logits:.1e} at most, gradients by {gradient:.1e} of theirs")
    if not (logits <= 1e-4 and gradient <= 1e-3):
        raise SystemExit(f"{name}: not the same computation; nothing is timed")
    sides = {
        "ours": OurTraining(experiment, num_seeds),
        "torch_eager": TorchTraining(experiment, device, compiled=False),
        "torch_compile": TorchTraining(experiment, device, compiled=True, mode=mode),
    }
    steps, speeds = {}, {side: [] for side in sides}
    for side, training in sides.items():
        training.steps(2)  # compiles
        steps[side] = 2
        while (taken := _seconds(training, steps[side], clock)) < seconds / 4:
            steps[side] *= 2
        steps[side] = max(2, round(steps[side] * seconds / taken))
    batch_size = experiment.config.train.batch_size
    for i in range(repeats):
        for side in sorted(sides, reverse=bool(i % 2)):
            taken = _seconds(sides[side], steps[side], clock)
            examples = steps[side] * batch_size * (num_seeds if side == "ours" else 1)
            speeds[side].append(examples / taken)
    fastest = [
        max(pair) for pair in zip(speeds["torch_eager"], speeds["torch_compile"], strict=True)
    ]
    # The ratio within each round, so that a busy neighbour cancels; then the median.
    ratios = [a / b for a, b in zip(speeds["ours"], fastest, strict=True)]
    row = {"model": name, "device": jax.devices()[0].device_kind, "batch_size": batch_size}
    row |= {"seeds": num_seeds}
    row |= {side: statistics.median(values) for side, values in speeds.items()}
    row |= {"ratio": statistics.median(ratios), "ratios": ratios}
    return row | {"logits_differ": logits, "gradients_differ": gradient} | basis(experiment, device)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Within it float32 is float32 on both sides, also on a GPU, which rounds factors to TF32."""
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    try:
        for flag in flags:
            flag.allow_tf32 = False
        with jax.default_matmul_precision("highest"):
            yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value


def basis(experiment: Experiment, device: str) -> dict[str, Any]:
    """What the ratio rests on: each side's threads, and the FLOP/s of its products of matrices.

    Products of large matrices, as `profiling.ceiling_flop` measures them; in the model's dtype.
    """
    ours, _ = ceiling_flop(experiment)
    dtype = getattr(torch, experiment.config.model.dtype)
    side = CEILING_SIDE_CPU if device == "cpu" else CEILING_SIDE
    x, y = torch.randn(2, side, side, device=device, dtype=dtype)
    y, taken = y / side**0.5, []
    for _ in range(4):
        start = time.perf_counter()
        for _ in range(CEILING_PRODUCTS):
            x = x @ y
        x[0, 0].item()  # waits for the device
        taken.append(time.perf_counter() - start)
    theirs = CEILING_PRODUCTS * 2 * side**3 / min(taken[1:])
    return {
        "threads": cpu_threads() if device == "cpu" else None,
        "torch_threads": torch.get_num_threads() if device == "cpu" else None,
        "products": ours,
        "torch_products": theirs,
    }


def _seconds(training: OurTraining | TorchTraining, count: int, clock: Clock) -> float:
    start = clock()
    training.steps(count)
    return clock() - start


def main() -> None:
    """Compares, prints a table, writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=1, help="that ours trains in one program")
    parser.add_argument("--batch-size", type=int, help="of all models (default: each its own)")
    parser.add_argument(
        "--compile-mode",
        default="default",
        choices=("default", "reduce-overhead", "max-autotune"),
        help="of torch.compile; the second uses CUDA graphs",
    )
    parser.add_argument("--repeats", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn (default: 3)")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the process's CPU seconds, not the clock's; for a single core that is shared",
    )
    parser.add_argument("--json", type=Path, help="where the rows are written")
    arguments = parser.parse_args()
    # Before JAX looks for devices: of the GPU's memory it is to leave PyTorch some.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    if not gpu and jax.default_backend() != "cpu":
        raise SystemExit("JAX and PyTorch see different devices; set JAX_PLATFORMS=cpu to compare")
    if arguments.cpu_time and (gpu or torch.get_num_threads() > 1):
        raise SystemExit("--cpu-time compares on one core: start it with taskset -c 0")
    torch.backends.cudnn.benchmark = True  # choose the fastest convolutions, as XLA does
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    rows = []
    for name in arguments.models:
        turns = arguments.repeats, arguments.seconds, clock
        settings = arguments.batch_size, arguments.seeds, arguments.compile_mode
        row = compare(name, gpu, *settings, *turns)
        rows.append(row)
        speeds = ", ".join(f"{side} {row[side]:,.0f}" for side in SIDES)
        print(
            f"{name} on {row['device']}: {speeds} examples/s; ratio {row['ratio']:.2f}, from "
            f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}",
            flush=True,
        )
        on = "" if gpu else f" with {row['threads']} threads and {row['torch_threads']}"
        print(
            f"  it rests on products of matrices{on}: {row['products'] / 1e9:,.0f} GFLOP/s and "
            f"PyTorch's {row['torch_products'] / 1e9:,.0f}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
