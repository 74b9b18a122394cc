"""A template: one of each thing that a package can add to rig."""
