"""What was understood of a query, in an answer of `vitrine search`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.engine.printing import echo, printable

if TYPE_CHECKING:
    from lookup.understood.meaning import Understood


def as_document(understood: Understood) -> dict[str, Any]:
    """The field `understood` of an answer; none where nothing was."""
    if not understood.meanings and not understood.notes:
        return {}
    meanings = [{**asdict(one), "condition": str(one.condition)} for one in understood.meanings]
    return {"understood": {"text": understood.text, "meanings": meanings, "notes": list(understood.notes)}}


def print_understood(understood: Understood) -> None:
    """A line of what was understood, and of what is looked for then, and one for each note; none where nothing was."""
    if understood.meanings:
        said = ", ".join(map(str, understood.meanings))
        left = "" if understood.text is None else f"; looked for: {understood.text}"
        echo(printable(f"understood: {said}{left}"))
    for note in understood.notes:
        echo(printable(f"note: {note}"))
