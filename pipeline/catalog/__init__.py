"""Rows of the catalog: their columns, ids, categories, attributes and photos, as units of clean rows."""
