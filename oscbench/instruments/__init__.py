"""What takes a reading: clocks, passes, ceilings, peak memory, joules."""
