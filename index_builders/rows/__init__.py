"""The rows of a partition: the shard schema, ids, vectors kept in a file, random samples."""
