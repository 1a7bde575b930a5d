"""Publications, the pointer and the history of a store in one: read, tried for, gone back from, found again."""
