"""Sudoku: boards with one solution, public files, votes over relabelled views."""
