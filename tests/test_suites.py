"""Evaluation suites: what each shows a model, as statements about its pairs."""

import dataclasses
import html
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import CHROMIUM, check_page

from multimodal_vit import config as configuration
from multimodal_vit import evaluate, evaluate_checks, sampler
from multimodal_vit.errors import UserError
from multimodal_vit.foils import changes
from multimodal_vit.sampler import Task, mix_labels, permute_labels
from multimodal_vit.suites import (
    BEFORE,
    CHECKS,
    Pool,
    checks_for,
    choose_suites,
    suites_for,
    swap_adjacent,
)
from multimodal_vit.workdir import Workdir

TASK = Task(grid=(2, 2), image_shape=(4, 4, 1), num_classes=10)
B = 4096


def make_pool(count=50, shape=(4, 4, 1)):
    """Images whose pixels name their class and their place; 9 confuses with 0, 0 with 1, …"""
    labels = jnp.arange(count, dtype=jnp.int32) % 10
    images = jnp.broadcast_to(labels[:, None, None, None] * 20 + 5, (count, *shape))
    images = images.astype(jnp.uint8).at[:, 0, 0, 0].set(jnp.arange(count).astype(jnp.uint8))
    return Pool(images, labels, (jnp.arange(10, dtype=jnp.int32) + 1) % 10)


def draw(suite, task=TASK, pool=None, rows=B, flipped=False):
    pool = make_pool() if pool is None else pool
    base = jnp.arange(rows, dtype=jnp.int32) % len(pool.labels)
    return jax.device_get(suite.draw(jax.random.key(3), pool, base, jnp.ones(rows), task, flipped))


@pytest.fixture(scope="module")
def batches():
    """A batch of every suite, from the same key and images."""
    return {name: draw(suite) for name, suite in suites_for(TASK).items()}


def sorted_rows(a):
    return np.sort(np.asarray(a), axis=1)


def counted(batch):
    return batch.weight > 0


def test_every_suite_is_half_true_and_half_false(batches):
    for name, batch in batches.items():
        share = batch.match[counted(batch)].mean()
        assert share == pytest.approx(0.5, abs=0.04), name  # 5 standard errors


def test_suites_do_not_depend_on_what_the_model_is_trained_on(batches):
    other = dataclasses.replace(
        TASK, false_rate=0.0, replacement_rate=1.0, corruption="permute", held_out="pairs"
    )
    for name, suite in suites_for(other).items():
        batch = draw(suite, other)
        there = counted(batches[name])
        np.testing.assert_array_equal(counted(batch), there)
        np.testing.assert_array_equal(
            batch.inputs["words"][there], batches[name].inputs["words"][there], err_msg=name
        )


def test_a_grid_of_one_image_has_no_suites_of_order():
    names = suites_for(dataclasses.replace(TASK, grid=(1, 1)))
    assert "one_quadrant_1" in names
    assert not {"order_foil", "swap_adjacent"} & set(names)


def test_order_foils_keep_the_labels_and_change_their_order(batches):
    for name in ("order_foil", "swap_adjacent"):
        batch = batches[name]
        words = batch.inputs["words"]
        there = counted(batch)
        np.testing.assert_array_equal(sorted_rows(words)[there], sorted_rows(batch.labels)[there])
        np.testing.assert_array_equal(batch.match, (words == batch.labels).all(axis=1))


def test_count_foils_keep_the_classes_and_change_how_often(batches):
    batch = batches["count_foil"]
    there = counted(batch)
    assert 0.4 < there.mean() < 0.6  # of ten classes, half of the grids have one twice
    false = there & ~batch.match
    assert (batch.replaced[false].sum(axis=1) == 1).all()
    words, labels = batch.inputs["words"][false], batch.labels[false]
    np.testing.assert_array_equal(changes(words, labels), np.full(len(words), 2))
    kinds = [len(set(row)) for row in labels.tolist()]
    assert set(kinds) == {2, 3}
    assert "count_foil" not in suites_for(dataclasses.replace(TASK, grid=(1, 2)))


