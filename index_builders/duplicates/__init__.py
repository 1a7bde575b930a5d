"""Which rows of a partition show one product: equal photos, near vectors, a shared group id."""
