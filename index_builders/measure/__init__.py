"""How good an index is: queries, recall, cost, tuning, and proof of what FAISS does without a word."""
