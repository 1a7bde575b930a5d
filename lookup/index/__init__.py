"""One partition's index: searching it, some rows of it only, and ranking its candidates again."""
