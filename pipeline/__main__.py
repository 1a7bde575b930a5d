"""`python -m pipeline` is the command `vitrine`."""

from pipeline.commands.cli import main

main()
