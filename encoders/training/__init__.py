"""Training of a dual encoder on pairs of texts and photos; the result is a model folder like any other."""
