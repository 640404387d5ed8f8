"""Shapes, parameter counts, and agreement with an independent reference in NumPy."""

import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, load_module
from jax.extend.random import threefry_2x32

from multimodal_vit import config as configuration
from multimodal_vit.components import names
from multimodal_vit.errors import UserError
from multimodal_vit.models import (
    Encoder,
    SelfAttention,
    build_model,
    example_inputs,
    parameter_count,
)
from multimodal_vit.models.convolution import convolve_as_matmul, convolve_lax
from multimodal_vit.models.dropout import Dropout, bernoulli, random_bytes
from multimodal_vit.models.embeddings.patches import PatchEmbedding, patchify
from multimodal_vit.models.stems.conv import ConvStem
from multimodal_vit.models.stems.strided import StridedStem
from multimodal_vit.parameters import plain as unboxed
from multimodal_vit.sampler import Task

TASK = Task((2, 2), (28, 28, 1), 10)


def load_config(name: str):
    file, _, preset = name.partition(":")
    module = load_module(ROOT / "configs" / f"{file}.py")
    return module.get_config(*([preset] if preset else []))


def abstract_params(config, task=TASK):
    model = build_model(config.model, task)
    return unboxed(jax.eval_shape(model.init, jax.random.key(0), example_inputs(task)))["params"]


# The thesis's Table C.1 (section "Output Dimensions within Visual Pre-Processing Stream").
@pytest.mark.parametrize(
    ("num_layers", "after_each", "num_patches", "flattened"),
    [
        (0, [], 196, 16),
        (2, [(54, 16), (52, 32)], 169, 512),
        (4, [(54, 16), (52, 32), (50, 48), (48, 64)], 144, 1024),
    ],
)
def test_table_c1_shapes(num_layers, after_each, num_patches, flattened):
    image = jnp.zeros((3, 56, 56, 1))
    for layers in range(1, num_layers + 1):
        stem = ConvStem(layers)
        shape = jax.eval_shape(lambda stem=stem: stem.init_with_output(jax.random.key(0), image)[0])
        side, channels = after_each[layers - 1]
        assert shape.shape == (3, side, side, channels)
    features = ConvStem(num_layers).init_with_output(jax.random.key(0), image)[0]
    assert patchify(features, 4).shape == (3, num_patches, flattened)
    tokens = PatchEmbedding(4, 96).init_with_output(jax.random.key(0), features)[0]
    assert tokens.shape == (3, num_patches, 96)


def encoder_parameters(dim: int, layers: int, mlp: int) -> int:
    """Two norms, the attention's four projections, the MLP's two, a last norm."""
    block = 2 * 2 * dim + 4 * (dim * dim + dim) + (dim * mlp + mlp) + (mlp * dim + dim)
    return layers * block + 2 * dim


@pytest.mark.parametrize(
    ("name", "stem", "patch", "image_tokens", "dim", "layers", "mlp", "total"),
    [
        # stem: 3·3·1·16 + 16, 3·3·16·32 + 32, 3·3·32·48 + 48, 3·3·48·64 + 64
        ("mnist_conv", 160 + 4640 + 13872 + 27712, 1024, 144, 256, 4, 1024, 3_512_123),
        ("fashion_conv", 160 + 4640 + 13872 + 27712, 1024, 144, 256, 4, 1024, 3_512_123),
        ("mnist_patch", 0, 16, 196, 256, 4, 1024, 3_221_003),
        ("fashion_patch", 0, 16, 196, 256, 4, 1024, 3_221_003),
        # the strided stem also normalises: 2·16, 2·32
        ("mnist_conv:small", 160 + 32 + 4640 + 64, 1568, 4, 128, 3, 512, 804_779),
        ("fashion_conv:small", 160 + 32 + 4640 + 64, 1568, 4, 128, 3, 512, 804_779),
        ("mnist_patch:small", 0, 196, 16, 128, 3, 512, None),
        ("fashion_patch:small", 0, 196, 16, 128, 3, 512, None),
        ("digits_conv", 160 + 32 + 4640 + 64, 1568, 4, 64, 2, 256, 207_403),
    ],
)
def test_parameter_count_of_each_config(name, stem, patch, image_tokens, dim, layers, mlp, total):
    config = load_config(name)
    configuration.check(config)
    params = abstract_params(config)
    expected = (
        stem
        + patch * dim + dim  # patch projection
        + 10 * dim  # words
        + dim + (1 + 4 + image_tokens) * dim  # class token, positions
        + encoder_parameters(dim, layers, mlp)
        + dim * 11 + 11  # head
    )  # fmt: skip
    assert parameter_count(params) == expected
    if total is not None:
        assert expected == total


