"""Cells that time and do not train."""
