"""Every fusion design: what all must do, asked of the registry, and what each one's paper says."""

import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT, load_module, six_losses

from multimodal_vit import config as configuration
from multimodal_vit.analysis.design_figure import flows
from multimodal_vit.components import get
from multimodal_vit.config import changed, small
from multimodal_vit.models import SelfAttention, build_model, example_inputs
from multimodal_vit.models.attention import MultiHeadAttention
from multimodal_vit.models.experts import LOSSES, Experts, Routing, balance_losses
from multimodal_vit.models.fusions import COMPONENTS
from multimodal_vit.models.joint_map import joint_map
from multimodal_vit.objectives.supervised import BinaryCrossEntropy
from multimodal_vit.parameters import declarations, plain
from multimodal_vit.probes.maps import attention_maps, rollout
from multimodal_vit.sampler import Task
from multimodal_vit.train.experiment import Experiment

TASK = Task((2, 2), (28, 28, 1), 10)
OF_FEATURES = ("bayes_rule", "concatenation", "addition")  # they read no token sequences
DESIGNS = [name for name in COMPONENTS if name not in OF_FEATURES]
ADDITIVE = ("add", "concat_linear")
WITHOUT_ATTENTION = ("bag", "lowrank", "mlp")
DEEPER = ("mbt", "moe", "limoe")  # with one layer they do not show what they are
SHIFTS = {"scale": 1, "log_scale": 4}
OF_OTHERS = ("concat", "add", "concat_linear", "causal", "local")
D, N, P, B = 16, 4, 4, 4
OPTIONS = "model.fusion_options."
STEPS = 150


def tiny(design: str, **more):
    """A fusion of few dimensions, with as few layers as show what it does."""
    changes = {
        "model.fusion": design, "model.embedding_dim": D, "model.num_heads": 2,
        "model.mlp_dim": 32, "model.num_encoder_layers": 2 if design in DEEPER else 1,
        "model.num_registers": 1, "model.attention": "products",
    }  # fmt: skip
    own = get("model.fusion", design).options
    given = {(OPTIONS if name in own else "model.") + name: v for name, v in more.items()}
    config = changed(small(), changes | given)
    assert not list(configuration.problems(config))
    return get("model.fusion", design).target.build(config.model, TASK, config.model.fusion_options)


def some_tokens(seed=0, batch=B, **sizes):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=(batch, size, D)), jnp.float32)
        for name, size in ({"words": N, "patches": P} | sizes).items()
    }


def compiled(design):
    """`jax.jit`, but of designs that are made of others' operations: these are compiled already."""
    return (lambda function: function) if design in OF_OTHERS else jax.jit


@functools.cache
def made(design: str, **more):
    """A fusion, parameters that are all away from their first values, and it compiled."""
    fusion = tiny(design, **more)
    shapes = plain(jax.eval_shape(fusion.init, jax.random.key(0), some_tokens(batch=1)))["params"]
    rng = np.random.default_rng(0)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.asarray(
            rng.normal(size=leaf.shape) * 0.2 + SHIFTS.get(path[-1].key, 0), jnp.float32
        ),
        shapes,
    )

    # An argument of a compiled function has its dict sorted: here the order matters.
    @compiled(design)
    def run(p, w, i):
        return fusion.apply({"params": p}, {"words": w, "patches": i})

    return fusion, params, lambda p, tokens: run(p, tokens["words"], tokens["patches"])


def apply(design: str, params, tokens, **more):
    return made(design, **more)[2](params, tokens)


def shut(params):
    """Flamingo's parameters with the gates of the start."""
    gated = {name: own | {"attention_gate": jnp.zeros(()), "mlp_gate": jnp.zeros(())}
             for name, own in params.items() if name.startswith("gated_")}  # fmt: skip
    return params | gated


def crossed():
    """Tokens of the pairs (x, w), (x', w), (x, w'), (x', w')."""
    tokens = some_tokens(1, batch=2)
    return {"words": tokens["words"][jnp.array([0, 0, 1, 1])],
            "patches": tokens["patches"][jnp.array([0, 1, 0, 1])]}  # fmt: skip


def interaction(summary) -> float:
    """The mixed second difference of a random read-out of `crossed` tokens: 0 where additive."""
    y = np.asarray(summary, np.float64) @ np.random.default_rng(0).normal(size=summary.shape[1])
    return float(abs(y[0] - y[1] - y[2] + y[3]))


