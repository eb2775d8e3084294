"""Compilation by regions: one cell is compiled, and cells of equal shape share the code."""
