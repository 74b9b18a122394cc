"""Files of a surface.

- `results`: the results folder, written and read back
- `mesh`: PLY, STL, GLB, OBJ
- `maps`: float32 TIFF and EXR
- `topography`: X3P and SDF
- `formats`: all of them by file name
"""
