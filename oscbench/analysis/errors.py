"""The one exception of this room."""

from __future__ import annotations

from oscbench.errors import UserError


class ReportError(UserError):
    """A report or export that cannot be made as asked; the message is one line for the user."""
