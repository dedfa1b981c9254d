"""The hash chain and the diff: pure functions, standard library only."""