def test_existence_foils_name_one_class_that_the_grid_does_not_show(batches):
    batch = batches["existence_foil"]
    false = ~batch.match
    assert (batch.replaced[false].sum(axis=1) == 1).all()
    named = batch.inputs["words"][batch.replaced & false[:, None]]
    assert not (batch.labels[false] == named[:, None]).any()
    pool, task = make_pool(), dataclasses.replace(TASK, num_classes=4)
    few = draw(suites_for(TASK)["existence_foil"], task, pool.replace(labels=pool.labels % 4))
    assert (counted(few) == [len(set(row)) < 4 for row in few.labels.tolist()]).all()


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("row_foil", {(0, 1), (2, 3)}), ("column_foil", {(0, 2), (1, 3)}),
        ("diagonal_foil", {(0, 3), (1, 2)}),
        ("spatial_foil", {(0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2)}),
    ],
)  # fmt: skip
def test_spatial_foils_exchange_two_words_of_a_direction(batches, name, pairs):
    batch = batches[name]
    false = counted(batch) & ~batch.match
    assert {tuple(np.flatnonzero(row)) for row in batch.replaced[false]} == pairs
    np.testing.assert_array_equal(
        sorted_rows(batch.inputs["words"])[false], sorted_rows(batch.labels)[false]
    )
    if name == "column_foil":
        assert name not in suites_for(dataclasses.replace(TASK, grid=(1, 4)))


def test_the_other_text_of_every_grid(batches):
    for name in ("single_foil", "order_foil", "near_foil", "count_foil", "existence_foil"):
        batch, other = batches[name], draw(suites_for(TASK)[name], flipped=True)
        np.testing.assert_array_equal(other.chosen, batch.chosen)
        np.testing.assert_array_equal(other.weight, batch.weight)
        there = counted(batch)
        np.testing.assert_array_equal(other.match[there], ~batch.match[there], err_msg=name)
        again = draw(dataclasses.replace(suites_for(TASK)[name], false_rate=1.0))
        texts = np.where(batch.match[:, None], other.inputs["words"], batch.inputs["words"])
        np.testing.assert_array_equal(texts, again.inputs["words"])


def test_swaps_are_of_two_neighbours(batches):
    batch = batches["swap_adjacent"]
    false = counted(batch) & ~batch.match
    differ = batch.replaced[false]
    assert (differ.sum(axis=1) == 2).all()
    places = np.nonzero(differ)[1].reshape(-1, 2)
    assert (places[:, 1] - places[:, 0] == 1).all()
    assert set(places[:, 0]) == {0, 1, 2}


def test_grids_of_equal_labels_do_not_count_as_order_foils(batches):
    batch = batches["order_foil"]
    equal = (batch.labels == batch.labels[:, :1]).all(axis=1)
    assert equal.any()
    np.testing.assert_array_equal(counted(batch), ~equal)


def test_single_foils_differ_in_one_place_and_quadrant_foils_in_theirs(batches):
    single = batches["single_foil"]
    assert (single.replaced[~single.match].sum(axis=1) == 1).all()
    assert set(np.nonzero(single.replaced)[1]) == {0, 1, 2, 3}
    for i in range(4):
        batch = batches[f"one_quadrant_{i + 1}"]
        np.testing.assert_array_equal(
            batch.replaced[~batch.match], np.tile(np.arange(4) == i, ((~batch.match).sum(), 1))
        )


def test_blind_suites_change_one_modality_and_leave_the_targets(batches):
    standard = batches["standard"]
    for name, changed, kept in (
        ("blind_text", "words", "image"),
        ("no_text", "words", "image"),
        ("blind_image", "image", "words"),
        ("no_image", "image", "words"),
    ):
        batch = batches[name]
        np.testing.assert_array_equal(batch.inputs[kept], standard.inputs[kept])
        np.testing.assert_array_equal(batch.match, standard.match)
        assert (batch.inputs[changed] != standard.inputs[changed]).any()
    assert not batches["no_image"].inputs["image"].any()
    text = standard.inputs["words"]
    np.testing.assert_array_equal(batches["blind_text"].inputs["words"], np.roll(text, 1, axis=0))


