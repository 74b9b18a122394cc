"""A page on localhost to aim, focus and expose a rig."""