# ---- what every design must do ----


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design(design):
    fusion, params, run = made(design)
    tokens = crossed()
    summary, found = run(params, tokens)
    width = 11 if fusion.makes_logits else {"concat_linear": 2 * D}.get(design, D)
    assert summary.shape == (B, width)
    assert summary.dtype == jnp.float32
    assert {n: x.shape for n, x in found["tokens"].items()} == {
        "words": (B, N, D), "patches": (B, P, D)
    }  # fmt: skip
    # An example's answer does not depend on the others in its batch.
    others = {n: x.at[1:].set(some_tokens(5)[n][1:]) for n, x in tokens.items()}
    np.testing.assert_allclose(run(params, others)[0][0], summary[0], atol=1e-5)
    # Words and image meet, unless the design is additive.
    if design in ADDITIVE:
        assert interaction(summary) < 1e-5
    else:
        assert interaction(summary) > 1e-3
    missing = tokens | {"patches": jnp.zeros_like(tokens["patches"])}
    assert np.isfinite(run(params, missing)[0]).all()
    assert all(x.shape == (B,) for x in found.get("losses", {}).values())


@pytest.mark.parametrize("design", DESIGNS)
def test_attention_is_a_joint_map_and_the_gradient_reaches_every_parameter(design):
    """In one program; Flamingo's after two steps."""
    fusion, params, run = made(design)
    tokens = crossed()

    @compiled(design)
    def ask(params):
        def read(params):
            found = fusion.apply({"params": params}, tokens, return_attention=True)
            return jnp.sin(found[0]).sum(), found

        return jax.grad(read, has_aux=True)(params)

    gradient, (summary, found) = ask(params)
    assert ("attention_weights" in found) == (design not in WITHOUT_ATTENTION)
    assert bool(fusion.no_attention) == (design in WITHOUT_ATTENTION)
    if design not in WITHOUT_ATTENTION:
        np.testing.assert_array_equal(summary, run(params, tokens)[0])  # asking changes no bit
        check_joint_maps(found)
    if design == "flamingo":  # whose gates are shut at first
        params = shut(params)
        for size in (0.1, 0.07):
            gradient, _ = ask(params)
            params = jax.tree.map(lambda p, g, size=size: p + size * jnp.sign(g), params, gradient)
        gradient, _ = ask(params)
    leaves = jax.tree_util.tree_leaves_with_path(gradient)
    none = [jax.tree_util.keystr(path) for path, g in leaves if not float(jnp.abs(g).max()) > 1e-7]
    assert none == []


def check_joint_maps(found):
    weights = found["attention_weights"]
    total = weights[0].shape[-1]
    assert {w.shape for w in weights} == {(B, 2, total, total)}
    for layer in weights:
        np.testing.assert_allclose(layer.sum(-1), 1, atol=1e-5)
    spans = {name: tuple(map(int, span)) for name, span in found["spans"].items()}
    assert {name: end - start for name, (start, end) in spans.items()} == {"words": N, "patches": P}
    assert all(start >= 1 for start, _ in spans.values())  # token 0 is the summary
    # What arrives at the summary comes from words and image.
    arrives = rollout(jnp.stack(weights, axis=1))[:, 0]
    for start, end in spans.values():
        assert float(arrives[:, start:end].sum(-1).min()) > 1e-3


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_takes_any_order_three_streams_and_bfloat16(design):
    """Traced only; with blocks that are computed again in the backward pass."""
    fusion = tiny(design, dtype="bfloat16", remat=True)
    half = {n: x.astype(jnp.bfloat16) for n, x in some_tokens(audio=6).items()}
    for tokens in (half, {n: half[n] for n in ("patches", "words")}):
        summary, variables = jax.eval_shape(
            lambda t: fusion.init_with_output(jax.random.key(0), t), tokens
        )
        (summary, found), variables = summary, plain(variables)
        assert summary.dtype == (jnp.float32 if fusion.makes_logits else jnp.bfloat16)
        assert {x.dtype.name for x in jax.tree.leaves(variables)} == {"float32"}
        assert set(found["tokens"]) == set(tokens)
        asked = jax.eval_shape(
            lambda v, t: fusion.apply(
                v, t, train=True, return_attention=True, rngs={"dropout": jax.random.key(0)}
            )[1],
            variables, tokens,
        )  # fmt: skip
        assert set(asked.get("spans", tokens)) == set(tokens)


@pytest.mark.parametrize("design", DESIGNS)
def test_optimizers_and_layouts_know_every_matrix(design):
    """By declaration: all matrices decay, Muon knows their axes, and attention and MLP are cut."""
    fusion = tiny(design)
    found = declarations(fusion.init, jax.random.key(0), some_tokens(batch=1))
    for path, own in found.items():
        matrix = path.endswith("kernel")
        assert own.decay == matrix, path
        if path != "cosine/classes/kernel":
            assert (own.matrix is not None) == matrix, path
        inside = any(f"/{part}/" in path for part in ("qkv", "query", "key_value", "attention/out"))
        if matrix and (inside or "/mlp_" in path or "/experts/" in path) and "router" not in path:
            assert own.cut is not None, path


