"""Folders of weights: where a model lies, what it is by digest, and how it gets there."""
