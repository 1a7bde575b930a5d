"""What is recorded of the near-duplicates of one partition: which kinds were looked for, and how many there are.

The file of a kind is (2, rows) int32, memory-mapped: the least position of each row's group, and how many it has.
"""

from __future__ import annotations

from lookup.store.fields import FileRef, NamedRecord, Record

ANY = "any"  # groups by all kinds together


class GroupCount(Record):
    """Groups of two rows and more, the rows in them, and of the largest groups how many rows, and the id of the first;
    at most ten, the largest first.
    """

    groups: int
    rows: int
    largest: tuple[tuple[int, str], ...]


class DuplicatesRecord(NamedRecord):
    """The groups of one partition, written beside their files as the last one."""

    inputs: str  # 64 hex digits of what decides its bytes: photos, group ids, the index, settings, format
    rows: int
    kinds: dict[str, GroupCount]  # photo, near, group, any
    files: dict[str, FileRef]  # by kind
    build_seconds: float
