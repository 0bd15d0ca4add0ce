"""Models that differ in nothing but the mechanism, and the solver that makes them comparable."""
