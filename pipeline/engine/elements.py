"""What every stage tells the driver."""

from __future__ import annotations

from typing import NamedTuple


class Done(NamedTuple):
    """What a finished unit or index leaves in the pipeline."""

    number: int
    name: str
    rows: int
    reused: bool
