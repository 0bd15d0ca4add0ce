"""Cells that train: plan, matching, search and the loop."""
