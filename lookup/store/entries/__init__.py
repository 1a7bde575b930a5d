"""What a manifest has of its parts, one file for each subject: indexes, figures, settings, what was accepted."""
