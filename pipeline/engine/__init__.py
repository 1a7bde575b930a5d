"""How work is run: Beam runners, progress, signs of life, memory, failures on their way to the user."""
