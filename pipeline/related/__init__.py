"""The table of related products of a snapshot: made anew for what changed, else copied from the one before."""
