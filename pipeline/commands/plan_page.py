"""A forecast for people: a few lines, and a table of the partitions."""

from __future__ import annotations

from index_builders.choose.forecast import IndexForecast
from lookup.page import duration
from pipeline.plan.forecast import Forecast

Table = tuple[list[str], list[list[str]]]


def forecast_lines(found: Forecast, encode_seconds: float | None, measures: bool) -> list[str]:
    """What a run takes in all; `encode_seconds` None: nobody knows yet. `measures`: see stand_ins.py."""
    at_once = found.at_once
    encoding = "known after a first run" if encode_seconds is None else f"about {duration(encode_seconds)}"
    memory = f"memory {_mb(found.memory)} MB (embedding {_mb(found.embed_memory)}, building {_mb(found.build_memory)})"
    disk = f"disk {_range(*found.disk)} MB, and up to {_mb(found.scratch)} MB more while building"
    units = "1 unit" if at_once.embed_workers == 1 else f"{at_once.embed_workers} units"
    threads = "1 thread" if at_once.build_threads == 1 else f"{at_once.build_threads} threads"
    builds = min(at_once.builds, len(found.partitions))
    indexes = (
        f"{builds} {'index' if builds == 1 else 'indexes'}, on {threads} each, in parts of {at_once.part_rows:,} rows"
    )
    return [
        f"a run that finds nothing done takes {memory}; {disk}",
        f"time: encoding {encoding}, building about {duration(found.build_seconds)}",
        f"at once: {units}; {indexes}",
        *(
            ["first, what stands in for a missing photo or text is measured on up to 2,048 products"]
            if measures
            else []
        ),
    ]


def forecast_table(found: Forecast) -> Table:
    """(columns, rows) of the partitions."""
    columns = ["partition", "rows", "index", "index MB", "with refine", "scratch MB", "about s"]
    return columns, [[name, *_cells(one)] for name, one in found.partitions.items()]


def _cells(one: IndexForecast) -> list[str]:
    kind = one.types[0] if len(one.types) == 1 else f"best of {len(one.types)}"
    sizes = [_range(one.least_bytes, one.most_bytes), _range(one.least_disk_bytes, one.most_disk_bytes)]
    return [f"{one.rows:,}", kind, *sizes, _mb(one.scratch_bytes), f"{one.seconds:,.1f}"]


def _range(least: float, most: float) -> str:
    low, high = f"{least / 1e6:,.1f}", f"{most / 1e6:,.1f}"
    return low if low == high else f"{low} to {high}"


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f}"
