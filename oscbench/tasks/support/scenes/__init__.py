"""Scenes composed of scanned digits, and how two of them are related."""
