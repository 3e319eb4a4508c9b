"""The two exceptions that people are meant to read, and what they quote of others."""


class PdnasError(Exception):
    """Something the user can mend: bad input, missing data, no space left.

    The message is a single line that says what is wrong and how to mend it. The command line
    prints it without a traceback and exits with code 2; see :func:`pdnas.cli.main`.
    """

    def __str__(self) -> str:
        # It may quote a name from a file, which can hold a line break or what a terminal acts on.
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in super().__str__())


class Unfinished(Exception):  # noqa: N818 - nothing went wrong
    """Work stopped in time, with a checkpoint; the same command goes on with it.

    The command line prints the message and exits with code 75 (EX_TEMPFAIL, "try again").
    """


def first_line(error: BaseException) -> str:
    """What an error says in its first line, or its name if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
