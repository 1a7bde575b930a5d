"""What records of a store are made of."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen piece of a manifest that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    later: ClassVar[frozenset[str]] = frozenset()  # fields that a record of an earlier version may lack


class NamedRecord(Record):
    """A record in a file of its own, which is believed under its own name alone: see records.py."""

    name: str


class FileRef(Record):
    """A file of the store: `path` relative to it, `bytes`, `rows`, and its blake3 (64 hex digits)."""

    path: str
    bytes: int
    rows: int
    blake3: str
