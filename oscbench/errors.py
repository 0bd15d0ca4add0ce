"""The one kind of error that a person at the command line is told in a line, with exit code 2."""


class UserError(Exception):
    """Bad input: the text names the place, what was found, what is allowed and the nearest match."""


def first_line(error: BaseException) -> str:
    """First line of an error's text, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
