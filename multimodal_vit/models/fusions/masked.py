"""One encoder whose tokens do not all see each other: from left to right, or what is near.

Both have the single encoder's parameters. `causal` is the arrangement of Gato (Reed et al. 2022),
`local` the nearby attention of NÜWA (Wu et al. 2021).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from multimodal_vit.components import component, option
from multimodal_vit.models.base import image_token_grid
from multimodal_vit.models.encoder import encoder_problems
from multimodal_vit.models.fusions.single_encoder import SingleEncoder
from multimodal_vit.models.joint_map import joint_attention, joint_map, joint_sizes
from multimodal_vit.models.streams import NORMAL, Trunk, TrunkFusion, learned, registers
from multimodal_vit.sampler import Task


@component("model.fusion", "causal")
class Causal(TrunkFusion):
    """All tokens in one sequence, each sees those before it; the answer token comes last.

    Attributes:
      trunk: of the encoder.
      words_first: whether the text stands before everything else, or behind it.
    """

    words_first: bool = True
    num_extra_tokens: ClassVar[int] = 1

    class Options:
        """The direction of reading."""

        order: str = option(
            "words_first", "what is read first", choices=("words_first", "patches_first")
        )

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Causal":
        """The encoder that `config.model` describes."""
        del task
        return cls(Trunk.of(model), options.order == "words_first")

    @nn.compact
    def __call__(
        self, tokens: dict[str, jax.Array], *, train: bool = False, return_attention: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps a dict of [B, T_m, D] to the summary [B, D], and intermediates: see `Fusion`."""
        B, _, D = next(iter(tokens.values())).shape
        trunk = self.trunk
        names = sorted(tokens, key=lambda name: (name == "words") != self.words_first)
        parts = [tokens[name] for name in names]
        if trunk.num_registers:
            parts.append(registers(self, B, trunk.num_registers, D, trunk.dtype))
        parts.append(learned(self, "answer", B, (1, D), trunk.dtype, nn.initializers.zeros))
        x = jnp.concatenate(parts, axis=1)
        positions = self.param("positions", NORMAL, (1, *x.shape[1:]))
        x = trunk.dropout(x + positions.astype(trunk.dtype), train)
        mask = np.tril(np.ones((x.shape[1], x.shape[1]), bool))
        encoder = trunk.encoder(name="encoder")
        x, own = encoder(x, train=train, return_weights=return_attention, mask=mask)
        found, start = {"tokens": {}}, 0
        for name in names:
            end = start + tokens[name].shape[1]
            found["tokens"][name], start = x[:, start:end], end
        if return_attention:
            sizes = joint_sizes(tokens, {"registers": trunk.num_registers})
            places = [*names, "registers", "summary"]
            weights = own["attention_weights"]
            maps = [joint_map([(places, places, w)], sizes) for w in weights]
            found |= joint_attention(maps, sizes, list(tokens))
        return x[:, -1], found


@component("model.fusion", "local")
class Local(SingleEncoder):
    """The single encoder; image tokens see each other only where they are near.

    A token of row r and column c sees those with |r - r'| and |c - c'| up to the extent; all else
    sees, and is seen by, everything.

    Attributes:
      extent: in tokens.
      token_grid: rows and columns of the image tokens.
    """

    extent: int = 1
    token_grid: tuple[int, int] = (1, 1)
    takes_kept: ClassVar[bool] = False
    takes_causal: ClassVar[bool] = False

    class Options:
        """How far an image token sees."""

        extent: int = option(1, "rows and columns that an image token sees to each side", least=0,
                             most=4_096)  # fmt: skip

    @classmethod
    def build(cls, model: ConfigDict, task: Task, options: ConfigDict) -> "Local":
        """The encoder that `config.model` describes."""
        return cls(
            Trunk.of(model).encoder(),
            num_registers=model.num_registers,
            extent=options.extent,
            token_grid=image_token_grid(model, task),
        )

    @staticmethod
    def problems(config: ConfigDict, task: Task | None = None) -> Iterator[str]:
        """Those of the encoder, and no image tokens."""
        yield from encoder_problems(config, task)
        if task is None and "patches" not in config.model.modalities:
            yield (
                "model.fusion='local' is about the tokens of 'patches', which model.modalities="
                f"{tuple(config.model.modalities)} lacks"
            )

    def mask(self, length: int, where: dict[str, tuple[int, int]]) -> np.ndarray:
        """What each token sees, bool [T, T]."""
        seen = np.ones((length, length), bool)
        image = slice(*where["patches"])
        places = np.indices(self.token_grid).reshape(2, -1)  # rows and columns of each token
        apart = np.abs(places[:, :, None] - places[:, None, :]).max(axis=0)  # (P, P)
        seen[image, image] = apart <= self.extent
        return seen
