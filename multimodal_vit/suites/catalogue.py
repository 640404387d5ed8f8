"""The catalogue of suites and checks, and which of them make sense of a task."""

import dataclasses
from collections.abc import Sequence

from multimodal_vit import components
from multimodal_vit.errors import UserError, hint
from multimodal_vit.sampler import (
    HELD_OUT,
    Task,
    can_hold_out,
    permute_labels,
)
from multimodal_vit.suites.base import Check, Suite
from multimodal_vit.suites.changes import (
    add_noise,
    another_image,
    another_sound,
    another_text,
    confusable_word,
    invert,
    less_contrast,
    no_image,
    no_text,
    other_images,
    replace_image,
    swap_words,
    swap_words_and_images,
    translate,
    without,
)
from multimodal_vit.suites.foils import (
    DIRECTIONS,
    can_exchange,
    equal_grids,
    exchange,
    held_out,
    lie_in,
    name_absent,
    not_all_equal,
    recount,
    replace_at,
    replace_one,
    some_absent,
    some_equal,
    swap_adjacent,
)

AS_TRAINED = Suite("the task as the model is trained on it", corruption=None, false_rate=None)
SUITES: dict[str, Suite] = {
    "standard": Suite("the published task, whatever the model is trained on"),
    "single_foil": Suite("one label is replaced", replace_one, foil=True),
    "count_foil": Suite(
        "the text names the classes that occur, but one too often and another too seldom",
        recount, belongs=some_equal, foil=True,
    ),
    "order_foil": Suite(
        "the labels are right but in another order",
        permute_labels, belongs=not_all_equal, foil=True,
    ),
    "swap_adjacent": Suite(
        "two labels that follow each other are swapped",
        swap_adjacent, belongs=not_all_equal, foil=True,
    ),
    "existence_foil": Suite(
        "one label is replaced by a class that the grid does not show",
        name_absent, belongs=some_absent, foil=True,
    ),
    "spatial_foil": Suite(
        "two labels are exchanged", exchange(""), belongs=can_exchange(""), foil=True
    ),
    **{
        f"{direction}_foil": Suite(
            f"two labels are exchanged that lie {where}",
            exchange(direction), belongs=can_exchange(direction), foil=True,
        )
        for direction, where in (
            ("row", "in one row"), ("column", "in one column"), ("diagonal", "in neither"),
        )
    },
    "near_foil": Suite(
        "one label is replaced by the class that the model itself most takes it for",
        replace_one, change=confusable_word, foil=True,
    ),
    "held_out_sequences": held_out("sequences"),
    "held_out_pairs": held_out("pairs"),
    "blind_text": Suite("the text is another pair's", change=another_text),
    "no_text": Suite("the text is one class throughout", change=no_text),
    "blind_image": Suite(
        "the image is another pair's", change=another_image, shows_labels=False
    ),
    "no_image": Suite("the image is black", change=no_image, shows_labels=False),
    "translated": Suite("each image moves by up to 3 pixels", change=translate(3)),
    "noisy": Suite("noise of a fifth of the range", change=add_noise),
    "low_contrast": Suite("half the contrast", change=less_contrast),
    "inverted": Suite("black for white", change=invert),
    "other_data_set": Suite(
        "a control: images of another data set, whose classes the words do not name",
        other_data=True, shows_labels=False,
    ),
}  # fmt: skip


# Where the words are spoken. What is missing, the model knows to be missing (`without`).
AUDIO_SUITES: dict[str, Suite] = {
    "blind_audio": Suite("the sound is another pair's", change=another_sound),
    "without_image": Suite("no image is given", change=without("image"), shows_labels=False),
    "without_words": Suite("the text is spoken alone", change=without("words")),
    "without_audio": Suite("the text is written alone", change=without("audio")),
    "only_image": Suite("no text is given, in any form", change=without("words", "audio")),
    "only_words": Suite(
        "only the written text is given", change=without("image", "audio"), shows_labels=False
    ),
    "only_audio": Suite(
        "only the spoken text is given", change=without("image", "words"), shows_labels=False
    ),
}
# Of a classifier of one image and one recording of its class.
CLASSIFICATION_SUITES = (
    "standard", "blind_image", "blind_audio", "without_image", "without_audio",
    "translated", "noisy", "low_contrast", "inverted",
)  # fmt: skip


