"""Where a cell runs."""
