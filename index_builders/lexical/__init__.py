"""Building a partition's lexical index: sorted runs of postings, spilled and merged."""
