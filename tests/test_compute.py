"""Ways to compute the same: rematerialised, in parts, in half precision, by the GPU's attention."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, run_command
from jax._src import xla_bridge
from jax._src.cudnn import fused_attention_stablehlo as cudnn
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from multimodal_vit.config import changed, from_file
from multimodal_vit.layout import make_mesh
from multimodal_vit.models import SelfAttention, attention
from multimodal_vit.objectives import Keys
from multimodal_vit.parameters import plain
from multimodal_vit.profiling import PEAKS, data_sheet_peak
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.flop import flop_per_example, formula_flop, model_flop, product_flop
from multimodal_vit.train.seeds import program
from multimodal_vit.train.step import accumulated_gradient, loss_and_sums


def make(config, splits, **changes) -> Experiment:
    config = changed(config, {name.replace("__", "."): value for name, value in changes.items()})
    return Experiment.create(config, splits, jax.devices()[:1])


def gradient_of(experiment):
    """The gradient and the metric sums of a step's batch, the last of an epoch: it is not full."""
    config, keys = experiment.config.train, Keys(jax.random.key(7), jax.random.key(8))

    def gradient(params, statistics, batch):
        inputs = params, statistics, experiment.objective, batch, keys
        if config.accumulate_steps > 1:
            gradient, (sums, _) = accumulated_gradient(
                *inputs, batch.weight.sum(), config.accumulate_steps
            )
        else:
            gradient, (sums, _) = jax.grad(loss_and_sums, has_aux=True)(*inputs)
        return gradient, sums

    state = experiment.init_state()
    batch = jax.device_put(experiment.batch(2), NamedSharding(experiment.mesh, P("data")))
    arguments = state.params, state.statistics, batch
    return jax.device_get(jax.jit(gradient)(*arguments))


def traceable(experiment, together=False):
    """The compiled function of a dispatch, of one seed or of two, and its arguments."""
    runs = [experiment, experiment.with_seed(1)][: 2 if together else 1]
    steps = program(runs)
    state = experiment.abstract_state()
    if together:
        state = jax.eval_shape(steps.join, [state, state])
    count = steps.count(1, [True] * len(runs))
    return steps.train_steps, (state, experiment.train_data(), steps.epoch(0), count)