# ---- size: formulas of docs/fusion.md, at the settings of configs/fusion.py ----


def attention(d):
    return 4 * d * d + 4 * d


def mlp(d, f):
    return 2 * d * f + f + d


def block(d, f):
    return attention(d) + mlp(d, f) + 4 * d


def cross(d, f):
    return block(d, f) + 2 * d


def towers(layers, f, r, d=128, sizes=(4, 4)):
    return sum((1 + r) * d + (1 + r + t) * d + layers * block(d, f) + 2 * d for t in sizes)


def unimodal(layers, f, d=128, sizes=(4, 4)):
    return sum(d + (1 + t) * d + layers * block(d, f) + d * d + d for t in sizes)


W = 128
HEAD, COSINE = (W + 1) * 11, 2 * W * W + 2 + (W + 1) * 10
ENCODER = 3 * block(W, 512) + 2 * W + W + 9 * W
EXPERTS = attention(W) + 4 * W + 4 * W + 4 * mlp(W, 128)
FORMULAS = {
    "single_encoder": ENCODER + HEAD,
    "product": towers(2, 284, 4) + 2 * (W * W + W) + HEAD,
    "concat": towers(2, 284, 4) + 2 * W * W + W + HEAD,
    "add": towers(3, 124, 4) + HEAD,
    "concat_linear": towers(3, 124, 4) + (2 * W + 1) * 11,
    "clip": towers(2, 284, 4) + COSINE,
    "vilbert": 2 * (5 * W + 9 * W + 2 * W + cross(W, 284) + block(W, 284) + W * W + W) + HEAD,
    "flava": unimodal(1, 288) + 3 * W + 2 * block(W, 288) + 2 * W + HEAD,
    "late_transformer": unimodal(1, 284) + 2 * 2 * W + 12 * W + 2 * block(W, 284) + 2 * W + HEAD,
    "unit": unimodal(1, 156) + 2 * W + 12 * W + 2 * (2 * W + attention(W) + cross(W, 156))
    + 2 * W + HEAD,
    "perceiver": 2 * W + 8 * W + 10 * W + 2 * cross(W, W) + 2 * block(W, 508) + 3 * W + HEAD,
    "hip": 2 * 4 * W + 15 * W + 5 * W + W + 3 * cross(W, W) + 2 * block(W, 312) + 2 * W + HEAD,
    "flamingo": 4 * W + 4 * W + cross(W, 200) + 2 * W + 7 * W + 11 * W
    + 2 * (cross(W, 200) + 2 + block(W, 200)) + 2 * W + HEAD,
    "mbt": 2 * (W + 5 * W) + 4 * W + 4 * block(W, 320) + 2 * W + HEAD,
    "moe": 2 * block(W, 512) + EXPERTS + 2 * W + 10 * W + HEAD,
    "limoe": 2 * block(W, 468) + attention(W) + 8 * W + 4 * mlp(W, 117) + 2 * W + 2 * 6 * W
    + COSINE,
    "memory": 3 * (block(W, 504) + 16 * W) + 2 * W + 10 * W + HEAD,
    "meshed": 2 * (block(W, 420) + 16 * W) + 4 * W + 12 * W + W + attention(W)
    + 2 * (2 * W + 2 * W * W + W) + mlp(W, 420) + 4 * W + HEAD,
    "causal": ENCODER + HEAD,
    "local": ENCODER + HEAD,
    "bag": 2 * (W * W + W) + HEAD,
    "lowrank": 2 * (4 * W * 576 + 576) + 577 * 11,
    "mlp": 8 * W * 512 + 512 + 512 * W + W + HEAD,
}  # fmt: skip
EMBEDDINGS = 10 * W + (160 + 32 + 4640 + 64) + 1568 * W + W


@functools.cache
def budget():
    module = load_module(ROOT / "benchmarks" / "match_budget.py")
    base = configuration.from_file(f"{ROOT / 'configs' / 'fusion.py'}:single_encoder")
    return module, module.count(base)


@pytest.mark.parametrize("design", DESIGNS)
def test_parameters_by_formula_and_the_budget(design):
    """A condition outside 5 % of the single encoder's parameters or FLOP is refused here."""
    module, reference = budget()
    config = configuration.from_file(f"{ROOT / 'configs' / 'fusion.py'}:{design}")
    found = module.row(design, config, reference)
    assert found["parameters"] == EMBEDDINGS + FORMULAS[design]
    assert module.line(found) in (ROOT / "docs" / "fusion.md").read_text()
    outside = load_module(ROOT / "configs" / "fusion.py").UNMATCHED
    if design != "bag":
        assert abs(found["parameters_ratio"] - 1) < module.TOLERANCE
    if design not in outside:
        assert abs(found["flop_ratio"] - 1) < module.TOLERANCE


