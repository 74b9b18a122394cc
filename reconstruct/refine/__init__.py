"""Refinement: fit rendered to captured radiance over height, material and, if asked, lights."""
