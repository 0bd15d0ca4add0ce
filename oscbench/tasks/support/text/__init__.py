"""Text: sources, words, n-grams."""