def assert_close(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.long
def test_rematerialisation_changes_memory_and_no_result(tiny_config, tiny_splits):
    tiny_config.model.num_encoder_layers = 2
    tiny_config.model.modalities = ("words",)  # compiles faster
    experiments = [make(tiny_config, tiny_splits, model__remat=remat) for remat in (False, True)]
    plain, remat = (gradient_of(experiment) for experiment in experiments)  # with dropout
    assert_close(plain, remat, atol=1e-6, rtol=1e-6)
    found = [experiments[1].init_state().params, experiments[0].init_state().params]
    assert jax.tree.structure(found[0]) == jax.tree.structure(found[1])
    jaxpr = str(jax.make_jaxpr(experiments[1].train_step())(
        experiments[1].init_state(), experiments[1].train_data(), experiments[1].epoch(0)
    ))  # fmt: skip
    assert jaxpr.count("remat") or jaxpr.count("checkpoint")
    assert flop_per_example(experiments[1]) == flop_per_example(experiments[0])


def test_a_gradient_in_parts_is_the_whole_batchs_also_where_devices_share_it(
    tiny_config, tiny_splits
):
    tiny_config.model.dropout_rate = 0.0
    whole = gradient_of(make(tiny_config, tiny_splits))
    assert whole[1]["weight"] == 24  # 88 images in batches of 32: the last one is filled up
    in_parts = changed(tiny_config, {"train.accumulate_steps": 4})
    for devices in (1, 4):
        experiment = Experiment.create(in_parts, tiny_splits, jax.devices()[:devices])
        found = gradient_of(experiment)
        assert_close(found[0], whole[0], atol=1e-6)
        assert_close(found[1], whole[1], rtol=1e-6)


def test_every_seed_is_the_same_program(tiny_config, tiny_splits):
    """So that a compiled one, kept in the cache, serves the next seed too."""
    experiment = make(tiny_config, tiny_splits)
    programs, arguments = zip(*map(traceable, [experiment, experiment.with_seed(1)]), strict=True)
    texts = [
        program.lower(*given).as_text() for program, given in zip(programs, arguments, strict=True)
    ]
    assert texts[0] == texts[1]
    drawn = [jax.random.key_data(given[2].key).tolist() for given in arguments]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("together", [False, True])
def test_a_dispatch_takes_the_memory_of_the_state_before(tiny_config, tiny_splits, together):
    experiment = make(tiny_config, tiny_splits)
    program, arguments = traceable(experiment, together)
    text = program.lower(*arguments).as_text()
    assert text.count("tf.aliasing_output") == len(jax.tree.leaves(experiment.abstract_state()))


def test_bfloat16_trains_float32_parameters_with_a_float32_optimizer(tiny_config, tiny_splits):
    experiment = make(tiny_config, tiny_splits, model__dtype="bfloat16")
    program, arguments = traceable(experiment)
    state, _ = jax.eval_shape(program, *arguments)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32", "int32"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {"float32"}
    text = program.lower(*arguments).as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert sum("bf16" in line for line in products) > 0.8 * len(products)


# ---- the GPU's attention, as far as it can be looked at without a GPU ----


@pytest.fixture
def gpu(monkeypatch):
    """Programs are built as for an NVIDIA GPU; they cannot be run."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(attention, "has_cudnn", lambda: True)
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)


def lowered(experiment, together=False) -> str:
    program, arguments = traceable(experiment, together)
    return program.trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("together", [False, True])
def test_on_a_gpu_half_precision_is_cudnns_attention(gpu, tiny_config, tiny_splits, together):
    text = lowered(make(tiny_config, tiny_splits, model__dtype="bfloat16"), together)
    assert "__cudnn$fmhaSoftmax" in text
    assert "__cudnn$fmhaSoftmaxBackward" in text


def test_on_a_gpu_the_rest_is_xlas_attention(gpu, tiny_config, tiny_splits):
    assert "fmha" not in lowered(make(tiny_config, tiny_splits))
    three = {"model__dtype": "bfloat16", "model__embedding_dim": 12}  # heads of 6
    assert "fmha" not in lowered(make(tiny_config, tiny_splits, **three))


def test_attention_weights_are_there_however_it_is_computed(gpu):
    x = jnp.ones((2, 5, 16), jnp.bfloat16)
    attention = SelfAttention(2, jnp.bfloat16)
    params = plain(jax.eval_shape(lambda key: attention.init(key, x, True), jax.random.key(0)))
    _, weights = jax.eval_shape(lambda p: attention.apply(p, x, True), params)
    assert weights.shape == (2, 2, 5, 5)


def test_flop_do_not_depend_on_how_attention_is_computed(request, tiny_config, tiny_splits):
    config = changed(tiny_config, {"model.dtype": "bfloat16"})
    before = flop_per_example(make(config, tiny_splits))
    request.getfixturevalue("gpu")  # convolutions are written differently too
    assert flop_per_example(make(config, tiny_splits)) == pytest.approx(before, rel=0.1)


# ---- --mode=profile ----


@pytest.mark.parametrize(
    "name",
    [
        "digits_conv.py",
        pytest.param("mnist_conv.py:thesis", marks=pytest.mark.long),
        "mnist_patch.py:thesis",
    ],
)
def test_xlas_count_of_flop_and_the_formulas_agree(name, digits):
    config = from_file(ROOT / "configs" / name)
    config.data.source = config.data.name = "digits"
    config.train.optimizer = "adam"  # the steps of Muon are matrix products of their own
    config.name = "count"
    experiment = Experiment.create(config, digits, jax.devices()[:1])
    formula = formula_flop(experiment)
    assert model_flop(experiment) == pytest.approx(formula, rel=0.1)
    assert flop_per_example(experiment) == pytest.approx(formula, rel=0.1)


def test_where_the_backend_does_not_count_flop_are_by_formula(
    tiny_config, tiny_splits, monkeypatch
):
    """As on a GPU where JAX may not use the CPU."""
    monkeypatch.setattr(xla_bridge, "using_pjrt_c_api", lambda backend=None: True)
    experiment = make(tiny_config, tiny_splits)
    formula = formula_flop(experiment)
    assert flop_per_example(experiment) == formula
    assert model_flop(experiment) == formula


def test_the_formula_of_one_encoder_by_hand(tiny_config, tiny_splits):
    tiny_config.model.num_encoder_layers = 3
    experiment = make(tiny_config, tiny_splits)
    T, D, M = 6, 16, 32  # class token, four words, one patch of 14×14
    block = 2 * T * D * 4 * D + 2 * 2 * T * T * D + 2 * 2 * T * D * M
    stem = 2 * 28 * 28 * 9 * 16 + 2 * 14 * 14 * 9 * 16 * 32
    rest = 2 * 14 * 14 * 32 * D + 2 * D * 11
    assert formula_flop(experiment) == 3 * (3 * block + stem + rest)


def test_a_loop_counts_as_often_as_it_runs():
    def loop(x):
        return jax.lax.scan(lambda x, _: (x @ x, None), x, length=5)[0]

    jaxpr = jax.make_jaxpr(loop)(jnp.ones((4, 4)))
    assert product_flop(jaxpr.jaxpr) == 5 * 2 * 4**3


def test_a_known_gpus_peak_is_its_data_sheets(tiny_config, tiny_splits, monkeypatch):
    kind = jax.devices()[0].device_kind
    monkeypatch.setitem(PEAKS, kind[:3], 2e12)
    assert data_sheet_peak(make(tiny_config, tiny_splits)) is None  # in float32
    half = make(tiny_config, tiny_splits, model__dtype="bfloat16")
    assert data_sheet_peak(half) == (2e12, f"data sheet of {kind[:3]}, bfloat16")
    assert (
        data_sheet_peak(dataclasses.replace(half, mesh=make_mesh(jax.devices()[:4], 1)))[0] == 8e12
    )


PROFILE = [
    "--mode=profile",
    f"--config={ROOT / 'configs' / 'digits_conv.py'}",
    "--config.model.modalities=('words',)",  # compiles faster, as does:
    "--config.train.optimizer=adam",
    "--config.model.num_encoder_layers=1",
    "--config.train.batch_size=32",
]


def test_profile_prints_a_table_and_writes_traces(tmp_path):
    done = run_command(*PROFILE, "--config.train.num_seeds=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "digits_conv"
    found = json.loads((folder / "profile.json").read_text())
    assert found["num_seeds"] == 2
    assert found["examples_per_second"] == pytest.approx(2 * 32 / found["step_seconds"])
    assert 0 < found["sampler_share"] < 1
    assert 0 < found["share_of_peak"] < 1
    assert found["model_flop_per_example"] == pytest.approx(
        found["formula_flop_per_example"], rel=0.1
    )
    assert found["peak_source"].startswith("measured")
    assert found["share_of_ceiling"] == found["share_of_peak"]
    assert min(found["compile_seconds"], found["program_bytes"], found["peak_bytes"]) > 0
    for words in ("examples/s", "sampler's share", "compilation", "by formula", "peak memory"):
        assert words in done.stdout
    assert list(folder.glob("profile/plugins/profile/*/*.xplane.pb"))
    assert list(folder.glob("profile/plugins/profile/*/perfetto_trace.json.gz"))
