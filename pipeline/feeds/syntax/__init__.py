"""How feeds are written, a file for each way: what a file of it looks like, and its items as batches of raw columns."""
