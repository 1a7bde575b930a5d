"""The plan of a run: its units, what they will take, and whether models are those of the published snapshot."""
