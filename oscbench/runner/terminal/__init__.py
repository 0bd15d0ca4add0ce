"""What a run tells on the terminal: before it begins, while it goes, how long is left, and how it ended."""
