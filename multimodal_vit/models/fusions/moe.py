"""Experts: in the single encoder, and in one tower that reads modality by modality (LIMoE)."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.base import Fusion
from multimodal_vit.models.encoder import TRUNK, encoder_problems
from multimodal_vit.models.experts import Routing, SparseEncoder, balance_losses
from multimodal_vit.models.fusions.clip import Cosine, cosine_problems
from multimodal_vit.models.fusions.single_encoder import SingleEncoder
from multimodal_vit.models.joint_map import joint_attention, joint_map, joint_sizes
from multimodal_vit.models.streams import NORMAL, Trunk, learned
from multimodal_vit.sampler import Task


class ExpertOptions:
    """The experts and what keeps them in use."""

    num_experts: int = option(4, "E, in every second block", least=1, most=1_024)
    expert_dim: int = option(
        0, "width of an expert; 0: model.mlp_dim / E, as much in all as without", least=0,
        most=2**18,
    )  # fmt: skip
    noise: float = option(1.0, "on the router's logits in training, times 1 / E", least=0, most=100)
    aux_weight: float = option(0.04, "of the four auxiliary losses together", least=0, most=100)
    min_experts: int = option(2, "experts that a modality shall use", least=1, most=1_024)


def sparse_encoder(trunk: Trunk, options: ConfigDict) -> SparseEncoder:
    """The encoder that the options describe."""
    width = options.expert_dim or trunk.mlp_dim // options.num_experts
    return SparseEncoder(trunk, options.num_experts, width, options.noise)


def expert_problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
    """Those of the encoder; experts of no width, or that no block has."""
    yield from encoder_problems(config, task)
    if task is not None:
        return
    model, options = config.model, config.model.fusion_options
    if not options.expert_dim and model.mlp_dim < options.num_experts:
        yield (
            f"model.mlp_dim={model.mlp_dim} leaves nothing for each of "
            f"model.fusion_options.num_experts={options.num_experts}; set "
            "model.fusion_options.expert_dim"
        )
    if model.num_encoder_layers < 2:
        yield (
            f"model.fusion={model.fusion!r} has experts in every second block, and "
            f"model.num_encoder_layers={model.num_encoder_layers} has no second one"
        )
    if options.min_experts > options.num_experts:
        yield (
            f"model.fusion_options.min_experts={options.min_experts} is more than "
            f"model.fusion_options.num_experts={options.num_experts}"
        )


@component("model.fusion", "moe")
class Moe(SingleEncoder):
    """The single encoder with experts in every second block: one encoder, with specialists.

    Attributes:
      aux_weight: see `experts.balance_losses`, as is the other.
    """

    aux_weight: float = 0.04
    min_experts: int = 2
    takes_kept: ClassVar[bool] = False
    takes_causal: ClassVar[bool] = False
    Options = ExpertOptions

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Moe":
        """The encoder that `config.model` describes, with experts."""
        del task
        return cls(
            sparse_encoder(Trunk.of(model), options),
            num_registers=model.num_registers,
            aux_weight=options.aux_weight,
            min_experts=options.min_experts,
        )

    problems = staticmethod(expert_problems)

    def __call__(
        self,
        tokens: dict[str, jax.Array],
        *,
        kept: Mapping[str, jax.Array] | None = None,
        train: bool = False,
        return_attention: bool = False,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """As `SingleEncoder`; "gates" is what each token's router says, [B, T, E] a layer."""
        summary, found = super().__call__(
            tokens, kept=kept, train=train, return_attention=return_attention
        )
        routing: list[Routing] = found.pop("routing")
        by_modality = {
            name: [own.of(*span) for own in routing] for name, span in found["spans"].items()
        }
        found["gates"] = [jax.nn.softmax(own.logits) for own in routing]
        found["losses"] = balance_losses(
            by_modality, self.min_experts, self.encoder.noise, self.aux_weight
        )
        return summary, found


@component("model.fusion", "limoe")
class Limoe(Fusion):
    """One tower with experts reads each modality alone; the cosine of their means is the logit.

    Attributes:
      encoder: the tower, the same for all modalities.
      num_classes: K.
      aux_weight: see `experts.balance_losses`, as is the other.
    """

    encoder: SparseEncoder
    num_classes: int
    aux_weight: float = 0.04
    min_experts: int = 2
    makes_logits: ClassVar[bool] = True
    uses: ClassVar[tuple[str, ...]] = TRUNK
    Options = ExpertOptions

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Limoe":
        """The encoder that `config.model` describes, with experts."""
        encoder = sparse_encoder(Trunk.of(model), options)
        return cls(encoder, task.num_classes, options.aux_weight, options.min_experts)

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the experts, and no image to compare with."""
        yield from expert_problems(config, task)
        if task is None:
            yield from cosine_problems(config)

    def describe(self) -> dict[str, str]:
        """The tower's size."""
        return self.encoder.describe()

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to logits [B, 1 + K], and intermediates: see `Moe`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk = self.encoder.trunk
        r, dtype = trunk.num_registers, trunk.dtype
        summaries, outputs, routing, weights = {}, {}, {}, {}
        for name, x in tokens.items():
            T = x.shape[1]
            if r:
                own = learned(self, f"registers_{name}", B, (r, D), dtype)
                x = jnp.concatenate([x, own], axis=1)
            positions = self.param(f"positions_{name}", NORMAL, (1, *x.shape[1:]))
            x = trunk.dropout(x + positions.astype(dtype), train)
            x, found = self.encoder(x, train=train, return_weights=return_attention)
            outputs[name], routing[name] = x[:, :T], [own.of(0, T) for own in found["routing"]]
            summaries[name] = outputs[name].mean(axis=1)
            weights[name] = found.get("attention_weights", [])
        found = {"tokens": outputs, "summaries": summaries}
        found["gates"] = {
            name: [jax.nn.softmax(own.logits) for own in layers] for name, layers in routing.items()
        }
        found["losses"] = balance_losses(
            routing, self.min_experts, self.encoder.noise, self.aux_weight
        )
        if return_attention:
            sizes = joint_sizes(tokens, {f"registers_{name}": r for name in tokens})
            maps = []
            for layer in zip(*weights.values(), strict=True):
                places = [[name, f"registers_{name}"] for name in weights]
                blocks = [(p, p, w) for p, w in zip(places, layer, strict=True)]
                maps.append(joint_map(blocks, sizes))
            found |= joint_attention(maps, sizes, list(tokens), readout=list(tokens))
        return Cosine(self.num_classes, name="cosine")(summaries), found
