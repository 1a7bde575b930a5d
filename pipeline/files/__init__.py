"""Where input lies, which files of a catalog are Parquet, what their pages claim, and whether they are still the
same.
"""