def test_flop_of_one_encoder_by_hand():
    module, (_, flop) = budget()
    t, f, layers = 9, 512, 3
    blocks = layers * (2 * t * (4 * W * W + 2 * W * f) + 4 * t * t * W)
    assert flop == 3 * (3_637_760 + blocks + 2 * W * 11)
    assert module.TOLERANCE == 0.05


# ---- common parts ----


def test_masks_slots_and_other_lengths_agree_for_every_implementation():
    x, y = some_tokens(batch=3).values()
    y = y[:, :3]
    mask = np.tril(np.ones((N, N), bool))
    for module, arguments in (
        (SelfAttention(2, num_slots=3), (x, False, mask)),
        (MultiHeadAttention(2), (x, y)),
        (MultiHeadAttention(2), (x, y, False, np.tri(N, 3, dtype=bool))),
    ):
        params = plain(module.init(jax.random.key(1), *arguments))
        plainly = module.clone(implementation="products").apply(params, *arguments)[0]
        for other in ("xla", "cudnn"):  # cuDNN's is not taken for these
            if other == "cudnn" and len(arguments) < 3:
                continue
            found = module.clone(implementation=other).apply(params, *arguments)[0]
            np.testing.assert_allclose(found, plainly, atol=1e-5)


def test_no_slots_is_plain_attention_bit_for_bit_and_slots_learn_without_tokens():
    x = some_tokens()["words"]
    params = plain(SelfAttention(2).init(jax.random.key(0), x))
    slotted = SelfAttention(2, num_slots=0)
    np.testing.assert_array_equal(slotted.apply(params, x)[0], SelfAttention(2).apply(params, x)[0])
    with_slots = SelfAttention(2, num_slots=3)
    params = plain(with_slots.init(jax.random.key(0), x))
    zero = jnp.zeros_like(x)
    gradient = jax.grad(lambda p: with_slots.apply(p, zero)[0][0, 0, 0])(params)["params"]
    assert float(jnp.abs(gradient["slot_values"]).max()) > 1e-3
    _, weights = with_slots.apply(params, x, True, np.eye(N, dtype=bool))
    assert weights.shape == (B, 2, N, N + 3)
    assert float(weights[..., N:].min()) > 0  # a mask never covers them


def test_the_joint_map_of_one_encoder_is_its_weights():
    weights = jax.nn.softmax(jax.random.normal(jax.random.key(0), (2, 2, 6, 6)))
    names = ["summary", "words", "patches"]
    sizes = {"summary": 1, "words": 4, "patches": 1}
    np.testing.assert_array_equal(joint_map([(names, names, weights)], sizes), weights)


def test_registers_do_not_change_the_sequence_before_them():
    fusion, _, _ = made("single_encoder")
    assert fusion.num_registers == 1
    kept = {"words": jnp.zeros((B, 2), jnp.int32), "patches": jnp.zeros((B, 0), jnp.int32)}
    params = made("single_encoder")[1]
    summary, found = fusion.apply({"params": params}, crossed(), kept=kept)
    assert found["tokens"]["words"].shape == (B, 2, D)
    assert summary.shape == (B, D)


# ---- what each design's own paper says ----


def test_a_vilbert_whose_streams_are_shut_is_a_product_of_towers():
    fusion, whole, run = made("vilbert")
    params = dict(whole)
    for name in (f"{modality}_cross_0" for modality in ("words", "patches")):
        own = params[name]["attention"]
        own = own | {"out": jax.tree.map(jnp.zeros_like, own["out"])}
        params[name] = params[name] | {"attention": own}
    tokens = crossed()
    found = run(params, tokens)[1]["summaries"]
    np.testing.assert_array_equal(found["words"][0], found["words"][1])  # (x, w) and (x', w)
    assert interaction(run(params, tokens)[0]) > 1e-3  # bilinear all the same
    open_again = run(whole, tokens)[1]["summaries"]
    assert not np.allclose(open_again["words"][0], open_again["words"][1])
    assert fusion.pool == "product"


def test_both_streams_of_vilbert_look_at_what_was_before():
    """Simultaneously: the image's stream does not see what the words have just taken from it."""
    fusion, params, _ = made("vilbert")
    tokens = crossed()
    turned = {name: tokens[name] for name in ("patches", "words")}
    np.testing.assert_allclose(
        fusion.apply({"params": params}, turned)[0], apply(
            "vilbert", params, tokens)[0], atol=1e-5,
    )  # fmt: skip
    weights = fusion.apply({"params": params}, tokens, return_attention=True)[1]
    cross = weights["attention_weights"][0]
    (w, w_end), (p, p_end) = (weights["spans"][n] for n in ("words", "patches"))
    assert float(jnp.abs(cross[..., w:w_end, w:w_end]).max()) == 0  # on the other stream alone
    assert float(cross[..., w:w_end, p:p_end].min()) > 0


