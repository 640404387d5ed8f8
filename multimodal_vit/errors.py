"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in what the user gave: it says what is wrong, why, and what to do.

    The command line prints the message as it is, without a traceback, and exits with code 2.
    """


class DivergedError(UserError):
    """Training has diverged: the loss is no longer finite."""
