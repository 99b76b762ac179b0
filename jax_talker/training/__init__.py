"""State, optimiser, one step file per stage, the one loop. Handed iterators, never datasets."""
