"""ARC: grids on a canvas, public files, made rules, and models that learn them."""
