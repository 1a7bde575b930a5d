"""What a snapshot was published in spite of."""

from __future__ import annotations

from lookup.store.fields import Record


class Accepted(Record):
    """A figure that its gate refused, of the whole or of one `partition`, and that a person accepted for `run`."""

    gate: str
    partition: str | None
    value: float
    bound: float
    run: str

    @property
    def place(self) -> str:
        """Gate, or gate:partition."""
        return self.gate if self.partition is None else f"{self.gate}:{self.partition}"
