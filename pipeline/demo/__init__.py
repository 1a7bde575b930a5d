"""A catalog of drawn products, for trying Vitrine and for testing it: clean, or dirty as real feeds are."""
