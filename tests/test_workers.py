"""How many workers a study starts, and which cores each gets; test_study has them at work."""

import math

import jax
import pytest

from multimodal_vit import workers
from multimodal_vit.errors import UserError
from multimodal_vit.locking import SWITCH
from multimodal_vit.train import memory
from multimodal_vit.train.experiment import Experiment

ENOUGH = 1e16


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(memory, "available", lambda device: 2**40)


@pytest.mark.parametrize(
    ("asked", "jobs", "flop", "count"),
    [
        (None, 10, ENOUGH, 4),  # one for each core
        (None, 3, ENOUGH, 3),
        (None, 3, math.inf, 3),  # a search, whose settings nobody knows yet
        (None, 0, 0.0, 1),
        (None, 10, 2.5 * workers.WORTH, 2),  # starting more takes longer than they save
        (None, 10, 0.5 * workers.WORTH, 1),
        (8, 10, 0.0, 8),  # as asked
        (8, 2, 0.0, 2),
        (8, 0, 0.0, 1),
    ],
)
def test_there_is_a_worker_for_each_core_and_none_without_work(
    four_cores, asked, jobs, flop, count
):
    assert workers.number(asked, jobs, flop, list) == count


def test_workers_fit_the_memory(four_cores, monkeypatch, tiny_config, tiny_splits):
    tiny_config.train.num_samples = 960
    experiment = Experiment.create(tiny_config, tiny_splits)
    each = workers.OWN_MEMORY + 2 * memory.need(experiment, 2**34).total
    monkeypatch.setattr(memory, "available", lambda device: 3 * each)
    assert workers.number(None, 10, ENOUGH, lambda: [experiment]) == 3
    monkeypatch.setattr(memory, "available", lambda device: each // 2)
    assert workers.number(None, 10, ENOUGH, lambda: [experiment]) == 1


def test_processes_do_not_share_an_accelerator_nor_work_without_locks(four_cores, monkeypatch):
    with monkeypatch.context() as without:
        without.setenv(SWITCH, "off")
        assert workers.number(None, 10, ENOUGH, list) == 1
        with pytest.raises(UserError, match="give --workers=1"):
            workers.number(2, 10, ENOUGH, list)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert workers.number(None, 10, ENOUGH, list) == 1
    with pytest.raises(UserError, match="seeds_together"):
        workers.number(2, 10, ENOUGH, list)


def test_what_is_no_number_of_workers_is_refused():
    assert (workers.parse("auto"), workers.parse("3")) == (None, 3)
    for wrong in ("0", "-1", "two", "1.5", "2000", ""):
        with pytest.raises(UserError, match="from 1 to 1024, or auto"):
            workers.parse(wrong)


@pytest.mark.parametrize(
    ("cores", "busy", "shares"),
    [
        ([0, 1], [1, 2], {1: {0}, 2: {1}}),
        ([0, 1], [2], {2: {0, 1}}),  # what is left has all
        ([0, 1], [], {}),
        ([0, 1, 4, 5, 6], [1, 2, 3], {1: {0}, 2: {1, 4}, 3: {5, 6}}),
        ([0, 1], [1, 2, 3], {1: {0}, 2: {0}, 3: {1}}),
    ],
)
def test_the_cores_are_shared_by_those_that_have_something_to_do(cores, busy, shares):
    assert workers.shares(cores, busy) == shares
