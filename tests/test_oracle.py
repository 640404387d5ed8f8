"""The modular oracle: its posterior against brute force, and its place among the models."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_vit.config import check, from_file
from multimodal_vit.errors import UserError
from multimodal_vit.models.embeddings.quadrants import QuadrantClassifier
from multimodal_vit.models.fusions.bayes_rule import BayesRule
from multimodal_vit.models.stems.strided import StridedStem
from multimodal_vit.parameters import plain
from multimodal_vit.sampler import CORRUPTIONS, Task, paste
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.predictor import Predictor

TASK = Task(grid=(1, 3), image_shape=(4, 4, 1), num_classes=4, false_rate=0.3)


def law_by_hand(labels, task, corruption):
    """P(text | labels, false) of every text, by following the sampler's rules."""
    n, K, r = task.num_positions, task.num_classes, task.replacement_rate
    found = {}
    if corruption == "mixed":
        for kind in ("replace", "permute"):
            for text, p in law_by_hand(labels, task, kind).items():
                found[text] = found.get(text, 0) + p / 2
        return found
    if corruption == "permute" and len(set(labels)) > 1:
        texts = {t for t in itertools.permutations(labels) if t != labels}
        return dict.fromkeys(texts, 1 / len(texts))
    for first in range(n):
        for more in itertools.product([False, True], repeat=n):
            replaced = [m or i == first for i, m in enumerate(more)]
            p = 1 / n * np.prod([r if m else 1 - r for m in more])
            options = [
                [k for k in range(K) if k != label] if there else [label]
                for there, label in zip(replaced, labels, strict=True)
            ]
            texts = list(itertools.product(*options))
            for text in texts:
                found[text] = found.get(text, 0) + p / len(texts)
    return found


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(sorted(CORRUPTIONS)),
    st.tuples(*[st.integers(0, 3)] * 3),
    st.sampled_from([0.0, 0.25, 0.7, 1.0]),
    st.integers(0, 2**31),
)
def test_the_posterior_is_bayes_rule_by_brute_force(corruption, words, rate, seed):
    task = dataclasses.replace(TASK, corruption=corruption, replacement_rate=rate)
    logits = jax.random.normal(jax.random.key(seed), (1, 3, 4))
    p = np.asarray(jax.nn.softmax(logits))[0].astype(np.float64)
    true = (1 - task.false_rate) * np.prod([p[i, w] for i, w in enumerate(words)])
    false = 0.0
    for labels in itertools.product(range(4), repeat=3):
        seen = np.prod([p[i, label] for i, label in enumerate(labels)])
        false += seen * law_by_hand(labels, task, corruption).get(words, 0)
    false *= task.false_rate
    tokens = {"word_ids": jax.nn.one_hot(jnp.array([words]), 4), "quadrants": logits}
    found, _ = BayesRule(task)(tokens)
    if false == 0:
        assert found[0, 0] == np.inf
    else:
        assert float(found[0, 0]) == pytest.approx(np.log(true / false), abs=1e-4)
    present = 1 - np.prod(1 - p, axis=0)
    np.testing.assert_allclose(jax.nn.sigmoid(found[0, 1:]), present, rtol=1e-4)


def test_sure_classifiers_give_finite_logits():
    sure = 200.0 * jax.nn.one_hot(jnp.array([[0, 1, 2]]), 4)
    for corruption in CORRUPTIONS:
        rule = BayesRule(dataclasses.replace(TASK, corruption=corruption))
        for words, sign in (([0, 1, 2], 1), ([0, 2, 1], -1)):
            tokens = {"word_ids": jax.nn.one_hot(jnp.array([words]), 4), "quadrants": sure}
            logits, _ = rule(tokens)
            assert np.isfinite(logits).all(), corruption
            assert np.sign(logits[0, 0]) == sign


def test_each_cell_is_classified_by_itself_in_reading_order():
    cells = jax.random.randint(jax.random.key(0), (2, 6, 8, 8, 3), 0, 255).astype(jnp.uint8)
    model = QuadrantClassifier((2, 3), 5, StridedStem(2), 16)
    image = paste(cells, (2, 3))
    params = plain(model.init(jax.random.key(1), image))
    logits = model.apply(params, image)
    assert logits.shape == (2, 6, 5)
    order = jnp.array([5, 4, 3, 2, 1, 0])
    turned = model.apply(params, paste(cells[:, order], (2, 3)))
    np.testing.assert_allclose(turned, logits[:, order], atol=1e-5)


def test_the_oracle_learns_the_task_from_class_labels_alone(tiny_splits, tmp_path):
    from multimodal_vit.train.loop import train

    config = from_file(f"{ROOT / 'configs' / 'mnist_oracle.py'}:small")
    config.train.num_samples, config.train.warmup_steps = 4000, 10
    config.train.learning_rate, config.model.embedding_dim = 3e-3, 32
    config.evaluation.batch_size = 32
    experiment = Experiment.create(config, tiny_splits, jax.devices()[:1])
    seen = []
    train(experiment, tmp_path, on_validation=lambda step, values: seen.append(values))
    assert seen[-1]["loss"] < 0.5 * seen[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.modalities": ("words", "quadrants")}, "reads model.modalities="),
        ({"model.fusion": "single_encoder"}, "can be read by model.fusion='bayes_rule' alone"),
        ({"model.num_match_outputs": 2}, "one true/false output"),
        ({"task.grid": (3, 3), "task.corruption": "mixed"}, "sums over all orders"),
    ],
)
def test_an_oracle_that_cannot_be_is_refused(changes, message):
    config = from_file(f"{ROOT / 'configs' / 'mnist_oracle.py'}:small")
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        check(config)


def test_quadrant_cross_entropy_needs_quadrants():
    config = from_file(f"{ROOT / 'configs' / 'mnist_conv.py'}:small")
    config.train.objective = "quadrant_cross_entropy"
    with pytest.raises(UserError, match="trains the modality 'quadrants'"):
        check(config)


def test_a_temperature_divides_the_class_logits_and_repairs_certainty(tiny_splits):
    from multimodal_vit.probes.temperature import fit, tempered, tempered_results

    config = from_file(f"{ROOT / 'configs' / 'mnist_oracle.py'}:small")
    config.evaluation.batch_size, config.model.embedding_dim = 32, 32
    experiment = Experiment.create(config, tiny_splits, jax.devices()[:1])
    variables = experiment.init_state().variables
    image = np.asarray(experiment.examples(8).inputs["image"])
    words = np.zeros((8, 4), np.int32)

    def quadrants(variables):
        _, found = experiment.model.apply(variables, {"image": image, "words": words})
        return found["embedded"]["quadrants"]

    halved = quadrants(tempered(variables, 2.0))
    np.testing.assert_allclose(halved, quadrants(variables) / 2, rtol=1e-5)
    # A classifier that knows nothing is too sure of itself the more, the larger its logits.
    predict = Predictor(experiment)
    assert fit(predict, tempered(variables, 1 / 50)) > 4
    found = tempered_results(experiment, predict, variables, {})
    assert found["test"]["num_pairs"] == 40
    assert found["suites"] == {}
