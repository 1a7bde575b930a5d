"""Figures that gates compare with the parent's: measured on a few rows of what was built, kept in its manifest."""
