"""Ids that are none, categories that are ids, text that is not UTF-8, versions that never change."""

from __future__ import annotations

from collections.abc import Iterator

from foundation.reasons import Reason
from pipeline.preflight.findings import Finding, Subject

_FEW = 2.0  # products of a partition on average, below which its column tells products apart
_LEAST = 20  # rows that must be seen


def row_findings(subject: Subject) -> Iterator[Finding]:
    """What ids, partitions and versions say of their columns."""
    yield from _ids(subject)
    yield from _sizes(subject)
    yield from _encodings(subject)
    if subject.purpose == "run":
        yield from _partitions(subject)
        yield from _versions(subject)


# --- inside ---


def _ids(subject: Subject) -> Iterator[Finding]:
    """Repeated ids are rejects, all but the first: their share is known exactly."""
    plan = subject.plan
    if subject.category is not None or not plan.duplicates:
        return
    share, bound = plan.duplicates / plan.rows, subject.settings.gates.max_reject_share
    column = subject.catalog.columns.get("id", "id")
    if share > bound and subject.settings.gates.enough(plan.duplicates, plan.rows) and subject.purpose == "run":
        came = f"{plan.duplicates:,} of {plan.rows:,} rows have an id, in the column {column}, that came before"
        fix = "name the column of the ids: catalog.columns.id=..."
        if share <= 0.5:
            fix = "remove the repeated rows, or raise gates.max_reject_share: of equal ids the first row is kept"
        expected = f"ids that are unique, but for gates.max_reject_share={bound:g} of the rows"
        yield Finding("catalog.columns.id", came, expected, fix)


def _sizes(subject: Subject) -> Iterator[Finding]:
    """Rows that are too large are rejects: where all are, nothing would be left."""
    sample, most = subject.sample, subject.catalog.max_row_bytes
    sizes = sample.row_bytes()
    if sizes and (sample.whole or len(sizes) >= _LEAST) and min(sizes) > most:
        came = f"{min(sizes):,} to {max(sizes):,} bytes in each of {len(sizes):,} sampled rows, so that all are rejects"
        fix = "raise catalog.max_row_bytes, or name fewer columns"
        yield Finding("catalog.max_row_bytes", came, f"rows of at most {most:,} bytes in the columns in use", fix)


def _encodings(subject: Subject) -> Iterator[Finding]:
    """Rows whose names or texts are not UTF-8 are rejects. Where the gate would refuse them it is certain of a sample
    that has all rows, and as good as certain where it is most of them; else it is a warning.
    """
    settings, sample, gates = subject.catalog, subject.sample, subject.settings.gates
    names = [name for name in ("id", settings.partition, settings.version_column, *settings.text) if name]
    by_column = {name: sample.not_utf8([name]) for name in dict.fromkeys(names)}
    wrong = sum(map(any, zip(*by_column.values(), strict=True)))
    bound = gates.max_reject_share if subject.purpose == "run" else 0.5
    if wrong > bound * sample.rows and gates.enough(wrong * subject.plan.rows / sample.rows, subject.plan.rows):
        first = max(by_column, key=lambda name: sum(by_column[name]))
        came = (
            f"bytes that are not UTF-8 in {wrong:,} of {sample.rows:,} sampled rows, most of them in the column {first}"
        )
        expected = f"text in UTF-8, but for gates.max_reject_share={gates.max_reject_share:g} of the rows"
        stops = sample.whole or (sample.rows >= _LEAST and 2 * wrong > sample.rows)
        yield Finding("catalog.path", came, expected, Reason.INVALID_TEXT.fix, stops=stops)


def _partitions(subject: Subject) -> Iterator[Finding]:
    settings, plan = subject.catalog, subject.plan
    if not settings.partition:
        return
    rows = sum(plan.partitions.values())
    if rows >= _LEAST and rows < _FEW * len(plan.partitions):
        came = f"{len(plan.partitions):,} partitions of {rows:,} rows in the column {settings.partition}"
        fix = "name a column of categories, use fewer levels, or set catalog.partition=null: one partition"
        yield Finding("catalog.partition", came, "a column whose values many products share", fix, stops=False)


def _versions(subject: Subject) -> Iterator[Finding]:
    settings = subject.catalog
    if settings.image_identity != "version" or settings.version_column is None:
        return
    values = subject.sample.words(settings.version_column)
    if none := sum(not value for value in values):
        came = f"null in {none:,} of {len(values):,} sampled rows of {settings.version_column}"
        fix = "give each row one; until then their photo's size and mtime tell, as with catalog.image_identity=stat"
        yield Finding("catalog.version_column", came, "a version of each row's photo", fix, stops=False)
    if len(values) >= _LEAST and len(set(values)) == 1 and values[0]:
        came = f"{values[0]!r} in each of {len(values):,} rows of {settings.version_column}"
        fix = "name a column that does, or set catalog.image_identity=stat"
        yield Finding("catalog.version_column", came, "a value that changes when a photo does", fix, stops=False)
