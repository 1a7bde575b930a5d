"""Text and photos -> vectors, and their fusion into one embedding per product.

Knows nothing of Parquet, Beam or FAISS. torch is imported only inside a spec's `load()`.
"""
