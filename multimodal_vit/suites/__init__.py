"""Evaluation suites: named sets of test pairs, each made to show one thing that a model uses.

A suite says which images stand in its grids, how its false texts are made, and what becomes of a
pair before the model sees it. Half of its pairs are true. Drawn on the device with a key of its
own, a suite is the same for every model. To add one, write a line in `SUITES`.

A check compares a model's answers to the pairs of two suites that are drawn with one key, so that
the second shows what became of the first: `CHECKS`, after CheckList (Ribeiro et al. 2020).
"""

from multimodal_vit.suites.base import Change, Check, Pool, Suite, published, published_law
from multimodal_vit.suites.catalogue import (
    ALL,
    AS_TRAINED,
    BEFORE,
    CHECKS,
    SUITES,
    all_checks,
    checks_for,
    choose_suites,
    suites_for,
)
from multimodal_vit.suites.foils import replace_one, swap_adjacent

__all__ = [
    "ALL",
    "AS_TRAINED",
    "BEFORE",
    "CHECKS",
    "SUITES",
    "Change",
    "Check",
    "Pool",
    "Suite",
    "all_checks",
    "checks_for",
    "choose_suites",
    "published",
    "published_law",
    "replace_one",
    "suites_for",
    "swap_adjacent",
]
