"""Inspection plans: what is measured on a type of part, and how it is decided."""
