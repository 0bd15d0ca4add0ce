"""Plan, train, time, resume; one process a cell."""
