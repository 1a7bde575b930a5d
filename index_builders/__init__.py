"""Embedding shards -> FAISS index files with measured quality. Knows nothing of encoders or Beam."""