def test_the_model_returns_logits_and_named_intermediates(tiny_config):
    model = build_model(tiny_config.model, TASK)
    params = unboxed(model.init(jax.random.key(0), example_inputs(TASK)))["params"]
    logits, found = model.apply({"params": params}, example_inputs(TASK, 5))
    assert logits.shape == (5, 11)
    assert logits.dtype == jnp.float32
    assert {k: v.shape for k, v in found["embedded"].items()} == {
        "words": (5, 4, 16),
        "patches": (5, 1, 16),
    }
    assert found["summary"].shape == (5, 16)
    assert found["spans"] == {"words": (1, 5), "patches": (5, 6)}
    assert "attention_weights" not in found
    _, found = model.apply({"params": params}, example_inputs(TASK, 5), return_attention=True)
    (weights,) = found["attention_weights"]
    assert weights.shape == (5, 2, 6, 6)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_two_units_for_true_and_false_are_an_option(tiny_config):
    tiny_config.model.num_match_outputs = 2
    logits = jax.eval_shape(
        lambda: build_model(tiny_config.model, TASK).init_with_output(
            jax.random.key(0), example_inputs(TASK)
        )[0][0]
    )
    assert logits.shape == (1, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_conv_layers": 1}, r"these model.num_conv_layers fit: 0, 2, 4, 6, 8"),
        ({"num_conv_layers": 0, "patch_size": 5}, r"these patch sizes: 1, 2, 4, 7, 8, 14, 28, 56"),
        ({"num_heads": 3}, r"num_heads=3 does not divide model.embedding_dim=256.*1, 2, 4, 8"),
        ({"num_conv_layers": 28}, "does not tile"),
        ({"stem": "strided", "num_conv_layers": 2}, "these patch sizes: 1, 2, 7, 14"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_before_compiling(changes, message):
    config = configuration.thesis()
    config.model.update(changes)
    with pytest.raises(UserError, match=message):
        configuration.check(config)
        configuration.check_with_data(config, TASK, num_devices=1)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width", "size"), [(9, 12, 3), (8, 7, 4), (5, 5, 1)])
def test_convolution_as_a_matrix_product_is_a_convolution(padding, stride, height, width, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, 3, 5)).astype(np.float32)
    expected, pull_expected = jax.vjp(lambda *a: convolve_lax(*a, stride, padding), x, kernel)
    found, pull = jax.vjp(lambda *a: convolve_as_matmul(*a, stride, padding), x, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    upstream = jnp.asarray(rng.normal(size=expected.shape), jnp.float32)
    for gradient, wanted in zip(pull(upstream), pull_expected(upstream), strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=1e-5, rtol=1e-5)


def test_several_kernels_at_once_are_no_grouped_convolution():
    """A grouped convolution, which `vmap` would make of them, is slow on GPUs."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, 2, 8, 8, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 4, 5)), jnp.float32)

    def gradient(convolve):
        loss = lambda x, kernel: (convolve(x, kernel, 2, "SAME") ** 2).sum()  # noqa: E731
        return jax.vmap(jax.grad(loss, argnums=(0, 1)))

    found = gradient(convolve_lax)(x, kernel)
    for a, b in zip(found, gradient(convolve_as_matmul)(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-5)
    lowered = jax.jit(gradient(convolve_lax)).lower(x, kernel).as_text()
    groups = re.findall(r"(?:feature|batch)_group_count = (\d+)", lowered)
    assert groups
    assert set(groups) == {"1"}
    same_image = jax.vmap(lambda kernel: convolve_lax(x[0], kernel, 1, "VALID"))(kernel)
    expected = [convolve_as_matmul(x[0], one, 1, "VALID") for one in kernel]
    np.testing.assert_allclose(same_image, expected, atol=1e-5)


def test_dropout_draws_the_masks_of_flax():
    x = jax.random.normal(jax.random.key(0), (5, 3, 16))
    for rate in (0.1, 0.5):
        rngs = {"dropout": jax.random.key(7)}
        expected = nn.Dropout(rate, deterministic=False).apply({}, x, rngs=rngs)
        found = Dropout(rate, deterministic=False).apply({}, x, rngs=rngs)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(Dropout(0.5, deterministic=True).apply({}, x), x)


def test_dropout_draws_the_same_for_several_seeds_at_once():
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(lambda key: bernoulli(key, 0.9, (4, 5)))(keys)
    alone = jnp.stack([jax.random.bernoulli(key, 0.9, (4, 5)) for key in keys])
    np.testing.assert_array_equal(together, alone)
    key = jax.random.key(0, impl="rbg")  # another generator than threefry
    np.testing.assert_array_equal(bernoulli(key, 0.9, (9,)), jax.random.bernoulli(key, 0.9, (9,)))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_random_bytes_are_even_and_independent(impl):
    """The chi-square statistics of 255 degrees of freedom, to five standard deviations."""
    drawn = np.asarray(random_bytes(jax.random.key(3, impl=impl), (500, 13, 20))).astype(int)
    counts = np.bincount(drawn.ravel(), minlength=256)
    expected = drawn.size / 256
    assert ((counts - expected) ** 2 / expected).sum() == pytest.approx(255, abs=5 * 22.6)
    for distance in (1, 3, 12):  # between blocks, within a word (a block serves every third)
        pairs = np.corrcoef(drawn[..., distance:].ravel(), drawn[..., :-distance].ravel())
        assert abs(pairs[0, 1]) < 5 / np.sqrt(drawn[..., distance:].size)
    assert drawn.shape == (500, 13, 20)


def test_random_bytes_are_the_blocks_of_threefry():
    key = jax.random.key(7)
    counters = jnp.arange(6, dtype=jnp.uint32)
    high, low = threefry_2x32(
        jax.random.key_data(key), jnp.concatenate([jnp.zeros_like(counters), counters])
    ).reshape(2, 6)
    words = np.stack([high, low], axis=-1).astype("<u4")
    of_blocks = words.view(np.uint8).reshape(2, 3, 8)  # rows, blocks, bytes
    found = np.asarray(random_bytes(key, (2, 24)))
    np.testing.assert_array_equal(found, of_blocks.swapaxes(1, 2).reshape(2, 24))
    keys = jax.random.split(key, 3)  # several seeds at once
    together = jax.vmap(lambda key: random_bytes(key, (4, 5)))(keys)
    np.testing.assert_array_equal(together, [random_bytes(key, (4, 5)) for key in keys])


def test_dropout_in_bfloat16_keeps_the_mean():
    x = jnp.ones((400, 250), jnp.bfloat16)
    for rate, kept in ((0.1, 230 / 256), (0.5, 0.5), (1e-4, 255 / 256)):
        y = Dropout(rate, deterministic=False).apply({}, x, rngs={"dropout": jax.random.key(1)})
        assert y.dtype == jnp.bfloat16
        assert set(np.unique(y.astype(jnp.float32))) == {0.0, float(jnp.bfloat16(1 / kept))}
        deviation = np.sqrt(kept * (1 - kept) / x.size)
        assert float((y > 0).mean()) == pytest.approx(kept, abs=5 * deviation)


def test_attention_of_jax_agrees_with_plain_products():
    x = jax.random.normal(jax.random.key(0), (3, 7, 24))
    params = unboxed(SelfAttention(4).init(jax.random.key(1), x))
    plain, _ = SelfAttention(4, implementation="products").apply(params, x)
    fused, _ = SelfAttention(4, implementation="xla").apply(params, x)
    np.testing.assert_allclose(plain, fused, atol=1e-6)


def test_bfloat16_keeps_float32_parameters_and_logits(tiny_config):
    tiny_config.model.dtype = "bfloat16"
    model = build_model(tiny_config.model, TASK)
    params = unboxed(model.init(jax.random.key(0), example_inputs(TASK)))["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    logits, found = model.apply({"params": params}, example_inputs(TASK))
    assert logits.dtype == jnp.float32
    assert found["summary"].dtype == jnp.bfloat16
    tiny_config.model.dtype = "float32"
    exact, _ = build_model(tiny_config.model, TASK).apply({"params": params}, example_inputs(TASK))
    np.testing.assert_allclose(logits, exact, atol=0.05)


def test_dropout_acts_in_training_alone():
    x = jax.random.normal(jax.random.key(0), (2, 5, 16))
    encoder = Encoder(2, 2, 32, dropout_rate=0.5)
    params = unboxed(encoder.init(jax.random.key(1), x))
    calm, _ = encoder.apply(params, x)
    dropped = [
        encoder.apply(params, x, train=True, rngs={"dropout": jax.random.key(s)})[0]
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(calm, encoder.apply(params, x)[0])
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], dropped[2])
    assert not np.allclose(dropped[0], calm)


# ---- an independent reference: float64 NumPy, written from the papers with explicit loops ----


def reference_convolution(x, kernel, bias, stride=1, same=False):
    size = kernel.shape[0]
    if same:  # as much padding as an output of ⌈side / stride⌉ needs, the odd pixel at the end
        sides = [-(-s // stride) for s in x.shape[:2]]
        pad = [max((o - 1) * stride + size - s, 0) for o, s in zip(sides, x.shape[:2], strict=True)]
        x = np.pad(x, [(p // 2, p - p // 2) for p in pad] + [(0, 0)])
    rows, columns = (x.shape[0] - size) // stride + 1, (x.shape[1] - size) // stride + 1
    y = np.zeros((rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            window = x[i * stride : i * stride + size, j * stride : j * stride + size]
            y[i, j] = np.einsum("hwc,hwcf->f", window, kernel) + bias
    return y


def reference_norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def reference_gelu(x):  # the tanh form of Hendrycks & Gimpel 2016
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def reference_attention(x, p, num_heads):
    D = x.shape[-1]
    head_dim = D // num_heads
    out = np.zeros_like(x)
    for head in range(num_heads):
        q, k, v = (x @ p["qkv"]["kernel"][:, i, head] + p["qkv"]["bias"][i, head] for i in range(3))
        scores = q @ k.T / math.sqrt(head_dim)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        out[:, head * head_dim : (head + 1) * head_dim] = weights @ v
    return out @ p["out"]["kernel"] + p["out"]["bias"]


def reference_model(params, image, words, model):
    """One example: image [H, W, 1] of 0 to 255, words [n]; returns the logits [11]."""
    x = image / 255.0
    stem = params["embeddings_patches"].get("stem", {})
    for i in range(model.num_conv_layers):
        conv = stem[f"conv_{i}"]
        strided = model.stem == "strided"
        x = reference_convolution(
            x, conv["kernel"], conv["bias"], 2 if strided else 1, same=strided
        )
        if strided:
            x = reference_norm(x, stem[f"norm_{i}"])
        x = np.maximum(x, 0)
    p = model.patch_size
    patches = []
    for top in range(0, x.shape[0], p):
        for left in range(0, x.shape[1], p):
            pixels = [
                x[top + r, left + c, ch]
                for r in range(p) for c in range(p) for ch in range(x.shape[2])
            ]  # fmt: skip
            patches.append(pixels)
    projection = params["embeddings_patches"]["patches"]["projection"]
    image_tokens = np.array(patches) @ projection["kernel"] + projection["bias"]
    word_tokens = params["embeddings_words"]["Embed_0"]["embedding"][words]
    fusion = params["fusion"]
    x = np.concatenate([fusion["class_token"][0], word_tokens, image_tokens])
    x = x + fusion["positions"][0]
    encoder = fusion["encoder"]
    for i in range(model.num_encoder_layers):
        block = encoder[f"block_{i}"]
        if model.fusion_options.norm == "post":  # PyTorch's nn.TransformerEncoderLayer
            y = reference_attention(x, block["attention"], model.num_heads)
            x = reference_norm(x + y, block["attention_norm"])
            y = np.maximum(x @ block["mlp_in"]["kernel"] + block["mlp_in"]["bias"], 0)
            y = y @ block["mlp_out"]["kernel"] + block["mlp_out"]["bias"]
            x = reference_norm(x + y, block["mlp_norm"])
            continue
        x = x + reference_attention(
            reference_norm(x, block["attention_norm"]), block["attention"], model.num_heads
        )
        y = reference_norm(x, block["mlp_norm"]) @ block["mlp_in"]["kernel"]
        y = reference_gelu(y + block["mlp_in"]["bias"])
        x = x + y @ block["mlp_out"]["kernel"] + block["mlp_out"]["bias"]
    summary = (reference_norm(x, encoder["norm"]) if "norm" in encoder else x)[0]
    return summary @ params["head"]["kernel"] + params["head"]["bias"]


@pytest.mark.parametrize("condition", ["conv", "patch", "strided", "faithful"])
def test_the_model_agrees_with_a_reference_in_numpy(condition):
    config = configuration.faithful() if condition == "faithful" else configuration.thesis()
    model = config.model
    model.update({"embedding_dim": 24, "num_heads": 3, "mlp_dim": 40, "num_encoder_layers": 2})
    if condition in ("conv", "faithful"):
        model.num_conv_layers = 2
    elif condition == "patch":
        model.num_conv_layers = 0
    else:
        model.update({"stem": "strided", "num_conv_layers": 2, "patch_size": 2})
    task = Task((2, 2), (8, 8, 1), 10)
    jax_model = build_model(model, task)
    params = unboxed(jax_model.init(jax.random.key(0), example_inputs(task)))["params"]
    # Every parameter away from its initial value, so that each one matters.
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(structure, noisy)
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (3, 16, 16, 1)).astype(np.uint8)
    words = rng.integers(0, 10, (3, 4)).astype(np.int32)
    found, _ = jax_model.apply({"params": params}, {"image": images, "words": words})
    exact = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    expected = [
        reference_model(exact, i.astype(np.float64), w, model)
        for i, w in zip(images, words, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_norm_and_activation_change_nothing_where_they_are_not_asked():
    x = jax.random.normal(jax.random.key(0), (2, 5, 16))
    variables = Encoder(1, 2, 32).init(jax.random.key(1), x)
    plain, _ = Encoder(1, 2, 32).apply(variables, x)
    for options in ({"norm": "pre", "activation": "relu"}, {"norm": "post"}):
        other = Encoder(1, 2, 32, **options)
        assert not np.allclose(other.apply(variables, x)[0], plain)
        assert other.describe()["blocks"] in ("relu", "post-norm")
    assert "blocks" not in Encoder(1, 2, 32).describe()


@pytest.mark.parametrize("fusion", sorted(set(names("model.fusion")) - {"single_encoder"}))
def test_other_designs_refuse_the_single_encoders_norm_in_one_line(fusion):
    config = configuration.small()
    config.model.fusion, config.model.fusion_options = fusion, {"norm": "post"}
    lines = [line for line in configuration.problems(config) if "norm" in line]
    assert lines == [
        "model.fusion_options.norm is an option of model.fusion='single_encoder', not of "
        f"{fusion!r}"
    ]


def test_the_strided_stem_halves_the_image():
    out = StridedStem(2).init_with_output(jax.random.key(0), jnp.zeros((1, 56, 60, 3)))[0]
    assert out.shape == (1, 14, 15, 32)
