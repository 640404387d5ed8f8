"""Sparse MLPs: experts and their router (Riquelme et al. 2021, V-MoE; Mustafa et al. 2022, LIMoE).

Every expert is computed for every token, and the one that is chosen counts: exact, without capacity
and dropped tokens, and at these sizes no slower.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from multimodal_vit.models.attention import SelfAttention
from multimodal_vit.models.dropout import Dropout
from multimodal_vit.models.streams import Trunk
from multimodal_vit.parameters import declare

LOSSES = ("local_entropy", "global_entropy", "importance", "load")


class Routing(NamedTuple):
    """What a router says of each token, float32 [B, T, E].

    Attributes:
      logits: without noise.
      noisy: with the noise of training.
    """

    logits: jax.Array
    noisy: jax.Array

    def of(self, start: int, end: int) -> "Routing":
        """That of some of the tokens."""
        return Routing(*(part[:, start:end] for part in self))


class Experts(nn.Module):
    """E MLPs, of which each token has one: p_e · MLP_e(x), e = argmax p, p = softmax(W x).

    Attributes:
      num_experts: E.
      width: of each expert's hidden layer.
      noise: deviation of the noise on the logits in training, times 1 / E.
    """

    num_experts: int
    width: int
    noise: float = 1.0
    dropout_rate: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, Routing]:
        """Maps [B, T, D] to the same, and what the router says; draws from "dropout"."""
        E, D, F = self.num_experts, x.shape[-1], self.width
        router = nn.Dense(E, use_bias=False, name="router")
        logits = noisy = router(x.astype(jnp.float32))  # (B, T, E)
        if train and self.noise:
            noise = jax.random.normal(self.make_rng("dropout"), logits.shape)
            noisy = logits + noise * self.noise / E
        p = jax.nn.softmax(noisy)
        gate = p * jax.nn.one_hot(p.argmax(axis=-1), E)  # the gate is not scaled up to 1
        init = nn.initializers.lecun_normal(batch_axis=0)
        zeros = nn.initializers.zeros

        def own(name: str, init: Any, shape: tuple[int, ...], **given: Any) -> jax.Array:
            return self.param(name, declare(init, **given), shape).astype(self.dtype)

        matrix = {"matrix": ((1,), (2,)), "decay": True}
        w_in = own("in_kernel", init, (E, D, F), cut=-1, **matrix)
        b_in = own("in_bias", zeros, (E, F), cut=-1)
        w_out = own("out_kernel", init, (E, F, D), cut=-2, **matrix)
        b_out = own("out_bias", zeros, (E, D))
        gate = gate.astype(self.dtype)
        hidden = nn.gelu(jnp.einsum("btd,edf->btef", x, w_in) + b_in)
        hidden = Dropout(self.dropout_rate, deterministic=not train)(hidden) * gate[..., None]
        return jnp.einsum("btef,efd->btd", hidden, w_out) + gate @ b_out, Routing(logits, noisy)


class ExpertBlock(nn.Module):
    """A block of the encoder with experts in place of its MLP."""

    trunk: Trunk
    num_experts: int
    width: int
    noise: float = 1.0

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, return_weights: bool = False
    ) -> tuple[jax.Array, jax.Array | None, Routing]:
        """Maps [B, T, D] to [B, T, D]; attention weights on request; what the router says."""
        trunk = self.trunk
        dropout = Dropout(trunk.dropout_rate, deterministic=not train)
        y = trunk.norm("attention_norm")(x)
        attention = SelfAttention(trunk.num_heads, trunk.dtype, trunk.attention, name="attention")
        y, weights = attention(y, return_weights)
        x = x + dropout(y)
        sizes = self.num_experts, self.width, self.noise, trunk.dropout_rate, trunk.dtype
        y, routing = Experts(*sizes, name="experts")(trunk.norm("mlp_norm")(x), train)
        return x + dropout(y), weights, routing


class SparseEncoder(nn.Module):
    """An encoder with experts in every second block.

    Attributes:
      trunk: its sizes; `mlp_dim` is that of the blocks without experts.
      num_experts: E.
      width: of each expert.
      noise: see `Experts`.
    """

    trunk: Trunk
    num_experts: int
    width: int
    noise: float = 1.0
    num_slots: int = 0  # as an encoder's

    @property
    def dtype(self) -> Dtype:
        """Of the computation."""
        return self.trunk.dtype

    @property
    def dropout_rate(self) -> float:
        """Of every block."""
        return self.trunk.dropout_rate

    def describe(self) -> dict[str, str]:
        """Its size, for the report."""
        experts = f"{self.trunk.mlp_dim}, {self.num_experts} × {self.width}"
        return self.trunk.describe() | {"MLP": experts}

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        return_weights: bool = False,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps [B, T, D] to [B, T, D] and intermediates, as `Encoder`; "routing", of each layer."""
        assert mask is None
        found: dict[str, Any] = {"routing": [], "attention_weights": []}
        remat = nn.remat if self.trunk.remat else lambda module, static_argnums: module
        sparse = remat(ExpertBlock, static_argnums=(2, 3))
        for i in range(self.trunk.num_layers):
            if i % 2:
                sizes = self.num_experts, self.width, self.noise
                block = sparse(self.trunk, *sizes, name=f"block_{i}")
                x, weights, routing = block(x, train, return_weights)
                found["routing"].append(routing)
            else:
                x, weights = self.trunk.block(f"block_{i}")(x, train, return_weights)
            found["attention_weights"].append(weights)
        if not return_weights:
            del found["attention_weights"]
        return self.trunk.norm()(x), found


