"""Objectives that learn from true texts: what each sees, what its verdict is, and how it trains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multimodal_vit import config as configuration
from multimodal_vit.config import changed
from multimodal_vit.errors import UserError
from multimodal_vit.evaluate import metrics
from multimodal_vit.objectives import Keys
from multimodal_vit.objectives.base import with_threshold
from multimodal_vit.objectives.losses import same_text
from multimodal_vit.objectives.matching import drawn
from multimodal_vit.objectives.metrics import match_logit
from multimodal_vit.sampler import named_key, replace_labels
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.predictor import Predictor, best_threshold

KEYS = Keys(objective=jax.random.key(3))


@pytest.fixture
def tiny_config(tiny_config):
    """Without a stem, four image tokens, and no dropout."""
    tiny_config.model.update({"num_conv_layers": 0, "patch_size": 28, "dropout_rate": 0.0})
    return tiny_config


_made = {}


@pytest.fixture
def make(tiny_config, tiny_splits):
    """Experiment, first variables and a batch of an objective; each made once."""

    def made(name, devices=1, **options):
        key = (name, devices, *sorted(options.items()))
        if key not in _made:
            changes = {f"train.objective_options.{n}": v for n, v in options.items()}
            config = changed(tiny_config, {"train.objective": name} | changes)
            experiment = Experiment.create(config, tiny_splits, jax.devices()[:devices])
            state = experiment.init_state()
            _made[key] = experiment, state.variables, experiment.batch(2)  # the epoch's last
        return _made[key]

    return made


ALL = [
    ("masked_labels", {}), ("caption", {}), ("bag", {}), ("clip", {"positives": "equal"}),
    ("siglip", {}), ("matching", {"negatives": "hard"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), ALL)
def test_neither_what_fills_a_batch_nor_a_false_text_changes_a_loss(make, name, options):
    experiment, variables, batch = make(name, **options)
    filling = batch.weight == 0
    assert filling.any() and not filling.all()

    @jax.jit
    def loss(batch):
        return experiment.objective.loss(variables, batch, KEYS, train=False).loss

    image, labels = batch.inputs["image"].copy(), batch.labels.copy()
    image[filling] = 255 - image[filling]
    labels[filling] = (labels[filling] + 3) % 10
    words = (batch.inputs["words"] + 1) % 10  # nor does a text, true or false
    other = batch.replace(inputs={"image": image, "words": words}, labels=labels)
    before, after = loss(batch), loss(other)
    assert np.isfinite(before).all()
    np.testing.assert_allclose(before[~filling], after[~filling], rtol=1e-6)


def test_a_verdict_of_masked_labels_looks_at_no_word_but_to_judge_it(make):
    experiment, variables, batch = make("masked_labels")
    inputs = batch.inputs | {"words": (batch.inputs["words"] + 1) % 10}
    objective = experiment.objective

    @jax.jit
    def ask(inputs):
        return objective.posterior(variables, inputs), objective.verdict(variables, inputs)

    (first, right), (second, wrong) = ask(batch.inputs), ask(inputs)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(np.exp(first).sum(axis=-1), 1, rtol=1e-5)
    assert right.shape == (32, 11)
    np.testing.assert_array_equal(right[:, 1:], wrong[:, 1:])  # the classes are the image's


def test_a_masked_word_has_no_gradient(make):
    experiment, variables, batch = make("masked_labels")
    objective = experiment.objective

    @jax.jit
    @jax.grad
    def gradient(table, mask):
        params = variables["params"] | {"embeddings_words": {"Embed_0": {"embedding": table}}}
        inputs = {"image": batch.inputs["image"], "words": batch.labels}
        read = objective._read({"params": params}, inputs, mask, KEYS, False)
        return objective.predicted(read, batch, mask).loss.sum()

    table = variables["params"]["embeddings_words"]["Embed_0"]["embedding"]
    everything = jnp.ones(batch.labels.shape, bool)
    assert not gradient(table, everything).any()
    assert gradient(table, everything.at[:, 0].set(False)).any()


def test_a_caption_sees_only_the_words_before(make):
    experiment, variables, batch = make("caption")
    words, posterior = batch.inputs["words"], jax.jit(experiment.objective.posterior)
    before = posterior(variables, batch.inputs)
    for j in range(4):
        changed_at = words.copy()
        changed_at[:, j] = (words[:, j] + 1) % 10
        after = posterior(variables, batch.inputs | {"words": changed_at})
        np.testing.assert_array_equal(before[:, : j + 1], after[:, : j + 1])
        if j < 3:
            assert (before[:, j + 1 :] != after[:, j + 1 :]).any()


def test_a_contrast_reads_each_modality_alone(make):
    experiment, variables, batch = make("clip", positives="equal")
    objective = experiment.objective

    @jax.jit
    def ask(variables):
        pair, _, _ = objective.vectors(variables, batch.inputs, Keys(), False)
        alone = objective.image_vectors(variables, batch.inputs["image"])
        texts = objective.text_vectors(variables, batch.inputs["words"])
        less = objective.verdict(with_threshold(variables, 2.0), batch.inputs)[:, 0]
        return pair, alone, texts, objective.verdict(variables, batch.inputs)[:, 0], less

    pair, alone, texts, score, less = ask(variables)
    np.testing.assert_allclose((pair.images**2).sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(pair.images, alone, atol=1e-6)
    np.testing.assert_allclose(pair.texts, texts, atol=1e-6)
    expected = (pair.images * pair.texts).sum(axis=-1) / 0.07
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(less, score - 2, rtol=1e-4, atol=1e-5)


def test_two_towers_have_parameters_of_their_own_and_declare_them(make):
    experiment, variables, batch = make("clip", towers=2)
    tower = variables["params"]["objective"]["tower"]
    assert "embeddings_words" in tower and "embeddings_patches" not in tower
    inside = "objective/tower/fusion/encoder/block_0/mlp_in/kernel"
    assert experiment.declared[inside] == experiment.declared[inside.partition("tower/")[2]]
    assert experiment.declared["objective/images/kernel"].decay
    vectors = jax.jit(experiment.objective.text_vectors)(variables, batch.labels)
    np.testing.assert_allclose((vectors**2).sum(axis=-1), 1, rtol=1e-5)


def test_matching_with_the_tasks_law_is_the_true_false_output_of_the_usual_loss(make):
    experiment, variables, batch = make("matching", negatives="law")
    objective = experiment.objective

    def by_hand(params):
        key = named_key(KEYS.objective, "negatives")
        false = replace_labels(key, batch.labels, experiment.task)
        total = 0.0
        for words, sign in ((batch.labels, 1), (false, -1)):
            inputs = {"image": batch.inputs["image"], "words": words}
            logits, _ = experiment.model.apply({"params": params}, inputs)
            total += jax.nn.softplus(-sign * match_logit(logits, 10)) / 2
        return total.mean(), total

    def found(params):
        loss = objective.loss({"params": params}, batch, KEYS, train=False).loss
        return loss.mean(), loss

    @jax.jit
    def both(params):
        return [jax.value_and_grad(f, has_aux=True)(params) for f in (by_hand, found)]

    one, many = both(variables["params"])
    np.testing.assert_allclose(one[0][1], many[0][1], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one[1], many[1])


def test_a_false_pair_is_never_an_equal_text():
    words = jnp.array([[1, 2], [3, 4], [1, 2], [5, 6]])
    allowed = ~same_text(words) & jnp.array([True, True, True, False])
    similar = 50.0 * same_text(words)  # the equal ones are the likeliest
    keys = jax.random.split(jax.random.key(0), 200)
    found = np.asarray(jax.vmap(lambda key: drawn(key, similar, allowed))(keys))
    assert set(found[:, 0]) == {1} and set(found[:, 1]) == {0, 2} and 3 not in found


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("clip", {"train.accumulate_steps": 2}, "compares the pairs of a batch, which"),
        ("masked_labels", {"task.false_rate": 0.0}, "its verdict is asked about false ones"),
        ("bag", {"model.modalities": ("patches",)}, "reads model.modalities=.'words', 'patches'"),
        ("caption", {"task.corruption": "permute", "task.grid": (1, 7)}, "sums over all orders"),
        ("matching", {"model.num_match_outputs": 0}, "trains the true/false output"),
        ("clip", {"train.objective_options.towers": 3}, "is not one of 1, 2"),
    ],
)
def test_what_does_not_fit_an_objective_is_said(tiny_config, name, changes, message):
    with pytest.raises(UserError, match=message):
        configuration.check(changed(tiny_config, {"train.objective": name} | changes))


def test_a_fusion_that_cannot_read_from_left_to_right_is_refused(tiny_config):
    changes = {"model.modalities": ("image_features",), "model.fusion": "addition"}
    with pytest.raises(UserError, match="can read words from left to right: model.fusion='addi"):
        configuration.check(changed(tiny_config, changes | {"train.objective": "caption"}))


# ---- verdicts ----


def test_the_threshold_is_where_most_pairs_are_right():
    scores = np.array([0.0, 1, 2, 3, 4, 5])
    assert best_threshold(scores, np.array([0, 0, 1, 0, 1, 1], bool)) == 1.5
    assert best_threshold(scores, np.ones(6, bool)) < 0
    assert best_threshold(scores, np.zeros(6, bool)) > 5
    assert best_threshold(np.array([1.0, 1.0]), np.array([True, False])) != 1.0
    assert best_threshold(np.array([np.nan]), np.array([True])) == 0.0


def test_a_score_is_judged_by_a_threshold_of_the_validation_pairs(make):
    experiment, variables, _ = make("bag")
    predict = Predictor(experiment)
    fitted = predict.fitted(variables)
    answers = predict(fitted, "validation")
    right = ((answers.true_logit > 0) == answers.match).mean()
    for other in np.linspace(-5, 5, 21):
        assert right >= ((answers.true_logit > other) == answers.match).mean()
    assert "class_accuracy" in metrics(answers)
    same = make("masked_labels")
    assert Predictor(same[0]).fitted(same[1]) is same[1]


def test_metrics_without_class_outputs_or_without_any(make):
    experiment, variables, _ = make("clip", positives="equal")
    found = metrics(Predictor(experiment)(variables, "test"))
    assert "match_accuracy" in found and "class_accuracy" not in found
    assert found["intervals"]["retrieval_accuracy"][0] <= found["retrieval_accuracy"]

    @dataclasses.dataclass(frozen=True)
    class Silent(type(experiment.objective)):
        answers = False

    objective = Silent(experiment.model, experiment.task, experiment.objective.options)
    silent = dataclasses.replace(experiment, objective=objective)
    answers = Predictor(silent)(variables, "test")
    assert answers.logits.shape == (40, 0) and not answers.answered
    none = metrics(answers)
    assert none["chance"] == {} and none["loss"] == pytest.approx(found["loss"], rel=1e-5)
