"""The learned start: a network from half-vector moments to normals and height, for any rig."""