def balance_losses(
    routings: Mapping[str, Sequence[Routing]], min_experts: int, noise: float, weight: float
) -> dict[str, jax.Array]:
    """What keeps routers sure of each token, and the experts in use: `LOSSES`, [B] each.

    Of each modality and layer, then averaged over them: the entropy of a token's p; the shortfall
    of the entropy of the mean p from log(min_experts); V-MoE's importance, the squared coefficient
    of variation over experts of Σ p; and load, the same of the chance to be chosen under the noise.
    All but the first are one number for the whole batch, rows that fill an epoch's last batch up
    included: they depend on how it is cut into parts (`train.accumulate_steps`).

    Args:
      routings: of each modality's tokens, a routing for each layer.
      min_experts: S, experts that a modality shall use at least.
      noise: of the router, as `Experts.noise`; without any, load is that of p.
      weight: of all four together; each has a quarter.
    """
    parts = [routing for layers in routings.values() for routing in layers]
    found = {name: jnp.zeros(()) for name in LOSSES}
    for routing in parts:
        E = routing.logits.shape[-1]
        p = jax.nn.softmax(routing.logits)  # (B, T, E)
        most = routing.noisy.max(axis=-1, keepdims=True)
        wins = mean = p.mean(axis=(0, 1))
        if noise:
            chances = jax.scipy.stats.norm.cdf((routing.logits - most) * E / noise)
            wins = chances.mean(axis=(0, 1))
        terms = (
            _entropy(p).mean(axis=1),  # (B,)
            jnp.maximum(0, math.log(min(min_experts, E)) - _entropy(mean)),
            _variation(mean),
            _variation(wins),
        )
        for name, term in zip(LOSSES, terms, strict=True):
            found[name] = found[name] + term * (weight / len(LOSSES) / len(parts))
    size = len(parts[0].logits) if parts else 1
    return {name: jnp.broadcast_to(term, (size,)) for name, term in found.items()}


def _entropy(p: jax.Array) -> jax.Array:
    return -(p * jnp.log(jnp.maximum(p, 1e-20))).sum(axis=-1)


def _variation(x: jax.Array) -> jax.Array:
    """The squared coefficient of variation."""
    return x.var() / (x.mean() ** 2 + 1e-10)
