"""One file per command; each keeps its heavy imports inside the function."""
