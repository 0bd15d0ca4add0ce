"""Training without labels: two views of an image, what is asked of their embeddings, and how frozen features are scored."""
