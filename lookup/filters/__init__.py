"""Conditions on attributes: read, compared with columns, and the rows that meet them."""
