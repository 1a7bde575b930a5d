"""Rows into FAISS indexes: coarse quantizers, threads, devices, merging of parts."""
