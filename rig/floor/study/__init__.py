"""Whether the gauge is capable: repeatability, gauge R&R, linearity; control charts."""