def test_shifts_change_the_image_as_they_say(batches):
    before = batches["standard"].inputs["image"].astype(int)
    assert (batches["inverted"].inputs["image"] == 255 - before).all()
    low = batches["low_contrast"].inputs["image"].astype(int)
    assert np.abs(low - (64 + before / 2)).max() <= 1
    noise = batches["noisy"].inputs["image"].astype(int) - before
    inside = (before > 100) & (before < 150)
    assert noise[inside].std() == pytest.approx(51, rel=0.05)


def test_translation_moves_each_image_within_its_cell_by_up_to_three_pixels():
    task = dataclasses.replace(TASK, image_shape=(9, 9, 1))
    image = np.zeros((50, 9, 9, 1), np.uint8)
    image[:, 4, 4] = 255
    pool = make_pool().replace(images=jnp.asarray(image))
    moved = draw(suites_for(task)["translated"], task, pool, rows=300).inputs["image"]
    for rows in (slice(0, 9), slice(9, 18)):
        for columns in (slice(0, 9), slice(9, 18)):
            cell = np.asarray(moved)[:, rows, columns, 0]
            assert (cell.reshape(300, -1).sum(axis=1) == 255).all()
            _, y, x = np.nonzero(cell)
            assert set(y) == set(x) == set(range(1, 8))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, 3), min_size=n, max_size=n), min_size=8, max_size=8
        )  # always eight, so that little is compiled
    ),
    st.integers(0, 2**31),
)
def test_a_permuted_text_is_never_the_true_one(rows, seed):
    labels = jnp.array(rows, jnp.int32)
    task = dataclasses.replace(TASK, grid=(1, labels.shape[1]), num_classes=4)
    words = np.asarray(permute_labels(jax.random.key(seed), labels, task))
    labels = np.asarray(labels)
    assert (words != labels).any(axis=1).all()
    can_be_permuted = (labels != labels[:, :1]).any(axis=1)
    np.testing.assert_array_equal(
        sorted_rows(words)[can_be_permuted], sorted_rows(labels)[can_be_permuted]
    )
    swapped = np.asarray(swap_adjacent(jax.random.key(seed), jnp.asarray(labels), task))
    assert ((swapped != labels).sum(axis=1) == 2 * can_be_permuted).all()


def test_all_orders_that_change_the_text_are_equally_likely():
    labels = jnp.tile(jnp.array([[0, 1, 1, 2]], jnp.int32), (11_000, 1))
    words = np.asarray(permute_labels(jax.random.key(5), labels, TASK))
    orders, counts = np.unique(words, axis=0, return_counts=True)
    assert len(orders) == 4 * 3 - 1
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_mixed_false_texts_are_half_of_each_kind():
    labels = jax.random.permutation(jax.random.key(0), jnp.tile(jnp.arange(10), (8000, 1)), axis=1,
                                    independent=True)[:, :4]  # fmt: skip
    words = np.asarray(mix_labels(jax.random.key(1), labels.astype(jnp.int32), TASK))
    same_labels = (sorted_rows(words) == sorted_rows(labels)).all(axis=1)
    # Of the replaced ones fewer than one in a hundred keeps the labels.
    assert same_labels.mean() == pytest.approx(0.5, abs=0.03)


def test_unknown_suites_are_named_with_the_nearest():
    with pytest.raises(UserError, match=r"no suite 'order_fool'.*did you mean order_foil\?"):
        choose_suites(["standard", "order_fool"], TASK)
    assert list(choose_suites(["order_foil", "standard"], TASK)) == ["order_foil", "standard"]
    assert choose_suites([], TASK) == {}
    assert list(choose_suites(["all"], TASK)) == list(suites_for(TASK))


def test_calibration_error_by_hand():
    # Two bins of the certainty: 0.61 right half the time, 0.95 right always.
    probability = np.array([0.61, 0.39, 0.95, 0.05])
    true = np.array([True, True, True, False])
    found = evaluate.reliability(probability, true)
    assert found["ece"] == pytest.approx((0.22 + 0.1) / 4)
    assert sum(found["count"]) == 4
    assert found["certainty"][3] == pytest.approx(0.61)
    assert found["right"][3] == 0.5
    assert found["right"][0] is None
    assert evaluate.reliability(np.array([1.0, 0.0]), np.array([True, False]))["ece"] == 0


