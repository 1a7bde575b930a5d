"""Why a product is, or is not, found, for people: what became of its row, where that came from, and its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from lookup.hit import words
from pipeline.commands.why_page import effects
from pipeline.engine.printing import echo, printable, table
from pipeline.explain.explanation import Explanation
from pipeline.explain.history import Appearance
from pipeline.explain.product import IndexedRow, Source
from pipeline.explain.ranking import Rank


def as_document(found: Explanation) -> dict[str, Any]:
    """It as JSON has it."""
    provenance = found.provenance and found.provenance.model_dump(mode="json")
    return {**asdict(found), "provenance": provenance}


def print_explanation(found: Explanation) -> None:
    """Print all of it."""
    for line in _outcome(found):
        echo(printable(line))
    if found.row is not None:
        table(["", ""], [[name, value] for name, value in _facts(found, found.row) if value])
    for one in found.rejected:
        also = "also " if found.row else ""
        echo(printable(f"{also}rejected for {one.reason}: {one.detail or ''}".rstrip(": ") + f" ({_row(one.source)})"))
        if one.fix:
            echo(f"to do: {one.fix}")
    if found.rank is not None:
        _print_rank(found.id, found.rank)


def _outcome(found: Explanation) -> Iterator[str]:
    if found.row is not None:
        yield f"{found.id} can be found in {found.row.partition!r} of snapshot {found.snapshot}"
    elif found.rejected:
        yield f"{found.id} cannot be found in snapshot {found.snapshot}: its row was rejected"
    else:
        yield f"{found.id} is not in snapshot {found.snapshot}: the catalog, {found.catalog}, had no row of that id"
        if found.near:
            yield f"ids that are nearly the same: {', '.join(found.near)}"


def _facts(found: Explanation, row: IndexedRow) -> Iterator[tuple[str, str]]:
    yield from ((name, words(value)) for name, value in row.attributes.items())
    yield "photo", row.photo or ""
    yield "text fingerprint", row.text_fingerprint or "no text"
    yield "photo fingerprint", row.photo_fingerprint or "no photo"
    if row.degraded:
        yield "degraded", f"{row.degraded}: {row.detail or ''}; to do: {row.fix}"
    elif row.photos_lost:
        yield "photos lost", f"{row.photos_lost}: {row.detail or ''}"
    yield "catalog row", _row(row.source)
    yield "shard", f"row {row.row:,} of row group {row.row_group} of {row.shard}"
    if found.provenance is not None:
        yield "read", f"by run {found.provenance.run}, {found.provenance.read_at:%Y-%m-%d %H:%M:%S} UTC"
    if found.since is not None:
        yield "published since", f"{_appearance(found.since.product)}; {found.since.before}"
        yield "in this shard since", _appearance(found.since.shard)
    if found.index is not None:
        one = found.index
        how = f"nprobe {one.nprobe}, recall@{one.k} {one.recall:.3f}" if one.nprobe else "exact"
        yield "index", f"{one.type} of {one.rows:,} products, {how}; position {row.position:,}"


def _row(source: Source) -> str:
    first, end = source.row_groups
    groups = f"row group {first}" if end == first + 1 else f"row groups {first} to {end - 1}"
    return f"row {source.row:,} of {groups} of {source.file}"


def _appearance(one: Appearance) -> str:
    when = f", {one.published_at:%Y-%m-%d %H:%M}" if one.published_at else ""
    return f"publication {one.number}{when}, of run {one.run}"


def _print_rank(name: str, one: Rank) -> None:
    echo(
        f"for this query it is number {one.rank:,} of {one.products:,} products, and number "
        f"{one.rank_in_partition:,} of the {one.products_in_partition:,} in its partition; score {one.score:.4f}"
        + _parts(one)
    )
    echo(_found(one))
    if one.words is not None:
        where = "no hit" if one.hit_with_words is None else f"number {one.hit_with_words}"
        echo(f"it has {one.words:.2f} of the words: searched by words and vectors it is {where}")
    for line in effects(one.why):
        echo(printable(line))
    if one.above:
        rows = [[str(at), f"{hit.score:.4f}", hit.id, hit.partition] for at, hit in enumerate(one.above, 1)]
        rows += [[f"{one.rank:,}", f"{one.score:.4f}", name, "this one"]]
        table(["", "score", "id", "category"], rows)


def _parts(one: Rank) -> str:
    if one.parts is None:
        return ""
    words_of = {"text": "of the texts", "image": "of the photos"}
    return " = " + " + ".join(f"{value:.4f} {words_of[name]}" for name, value in one.parts.items())


def _found(one: Rank) -> str:
    if one.hit is not None:
        return f"a search for {one.k} hits finds it as number {one.hit}"
    if one.rank > one.k and one.hit_in_partition is None and one.rank_in_partition > one.k:
        return f"a search for {one.k} hits does not find it: more than so many products score higher"
    if one.hit_in_partition is not None:
        return f"a search for {one.k} hits finds it in its category alone, as number {one.hit_in_partition}"
    lost = f"its index misses it: at the tuned nprobe of {one.nprobe} it is not among the {one.k} hits of its category"
    needed = f"with {one.nprobe_needed} it is" if one.nprobe_needed else "and with any other neither"
    return f"{lost}, {needed}"
