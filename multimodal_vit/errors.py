"""The exceptions that mean: the user can mend this; and what helps to say it."""

import difflib
import errno
import os
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


_WAYS_OUT = {
    "make room there, or name another folder": (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    "name a folder that this user may read and write, or change its permissions": (
        errno.EACCES, errno.EPERM, errno.EROFS,
    ),
    "it was deleted or moved meanwhile, or never there: put it back, or name another": (
        errno.ENOENT,
    ),
    "raise the limit on open files (ulimit -n)": (errno.EMFILE, errno.ENFILE),
    "the disk or its network does not answer: start the same command again when it does": (
        errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN,
    ),
}  # fmt: skip


def way_out(error: BaseException) -> str:
    """What to do where a file cannot be read or written.

    Args:
      error: an `OSError`, or another that has its words in its text, as libraries raise.
    """
    for text, numbers in _WAYS_OUT.items():
        if getattr(error, "errno", None) in numbers:
            return text
    for text, numbers in _WAYS_OUT.items():
        if any(os.strerror(number) in str(error) for number in numbers):
            return text
    return "name another file or folder"


def hint(value: object, allowed: Any) -> str:
    """A question in brackets that names the allowed text closest to a value; "" if none is."""
    close = difflib.get_close_matches(str(value), list(allowed), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
