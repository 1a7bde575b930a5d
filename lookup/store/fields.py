"""What records of a store are made of."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


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


class Grown(Record):
    """A piece with fields that came later, `unsaid` where they hold their default: its JSON, and what is named by it,
    stay to the byte as they were before there were such fields.
    """

    unsaid: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = type(self).model_fields
        left_out = {name for name in self.unsaid if getattr(self, name) == defaults[name].default}
        return {name: value for name, value in dump(self).items() if name not in left_out}
