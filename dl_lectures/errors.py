"""The exceptions that a user, not a programmer, should read."""


class UsageError(Exception):
    """Bad input, or a run that cannot go on; the text is one line that says what to do next."""


class Stopped(Exception):
    """A signal stopped the run after its checkpoint was written; the text says how to continue."""
