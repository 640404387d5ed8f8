"""Views: each image of a grid is changed alone, by its key; and what training makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from multimodal_vit.config import changed, check
from multimodal_vit.errors import UserError
from multimodal_vit.sampler import cells, paste
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.views import AUGMENTATIONS, augmented

GRID = (2, 3)
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 24, 36, 1)).astype(np.uint8)


def test_cells_are_what_was_pasted():
    parts = cells(jnp.asarray(IMAGE), GRID)
    assert parts.shape == (3, 6, 12, 12, 1)
    np.testing.assert_array_equal(paste(parts, GRID), IMAGE)
    np.testing.assert_array_equal(parts[1, 2], IMAGE[1, :12, 24:])


def test_nothing_asked_changes_nothing():
    assert augmented(jax.random.key(0), IMAGE, GRID, ()) is IMAGE


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_no_augmentation_moves_anything_into_another_cell(name):
    one = np.zeros_like(IMAGE)
    one[:, :12, 12:24] = IMAGE[:, :12, 12:24]
    view = jax.jit(lambda key: augmented(key, jnp.asarray(one), GRID, (name,)))
    found = np.array(view(jax.random.key(1)))
    assert found.dtype == np.uint8 and (found != one).any()
    if name in ("shift", "affine", "erase"):  # the others act on black too
        found[:, :12, 12:24] = 0
        assert not found.any()
    np.testing.assert_array_equal(view(jax.random.key(1)), view(jax.random.key(1)))
    assert (view(jax.random.key(1)) != view(jax.random.key(2))).any()


def test_an_augmentation_acts_in_training_alone_and_off_is_off(tiny_config, tiny_splits):
    plain = Experiment.create(tiny_config, tiny_splits, jax.devices()[:1]).batch(1)
    config = changed(tiny_config, {"task.augmentation": ("shift", "noise")})
    batch = Experiment.create(config, tiny_splits, jax.devices()[:1]).batch(1)
    np.testing.assert_array_equal(batch.labels, plain.labels)
    np.testing.assert_array_equal(batch.inputs["words"], plain.inputs["words"])
    assert (batch.inputs["image"] != plain.inputs["image"]).any()
    with pytest.raises(UserError, match="task.augmentation: 'flip' is not one of shift"):
        check(changed(tiny_config, {"task.augmentation": ("flip",)}))


def test_few_labelled_pairs_are_the_same_in_every_epoch(tiny_config, tiny_splits):
    config = changed(tiny_config, {"train.num_labelled": 40, "train.num_samples": 400})
    experiment = Experiment.create(config, tiny_splits, jax.devices()[:1])
    assert (experiment.steps_per_epoch, experiment.total_steps) == (2, 20)

    def pairs(epoch, experiment=experiment):
        found = []
        for batch in (experiment.batch(2 * epoch), experiment.batch(2 * epoch + 1)):
            rows = np.concatenate([batch.chosen, batch.inputs["words"]], axis=1)
            found += rows[batch.weight > 0].tolist()
        return found

    first, second = pairs(0), pairs(7)
    assert len(first) == 40 and first != second and sorted(first) == sorted(second)
    assert len({tuple(row) for row in first}) > 35
    other = experiment.with_seed(1)
    assert sorted(pairs(0, other)) != sorted(first)
