"""The command `vitrine`: what it takes, what it prints, and how it ends."""
