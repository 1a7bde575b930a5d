"""Catalog -> embedding shards -> published snapshot, and the command line. The only package that imports Beam or
click.
"""
