"""The one kind of error that a person at the command line is told in a line, with exit code 2."""


class UserError(Exception):
    """Bad input: the text names the place, what was found, what is allowed and the nearest match."""
