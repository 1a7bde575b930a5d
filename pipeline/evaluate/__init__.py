"""How well a published snapshot finds what judges called right."""
