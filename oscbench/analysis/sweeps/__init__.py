"""Suites that vary something: a number, with laws over it, or the values of one setting side by side."""