def test_flamingo_starts_as_its_text_alone_and_reads_from_left_to_right():
    fusion, opened, run = made("flamingo")
    tokens, params = crossed(), shut(opened)
    init = plain(jax.jit(fusion.init)(jax.random.key(0), tokens))["params"]["gated_0"]
    assert init["attention_gate"] == init["mlp_gate"] == 0
    summary = run(params, tokens)[0]
    assert interaction(summary) == 0
    np.testing.assert_array_equal(summary[0], summary[1])  # other image, same text
    gradient = jax.grad(lambda p: run(p, tokens)[0][0, 0])(params)
    assert float(jnp.abs(gradient["gated_0"]["attention_gate"])) > 0
    behind = jax.tree.leaves(gradient["resampler_0"])
    assert all(float(jnp.abs(g).max()) == 0 for g in behind)
    params = opened
    words = tokens["words"].at[:, 2].add(1.0)
    before, after = (run(params, tokens | {"words": w})[1]["tokens"]["words"] for w in
                     (tokens["words"], words))  # fmt: skip
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert not np.allclose(before[:, 2], after[:, 2])


def test_bottlenecks_are_all_that_passes():
    tokens = crossed()
    params = made("mbt", fusion_layer=2)[1]
    assert interaction(apply("mbt", params, tokens, fusion_layer=2)[0]) < 1e-5  # they never meet
    fusion, params, _ = made("mbt")
    found = fusion.apply({"params": params}, tokens, return_attention=True)[1]
    (w, w_end), (p, p_end) = (found["spans"][n] for n in ("words", "patches"))
    for layer in found["attention_weights"]:
        assert float(layer[..., w:w_end, p:p_end].max()) == 0
    # Two layers of rollout by hand: words reach the image through the bottlenecks alone.
    first, second = (
        0.5 * m.mean(axis=1) + 0.5 * jnp.eye(m.shape[-1]) for m in found["attention_weights"][:2]
    )
    by_hand = second @ first
    np.testing.assert_allclose(
        rollout(jnp.stack(found["attention_weights"][:2], axis=1)), by_hand, atol=1e-6
    )
    assert float(by_hand[:, w:w_end, p:p_end].min()) > 0


def test_a_perceiver_does_not_see_the_order_of_its_array():
    fusion, params, run = made("perceiver", num_latents=1)
    tokens = crossed()
    order = jnp.array([2, 0, 3, 1])
    turned = params | {"positions_words": params["positions_words"][:, order]}
    np.testing.assert_allclose(
        run(turned, tokens | {"words": tokens["words"][:, order]})[0],
        run(params, tokens)[0], atol=1e-5,
    )  # fmt: skip
    twice = tiny("perceiver", num_latents=1, repeats=2)
    shapes = jax.eval_shape(twice.init, jax.random.key(0), tokens)
    assert jax.tree.map(jnp.shape, plain(shapes)["params"]) == jax.tree.map(jnp.shape, params)
    assert fusion.repeats == 1


def test_what_comes_before_the_joint_part_reads_one_modality():
    for design in ("unit", "flava", "late_transformer", "hip"):
        params = made(design)[1]
        found = apply(design, params, crossed())[1]
        np.testing.assert_array_equal(
            found["summaries"]["words"][0], found["summaries"]["words"][1]
        )
    alone = apply("unit", made("unit")[1], crossed())[1]["tokens"]
    np.testing.assert_array_equal(alone["words"][0], alone["words"][1])


def test_a_dual_encoder_can_read_in_order_and_keeps_the_text_from_the_classes():
    """One code for each class and place: the cosine counts the places that fit."""
    _, params, run = made("clip")
    tokens = crossed()
    logits = run(params, tokens)[0]
    np.testing.assert_allclose(logits[0, 1:], logits[2, 1:], atol=1e-6)  # other text, same image
    assert float(jnp.abs(logits[0, 0] - logits[2, 0])) > 1e-5
    from multimodal_vit.models.fusions.clip import Cosine

    labels = jnp.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]])
    words = jnp.array([[0, 1, 2, 3], [1, 0, 2, 3], [0, 1, 2, 9]])
    code = lambda y: jax.nn.one_hot(y, 10).reshape(len(y), -1)  # noqa: E731, (B, 40)
    module = Cosine(10)
    own = plain(module.init(jax.random.key(0), {"patches": code(labels), "words": code(words)}))
    own["params"] |= {
        "project_words": {"kernel": jnp.eye(40)}, "project_patches": {"kernel": jnp.eye(40)},
        "bias": jnp.float32(-10 * 7 / 8),
    }  # fmt: skip
    match = module.apply(own, {"patches": code(labels), "words": code(words)})[:, 0]
    assert (np.asarray(match) > 0).tolist() == [True, False, False]
    scaled = module.apply(own, {"patches": 3 * code(labels), "words": code(words)})[:, 0]
    np.testing.assert_allclose(scaled, match, atol=1e-4)
    gradient = jax.grad(lambda p: run(p, tokens)[0][0, 0])(params)
    assert abs(float(gradient["cosine"]["log_scale"])) > 0


