"""The public data sets of the field: read as published, measured, beside their papers' tables."""
