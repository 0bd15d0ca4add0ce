"""Which pixel shows what: classes and panoptic segments, their quality and floors, and groups of patches against objects."""
