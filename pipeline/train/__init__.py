"""A catalog as something that towers and fusions learn from."""
