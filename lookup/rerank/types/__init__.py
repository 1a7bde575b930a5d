"""Models of re-rankers: one file for each type, which says how it is learned and what it makes of features."""
