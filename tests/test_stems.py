"""Stems of residual and of depthwise convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multimodal_vit.config import changed, check, small
from multimodal_vit.errors import UserError
from multimodal_vit.models.convolution import DepthwiseConv
from multimodal_vit.models.stems.mbconv import MBConvStem, rounded_depth, rounded_width
from multimodal_vit.models.stems.residual import SHORTCUTS, ResidualBlock, ResidualStem
from multimodal_vit.parameters import plain

X = jax.random.normal(jax.random.key(0), (2, 7, 6, 4))


def parameters(module, *shape):
    shapes = jax.eval_shape(lambda: plain(module.init(jax.random.key(0), jnp.zeros(shape))))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_a_block_whose_layers_give_nothing_leaves_its_shortcut(shortcut):
    block = ResidualBlock(6, 2, shortcut, "layer")
    variables = plain(block.init(jax.random.key(1), X))
    for name in ("second", "second_norm"):
        variables["params"][name] = jax.tree.map(jnp.zeros_like, variables["params"][name])
    found = block.apply(variables, X)
    assert found.shape == (2, 4, 3, 6)
    if shortcut == "identity":
        expected = np.pad(np.maximum(X[:, ::2, ::2], 0), ((0, 0), (0, 0), (0, 0), (0, 2)))
        np.testing.assert_array_equal(found, expected)
    assert found.any() == (shortcut != "none")


def test_identity_adds_no_parameter_and_depth_does():
    counts = {s: parameters(ResidualStem(8, s), 1, 56, 56, 1) for s in SHORTCUTS}
    assert counts["identity"] == counts["none"] < counts["projection"]
    assert counts["identity"] < parameters(ResidualStem(16), 1, 56, 56, 1)


@pytest.mark.parametrize(
    ("stem", "channels"), [(ResidualStem(2), 16), (ResidualStem(4), 32), (MBConvStem(1), 48)]
)
def test_the_sides_are_those_that_it_says(stem, channels):
    for side in (56, 57):
        shape = jax.eval_shape(
            lambda x: stem.init_with_output(jax.random.key(0), x)[0], jnp.zeros((1, side, 30, 1))
        ).shape
        sides = [type(stem).output_side(n, stem.num_layers) for n in (side, 30)]
        assert shape == (1, *sides, channels)


def test_a_depthwise_convolution_is_the_grouped_one():
    conv = DepthwiseConv(3, 2)
    variables = plain(conv.init(jax.random.key(0), X))
    kernel = variables["params"]["kernel"][:, :, None]
    grouped = jax.lax.conv_general_dilated(
        X, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    )  # fmt: skip
    np.testing.assert_allclose(conv.apply(variables, X), grouped, rtol=1e-4, atol=1e-5)


def test_compound_scaling_rounds_as_the_original():
    assert [rounded_width(c, 0) for c in (16, 24, 40)] == [16, 24, 40]
    assert all(rounded_width(c, p) % 8 == 0 for c in (16, 24, 40) for p in range(9))
    assert all(rounded_width(c, p) >= 0.9 * c * 1.1**p for c in (16, 24, 40) for p in range(9))
    assert [rounded_depth(2, p) for p in range(4)] == [2, 3, 3, 4]


def test_an_odd_number_of_residual_layers_is_refused():
    changes = {"model.stem": "residual", "model.num_conv_layers": 5}
    with pytest.raises(UserError, match="=5 must be an even number from 2"):
        check(changed(small(), changes))