def test_a_bag_of_words_does_not_know_the_order():
    tokens = crossed()
    rolled = tokens | {"words": jnp.roll(tokens["words"], 1, axis=1)}
    for design, blind in (("bag", True), ("lowrank", False)):
        params = made(design)[1]
        first, second = (apply(design, params, t)[0] for t in (tokens, rolled))
        assert np.allclose(first, second, atol=1e-5) == blind


def test_what_is_read_first_does_not_know_what_comes():
    for order, first, second in (
        ("words_first", "words", "patches"), ("patches_first", "patches", "words"),
    ):  # fmt: skip
        _, params, run = made("causal", order=order)
        tokens = crossed()
        other = tokens | {second: tokens[second] + 1}
        before, after = (run(params, t)[1]["tokens"] for t in (tokens, other))
        np.testing.assert_array_equal(before[first], after[first])
        assert not np.allclose(before[second], after[second])


def test_nearby_attention_stays_nearby_and_is_the_single_encoder_from_its_size_on():
    params = made("single_encoder")[1]
    whole = apply("single_encoder", params, crossed())[0]
    masked = apply("local", params, crossed(), extent=1)[0]
    np.testing.assert_allclose(masked, whole, atol=1e-5)  # of another program
    near = tiny("local", extent=0)
    found = near.apply({"params": params}, crossed(), return_attention=True)
    before = made("single_encoder")[0].apply({"params": params}, crossed())[1]["tokens"]
    assert not np.allclose(found[1]["tokens"]["patches"], before["patches"])
    (p, p_end) = found[1]["spans"]["patches"]
    weights = found[1]["attention_weights"][0][..., p:p_end, p:p_end]
    np.testing.assert_array_equal(weights * (1 - np.eye(P)), 0)


def test_memory_without_slots_is_the_single_encoder_and_slots_are_columns():
    params = made("single_encoder")[1]
    np.testing.assert_array_equal(
        tiny("memory", slots=0).apply({"params": params}, crossed())[0],
        made("single_encoder")[0].apply({"params": params}, crossed())[0],
    )
    fusion, params, _ = made("memory")
    weights = fusion.apply({"params": params}, crossed(), return_attention=True)[1]
    layer = weights["attention_weights"][0]
    assert layer.shape[-1] == 1 + N + P + 1 + 8
    np.testing.assert_array_equal(
        layer[..., -8:, :], np.eye(layer.shape[-1])[-8:] + 0 * layer[..., -8:, :]
    )
    assert float(layer[..., :-8, -8:].min()) > 0


def test_the_gates_of_a_meshed_reader_choose_the_layer():
    fusion, params, run = made("meshed", num_encoder_layers=2)
    params = dict(params)
    tokens = crossed()
    for i, value in ((0, -1e3), (1, 1e3)):
        params[f"gate_{i}"] = {
            "kernel": jnp.zeros_like(params[f"gate_{i}"]["kernel"]), "bias": jnp.full(D, value),
        }  # fmt: skip
    _, found = run(params, tokens)
    np.testing.assert_allclose(found["gates"][0], 0, atol=1e-6)
    np.testing.assert_allclose(found["gates"][1], 1, atol=1e-6)
    other = params | {"norm_0": jax.tree.map(lambda x: x + 1, params["norm_0"])}
    np.testing.assert_allclose(run(other, tokens)[0], run(params, tokens)[0], atol=1e-6)
    assert fusion.slots == 8


def test_one_expert_is_the_dense_encoder_and_equal_experts_are_not():
    dense = made("single_encoder", num_encoder_layers=2)[1]
    block = dense["encoder"]["block_1"]
    experts = {
        "router": {"kernel": jnp.zeros((D, 1))},
        "in_kernel": block["mlp_in"]["kernel"][None], "in_bias": block["mlp_in"]["bias"][None],
        "out_kernel": block["mlp_out"]["kernel"][None], "out_bias": block["mlp_out"]["bias"][None],
    }  # fmt: skip

    def with_experts(own):
        kept = {name: p for name, p in block.items() if not name.startswith("mlp_")}
        kept |= {"mlp_norm": block["mlp_norm"], "experts": own}
        return dense | {"encoder": dense["encoder"] | {"block_1": kept}}

    whole = apply("single_encoder", dense, crossed(), num_encoder_layers=2)[0]
    sizes = {"expert_dim": 32, "min_experts": 1}
    one = tiny("moe", num_experts=1, **sizes).apply({"params": with_experts(experts)}, crossed())
    np.testing.assert_allclose(one[0], whole, atol=1e-5)
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), experts)
    twice["router"] = {"kernel": jnp.zeros((D, 2))}
    two = tiny("moe", num_experts=2, **sizes).apply({"params": with_experts(twice)}, crossed())
    assert not np.allclose(two[0], whole, atol=1e-3)  # the gate, of 1/2, multiplies


