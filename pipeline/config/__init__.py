"""The config: its sections, where values come from, and all problems at once."""
