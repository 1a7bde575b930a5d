"""What a run says of itself, whatever became of it: `run.json`, from which metrics and page are made.

docs/reference/run.schema.json is its schema. A field that is new has a default, so that the files of earlier versions
are still read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from lookup.page import duration
from lookup.store.entries.index_record import CurvePoint, describe_training
from lookup.store.fields import Record
from lookup.store.manifest import Manifest
from lookup.store.shard_record import OTHERS, DetailCount
from pipeline.report.notices import Notice

log = logging.getLogger(__name__)
Status = Literal["published", "unchanged", "superseded", "refused", "failed"]
ENDED_WELL = ("published", "unchanged", "superseded")  # what readers are served is as new as the run
_RATED = ("rows", "products", "texts_encoded", "photos_encoded", "rows_indexed")
_MOST_LOSSES = 50  # kinds of losses that a report shows


class Host(Record):
    """Where the run ran."""

    name: str
    system: str  # such as `Linux 6.1 x86_64`
    python: str
    cores: int  # that the process may use


class Encoded(Record):
    """Products whose text or photos had to be encoded, and why: see pipeline/embed/earlier/why_encoded.py."""

    modality: Literal["text", "photo"]
    reason: str
    products: int


class Step(Record):
    """One step of the run, its wall-clock seconds, what it counted, and how many of that a second."""

    name: str
    seconds: float
    counts: dict[str, int]
    rates: dict[str, float] = Field(default_factory=dict)


class GateResult(Record):
    """One figure held against its bound, of the whole or of one `partition`. `advice` says where the figure comes from
    and, where it failed, what to do. One that failed and is `accepted` stops nothing.
    """

    name: str
    value: float
    bound: float
    op: Literal["<=", ">="]
    passed: bool
    advice: str
    partition: str | None = None
    accepted: bool = False

    @property
    def stops(self) -> bool:
        """Whether nothing may be published."""
        return not self.passed and not self.accepted

    @property
    def verdict(self) -> str:
        """passed, failed or accepted."""
        return "passed" if self.passed else "accepted" if self.accepted else "failed"

    @property
    def place(self) -> str:
        """Gate, or gate:partition: what `--accept` takes."""
        return self.name if self.partition is None else f"{self.name}:{self.partition}"


class Warned(Record):
    """What looked like a mistake before anything was encoded, and stopped nothing."""

    key: str
    came: str
    expected: str
    fix: str


class PartitionRow(Record):
    """One partition of the snapshot; recall is recall@k in 0..1, latencies are per query with one thread, 0 where an
    exact index was not timed.
    """

    # A recall that could not be measured is NaN; plain JSON would turn it into null.
    model_config = ConfigDict(ser_json_inf_nan="strings")

    name: str
    rows: int
    index_type: str
    parameters: dict[str, Any]
    nprobe: int
    refine_factor: int
    recall: float
    k: int
    p50_ms: float
    p99_ms: float
    bytes: int
    build_seconds: float
    reused: bool
    curve: tuple[CurvePoint, ...] = ()  # settings that no other one beats in recall and cost, measured
    note: str = ""  # why the index is not what the settings ask for
    training: str = ""  # whose training a new index has, and what decided; empty where it stood before
    lexical_bytes: int = 0  # of the index of words; 0: there is none
    lexical_seconds: float = 0.0  # that it took to build, in whichever run that was


class Loss(Record):
    """Rows that are rejected, degraded or short of photos, whose details are of one kind; `example` is one of them."""

    outcome: str  # rejected, degraded or photos_lost
    reason: str
    detail: str
    rows: int
    example: str


class PhotoHost(Record):
    """What became of the photos of one host, or of all that have few: by what the host answered in this run."""

    host: str
    fetched: int = 0  # photos that were sent; this and the next four add up to the photos asked for
    unchanged: int = 0  # that the host says are those of before
    fresh: int = 0  # that were not asked for: what it said before still counts
    stale: int = 0  # those of before, because it gave none now
    failed: dict[str, int] = Field(default_factory=dict)  # reason -> photos
    requests: int = 0
    bytes: int = 0  # of the photos that were sent


class RunReport(Record):
    """One run, whatever became of it."""

    format: Literal[1, 2] = 2
    run: str
    started_at: datetime
    ended_at: datetime
    status: Status
    exit_code: int
    snapshot: str | None
    parent: str | None
    command: str
    category: str | None = None  # None: the whole catalog
    merged_over: tuple[int, ...] = ()  # publications by others, created while this run was at work
    vitrine: str = ""  # the version; empty, like what follows: of an earlier one
    host: Host | None = None
    config: str | None = None  # digest of the effective config: equal when two runs were asked for the same
    rows_in: int  # this and the next three: of the run's category, where it had one
    rows_embedded: int
    rows_rejected: int
    rows_degraded: int
    rows_in_snapshot: int
    photos: int = 0  # of the rows embedded
    photos_lost: int = 0  # of these, not read or not encoded
    units: int
    units_reused: int
    texts_encoded: int = 0  # of units whose shard did not stand; this and the next three count products
    texts_copied: int = 0  # from earlier shards
    photos_encoded: int = 0
    photos_copied: int = 0
    encoded: tuple[Encoded, ...] = ()  # why, of the same units; also those that the encoder then failed at
    bytes_added: int = 0  # of files that the snapshot names and its parent does not
    snapshot_bytes: int = 0  # of all that it names
    indexes_reused: int
    steps: tuple[Step, ...]
    gates: tuple[GateResult, ...]
    rejects: dict[str, int]  # reason -> rows
    degraded: dict[str, int]  # reason -> rows
    details: tuple[Loss, ...] = ()  # what was lost, by what its details have in common, the most frequent first
    photo_hosts: tuple[PhotoHost, ...] = ()  # of photos by URL, as this process saw them
    partitions: tuple[PartitionRow, ...]
    error: str | None
    notices: tuple[Notice, ...] = ()  # what was left out of the catalog, or read otherwise than it is written
    warnings: tuple[Warned, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds from start to end."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def succeeded(self) -> bool:
        """Whether readers are served what the catalog holds now."""
        return self.status in ENDED_WELL


def losses(details: Sequence[DetailCount]) -> tuple[Loss, ...]:
    """The most frequent of them as a report shows them, then the others, summed by their reason."""
    named = [one for one in details if one.detail != OTHERS][:_MOST_LOSSES]
    others: dict[tuple[str, str], DetailCount] = {}
    for one in details:
        if one not in named:
            before = others.setdefault((one.outcome, one.reason), one.model_copy(update={"detail": OTHERS, "rows": 0}))
            others[one.outcome, one.reason] = before.model_copy(update={"rows": before.rows + one.rows})
    return tuple(Loss(**one.model_dump(exclude={"partition"})) for one in (*named, *others.values()))


class Steps:
    """Times the steps of a run, one after the other; a step that raises is kept too."""

    def __init__(self) -> None:
        self.entries: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Time the body; what it puts into the dict is the step's counts."""
        counts: dict[str, int] = {}
        started = time.perf_counter()
        try:
            yield counts
        finally:
            seconds = time.perf_counter() - started
            # int(): numpy's and Arrow's integers are counts as well
            whole = {what: int(n) for what, n in counts.items()}
            rates = {what: round(n / seconds, 1) for what, n in whole.items() if what in _RATED and n and seconds}
            entry = Step(name=name, seconds=seconds, counts=whole, rates=rates)
            self.entries.append(entry)
            counted = "".join(f", {what} {n:,}" for what, n in entry.counts.items())
            log.info("%s: %s%s", name, duration(seconds), counted)