def test_the_losses_of_a_router_are_zero_where_they_should_be():
    even = Routing(jnp.zeros((4, 4, 4)), jnp.zeros((4, 4, 4)))
    found = balance_losses({"words": [even]}, 2, 1.0, 0.04)
    for name in ("global_entropy", "importance", "load"):
        np.testing.assert_allclose(found[name], 0, atol=1e-6)
    assert float(found["local_entropy"][0]) == pytest.approx(0.01 * np.log(4), rel=1e-4)
    one = 50 * jax.nn.one_hot(jnp.zeros((4, 4), int), 4)
    found = balance_losses({"words": [Routing(one, one)]}, 2, 1.0, 0.04)
    np.testing.assert_allclose(found["local_entropy"], 0, atol=1e-6)
    assert float(found["global_entropy"][0]) == pytest.approx(0.01 * np.log(2), rel=1e-3)
    assert float(found["importance"][0]) == pytest.approx(0.01 * 3, rel=1e-3)


def test_a_router_has_noise_in_training_alone_and_modalities_of_limoe_do_not_meet():
    module, x = Experts(4, 8), some_tokens()["words"]
    params = plain(module.init(jax.random.key(0), x))
    calm = module.apply(params, x)[1]
    np.testing.assert_array_equal(calm.logits, calm.noisy)
    noisy = module.apply(params, x, True, rngs={"dropout": jax.random.key(1)})[1]
    assert float((noisy.noisy - noisy.logits).std()) == pytest.approx(1 / 4, rel=0.3)
    fusion, params, run = made("limoe")
    found = run(params, crossed())[1]
    words = found["summaries"]["words"]
    np.testing.assert_array_equal(words[0], words[1])
    assert set(found["losses"]) == {"local_entropy", "global_entropy", "importance", "load"}
    assert fusion.min_experts == 2


# ---- in a configuration, on devices, in training ----


@pytest.mark.parametrize(
    ("design", "changes", "message"),
    [
        ("perceiver", {OPTIONS + "cross_heads": 3}, "cross_heads=3 does not divide both"),
        ("mbt", {OPTIONS + "fusion_layer": 4}, "is behind the last of model.num_encoder_layers=3"),
        ("vilbert", {"model.modalities": ("patches",)}, "joins at least two streams"),
        ("flamingo", {"model.modalities": ("words",)}, "reads a text beside something else"),
        ("clip", {"model.modalities": ("words",)}, "compares the modality 'patches' with others"),
        ("clip", {"model.num_match_outputs": 2}, "has one true/false output"),
        ("limoe", {"model.num_match_outputs": 2}, "has one true/false output"),
        ("moe", {"model.num_encoder_layers": 1}, "has no second one"),
        ("moe", {OPTIONS + "min_experts": 5}, "min_experts=5 is more than"),
        ("moe", {"model.mlp_dim": 2}, "leaves nothing for each of"),
        ("local", {"model.modalities": ("words",)}, "which model.modalities=.'words',. lacks"),
        ("product", {"model.num_heads": 3}, "num_heads=3 does not divide"),
    ],
)
def test_what_a_design_cannot_be_is_said_in_a_line(design, changes, message):
    config = changed(small(), {"model.fusion": design} | changes)
    assert any(re.search(message, line) for line in configuration.problems(config))


def test_a_hierarchy_whose_tokens_lie_across_quadrants_is_refused():
    config = changed(small(), {"model.fusion": "hip", "model.patch_size": 14})  # one token
    (line,) = get("model.fusion", "hip").target.problems(config, TASK)
    assert "1×1 tokens do not come out even" in line


@pytest.mark.long
def test_experts_train_the_same_on_cut_parameters(tiny_config, tiny_splits):
    def losses(devices, **train):
        config = changed(
            tiny_config,
            {"model.fusion": "moe", "model.num_encoder_layers": 2, "model.dropout_rate": 0.0,
             "model.stem": "conv", "model.num_conv_layers": 0, "model.patch_size": 28,
             OPTIONS + "noise": 0.0}
            | {f"train.{name}": value for name, value in train.items()},
        )  # fmt: skip
        return six_losses(Experiment.create(config, tiny_splits, jax.devices()[:devices]))

    alone, _ = losses(1)
    cut, state = losses(2, layout="tensor", model_devices=2)
    np.testing.assert_allclose(cut, alone, rtol=1e-4)
    experts = state.params["fusion"]["encoder"]["block_1"]["experts"]
    assert not experts["in_kernel"].sharding.is_fully_replicated
    assert {name for name in state.sums if name.startswith("aux/")} == {
        f"aux/{name}" for name in LOSSES
    }


