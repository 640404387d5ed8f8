"""Metrics from predictions that are written down by hand, and their intervals."""

import jax
import numpy as np
import pytest

from multimodal_vit import evaluate
from multimodal_vit.evaluate import Predictions
from multimodal_vit.objectives import match_logit
from multimodal_vit.sampler import Task
from multimodal_vit.suites import suites_for
from multimodal_vit.train.predictor import Predictor

TASK = Task(grid=(2, 2), image_shape=(1, 1, 1), num_classes=3)


def predictions(logits, words, labels, num_classes=3):
    words, labels = np.array(words), np.array(labels)
    classes = (labels[:, :, None] == np.arange(num_classes)).any(axis=1)
    match = (words == labels).all(axis=1)
    return Predictions(
        np.array(logits, np.float32), np.arange(len(words), dtype=np.float32), match, classes,
        words, np.arange(labels.size).reshape(labels.shape), labels,
    )  # fmt: skip


def test_metrics_of_four_pairs_by_hand():
    found = evaluate.metrics(
        predictions(
            #        match, then "class 0, 1, 2 is in the image"
            logits=[[2, 1, 1, -1], [1, 1, 1, -1], [-1, 1, -1, 1], [-1, 1, 1, 1]],
            words=[[0, 1], [0, 2], [0, 2], [1, 1]],
            labels=[[0, 1], [0, 1], [0, 2], [0, 2]],
        )
    )
    # right: yes; no (false, taken for true); no (true, taken for false); yes
    assert found["match_accuracy"] == 0.5
    assert found["match_accuracy_true"] == 0.5
    assert found["match_accuracy_false"] == 0.5
    assert found["match_accuracy_by_replaced"] == {"1": 0.0, "2": 1.0}
    assert found["class_accuracy"] == pytest.approx((1 + 1 + 1 + 2 / 3) / 4)
    assert found["class_exact_match"] == 0.75
    assert found["loss"] == 1.5
    assert found["num_pairs"] == 4
    assert found["chance"] == {"match_accuracy": 0.5, "class_accuracy": pytest.approx(2 / 3)}


def test_every_accuracy_has_an_interval_around_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (500, 4))
    words = np.where(rng.random((500, 4)) < 0.2, rng.integers(0, 3, (500, 4)), labels)
    found = evaluate.metrics(predictions(rng.normal(size=(500, 4)), words, labels))
    names = ["match_accuracy", "match_accuracy_true", "match_accuracy_false", "class_accuracy",
             "class_exact_match", "loss"]  # fmt: skip
    for name in names:
        low, high = found["intervals"][name]
        assert low < found[name] < high
    for count, value in found["match_accuracy_by_replaced"].items():
        low, high = found["intervals"]["match_accuracy_by_replaced"][count]
        assert low <= value <= high


def test_a_part_without_pairs_is_left_out():
    found = evaluate.metrics(predictions([[1, 1, -1, -1]] * 3, [[0, 0]] * 3, [[0, 0]] * 3))
    assert "match_accuracy_false" not in found
    assert found["match_accuracy_by_replaced"] == {}


def test_two_match_units_decide_by_their_difference():
    logits = np.array([[1.0, 2.0, 0, 0], [-1.0, -2.0, 0, 0], [3.0, 1.0, 0, 0]])
    np.testing.assert_array_equal(match_logit(logits, num_classes=2) > 0, [False, True, True])


def test_predictions_show_every_image_once_in_each_pass(tiny_config, tiny_splits):
    from multimodal_vit.train.experiment import Experiment

    tiny_config.evaluation.num_passes = 3
    experiment = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1])
    predict = Predictor(experiment)
    found = predict(experiment.init_state().variables, "test")
    assert found.logits.shape == (120, 11)
    for start in range(0, 120, 40):  # 40 test images are no multiple of the batch size, 32
        first = np.sort(found.labels[start : start + 40, 0])
        np.testing.assert_array_equal(first, np.sort(tiny_splits.test.labels))
    again = predict(experiment.init_state().variables, "test")
    np.testing.assert_array_equal(found.logits, again.logits)
    np.testing.assert_array_equal(found.match, (found.words == found.labels).all(axis=1))


def test_a_model_that_has_diverged_has_metrics_without_calibration():
    found = evaluate.metrics(
        predictions(
            logits=[[np.nan] * 4, [np.nan] * 4], words=[[0, 1], [0, 2]], labels=[[0, 1], [0, 1]]
        )
    )
    assert "ece" not in found
    assert "auroc" not in found


def test_a_suite_over_training_is_followed_without_bias():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (400, 4))
    words = np.where(rng.random((400, 1)) < 0.5, labels, np.roll(labels, 1, axis=1))
    match = (words == labels).all(axis=1)
    logits = np.concatenate(
        [rng.normal(-1, 1, (400, 1)) + 2 * match[:, None], np.ones((400, 3))], 1
    )
    found = evaluate.suite_curve(suites_for(TASK)["order_foil"], predictions(logits, words, labels))
    assert set(found) == {"", ".auroc", ".auroc_low", ".rejection_difference"}
    rejected = logits[:, 0] <= 0
    assert found[""] == pytest.approx(rejected[~match].mean())
    difference = rejected[~match].mean() - rejected[match].mean()
    assert found[".rejection_difference"] == pytest.approx(difference)
    assert 0.5 < found[".auroc_low"] < found[".auroc"] < 1


def test_figures_of_a_version_that_knew_no_bias_are_known_as_old():
    from multimodal_vit.run import _is_old

    new = evaluate.metrics(predictions(np.ones((2, 4)), [[0, 1], [0, 1]], [[0, 1], [0, 2]]))
    assert not _is_old(new)
    assert _is_old({name: value for name, value in new.items() if name != "called_false"})
    assert _is_old({"failure_rate": 0.1, "num_pairs": 5})
    assert not _is_old({"failure_rate": 0.1, "num_pairs": 5, "num_compared": 5})
    assert not _is_old({"accuracy": 0.9})  # a classifier's
