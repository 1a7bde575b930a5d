"""Failures of the machine, told by what to do about them: memory, disk, open files, threads, a killed process,
packages that are not installed.

Each library says the same in words of its own, and between processes only its words arrive; so it is the words that
are looked at, not the class alone.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

from foundation.errors import InputError, VitrineError
from foundation.extras import absent

_GO_ON = "start again: a run goes on where it stopped"
_LESS_MEMORY = (
    "lower run.workers, shards.unit_rows or catalog.max_photo_pixels, bound the run with --memory, or use a machine "
    f"with more memory; then {_GO_ON}"
)
_LESS_AT_ONCE = f"or lower run.workers and run.photo_threads; then {_GO_ON}"
_ON_CPU = f"or set encoders.device=cpu; then {_GO_ON}"


@dataclass(frozen=True)
class _Fault:
    """What a failure's words look like (one of several expressions), what was expected, what to do."""

    words: str
    expected: str
    fix: str


# The first that fits counts.
_FAULTS = (
    _Fault(
        "CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation|STATUS_ALLOC_FAILED|cudaMalloc",
        "memory of the GPU for what is computed there",
        f"end what else uses the GPU, in a training lower train.micro_batch, {_ON_CPU}",
    ),
    _Fault(
        "CUDA error|CUDA driver|cuDNN error|NVRTC|device-side assert",
        "a GPU that computes",
        f"look at it with `vitrine doctor --device cuda` and nvidia-smi, {_ON_CPU}",
    ),
    _Fault(
        r"^MemoryError\b|MemoryError:|std::bad_alloc|DefaultCPUAllocator|[Uu]nable to allocate"
        "|an(no|')t allocate memory|alloc of size",
        "memory for what a run holds at once",
        _LESS_MEMORY,
    ),
    _Fault(
        "can't start new thread|pthread_create|Resource temporarily unavailable|std::system_error",
        "threads and processes that this user may start",
        f"raise the limit (ulimit -u, ulimit -v, or pids.max of the container), {_LESS_AT_ONCE}",
    ),
    _Fault(
        "Too many open files",
        "files that this process may hold open",
        f"raise the limit (ulimit -n 4096), {_LESS_AT_ONCE}",
    ),
    _Fault(
        "Failed to bind to address|Failed to add port",
        "a port of this machine that the local runner can listen on",
        f"raise the limit of open files (ulimit -n 4096), or let processes listen on localhost; then {_GO_ON}",
    ),
    _Fault(
        r"BrokenProcessPool|terminated abruptly|SIGKILL|\bsignal 9\b|exited with (return )?code -9|No child processes",
        "every process of the run to live until its end",
        f"see in dmesg whether the system killed it for want of memory; if so, {_LESS_MEMORY}",
    ),
    _Fault(
        "No space left on device",
        "room on the disk",
        f"free or mend the disk (`vitrine plan` says how much a run needs), then {_GO_ON}",
    ),
    _Fault("[Qq]uota exceeded", "room within the quota of the disk", f"free some, or raise the quota; then {_GO_ON}"),
    _Fault(
        "Read-only file system",
        "a file system that can be written",
        f"mount it for writing, or put the store elsewhere: store.path=...; then {_GO_ON}",
    ),
    _Fault(
        "Input/output error|Stale file handle|Remote I/O error|Transport endpoint",
        "a disk or a mount that gives and takes what is asked of it",
        f"mend the disk (dmesg, smartctl) or mount it again, then {_GO_ON}",
    ),
)
# Of an OSError the number counts: its words are translated, and name paths that may say anything.
_NUMBERS = {
    errno.ENOMEM: "Cannot allocate memory",
    errno.EMFILE: "Too many open files",
    errno.ENFILE: "Too many open files",
    errno.EAGAIN: "Resource temporarily unavailable",
    errno.ECHILD: "No child processes",
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "quota exceeded",
    errno.EROFS: "Read-only file system",
    errno.EIO: "Input/output error",
    errno.ESTALE: "Stale file handle",
}
_CLASSES = re.compile(
    r"([\w.]+\.)?(\w*MemoryError|RuntimeError|SystemError|OSError|IOError|ChildProcessError|BlockingIOError|"
    r"ArrowException|AcceleratorError|BrokenProcessPool)\b"
)
_WRAPPED = re.compile(r"RuntimeError: (?=[A-Za-z_][\w.]*(Error|Exception|Pool)\b)")  # Beam's, around what a step raised
_MARK = re.compile(r"\[Errno (\d+)\]")


def machine_fault(err: BaseException) -> VitrineError | None:
    """`err` in three parts where the machine is at fault; None where it says nothing of it."""
    if isinstance(err, VitrineError):
        return None
    if isinstance(err, OSError) and err.errno is not None:
        words = _NUMBERS.get(err.errno)
        return None if words is None else _fault(words, _said(err))
    if isinstance(err, MemoryError):
        return _fault("MemoryError", _said(err))
    if isinstance(err, ModuleNotFoundError):
        return absent(err)
    return _fault(_said(err), _said(err)) if isinstance(err, RuntimeError | SystemError | OSError) else _pool(err)


def fault_of_all(err: BaseException) -> VitrineError | None:
    """As `machine_fault`, of what no row can be the reason of: memory may be wanting for one large row alone."""
    fault = machine_fault(err)
    return fault if fault is not None and not fault.expected.startswith("memory ") else None


def machine_fault_in(words: str) -> VitrineError | None:
    """The same of `words`, which a worker's error became on its way here."""
    words = _WRAPPED.sub("", words)
    if not _CLASSES.match(words):  # a KeyError, say: its words may be a title's
        return None
    number = _MARK.search(words)
    if number is not None and int(number[1]) in _NUMBERS:
        return _fault(_NUMBERS[int(number[1])], words)
    return _fault(words, words)


# --- inside ---


def _fault(words: str, came: str) -> VitrineError | None:
    fault = next((one for one in _FAULTS if re.search(one.words, words)), None)
    return None if fault is None else VitrineError(fault.expected, came, fault.fix)


def _said(err: BaseException) -> str:
    """The name and the first line of an error."""
    text = str(err).strip()
    return f"{type(err).__name__}: {text.splitlines()[0]}" if text else type(err).__name__


def _pool(err: BaseException) -> VitrineError | None:
    """A pool of processes that lost one."""
    return _fault(_said(err), _said(err)) if type(err).__name__ == "BrokenProcessPool" else None


def too_long(err: OSError) -> InputError:
    """The error for a path that no file system takes."""
    return InputError(
        "a path of at most 4,095 bytes, each name in it of at most 255",
        f"{os.strerror(errno.ENAMETOOLONG)}: {err.filename}",
        "give a shorter path, then start again",
    )
