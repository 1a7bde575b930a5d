"""The lexical half of a search: texts as terms, one partition's BM25 index, queries by their words."""