BEFORE = SUITES["standard"]
CHECKS: dict[str, Check] = {
    "equal_grid": Check(
        "one class throughout the grid: the answer must be right", "minimal",
        Suite("grids of one class", grids=equal_grids), "be right",
    ),
    "another_image": Check(
        "every image is replaced by another of its class: the answer must stay", "invariance",
        Suite("other images of the same classes", change=other_images), "stay",
    ),
    "replace_image": Check(
        "one image of a true pair becomes one of another class: it must turn false", "direction",
        Suite("one image replaced", change=replace_image), "turn false",
    ),
    "small_shift": Check(
        "each image moves by at most one pixel: the answer must stay", "invariance",
        Suite("images moved by at most a pixel", change=translate(1)), "stay",
    ),
    "swap_words": Check(
        "two different words of a true text are exchanged: it must turn false", "direction",
        Suite("two words exchanged", change=swap_words), "turn false",
    ),
    "swap_words_and_images": Check(
        "two words are exchanged and their images alike: true must stay true", "direction",
        Suite("two words and their images exchanged", change=swap_words_and_images), "stay true",
    ),
}  # fmt: skip


ALL = ("all",)  # every suite, and every check


def suites_for(task: Task) -> dict[str, Suite]:
    """The suites that make sense of a task.

    `SUITES` and those from outside the package, and for each position of the grid a suite whose
    foils are there; `AUDIO_SUITES` where the words are spoken. Of a classifier
    `CLASSIFICATION_SUITES`.
    """
    positions = {
        f"one_quadrant_{i + 1}": Suite(
            f"the label of position {i + 1} is replaced", replace_at(i), foil=True
        )
        for i in range(task.num_positions)
    }
    more = {own.name: own.target for own in components.all_of("evaluation.suites")}
    known = SUITES | positions | more
    if task.audio_shape is not None:
        known |= AUDIO_SUITES
    if task.classifies:
        return {
            name: dataclasses.replace(known[name], false_rate=0.0)
            for name in CLASSIFICATION_SUITES
            if name in known
        }
    if task.num_positions == 1:  # there is no order
        del known["order_foil"], known["swap_adjacent"], known["spatial_foil"]
    for direction in DIRECTIONS:
        if not lie_in(direction, task.grid).any():
            del known[f"{direction}_foil"]
    if task.num_positions < 3:  # no label occurs twice beside another
        del known["count_foil"]
    for kind in HELD_OUT:
        if f"held_out_{kind}" in known and not can_hold_out(
            kind, task.num_classes, task.num_positions
        ):
            del known[f"held_out_{kind}"]
    return known


def checks_for(task: Task) -> dict[str, Check]:
    """All checks; with one image in the grid, those without an exchange; of a classifier none."""
    if task.classifies:
        return {}
    known = all_checks()
    if task.num_positions > 1:
        return known
    return {name: check for name, check in known.items() if check.kind != "direction"}


def all_checks() -> dict[str, Check]:
    """`CHECKS`, and those from outside the package."""
    return {own.name: own.target for own in components.all_of("checks")}


def choose_suites(names: Sequence[str], task: Task) -> dict[str, Suite]:
    """The suites of some names; ("all",) are all.

    Raises:
      UserError: no such suite.
    """
    known = suites_for(task)
    if tuple(names) == ALL:
        return known
    for name in names:
        if name not in known:
            raise UserError(
                f"no suite {name!r}; there are: all, {', '.join(known)}{hint(name, known)}"
            )
    return {name: known[name] for name in names}
