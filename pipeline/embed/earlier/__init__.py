"""What the nights before left: vectors that are copied instead of encoded, catalogs of which no row is read again."""