@pytest.mark.parametrize(
    ("design", "alone", "learns"),
    [("lowrank", False, True), ("add", False, False), ("lowrank", True, False)],
)
def test_a_product_learns_what_a_sum_cannot(design, alone, learns):
    """Symbolically: words are codes of classes, image tokens noisy codes of theirs.

    Where `alone`, two models are trained, each on one modality, and their logits averaged.
    """
    rank = {"rank": 64} if design == "lowrank" else {}
    fusion = tiny(design, **rank)
    rng = np.random.default_rng(0)
    codes = jnp.asarray(rng.normal(size=(2, 10, D)), jnp.float32)  # of words, of images
    places = jnp.asarray(rng.normal(size=(N, D)), jnp.float32)

    def draw(key):
        keys = jax.random.split(key, 5)
        labels = jax.random.randint(keys[0], (128, N), 0, 10)
        wrong = jax.random.bernoulli(keys[1], 0.25, (128, N))
        wrong |= jnp.arange(N) == jax.random.randint(keys[2], (128, 1), 0, N)
        other = (labels + jax.random.randint(keys[3], (128, N), 1, 10)) % 10
        true = jnp.arange(128) % 2 == 0
        words = jnp.where(true[:, None] | ~wrong, labels, other)
        image = codes[1][labels] + 0.1 * jax.random.normal(keys[4], (128, N, D))
        return {"words": codes[0][words] + places, "patches": image + places}, true

    def logit_of(params, tokens):
        return fusion.apply({"params": params["fusion"]}, tokens)[0] @ params["head"]

    def loss(params, key):
        tokens, true = draw(key)
        logits = [logit_of(params[0], tokens)]
        if alone:
            blind = [tokens | {name: 0 * tokens[name]} for name in tokens]
            logits = [logit_of(*one) for one in zip(params, blind, strict=True)]
        right = ((sum(logits) > 0) == true).mean()
        target = true.astype(jnp.float32)
        return sum(optax.sigmoid_binary_cross_entropy(x, target).mean() for x in logits), right

    optimizer = optax.adam(5e-3)

    @jax.jit
    def train(params):
        def step(carry, key):
            params, state = carry
            gradient, right = jax.grad(loss, has_aux=True)(params, key)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), right

        keys = jax.random.split(jax.random.key(1), STEPS)
        return jax.lax.scan(step, (params, optimizer.init(params)), keys)[1]

    def first(seed):
        own = plain(fusion.init(jax.random.key(seed), draw(jax.random.key(0))[0]))["params"]
        size = 64 if design == "lowrank" else D
        return {"fusion": own, "head": 0.1 * jax.random.normal(jax.random.key(seed + 2), (size,))}

    right = train([first(0), first(5)] if alone else [first(0)])
    late = float(right[-50:].mean())  # of 6,400 pairs, each new
    assert late > 0.8 if learns else abs(late - 0.5) < 0.02


def test_the_picture_of_a_design_shows_who_can_take_from_whom():
    def flows_of(design):
        config = changed(
            small(),
            {"model.fusion": design, "model.embedding_dim": D, "model.num_heads": 2,
             "model.mlp_dim": 32, "model.num_encoder_layers": 1},
        )  # fmt: skip
        return flows(SimpleNamespace(model=build_model(config.model, TASK), task=TASK))

    kinds, (layer, readout) = flows_of("mbt")
    place = {name: i for i, name in enumerate(kinds)}
    assert kinds["bottlenecks"] == 4
    takes = {(a, b): bool(layer[place[a], place[b]]) for a in kinds for b in kinds}
    assert takes["words", "bottlenecks"]
    assert takes["bottlenecks", "patches"]
    assert not takes["words", "patches"]
    assert not layer[0].any()  # the summary is made at the end
    assert readout[0, place["class_words"]]
    assert flows_of("bag")[1] == []


def test_a_read_out_is_no_layer_of_the_probe():
    """Traced only: a dual encoder of two layers has two, and a rollout to the image."""
    config = changed(small(), {"model.fusion": "product", "model.num_encoder_layers": 2})
    model, inputs = build_model(config.model, TASK), example_inputs(TASK, 3)

    def ask(key):
        variables = plain(model.init(key, inputs))
        return attention_maps(BinaryCrossEntropy(model, TASK), variables, inputs)

    maps = jax.eval_shape(ask, jax.random.key(0))
    assert maps.word_to_patch.shape == (3, 2, 4, 4, 4)
    assert maps.rollout.shape == (3, 4)
