"""Verification of a published snapshot: every byte that a reader may read is compared with what was written."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.errors import IntegrityError
from lookup.store import Store

_NAMED = 20  # damaged files that the message names


@dataclass(frozen=True)
class Verified:
    """What was read and found whole."""

    snapshot: str
    files: int
    bytes: int


def verify_store(path: str) -> Verified:
    """Check CURRENT, the manifest and every file it names; IntegrityError lists all that differ."""
    store = Store.open(path)
    snapshot, manifest = store.published()
    files = manifest.files()
    problems = [(file, problem) for file in files if (problem := store.problem_of(file)) is not None]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        named = problems[:_NAMED]
        raise IntegrityError(
            f"{len(files)} files as they were written: "
            + "; ".join(f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}" for file, _ in named),
            "; ".join(f"{file.path}: {problem}" for file, problem in named) + more,
            "delete these files and run `vitrine run` again: it writes them anew; until then serve an earlier snapshot",
        )
    return Verified(snapshot, len(files), sum(file.bytes for file in files))
