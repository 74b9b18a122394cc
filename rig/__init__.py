"""The roof: what a person types, turned into calls of capture, calib and reconstruct."""
