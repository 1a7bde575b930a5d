"""The catalog: its files, their columns, and units of clean rows."""
