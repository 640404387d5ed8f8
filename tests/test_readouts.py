"""Read-outs: recall and texts by hand, and each asked of a tiny run."""

import jax
import numpy as np
import pytest

from multimodal_vit.config import changed
from multimodal_vit.config.rules import READOUTS as NAMES
from multimodal_vit.errors import UserError
from multimodal_vit.readouts import READOUTS, linear, read_out, retrieval, wrong_word, zero_shot
from multimodal_vit.readouts.retrieval import recall
from multimodal_vit.readouts.wrong_word import found_and_mended
from multimodal_vit.readouts.zero_shot import all_texts, near_texts
from multimodal_vit.train.experiment import Experiment


def test_recall_by_hand():
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [1, 1, 1]])
    relevant = np.array([[True, False, False], [False, False, True], [True, False, False]])
    found = recall(scores, relevant)
    assert found == {"r@1": pytest.approx(1 / 3), "r@5": 1.0, "r@10": 1.0}  # ties count as lost


def test_the_word_that_fits_worst_is_found_and_mended():
    p = np.array([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]])
    place, better = found_and_mended(np.log(p), np.array([[0, 0, 1]]))
    assert (place.tolist(), better.tolist()) == ([1], [1])


def test_texts_to_choose_from():
    assert all_texts(3, 2).tolist() == [[a, b] for a in range(3) for b in range(3)]
    with pytest.raises(UserError, match="more than 20,000 texts"):
        all_texts(10, 5)
    near = near_texts(np.array([[0, 1, 2, 2]], np.int32), 10)
    assert near.shape == (1, 1 + 4 * 9 + 23, 4)
    assert near[0, 0].tolist() == [0, 1, 2, 2]
    assert ((near[0, 1:37] != near[0, 0]).sum(axis=1) == 1).all()
    assert (np.sort(near[0, 37:], axis=1) == np.sort(near[0, 0])).all()


def test_the_names_that_a_configuration_takes_are_those_there_are(tiny_config):
    from multimodal_vit.config import check

    assert set(NAMES) == READOUTS.keys()
    with pytest.raises(UserError, match="'liner' is not one of linear, .*did you mean linear"):
        check(changed(tiny_config, {"evaluation.readouts": ("liner",)}))


@pytest.fixture(scope="module")
def _few(request):
    """Few grids, so that it takes no time."""
    patch = pytest.MonkeyPatch()
    patch.setattr(linear, "GRIDS", {"train": 60, "validation": 20, "test": 20})
    patch.setattr(zero_shot, "GRIDS", 20)
    patch.setattr(zero_shot, "LOCAL_GRIDS", 2)
    patch.setattr(retrieval, "PAIRS", 20)
    patch.setattr(wrong_word, "GRIDS", 20)
    yield
    patch.undo()


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("name", ["masked_labels", "binary_cross_entropy"])
def test_each_is_asked_of_what_can_answer(tiny_config, tiny_splits, name):
    tiny_config.model.update({"num_conv_layers": 0, "patch_size": 28})
    config = changed(tiny_config, {"train.objective": name})
    experiment = Experiment.create(config, tiny_splits, jax.devices()[:1])
    variables = experiment.init_state().variables
    names = ("zero_shot", "retrieval") if name == "binary_cross_entropy" else NAMES
    found = read_out(experiment, variables, names)
    shares = found["zero_shot"]
    assert 0 <= shares["exact"] <= shares["multiset"] <= 1 and shares["exact"] <= shares["words"]
    if name == "masked_labels":
        assert shares["num_candidates"] == 10_000
        assert found["retrieval"]["text_of_image"].keys() == {"r@1", "r@5", "r@10"}
        assert 0 <= found["wrong_word"]["mended"] <= found["wrong_word"]["found"] <= 1
        probe = found["linear"]
        assert probe["quadrant_random"] == probe["quadrant"]  # the first parameters are random
    else:
        assert shares["num_candidates"] == 60
        assert "judges pairs one by one" in found["retrieval"]["skipped"]
