"""Failures on their way from a worker to the user: Beam hands on only text, and the text keeps the three parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from encoders import errors
from encoders.errors import VitrineError

_THREE_PARTS = re.compile(r"(\w+Error): expected: (.*?)\ncame: (.*?)\nto do: ([^\n]*)", re.DOTALL)
_BEAM_SUFFIX = re.compile(r" \[while running .*$", re.DOTALL)


@contextmanager
def told() -> Iterator[None]:
    """Turn an OSError of the body into a VitrineError, so that a full disk reads as one on the other side of Beam."""
    try:
        yield
    except OSError as err:
        raise explained(err) from err


def explained(err: VitrineError | OSError) -> VitrineError:
    """`err` in three parts. An OSError is a disk that is full or failing: what is wrong with one row never raises
    it.
    """
    if isinstance(err, VitrineError):
        return err
    where = f" ({err.filename})" if err.filename else ""
    return VitrineError(
        "the disk to take and give what is asked of it",
        f"{err}{where}",
        "mend or free the disk and run again: the run goes on from here",
    )


def found_in(text: str) -> VitrineError | None:
    """The VitrineError that a worker raised, read back from the text that Beam made of it; None when there is none."""
    match = _THREE_PARTS.search(text)
    if match is None:
        return None
    name, expected, came, fix = match.groups()
    kind = getattr(errors, name, VitrineError)
    return kind(expected, came, _BEAM_SUFFIX.sub("", fix))


def unexpected(text: str) -> VitrineError:
    """What is raised for a worker's failure that nobody foresaw; the whole traceback is in the cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return VitrineError(
        "every worker to end well",
        lines[-1] if lines else "no message",
        "the run's log.txt has the traceback; report it",
    )
