"""Failures on their way from a worker to the user: Beam hands on only text, and the text keeps the three parts."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from foundation import errors
from foundation.errors import VitrineError
from foundation.machine import machine_fault, machine_fault_in, too_long

_THREE_PARTS = re.compile(r"(\w+Error): expected: (.*?)\ncame: (.*?)\nto do: ([^\n]*)", re.DOTALL)
_PATH = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
# The last line of a traceback that begins with an error's name: some errors say more in lines of their own.
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Pool|Exit)\b.*", re.MULTILINE)
MACHINE = (MemoryError, RuntimeError, SystemError)  # classes in which libraries say that too
_BEAM_SUFFIX = re.compile(r" \[while running .*$", re.DOTALL)


@contextmanager
def translate_failures() -> Iterator[None]:
    """Turn an OSError of the body, and what else the machine is at fault for, into a VitrineError, so that a full disk
    reads as one on the other side of Beam.
    """
    try:
        yield
    except OSError as err:
        raise explained(err) from err
    except MACHINE as err:
        fault = machine_fault(err)
        if fault is None:
            raise
        raise fault from err


class InterruptError(VitrineError):
    """Ctrl-C. The exit code is the one that shells give to SIGINT."""

    exit_code = 130


def interrupted() -> InterruptError:
    """What is raised for Ctrl-C."""
    return InterruptError(
        "the command to end by itself", "an interrupt", "start it again; a run goes on where it stopped"
    )


def explained(err: VitrineError | OSError) -> VitrineError:
    """`err` in three parts. What is wrong with one row never raises an OSError, so here it is about the machine."""
    if isinstance(err, VitrineError):
        return err
    fault = machine_fault(err)
    if fault is not None:
        return fault
    if err.errno == errno.ENAMETOOLONG:
        return too_long(err)
    if err.errno in _PATH:
        return VitrineError(
            "a path that can be used so", str(err), "correct the path or its permissions, then start again"
        )
    return VitrineError(
        "the disk to take and give what is asked of it",
        str(err),
        "free or mend the disk, then start again; a run goes on where it stopped",
    )


def found_in(text: str) -> VitrineError | None:
    """The VitrineError that a worker raised, read back from the text that Beam made of it; None when there is none.

    A traceback begins with what an error was raised for, so the last one is what the worker ended with.
    """
    matches = list(_THREE_PARTS.finditer(text))
    if not matches:
        return None
    name, expected, came, fix = matches[-1].groups()
    kind = getattr(errors, name, VitrineError)
    return kind(expected, came, _BEAM_SUFFIX.sub("", fix))


def unexpected(text: str) -> VitrineError:
    """What is raised for a worker's failure that nobody foresaw, or whose words tell that the machine is at fault; the
    whole traceback is in the cause.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = _RAISED.findall(text)
    fault = machine_fault_in(_BEAM_SUFFIX.sub("", raised[-1] if raised else lines[-1])) if lines else None
    if fault is not None:
        return fault
    return VitrineError(
        "every worker to end well",
        lines[-1] if lines else "no message",
        "the run's log.txt has the traceback; report it",
    )
