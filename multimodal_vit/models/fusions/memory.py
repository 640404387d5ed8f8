"""Memory slots and the meshed read-out of the M² Transformer (Cornia et al. 2020)."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.attention import MultiHeadAttention
from multimodal_vit.models.dropout import Dropout
from multimodal_vit.models.encoder import mlp
from multimodal_vit.models.fusions.single_encoder import SingleEncoder
from multimodal_vit.models.joint_map import joint_attention, joint_map, joint_sizes
from multimodal_vit.models.streams import NORMAL, Trunk, TrunkFusion, learned, registers
from multimodal_vit.sampler import Task

SLOTS = option(8, "learned keys and values in every layer", least=0, most=4_096)


@component("model.fusion", "memory")
class Memory(SingleEncoder):
    """The single encoder with memory slots: keys and values that come from no token.

    K = [W_k X; M_k], V = [W_v X; M_v] in every layer.
    """

    takes_kept: ClassVar[bool] = False
    takes_causal: ClassVar[bool] = False

    class Options:
        """The slots."""

        slots: int = SLOTS

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Memory":
        """The encoder that `config.model` describes, with slots."""
        del task
        encoder = Trunk.of(model).encoder(num_slots=options.slots)
        return cls(encoder, num_registers=model.num_registers)


@component("model.fusion", "meshed")
class Meshed(TrunkFusion):
    """An encoder with memory slots; a query reads every layer, and gates what it takes.

    c_i = Attn(q, LN X_i) with one attention for all N layers, α_i = σ(W_i [q; c_i] + b_i),
    q = q + Σ α_i ⊙ c_i / √N, then an MLP and LN.

    Attributes:
      trunk: of the encoder.
      slots: in every layer.
    """

    slots: int = 8

    class Options:
        """The slots."""

        slots: int = SLOTS

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Meshed":
        """The encoder that `config.model` describes, with slots."""
        del task
        return cls(Trunk.of(model), options.slots)

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`.

        "gates" are the α_i of each layer, [B, 1, D].
        """
        B, _, D = next(iter(tokens.values())).shape
        trunk, r = self.trunk, self.trunk.num_registers
        parts = list(tokens.values())
        if r:
            parts.append(registers(self, B, r, D, trunk.dtype))
        x = jnp.concatenate(parts, axis=1)
        x = x + self.param("positions", NORMAL, (1, *x.shape[1:])).astype(trunk.dtype)
        x = trunk.dropout(x, train)
        encoder = trunk.encoder(num_slots=self.slots, last_norm=False, name="encoder")
        x, own = encoder(x, train=train, return_weights=return_attention)
        layers = [trunk.norm(f"norm_{i}")(y) for i, y in enumerate(own["blocks"])]
        query = learned(self, "query", B, (1, D), trunk.dtype)
        attention = MultiHeadAttention(
            trunk.num_heads, trunk.dtype, trunk.attention, name="attention"
        )
        taken, gates, weights = [], [], []
        for i, y in enumerate(layers):
            c, w = attention(query, y, return_attention)
            both = jnp.concatenate([query, c], axis=-1)
            gates.append(nn.sigmoid(trunk.dense(D, f"gate_{i}")(both)))
            taken.append(gates[-1] * c)
            weights.append(w)
        dropout = Dropout(trunk.dropout_rate, deterministic=not train)
        query = query + dropout(sum(taken[1:], taken[0]) / len(layers) ** 0.5)
        y = trunk.norm("mlp_norm")(query)
        query = query + dropout(mlp(y, trunk.mlp_dim, dropout, trunk.dtype))
        found: dict[str, Any] = {"tokens": {}, "gates": gates}
        start = 0
        for name, part in tokens.items():
            found["tokens"][name] = layers[-1][:, start : start + part.shape[1]]
            start += part.shape[1]
        if return_attention:
            sizes = joint_sizes(tokens, {"registers": r, "slots": self.slots})
            rows = [*tokens, "registers"]
            of_layers = [
                joint_map([(rows, [*rows, "slots"], w)], sizes) for w in own["attention_weights"]
            ]
            # The query reads all layers at once; how much of each, the gates say.
            last = joint_map([(["summary"], rows, w) for w in weights], sizes)
            found |= joint_attention([*of_layers, last], sizes, list(tokens))
        return trunk.norm()(query)[:, 0], found
