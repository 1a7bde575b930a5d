"""Units into shards: read, fingerprint, encode, fuse, write."""
