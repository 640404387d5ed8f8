"""Attention over all tokens of a fusion, whatever its streams: joint maps, one for a layer.

A fusion with several streams, queries or latents gives its attention so, and the probes can ask it
as they ask a single encoder.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Block = tuple[Sequence[str], Sequence[str], jax.Array]


def joint_sizes(tokens: Mapping[str, jax.Array], extras: Mapping[str, int]) -> dict[str, int]:
    """The index set of joint maps: the summary, each modality, then a fusion's other tokens.

    Args:
      tokens: of each modality, [B, T_m, D]; words and patches come first.
      extras: how many other tokens, by name: class tokens, registers, latents. None of size 0.
    """
    first = [name for name in ("words", "patches") if name in tokens]
    names = [*first, *(name for name in tokens if name not in first)]
    found = {"summary": 1} | {name: tokens[name].shape[1] for name in names}
    return found | {name: size for name, size in extras.items() if size}


def spans(sizes: Mapping[str, int], names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Where some of the tokens of joint maps stand: first, and one after the last."""
    ends = np.cumsum(list(sizes.values())).tolist()
    where = {n: (e - s, e) for (n, s), e in zip(sizes.items(), ends, strict=True)}
    return {name: where[name] for name in names}


def joint_map(blocks: Sequence[Block], sizes: Mapping[str, int]) -> jax.Array:
    """One layer's attention over all tokens of all streams, [B, heads, T, T]; rows sum to 1.

    Row t is what token t takes in this layer. One that is not updated has 1 on itself; one that
    stands in several blocks has their mean.

    Args:
      blocks: the tokens that look and those that are looked at, by name and in the order of the
        rows and columns of the weights [B, heads, rows, columns]. Names without tokens are skipped.
      sizes: of `joint_sizes`.
    """
    places = {n: np.arange(*span) for n, span in spans(sizes, list(sizes)).items()}

    def index(names: Sequence[str]) -> np.ndarray:
        return np.concatenate([places[name] for name in names if name in places])

    total = sum(sizes.values())
    first = blocks[0][2]
    sums = jnp.zeros((*first.shape[:2], total, total), first.dtype)
    times = np.zeros(total)
    for rows, columns, weights in blocks:
        where = index(rows)
        sums = sums.at[:, :, where[:, None], index(columns)].add(weights)
        times[where] += 1
    own = jnp.asarray(np.diag(times == 0), first.dtype)
    return sums / jnp.asarray(np.maximum(times, 1)[:, None], first.dtype) + own


def joint_attention(
    maps: Sequence[jax.Array],
    sizes: Mapping[str, int],
    modalities: Sequence[str],
    readout: Sequence[str] = (),
) -> dict[str, Any]:
    """What a fusion's intermediates say of its attention; see `models.base.Fusion`.

    Args:
      maps: joint maps, one for each layer.
      sizes: of `joint_sizes`.
      modalities: that the fusion reads.
      readout: the tokens that the summary is made of, in equal parts, where no layer makes it.
    """
    last = [readout_map(readout, sizes, maps[-1])] if readout else []
    found = {"attention_weights": [*maps, *last], "spans": spans(sizes, modalities)}
    return found | {"index": spans(sizes, list(sizes))} | ({"readout": True} if readout else {})


def readout_map(names: Sequence[str], sizes: Mapping[str, int], like: jax.Array) -> jax.Array:
    """The joint map of a summary that is made of some tokens in equal parts.

    Args:
      names: of them, such as the class tokens.
      sizes: of `joint_sizes`.
      like: another joint map, for shape and dtype.
    """
    shares = [np.full(sizes[name], 1 / sizes[name] / len(names)) for name in names]
    weights = jnp.asarray(np.concatenate(shares), like.dtype)
    weights = jnp.broadcast_to(weights, (*like.shape[:2], 1, weights.size))
    return joint_map([(["summary"], names, weights)], sizes)


def towers_maps(
    weights: Mapping[str, Sequence[jax.Array]], sizes: Mapping[str, int]
) -> Iterator[jax.Array]:
    """Joint maps of parallel encoders, layer by layer; one that has ended stays as it is.

    Args:
      weights: by modality, of each layer [B, heads, 1 + T + r, 1 + T + r].
      sizes: with "class_<modality>" and "registers_<modality>".
    """
    for i in range(max(map(len, weights.values()))):
        blocks = []
        for name, layers in weights.items():
            if i < len(layers):
                own = stream_names(name)
                blocks.append((own, own, layers[i]))
        yield joint_map(blocks, sizes)


def stream_names(modality: str) -> list[str]:
    """The tokens of a `Stream` in joint maps, in their order."""
    return [f"class_{modality}", modality, f"registers_{modality}"]


def class_names(modalities: Sequence[str]) -> list[str]:
    """The class tokens of streams in joint maps."""
    return [f"class_{name}" for name in modalities]


def stream_extras(modalities: Sequence[str], num_registers: int) -> dict[str, int]:
    """What streams have besides their tokens: class tokens and registers; for `joint_sizes`."""
    return dict.fromkeys(class_names(modalities), 1) | {
        f"registers_{name}": num_registers for name in modalities
    }
