"""The index types that a config can name: a file for each, with its `Spec`."""
