"""How a data set becomes training, validation and test parts, and which classes it has."""

import dataclasses
import logging
from collections.abc import Callable

import numpy as np

from multimodal_vit.data.image_set import ImageSet, Splits
from multimodal_vit.data.values import listed
from multimodal_vit.errors import UserError

VALIDATION_FRACTION = 1 / 12  # 5,000 of the 60,000 training images (thesis, section 3.4.1)
TEST_FRACTION = 1 / 7  # 10,000 of 70,000 images, where a source has no test part of its own

# How many of the images leave for another part, given the labels int [N] and the fraction: their
# places, in the source's order.
Choice = Callable[[np.ndarray, float], np.ndarray]


def last(labels: np.ndarray, fraction: float) -> np.ndarray:
    """The last `round(N · fraction)` images, as the thesis splits MNIST; int [N']."""
    return np.arange(len(labels) - round(len(labels) * fraction), len(labels))


def stratified(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Of each class `round(count · fraction)` images, drawn with a fixed seed; int [N'], ascending.

    At least one of each class that has two, so that every part shows every class that it can; one
    image always stays. An order in the source, by class, writer or date, changes nothing but which.
    """
    random = np.random.RandomState(0)  # whose numbers NumPy promises never to change
    order = random.permutation(len(labels))
    chosen = []
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        count = max(1, round(len(mine) * fraction)) if len(mine) > 1 else 0
        chosen.append(mine[:count])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, int)


RULES: dict[str, Choice] = {"order": last, "stratified": stratified}


def split(
    train: ImageSet,
    test: ImageSet | None,
    origin: str,
    rule: str = "stratified",
    validation: ImageSet | None = None,
) -> Splits:
    """Makes the three parts, of those that the source has and those that are cut off here.

    A source without a test part gives a seventh of its training images to it, then one without a
    validation part a twelfth of the others. Which images these are is the rule: "stratified" draws
    them class by class; "order" takes the last ones, as the thesis does. That is only for sources
    whose order is known to be mixed. MNIST: 55,000 / 5,000 / 10,000; the 1,797 digits of
    scikit-learn: 1,412 / 128 / 257.

    The classes are those that occur in the training part; their names stay. So a false text never
    names a class that no image can show.

    Args:
      train: what the source has for training.
      test: its own test part, if it has one.
      origin: for people.
      rule: a key of `RULES`.
      validation: its own validation part, if it has one.

    Returns:
      The parts. `Splits.rule` is "" for the documented order; else it says "stratified" where
      images were drawn, and "official" where the source's own validation part is used.

    Raises:
      UserError: too few images for three parts, fewer than two classes to tell apart, or a class
        that the training part lacks.
    """
    choose, official = RULES[rule], validation is not None
    drawn = test is None or not official
    if test is None:
        train, test = _cut(train, choose(train.labels, TEST_FRACTION))
    total = len(train)
    if validation is None:
        train, validation = _cut(train, choose(train.labels, VALIDATION_FRACTION))
    enough = official or round(total * VALIDATION_FRACTION) >= 1
    if validation is None or test is None or not len(test) or not enough:
        raise UserError(
            f"{origin} has {total} training and {len(test) if test else 0} test images; at least 6 "
            "training images and 1 test image are needed for training, validation and test parts"
        )
    sizes = {p: list(s.images.shape[1:]) for p, s in _named(train, validation, test).items()}
    for part, size in sizes.items():
        if size != sizes["training"]:
            raise UserError(
                f"{origin}: training images are {sizes['training']}, {part} images {size}; all "
                "parts need images of one size"
            )
    parts = with_classes_that_occur(train, validation, test, origin)
    rules = ["official"] if official else []
    if drawn and rule != "order":
        rules.append(rule)
    return Splits(*parts, origin, "-".join(rules))


def redrawn(splits: Splits, share: float) -> Splits:
    """The parts with another validation part: a share of it and training, drawn with a fixed seed.

    The recordings keep their parts.

    Args:
      splits: as a source gives them.
      share: of training and validation images together, above 0 and below 1.

    Raises:
      UserError: a class, or every image, would be missing from a part.
    """
    train, validation = splits.train, splits.validation
    images = np.concatenate([train.images, validation.images])
    labels = np.concatenate([train.labels, validation.labels])
    places = np.random.RandomState(0).permutation(len(labels))
    places = np.sort(places[: round(len(labels) * share)])
    both = ImageSet(images, labels, train.class_names, train.recordings)
    train, drawn = _cut(both, places)
    if drawn is None or len(np.unique(train.labels)) < len(np.unique(labels)):
        raise UserError(
            f"data.validation_share={share:g} of {len(labels)} images leaves a part without images "
            "or training without a class; take another share"
        )
    drawn = dataclasses.replace(drawn, recordings=validation.recordings)
    rule = "-".join(filter(None, (splits.rule, f"random-{share:g}")))
    return dataclasses.replace(splits, train=train, validation=drawn, rule=rule)


def _cut(images: ImageSet, places: np.ndarray) -> tuple[ImageSet, ImageSet | None]:
    """The other images, and those at some places; None where there are none."""
    if not len(places) or len(places) == len(images):
        return images, None
    if places[0] == len(images) - len(places):  # the last ones: no copy
        return images[: places[0]], images[places[0] :]
    stays = np.ones(len(images), bool)
    stays[places] = False
    return images[np.flatnonzero(stays)], images[places]


def _named(train: ImageSet, validation: ImageSet, test: ImageSet) -> dict[str, ImageSet]:
    return {"training": train, "validation": validation, "test": test}


def with_classes_that_occur(
    train: ImageSet, validation: ImageSet, test: ImageSet, origin: str
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The parts with the classes of the training part alone, in their order and with their names.

    Classes that are named and have no image are left out, with one warning that names them; so are
    those named that the validation or test part lacks.

    Raises:
      UserError: fewer than two classes, or one that only the validation or test part has.
    """
    names = train.class_names
    counts = {
        part: np.bincount(images.labels, minlength=len(names))
        for part, images in _named(train, validation, test).items()
    }
    occurs = counts["training"] > 0  # (K,)
    if occurs.sum() < 2:
        raise UserError(
            f"{origin} has only one class in its training part; the task tells classes apart, so "
            "it needs at least two"
        )

    def called(which: np.ndarray) -> str:
        return listed([repr(names[label]) for label in np.flatnonzero(which)])

    for part in ("validation", "test"):
        if (unknown := (counts[part] > 0) & ~occurs).any():
            raise UserError(
                f"{origin}: the {part} part has images of classes that the training part lacks: "
                f"{called(unknown)}. Add training images of them, or leave them out"
            )
    for part in ("validation", "test"):
        if (lacks := (counts[part] == 0) & occurs).any():
            logging.warning(
                "%s: the %s part has no image of %s; false texts name them all the same.",
                origin,
                part,
                called(lacks),
            )
    if occurs.all():
        return train, validation, test
    logging.warning(
        "%s names classes that no training image shows: %s; they are left out, and no text names "
        "them.",
        origin,
        called(~occurs),
    )
    kept = tuple(names[label] for label in np.flatnonzero(occurs))
    place = (np.cumsum(occurs) - 1).astype(np.int32)
    train, validation, test = (
        ImageSet(part.images, place[part.labels], kept, part.recordings)
        for part in (train, validation, test)
    )
    return train, validation, test