def test_a_model_that_ignores_order_passes_the_task_and_fails_the_order_foils():
    """A multiset matcher, exactly: what the suites are for."""
    pool = make_pool(1000)
    found = {}
    for name in ("standard", "order_foil", "single_foil"):
        batch = draw(suites_for(TASK)[name], pool=pool, rows=8000)
        answer = (sorted_rows(batch.inputs["words"]) == sorted_rows(batch.labels)).all(axis=1)
        there = np.asarray(batch.weight) > 0
        found[name] = (answer == np.asarray(batch.match))[there].mean()
    assert found["standard"] == pytest.approx(0.9975, abs=0.002)
    assert found["single_foil"] == 1.0
    assert found["order_foil"] == pytest.approx(0.5, abs=0.03)


def test_a_batch_of_the_task_is_the_standard_suite(batches):
    pool = make_pool()
    base = jnp.arange(B, dtype=jnp.int32) % 50
    batch = sampler.sample_batch(
        jax.random.key(3), pool.images, pool.labels, base, jnp.ones(B), TASK
    )
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(batch), batches["standard"])


def test_near_foils_name_the_class_that_the_model_takes_the_image_for(batches):
    near, single = batches["near_foil"], draw(suites_for(TASK)["near_foil"])
    np.testing.assert_array_equal(near.inputs["words"], single.inputs["words"])
    false = ~near.match
    assert (near.replaced[false].sum(axis=1) == 1).all()
    words, labels = near.inputs["words"][near.replaced], near.labels[near.replaced]
    np.testing.assert_array_equal(words, (labels + 1) % 10)


@pytest.mark.parametrize("kind", ["sequences", "pairs"])
def test_held_out_suites_show_only_what_training_never_shows(batches, kind):
    is_held_out = sampler.HELD_OUT[kind]
    batch = batches[f"held_out_{kind}"]
    there = counted(batch)
    assert there.mean() > 0.99
    assert is_held_out(batch.labels, 10)[there].all()
    assert is_held_out(batch.inputs["words"], 10)[there].all()
    task = dataclasses.replace(TASK, held_out=kind)
    for corruption in sampler.CORRUPTIONS:
        pool, base = make_pool(), jnp.arange(B, dtype=jnp.int32) % 50
        trained = sampler.sample_batch(
            jax.random.key(4), pool.images, pool.labels, base, jnp.ones(B),
            dataclasses.replace(task, corruption=corruption),
        )  # fmt: skip
        assert not is_held_out(trained.labels, 10).any()
        assert not is_held_out(trained.inputs["words"], 10).any()
        assert trained.match.mean() == pytest.approx(0.5, abs=0.04)
        assert (trained.match == ~trained.replaced.any(axis=1)).all()
        assert set(np.unique(trained.labels)) == set(range(10))


def test_a_tenth_of_the_sequences_and_of_the_pairs_is_held_out():
    every = np.indices((10,) * 4).reshape(4, -1).T
    share = np.asarray(sampler.sequence_is_held_out(jnp.asarray(every), 10)).mean()
    assert share == pytest.approx(0.1, abs=0.012)  # 4 standard errors
    pairs = np.stack(np.triu_indices(10, 1), axis=1)
    assert np.asarray(sampler.pair_is_held_out(jnp.asarray(pairs), 10)).sum() == 4
    assert not sampler.pair_is_held_out(jnp.zeros((1, 4), jnp.int32), 10).any()


def test_what_cannot_be_held_out_is_refused():
    with pytest.raises(UserError, match="task.held_out='pairs' leaves too little"):
        dataclasses.replace(TASK, num_classes=3, held_out="pairs")
    with pytest.raises(UserError, match="task.held_out='sequences' leaves too little"):
        dataclasses.replace(TASK, grid=(1, 1), held_out="sequences")
    assert not {n for n in suites_for(dataclasses.replace(TASK, grid=(1, 1))) if "held" in n}


# ---- checks: the pairs ----


@pytest.fixture(scope="module")
def changed():
    return {name: draw(check.after) for name, check in CHECKS.items()}


def test_checks_start_from_the_same_pairs(changed):
    before = draw(BEFORE)
    for name in ("another_image", "small_shift", "swap_words", "swap_words_and_images"):
        np.testing.assert_array_equal(changed[name].match, before.match)


