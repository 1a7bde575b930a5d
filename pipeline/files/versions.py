"""Versions of tables as configs name them: a number, a time, or a name."""

from __future__ import annotations

from datetime import UTC, datetime

# What to do about a version without files.
EMPTY = "see what emptied the table, or name a version that has rows (catalog.version)"


def moment(version: str) -> datetime | None:
    """The time that a version is (ISO 8601), with its zone, UTC where it names none; None where it is no time."""
    try:
        when = datetime.fromisoformat(version)
    except ValueError:
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
