"""`python -m pipeline` is the command `vitrine`."""

from pipeline.cli import main

main()
