"""stdout and stderr as they are found: closed, full, or of an encoding that lacks what a catalog is written in.

Printing decides nothing: what a command did is done before the first line of it is shown.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def prepare() -> None:
    """Make stdout and stderr take any text: what their encoding lacks is written as an escape. What is written to a
    closed one goes nowhere, and no file that is opened later gets its number.
    """
    if any(stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)):
        while os.open(os.devnull, os.O_RDWR) < 3:
            pass
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def takes_unicode(stream: TextIO) -> bool:
    """Whether every character can be written to `stream` as it is."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def hush(stream: TextIO) -> None:
    """Send what is still to come on `stream` nowhere: its reader has gone, or its disk is full."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # it is no file
        pass


@contextmanager
def flushed() -> Iterator[None]:
    """Write out what is left as a command ends: what cannot be written by then changes no exit code."""
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                hush(stream)
