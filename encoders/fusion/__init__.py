"""Fusion: how a product's text vector and photo vector become one embedding, for items and for queries alike."""
