"""The exceptions that mean: the user can mend this; and what helps to say it."""

import difflib
from typing import Any


class UserError(Exception):
    """A mistake in what the user gave: it says what is wrong, why, and what to do.

    The command line prints the message as it is, without a traceback, and exits with code 2.

    Attributes:
      everywhere: whether all processes of a run raise it, so that one of them need say it.
    """

    everywhere = False


class DivergedError(UserError):
    """Training has diverged: the loss is no longer finite."""

    everywhere = True


class DamagedError(UserError):
    """A file is not as this program wrote it."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether JAX found too little memory on a device."""
    return "RESOURCE_EXHAUSTED" in str(error)


def hint(value: object, allowed: Any) -> str:
    """A question in brackets that names the allowed text closest to a value; "" if none is."""
    close = difflib.get_close_matches(str(value), list(allowed), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
