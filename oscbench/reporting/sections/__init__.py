"""Sections of a report, one a file: the folder is the registry."""
