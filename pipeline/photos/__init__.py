"""Photos of the catalog: from where it says they are to their bytes, one file for each kind of place they lie in."""
