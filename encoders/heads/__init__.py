"""Linear heads over frozen towers, learned in closed form on a catalog's own vectors: one file for each kind."""
