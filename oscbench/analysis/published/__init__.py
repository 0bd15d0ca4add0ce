"""Published numbers, and the rules that set them beside ours."""
