"""Kept weights at work again: scored, continued, looked into."""
