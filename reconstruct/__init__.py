"""A recording, a camera and lights in, a surface out."""
