"""Tables as they lie: which files are theirs, and what their folders or their logs say of these; one file per kind."""
