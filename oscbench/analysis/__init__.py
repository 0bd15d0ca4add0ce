"""What records say: numbers, without drawing and without torch."""
