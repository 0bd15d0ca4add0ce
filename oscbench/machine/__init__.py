"""The machine a run stands on: its environment, whether it is idle, what can be trusted, what is installed."""
