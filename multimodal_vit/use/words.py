"""A text as a person types it, as class labels."""

from collections.abc import Sequence

from multimodal_vit.errors import UserError, hint


def labels_of(
    text: str | Sequence[str | int], class_names: Sequence[str], num_words: int
) -> list[int]:
    """The labels that a text names, in its order.

    Capitals do not matter. Names of several words are taken where they fit; commas, where there are
    some, part the words.

    Args:
      text: such as "3 1 4 1", "ankle boot, bag, coat, shirt", or names one by one. A number in a
        list is the name that is written so.
      class_names: the K names.
      num_words: n.

    Raises:
      UserError: a word that is no class's name, or another number of words.
    """
    known: dict[str, int] = {}
    for label, name in enumerate(class_names):
        known.setdefault(" ".join(name.casefold().split()), label)
    if isinstance(text, str):
        given = [part.strip() for part in text.split(",")] if "," in text else None
        words = [part for part in given if part] if given is not None else _parted(text, known)
    else:
        words = [str(word) for word in text]
    found = []
    for word in words:
        label = known.get(" ".join(word.casefold().split()))
        if label is None:
            shown = ", ".join(class_names[:20]) + (" …" if len(class_names) > 20 else "")
            raise UserError(
                f"{word!r} is none of the words that the model knows: {shown}"
                f"{hint(word, class_names)}"
            )
        found.append(label)
    if len(found) != num_words:
        raise UserError(
            f"the text {' '.join(words)!r} has {len(found)} words; the model reads {num_words}, "
            "one for each image"
        )
    return found


def _parted(text: str, known: dict[str, int]) -> list[str]:
    """Words between blanks, those of a longer name together, the longest first."""
    left, found = text.split(), []
    longest = max(len(name.split()) for name in known)
    while left:
        for length in range(min(longest, len(left)), 0, -1):
            if " ".join(left[:length]).casefold() in known:
                break
        found.append(" ".join(left[:length]))
        left = left[length:]
    return found