def test_grids_of_equal_classes_are_equal_and_differ_in_images(changed):
    batch = changed["equal_grid"]
    assert (batch.labels == batch.labels[:, :1]).all()
    assert (batch.chosen != batch.chosen[:, :1]).any()
    np.testing.assert_array_equal(batch.chosen[:, 0], np.arange(B) % 50)
    assert batch.match.mean() == pytest.approx(0.5, abs=0.04)


def test_another_image_is_another_of_the_same_class(changed):
    before, batch = draw(BEFORE), changed["another_image"]
    np.testing.assert_array_equal(np.asarray(make_pool().labels)[batch.chosen], before.labels)
    assert (batch.chosen != before.chosen).mean() == pytest.approx(0.8, abs=0.02)  # 5 of a class
    np.testing.assert_array_equal(batch.inputs["words"], before.inputs["words"])
    np.testing.assert_array_equal(batch.inputs["image"][:, 0, 0, 0], batch.chosen[:, 0])


def test_a_replaced_image_is_of_another_class(changed):
    before, batch = draw(BEFORE), changed["replace_image"]
    assert ((batch.labels != before.labels).sum(axis=1) == 1).all()
    assert ((batch.chosen != before.chosen).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(np.asarray(make_pool().labels)[batch.chosen], batch.labels)
    np.testing.assert_array_equal(batch.inputs["words"], before.inputs["words"])
    np.testing.assert_array_equal(batch.inputs["image"][:, 4, 0, 0], batch.chosen[:, 2])


def test_exchanges_are_of_two_different_words(changed):
    before = draw(BEFORE)
    for name in ("swap_words", "swap_words_and_images"):
        batch = changed[name]
        np.testing.assert_array_equal(
            sorted_rows(batch.inputs["words"]), sorted_rows(before.inputs["words"])
        )
    words = changed["swap_words"].inputs["words"]
    can = before.match & (before.labels != before.labels[:, :1]).any(axis=1)
    assert ((words != before.labels).sum(axis=1) == 2)[can].all()
    np.testing.assert_array_equal(changed["swap_words"].chosen, before.chosen)
    both = changed["swap_words_and_images"]
    still = (both.inputs["words"] == both.labels).all(axis=1)
    np.testing.assert_array_equal(still, before.match)
    np.testing.assert_array_equal(np.asarray(make_pool().labels)[both.chosen], both.labels)
    assert ((both.chosen != before.chosen).sum(axis=1) == 2)[can].all()


def test_one_image_has_no_checks_with_an_exchange():
    assert "swap_words" not in checks_for(dataclasses.replace(TASK, grid=(1, 1)))


# ---- checks: the answers ----


def predictions(says, words, labels, class_logits=None):
    """Answers with a logit of ±1 for the true/false unit."""
    words, labels = np.array(words), np.array(labels)
    classes = (labels[..., None] == np.arange(3)).any(axis=1)
    units = np.where(classes, 1.0, -1.0) if class_logits is None else np.array(class_logits)
    logits = np.concatenate([np.where(says, 1.0, -1.0)[:, None], units], axis=1)
    match = (words == labels).all(axis=1)
    return evaluate.Predictions(
        logits.astype(np.float32), np.zeros(len(words), np.float32), match, classes, words,
        np.zeros_like(words), labels,
    )  # fmt: skip


def test_check_metrics_by_hand():
    labels = [[0, 1], [0, 1], [1, 1], [0, 1]]
    before = predictions([True, True, True, False], [[0, 1], [0, 1], [1, 1], [0, 2]], labels)
    after = predictions([True, False, True, True], [[1, 0], [1, 0], [1, 1], [2, 0]], labels)
    turn = evaluate_checks.check_metrics(CHECKS["swap_words"], before, after)
    assert turn["num_pairs"] == 2  # the third has nothing to exchange, the fourth was false
    assert turn["failure_rate"] == 0.5
    assert turn["failures"] == [0]
    stay = evaluate_checks.check_metrics(CHECKS["swap_words_and_images"], before, after)
    assert stay["failures"] == [1]
    same = evaluate_checks.check_metrics(CHECKS["small_shift"], before, after)
    assert (same["num_pairs"], same["failures"]) == (4, [1, 3])
    right = evaluate_checks.check_metrics(CHECKS["equal_grid"], before, before)
    assert right["failure_rate"] == 0
    none = evaluate_checks.check_metrics(CHECKS["swap_words"], after, after)
    assert none["num_pairs"] == 0
    assert "failure_rate" not in none


def test_true_contradicts_class_outputs_that_see_other_classes():
    answers = predictions(
        [True, True, False],
        [[0, 1], [0, 2], [0, 2]],
        [[0, 1], [0, 1], [0, 1]],
    )
    found = evaluate_checks.consistency_metrics(answers)
    assert (found["num_pairs"], found["failures"]) == (2, [1])


def test_the_confusable_class_is_the_one_believed_most():
    labels = [[0, 1]] * 4
    words = [[2, 1], [0, 2], [0, 0], [1, 1]]
    answers = predictions([True, False, True, False], words, labels)
    np.testing.assert_array_equal(evaluate.confusable(answers), [2, 0, 0])


# ---- the command ----


CONFIG = [
    f"--config={ROOT / 'configs' / 'digits_conv.py'}", "--config.train.num_samples=2824",
    "--config.data.name=digits", "--config.train.optimizer=adam",
    "--config.model.embedding_dim=16", "--config.evaluation.num_passes=1",
    "--config.model.stem=conv", "--config.model.num_conv_layers=0", "--config.model.patch_size=28",
    "--config.model.num_encoder_layers=1", "--config.model.mlp_dim=32",
    "--config.evaluation.suite_pairs=500",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suites")
    done = run_command(*CONFIG, "--workdir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def asked(trained, tmp_path_factory):
    """A copy of the run, asked everything, and its results."""
    folder = tmp_path_factory.mktemp("asked")
    shutil.copytree(trained / "run", folder / "run")
    nowhere = "--config.data.directory=nowhere"  # the digits need no data folder, the control does
    done = run_command(
        "--mode=evaluate", "--workdir=run", "--suites=all", *CONFIG, nowhere, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "run" / "results.json").read_text())
    for name in ("order_foil", "label_multiset", "small_shift", "not asked: other_data_set"):
        assert name in done.stdout
    return folder, results


def test_evaluate_runs_all_suites_and_keeps_them(asked, tmp_path):
    folder, results = asked
    suites = results["suites"]
    assert set(suites) == set(suites_for(TASK)) - {"other_data_set"}
    assert "fashion_mnist" in results["skipped"]["other_data_set"]
    assert suites["standard"]["match_accuracy"] == results["test"]["match_accuracy"]
    for name in ("single_foil", "order_foil", "near_foil", "swap_adjacent", "one_quadrant_1"):
        assert suites[name]["rejection_rate"] == suites[name]["match_accuracy_false"]
        low, high = suites[name]["intervals"]["rejection_rate"]
        assert low <= suites[name]["rejection_rate"] <= high
        assert sum(suites[name]["reliability"]["count"]) == suites[name]["num_pairs"]
    assert "rejection_rate" not in suites["noisy"]
    assert set(results["checks"]) == {*CHECKS, "consistent"}
    assert results["references"]["order_foil"]["label_multiset"] == 0
    assert results["references"]["standard"]["quadrants_4"] == 1
    assert results["expected"]["label_multiset"] == pytest.approx(0.9975, abs=1e-3)
    shutil.copytree(folder / "run", tmp_path / "run")
    again = run_command("--mode=evaluate", "--workdir=run", "--suites=order_foil", cwd=tmp_path)
    assert again.returncode == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results


def test_every_run_ends_with_the_suites_of_its_configuration(trained):
    results = json.loads((trained / "run" / "results.json").read_text())
    assert set(results["suites"]) == {"single_foil", "order_foil"}
    assert 0 <= results["suites"]["order_foil"]["rejection_rate"] <= 1


def test_an_unknown_suite_in_a_configuration_is_a_mistake(tmp_path):
    done = run_command(
        f"--config={ROOT / 'configs' / 'digits_conv.py'}",
        "--config.evaluation.suites=('order_fool',)", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "did you mean order_foil?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suite_ends_in_one_line(trained):
    done = run_command("--mode=evaluate", "--workdir=run", "--suites=order", cwd=trained)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no suite 'order'; there are: all, standard")
    assert done.stderr.count("\n") == 1


def test_a_run_that_was_asked_everything_has_a_page_with_all_of_it(asked):
    folder, _ = asked
    page = (folder / "run" / "report.html").read_text()
    for part in (
        "reads 3 of the positions", "compares which classes occur and how often", "near_foil",
        "reads in order", "count_foil", "does not depend on how readily", "repeat.py",
        "95 % intervals by image", "true text higher, same grid",
        "swap_words_and_images", "Attention and occlusion", "How sure it may be",
        "Pictures: digits_conv", "Pictures of failed checks",
        "other classes than the text names",
    ):  # fmt: skip
        assert part in page, part
    drawn = {path.stem for path in (folder / "run" / "figures").glob("*.png")}
    assert {"reliability", "failures_digits_conv", "true_and_false_digits_conv"} <= drawn
    assert {"scale", "curves"} <= drawn
    assert "## What it uses" in (folder / "run" / "report.md").read_text()
    for absent in ("conditions", "Hedges", "t-test", "over seeds", "± "):  # it is a single run
        assert absent not in page, absent


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_the_page_of_a_run_in_a_browser(asked, width, scheme):
    folder, _ = asked
    check_page(folder / "run" / "report.html", width, scheme)


def test_the_verdict_is_kept_shown_and_on_the_page(asked):
    folder, results = asked
    said = results["verdict"]
    assert said["reads_order"] is False
    assert said["scale"]["marks"] == ["text alone", "which labels", "how often", "where"]
    page = (folder / "run" / "report.html").read_text()
    assert html.escape(said["can"]) in page
    assert html.escape(said["uses"]) in page
    assert said["cost"].startswith("It saw 2,824 training pairs")
    evaluation = json.loads((folder / "run" / "evaluation.json").read_text())
    assert evaluation["verdict"]["sentence"] == said["sentence"]


def test_the_configuration_beside_the_page_is_the_runs(asked):
    folder, _ = asked
    again = configuration.from_file(folder / "run" / "repeat.py")
    saved = configuration.load(folder / "run" / "config.json")
    assert configuration.differences(saved, again) == []


def test_both_texts_of_a_grid_are_asked_and_every_figure_has_an_interval(asked):
    _, results = asked
    for name, suite in results["suites"].items():
        assert "auroc" in suite["intervals"], name
        if "rejection_rate" in suite:
            assert suite["paired"]["num_grids"] == suite["num_pairs"]
            assert {"text_score", "pair_accuracy", "auroc"} <= suite["paired"]["intervals"].keys()
            low, high = suite["intervals"]["rejection_difference"]
            assert low <= suite["rejection_difference"] <= high
            difference = suite["rejection_rate"] - suite["true_rejection_rate"]
            assert suite["rejection_difference"] == pytest.approx(difference)
    for name, check in results["checks"].items():
        assert check["num_compared"] > 0, name
        assert "auroc" in check["intervals"], name
    assert "text_score" in results["checks"]["swap_words"]["paired"]
    assert results["reference_auroc"]["order_foil"]["label_multiset"] == 0.5
    assert results["reference_auroc"]["order_foil"]["quadrants_4"] == 1.0


def test_the_evidence_is_kept_for_pictures(asked):
    folder, results = asked
    evidence = Workdir(folder / "run").evidence()
    failed = [name for name, check in results["checks"].items() if check.get("failures")]
    assert failed
    for name in failed:
        count = len(results["checks"][name]["failures"])
        assert evidence[f"{name}/after/image"].shape == (count, 56, 56, 1)
        probability = evidence[f"{name}/after/probability"]
        says = probability > 0.5
        if name == "equal_grid":
            match = (evidence[f"{name}/after/words"] == evidence[f"{name}/after/labels"]).all(
                axis=1
            )
            assert (says != match).all()
        elif name == "consistent":
            assert says.all()
        else:
            assert (says != (evidence[f"{name}/before/probability"] > 0.5)).all() == (
                name not in ("swap_words", "replace_image")
            )
    assert results["attention"]["num_pairs"] == 500
    assert "attention/image" in evidence
