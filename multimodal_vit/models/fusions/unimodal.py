"""Fusions that begin with an encoder for each modality: what FLAVA and UniT share."""

from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from multimodal_vit.components import Option, option
from multimodal_vit.models.streams import Tower, Trunk, TrunkFusion


class Read(NamedTuple):
    """What unimodal encoders make of the tokens of each modality.

    Attributes:
      projected: [B, 1 + T_m, D], the class token first; or it alone, [B, 1, D].
      found: the intermediates "tokens" and "summaries", before the projection.
      weights: attention weights of each layer; none where they are not wanted.
    """

    projected: dict[str, jax.Array]
    found: dict[str, Any]
    weights: dict[str, list[jax.Array]]


class Unimodal(TrunkFusion):
    """An encoder and a projection for each modality, then what a subclass does with them.

    Attributes:
      trunk: of the part that joins.
      alone: the unimodal encoders.
    """

    alone: Trunk

    def describe(self) -> dict[str, str]:
        """Unimodal layers, and those of the part that joins."""
        layers = f"{self.alone.num_layers} + {self.trunk.num_layers}"
        return self.trunk.describe() | {"layers": layers}

    def unimodal(
        self, tokens: dict[str, jax.Array], train: bool, asked: bool, whole: bool = True
    ) -> Read:
        """Each modality through its encoder and its projection.

        Args:
          tokens: [B, T_m, D] each.
          train: whether dropout acts.
          asked: whether attention weights are wanted.
          whole: whether all tokens go on; else the class tokens alone, normalised.
        """
        projected, outputs, summaries, weights = {}, {}, {}, {}
        for name, x in tokens.items():
            y, own = Tower(self.alone, last_norm=not whole, name=name)(x, train, asked)
            summaries[name], outputs[name] = y[:, 0], y[:, 1:]
            weights[name] = own.get("attention_weights", [])
            project = self.trunk.dense(y.shape[-1], f"project_{name}")
            projected[name] = project(y if whole else y[:, :1])
        return Read(projected, {"tokens": outputs, "summaries": summaries}, weights)


def unimodal_options(others: str) -> dict[str, Option]:
    """The options of the unimodal encoders; `others` says whose model.num_encoder_layers are."""
    about = f"layers of each modality's encoder; model.num_encoder_layers are {others}"
    return {
        "unimodal_layers": option(1, about, least=0, most=512),
        "unimodal_mlp_dim": option(0, "their MLP; 0: as model.mlp_dim", least=0, most=2**18),
    }


def unimodal_trunk(model: ConfigDict, options: ConfigDict) -> Trunk:
    """The trunk of the unimodal encoders."""
    width = options.unimodal_mlp_dim or model.mlp_dim
    return Trunk.of(model, num_layers=options.unimodal_layers, num_registers=0, mlp_dim=width)
