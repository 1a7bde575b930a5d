"""How a snapshot drifts from its parent: ids, texts, photos and attributes of the products that both have."""
