"""Parts: heights over the stage from a name and a seed, from a file, and as a camera sees them.

`catalogue.shape` makes a part by name, `files.read_shape` reads one, `sampling.sample` gives what
a camera's pixels see of it.
"""
