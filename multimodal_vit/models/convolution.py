"""One convolution, computed as suits the backend: `lax.conv`, or on the CPU one matrix product.

XLA:CPU runs the gradients of a convolution inside a loop body many times slower than outside (jax
issue 12868): that of a kernel of 48 to 64 channels 60 times. The training loop is such a body.
There the convolution is written as shifted slices, laid side by side, times the kernel as a matrix.
The numbers agree to rounding.

Several seeds at once are several kernels at once. JAX would make one grouped convolution of them,
and grouped convolutions are slow on GPUs, their gradients above all; here they are computed one
after the other.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from multimodal_vit.parameters import declare


def convolve_as_matmul(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    """The convolution of `jax.lax.conv_general_dilated`, as slices and one matrix product.

    Args:
      x: [B, H, W, C].
      kernel: [h, w, C, F].
      stride: of both axes.
      padding: "VALID" or "SAME".

    Returns:
      [B, H', W', F].
    """
    h, w, C, F = kernel.shape
    pads = jax.lax.padtype_to_pads(x.shape[1:3], (h, w), (stride, stride), padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    B, H, W, _ = x.shape
    rows, columns = (H - h) // stride + 1, (W - w) // stride + 1
    slices = [
        x[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
        for i in range(h)
        for j in range(w)
    ]
    neighbourhoods = jnp.concatenate(slices, axis=-1)  # (B, rows, columns, h·w·C)
    y = neighbourhoods.reshape(-1, h * w * C) @ kernel.reshape(-1, F)
    return y.reshape(B, rows, columns, F)


def _conv(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _one_after_the_other(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which `vmap` over several arguments calls for each entry."""
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def rule(axis_size: int, in_batched: list[bool], *arguments: jax.Array) -> tuple[Any, Any]:
        if sum(in_batched) == 1:
            axes = [0 if batched else None for batched in in_batched]
            results = jax.vmap(function, in_axes=axes)(*arguments)
        else:
            pairs = list(zip(arguments, in_batched, strict=True))
            each = [
                function(*(a[i] if batched else a for a, batched in pairs))
                for i in range(axis_size)
            ]
            results = jax.tree.map(lambda *x: jnp.stack(x), *each)
        return results, jax.tree.map(lambda _: True, results)

    return mapped


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_lax(x: jax.Array, kernel: jax.Array, stride: int, padding: str) -> jax.Array:
    """The same by `jax.lax.conv_general_dilated`; for reverse differentiation only."""
    return _one_after_the_other(lambda x, kernel: _conv(x, kernel, stride, padding))(x, kernel)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, padding: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return convolve_lax(x, kernel, stride, padding), (x, kernel)


def _backward(
    stride: int, padding: str, kept: tuple[jax.Array, jax.Array], upstream: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def pull(x: jax.Array, kernel: jax.Array, upstream: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(lambda *a: _conv(*a, stride, padding), x, kernel)[1](upstream)

    return _one_after_the_other(pull)(*kept, upstream)


convolve_lax.defvjp(_forward, _backward)

_PLAIN = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
    """Within it, what is traced has `lax.conv` without a gradient of its own, on every backend.

    For other programs, which know convolutions and nothing of JAX's rules about them.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


class Conv(nn.Module):
    """A 2-D convolution with bias; parameters and initialisation as in `flax.linen.Conv`.

    Attributes:
      features: F, the output channels.
      kernel_size: side of the square kernel.
      stride: of both axes.
      padding: "VALID" or "SAME".
      dtype: of the computation; parameters are float32.
      as_matmul: how to compute it; None chooses by backend.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: str = "VALID"
    dtype: Dtype = jnp.float32
    as_matmul: bool | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H', W', F]."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        init = declare(nn.initializers.lecun_normal(), matrix=((0, 1, 2), (3,)), decay=True)
        kernel = self.param("kernel", init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        as_matmul = jax.default_backend() == "cpu" if self.as_matmul is None else self.as_matmul
        convolve = convolve_as_matmul if as_matmul else convolve_lax
        if _PLAIN.get():
            convolve = _conv
        x, kernel, bias = x.astype(self.dtype), kernel.astype(self.dtype), bias.astype(self.dtype)
        return convolve(x, kernel, self.stride, self.padding) + bias


class DepthwiseConv(nn.Module):
    """A convolution of each channel by a kernel of its own, padded, without bias.

    It is written as shifted slices times weights: few operations for each of many bytes, on every
    backend, and no grouped convolution, whose gradients are slow.

    Attributes:
      kernel_size: side of the square kernel.
      stride: of both axes.
      dtype: of the computation; parameters are float32.
    """

    kernel_size: int
    stride: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, ⌈H / stride⌉, ⌈W / stride⌉, C]."""
        k, s = self.kernel_size, self.stride
        init = declare(nn.initializers.lecun_normal(in_axis=(0, 1), out_axis=()), decay=True)
        kernel = self.param("kernel", init, (k, k, x.shape[-1])).astype(self.dtype)
        pads = jax.lax.padtype_to_pads(x.shape[1:3], (k, k), (s, s), "SAME")
        x = jnp.pad(x.astype(self.dtype), ((0, 0), *pads, (0, 0)))
        rows, columns = ((side - k) // s + 1 for side in x.shape[1:3])
        return sum(
            x[:, i : i + s * (rows - 1) + 1 : s, j : j + s * (columns - 1) + 1 : s] * kernel[i, j]
            for i in range(k)
            for j in range(k)
        )
