"""What is said of a model: made-up models of each kind get the verdict that is true of them."""

import numpy as np
import pytest
from conftest import ROOT, load_module

from multimodal_vit import foils
from multimodal_vit.probes.verdict import scale, verdict


@pytest.fixture(scope="module")
def verdicts():
    return load_module(ROOT / "benchmarks" / "verdicts.py")


@pytest.fixture(scope="module")
def judged(verdicts):
    """The results and the verdict of every made-up model."""
    drawn = verdicts.draw_all()
    found = {name: verdicts.results(model, drawn) for name, model in verdicts.MODELS.items()}
    return {name: (results, verdict(results)) for name, results in found.items()}


LABELS, COUNTS, ALL = (1, 0, 0), (1, 1, 0), (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "reads_order", "steps"),
    [
        ("always says true", False, (0, 0, 0)),
        ("answers at random", False, (0, 0, 0)),
        ("answers at random, mostly false", False, (0, 0, 0)),
        ("text alone", False, (0, 0, 0)),
        ("which labels", False, LABELS),
        ("which labels and how often", False, COUNTS),
        ("reads all positions", True, ALL),
        ("reads all positions, biased to false", True, ALL),
        ("reads all positions, biased to true", True, ALL),
    ],
)
def test_a_reader_stands_at_its_mark_whatever_its_bias(judged, name, reads_order, steps):
    _, said = judged[name]
    found = said["scale"]
    assert said["reads_order"] is reads_order
    levels = [found["steps"][step]["level"] for step in foils.STEPS]
    assert levels == ["yes" if step else "no" for step in steps]
    assert found["place"] == pytest.approx(sum(steps), abs=0.08)
    low, high = found["interval"]
    assert low <= sum(steps) <= high + 0.02
    assert said["sentence"] == f"{said['can']} {said['uses']}"


def test_a_rejection_rate_is_not_taken_for_order(judged):
    """The two differ by fifty points in what they reject, and neither reads order."""
    for name in ("answers at random", "answers at random, mostly false"):
        results, said = judged[name]
        order = results["suites"]["order_foil"]
        assert order["rejection_rate"] == pytest.approx(order["true_rejection_rate"], abs=0.05)
        assert order["rejection_difference"] == pytest.approx(0, abs=0.05)
        assert said["uses"].startswith("No sign that it reads in order (")
        assert said["can"].startswith("Cannot be told from chance")
    assert (
        judged["answers at random, mostly false"][0]["suites"]["order_foil"]["rejection_rate"] > 0.7
    )


def test_noisy_and_partial_readers_lie_between_the_marks(judged):
    for name, between, order in (
        ("hardly trained: a trace of which labels, mostly false", "text alone", "no"),
        ("which labels, noisy", "text alone", "no"),
        ("the same, on two pairs of three also where", "how often", "in part"),
        ("reads all positions, noisy", "how often", "in part"),
    ):
        said = judged[name][1]
        assert said["scale"]["between"][0] == between, name
        assert said["scale"]["steps"]["where"]["level"] == order, name
        assert said["reads_order"] is False
    assert "in part it uses which labels occur" in judged["which labels, noisy"][1]["uses"]


def test_a_bias_is_named_and_a_wrong_certainty_too(judged):
    said = judged["reads all positions, biased to false"][1]
    assert 'a bias towards "false"' in said["bias"]
    assert 'a bias towards "true"' in judged["reads all positions, biased to true"][1]["bias"]
    assert "no strong bias" in judged["which labels"][1]["bias"]
    assert said["calibration"].startswith("Do not trust")


def test_both_texts_of_a_grid_are_compared(judged):
    full, counts = (
        judged[name][0]["suites"]["order_foil"]["paired"]
        for name in ("reads all positions", "which labels and how often")
    )
    assert full["num_grids"] > 2400  # all that can be put into another order
    assert (full["text_score"], full["pair_accuracy"]) == (1.0, 1.0)
    assert (counts["text_score"], counts["pair_accuracy"]) == (0.5, 0.0)  # ties
    assert counts["rejection_difference"] == 0
    noisy = judged["reads all positions, noisy"][0]["suites"]["order_foil"]
    for name in ("auroc", "rejection_difference"):  # twice the texts: a narrower interval
        widths = [np.ptp(part["intervals"][name]) for part in (noisy["paired"], noisy)]
        assert widths[0] < 0.8 * widths[1]


def test_what_a_foil_changes_is_told_from_coarse_to_fine():
    labels = np.array([[0, 0, 1, 2]] * 5)
    words = np.array([[0, 0, 1, 2], [0, 0, 1, 3], [0, 1, 1, 2], [0, 1, 0, 2], [3, 3, 3, 3]])
    np.testing.assert_array_equal(foils.changes(words, labels), [0, 1, 2, 3, 1])


def test_the_rule_of_reading_in_order():
    assert foils.level(0.95, [0.94, 0.96]) == "yes"
    assert foils.level(0.949, [0.94, 0.96]) == "in part"
    assert foils.level(0.97, [0.49, 1.0]) == "no"
    assert foils.level(0.52, [0.50, 0.54]) == "no"
    assert foils.level(float("nan"), [float("nan")] * 2) == "no"


def test_what_was_not_asked_is_said_to_be_unknown(judged):
    results, _ = judged["reads all positions"]
    bare = verdict({"test": results["test"]})
    assert (bare["reads_order"], bare["scale"]) == (None, None)
    assert "was not asked" in bare["uses"]
    one = {"single_foil": results["suites"]["single_foil"]}
    said = verdict({"test": results["test"], "suites": one})
    assert said["uses"].startswith("Whether it reads in order was not asked")
    assert scale({}) is None
    old = {"order_foil": {"rejection_rate": 0.7, "auroc": 0.5, "intervals": {}}}
    assert verdict({"test": results["test"], "suites": old})["reads_order"] is None


def test_positions_that_a_model_does_not_look_at_are_named(judged):
    results, _ = judged["reads two positions"]
    blind = {"auroc": 0.5, "intervals": {"auroc": [0.48, 0.52]}}
    suites = results["suites"] | {"one_quadrant_3": blind, "one_quadrant_4": blind}
    assert "wrong labels at position 3 and 4 pass" in verdict(results | {"suites": suites})["uses"]
