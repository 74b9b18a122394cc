"""Reflectance learned from tables: theory of rough metal, and measured CSV and MERL files."""