def unread_attributes(manifest: Manifest, scope: frozenset[str] | None) -> Iterator[Notice]:
    """What of attributes could not be read, for each of them."""
    for name, rows in sorted(manifest.unread(scope).items()):
        have = f"{rows:,} of {manifest.rows_in(scope):,} products have a {name} that is"
        if manifest.attribute_types.get(name, "price") == "price":
            yield Notice(what="prices_unread", count=rows, told=f"{have} no price: filters take it for null")
        elif name in manifest.config["catalog"].get("numbers", ()):
            yield Notice(what="numbers_unread", count=rows, told=f"{have} no number, and null in hits and filters")
        else:
            told = f"{have} not UTF-8, and null in hits and filters: write the export in UTF-8"
            yield Notice(what="attributes_not_utf8", count=rows, told=told)


def partition_rows(manifest: Manifest, reused: set[str]) -> Iterator[PartitionRow]:
    """A row for each partition; `reused` are those whose index stood before."""
    for partition in manifest.partitions:
        index = partition.index
        yield PartitionRow(
            name=partition.name,
            rows=partition.rows,
            index_type=index.type,
            parameters=index.parameters,
            nprobe=index.nprobe,
            refine_factor=index.refine_factor,
            recall=index.recall,
            k=index.k,
            p50_ms=index.p50_ms,
            p99_ms=index.p99_ms,
            bytes=sum(file.bytes for file in index.files.values()),
            build_seconds=index.build_seconds,
            reused=partition.name in reused,
            curve=tuple(index.curve),
            note=index.note,
            training=describe_training(index) if partition.name not in reused else "",
            lexical_bytes=partition.lexical.bytes if partition.lexical else 0,
            lexical_seconds=partition.lexical.build_seconds if partition.lexical else 0.0,
        )
