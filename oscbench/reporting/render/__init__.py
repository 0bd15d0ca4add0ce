"""Blocks as HTML, Markdown and LaTeX, records as a page, tidy tables as files."""
