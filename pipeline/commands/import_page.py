"""What an import says: how the feed was read, its columns, and what is not in the catalog."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.engine.printing import document, echo, printable, table
from pipeline.feeds.import_report import ImportReport
from pipeline.feeds.prices import AMOUNT

_NAMED = 12  # columns that one line names
_TYPES = {
    "string": "text",
    "list<item: string>": "list",
    "double": "number",
    "int64": "whole",
    "bool": "boolean",
    str(AMOUNT): "price",
}
_WHY = {
    "bad_row": "bad row",
    "missing_id": "no id",
}


def print_import(report: ImportReport, as_json: bool, columns: bool = True) -> None:
    """A report on stdout, with or without the table of its columns."""
    if as_json:
        document(report.document())
        return
    found = "".join(f", {name.replace('_', ' ')} {value}" for name, value in report.found.items())
    echo(printable(f"{report.source}: {report.syntax} by the map {report.map}{found}"))
    if columns:
        rows = [
            [one.name, ", ".join(one.sources) or "-", _type(one.type), f"{one.values:,}", f"{one.unparsed:,}"]
            for one in report.columns
        ]
        table(["column", "from", "type", "values", "not read"], rows)
    if report.examples:
        table(
            ["not read", "row", "line", "came", "expected"],
            [
                [
                    _WHY.get(one.what, one.what),
                    f"{one.row:,}",
                    "-" if one.line is None else f"{one.line:,}",
                    one.came,
                    one.expected,
                ]
                for one in report.examples
            ],
        )
    for line in _lines(report):
        echo(printable(line))


def _lines(report: ImportReport) -> Iterator[str]:
    if report.carried:
        yield f"carried as text, because the map does not name them: {_names(report.carried)}"
    if report.dropped:
        yield f"left out: {_names(report.dropped)}"
    if report.late:
        yield f"left out, because they came after the first rows: {_names(tuple(report.late))}"
    yield from report.notices
    rejected = ", ".join(f"{count:,} {_counted(why, count)}" for why, count in report.rejected.items())
    joined = f", {report.rows_joined:,} rows joined to theirs" if report.rows_joined else ""
    yield f"{report.rows_read:,} rows read: {report.rows_written:,} products{joined}, {rejected or 'none rejected'}"
    if report.products is None:
        yield "checked: nothing was written"
    else:
        yield f"{report.products} in {report.seconds:.1f} s; config: {report.config}"


def _counted(why: str, count: int) -> str:
    """So many rows that are no products, in words."""
    return {"bad_row": "bad row" if count == 1 else "bad rows", "missing_id": "without an id"}.get(why, why)


def _type(kind: str) -> str:
    """An Arrow type in the words of a map."""
    return _TYPES.get(kind, kind)


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
