"""Mathematics of a few seeds: intervals, paired tests, alike or not, several questions at once, power laws."""
