"""What a result costs: cost against quality, what it took to get somewhere, timings and how they grow, whether the code got dearer."""
