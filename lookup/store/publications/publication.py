"""A publication sends readers to a snapshot. Publications are numbered, created and never replaced: the highest is what
is published, the others are its history, and of two runs that want a number one gets it.

`publications/0000000042.json` is one object of JSON. A run's has a digest of itself. One that a person writes by hand
has none: `{"number": 42, "before": 41, "snapshot": "<id>", "reason": "<why>"}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from blake3 import blake3
from pydantic import AwareDatetime, Field, ValidationError

from lookup.store.backends.backend import Backend
from lookup.store.fields import Record

FOLDER = "publications"
_NAME = re.compile(r"([0-9]+)\.json")


class Publication(Record):
    """Who published what, when and why. Number 0 is what CURRENT named in a store of before there were publications."""

    number: int = Field(ge=0)
    before: int | None  # the number below, on top of which it was published; None: the history begins here
    snapshot: str
    parent: str | None = None  # of the snapshot
    run: str | None = None  # None: no run, but a person
    published_at: AwareDatetime | None = None
    reason: str
    # Fields that came later: they are left out where they are empty, so that digests of before hold.
    content: str | None = None  # `Manifest.made_from` of the snapshot; None: of an earlier version
    held: tuple[
        str, ...
    ] = ()  # `made_from` of what was gone back from: no run publishes that again unless it is told to
    collected: AwareDatetime | None = None  # files that none of `kept` needs and that are older may be deleted
    kept: tuple[str, ...] = ()  # the snapshots whose files were not deleted; empty: none were deleted
    digest: str | None = None  # blake3 of the fields above, as JSON; None: written by hand

    @property
    def by_hand(self) -> bool:
        """Whether a person chose what it publishes, not a run and not a collection."""
        return self.run is None and self.collected is None

    def signed(self) -> Publication:
        """The same with its digest."""
        digest = blake3(self.model_dump_json(exclude={"digest", *self._empty()}).encode()).hexdigest()
        return self.model_copy(update={"digest": digest})

    def to_bytes(self) -> bytes:
        """The file of the signed one: a line of UTF-8 JSON."""
        return self.signed().model_dump_json(exclude=self._empty()).encode() + b"\n"

    def _empty(self) -> set[str]:
        return {name for name in ("content", "held", "collected", "kept") if not getattr(self, name)}


def path_of(number: int) -> str:
    """The path of a publication in the store."""
    return f"{FOLDER}/{number:010d}.json"


def listed(backend: Backend) -> list[int]:
    """The numbers of the publications that the store has, whole or not, the highest last."""
    return _numbers(backend.names(FOLDER))


def read_publication(backend: Backend, number: int) -> Publication:
    """The publication of that number; ValueError says what is wrong with it."""
    if not backend.exists(path_of(number)):
        others = [name for name in backend.names(FOLDER) if _numbers([name]) == [number]]
        raise ValueError(f"no such file, but {FOLDER}/{others[0]}" if others else "no such file")
    raw = backend.read(path_of(number))
    try:
        record = Publication.model_validate_json(raw, strict=True)
    except ValidationError as err:
        faults = (f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in err.errors())
        raise ValueError(f"{len(raw)} bytes that are no publication: {'; '.join(faults)}") from err
    if record.number != number:
        raise ValueError(f"it says that it is number {record.number}")
    if record.before not in (None, number - 1):
        raise ValueError(f"it says that it comes after number {record.before}")
    if record.digest is not None and record.to_bytes() != raw:
        raise ValueError("altered: its digest is another (one that is written by hand has none)")
    return record


def _numbers(names: Iterable[str]) -> list[int]:
    return sorted({int(found[1]) for name in names if (found := _NAME.fullmatch(name))})
