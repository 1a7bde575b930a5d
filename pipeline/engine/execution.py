"""How one run is carried out: facts of this run on this machine. Nothing here decides a result."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.engine.progress import Progress


@dataclass(frozen=True)
class Execution:
    """What a run does at the same time, by which runner, and whom it tells. `plan/forecast.py` bounds it."""

    run: str  # its id: runs/<run> in the store is its folder
    beam_arguments: tuple[str, ...]  # what stood after `--`
    progress: Progress | None
    workers: int  # units that are embedded at the same time
    photo_threads: int  # of each worker
    builds: int  # indexes, or parts of one, that are built at the same time
    build_threads: int | None  # of each of them at most; None: its share of the cores
    part_rows: int  # of an index that are added at a time
    memory: int | None  # bytes that the run may hold; None: any
    stall_minutes: float | None  # without progress, after which the run is ended; None: never


def new_run_id() -> str:
    """Sorts by time, to the microsecond; the random end keeps two that start together apart."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(1)}"
