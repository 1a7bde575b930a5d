"""The command that asks two snapshots the same queries."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import COUNT, DAY, example, json_option, store_argument


@click.command(
    epilog=example(
        "vitrine compare demo/store --queries queries.parquet --qrels qrels.parquet",
        "vitrine compare demo/store 41 42 --queries queries.parquet --qrels qrels.parquet --html compared.html",
        "vitrine compare store trial/store --clicks log.parquet --since 2026-11-24 --json",
    )
)
@store_argument
@click.argument("first", required=False, metavar="[A]")
@click.argument("second", required=False, metavar="[B]")
@click.option("--queries", type=click.Path(path_type=Path), help="Parquet: query_id, text, image.")
@click.option("--qrels", type=click.Path(path_type=Path), help="Parquet: query_id, id, gain.")
@click.option("--clicks", type=click.Path(path_type=Path), help="Instead: a click log; Parquet: query, id, gain, day.")
@click.option("--since", type=DAY, help="Only clicks of this day and later.")
@click.option("--category", help="Only the queries of this category, asked in it.")
@click.option("-k", "--k", "k", type=COUNT, default=10, show_default=True, help="The k of precision, recall and F1.")
@click.option(
    "--worst", type=click.IntRange(min=0), default=5, show_default=True, help="Queries that lose most to be told."
)
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page, with hits and photos of the worst.")
@json_option
def compare(store: str, html: Path | None, as_json: bool, **given: Any) -> None:
    """Say which of two snapshots answers better: the same judged queries to both, with all that their searches do.

    A and B are numbers of publications, ids of snapshots, or other stores; without them the snapshot that is served is
    compared with the one before it. Exit code 0 whichever is better.
    """
    from pipeline.config.paths import refuse_out
    from pipeline.engine.printing import document, echo, printable, table
    from pipeline.evaluate.comparison import ComparisonRequest, Judged, compare_searches
    from pipeline.evaluate.comparison_page import (
        as_document,
        figure_table,
        lines,
        verdicts,
        worst_table,
        write_report,
    )

    for one in (store, given["first"], given["second"]):
        refuse_out("--html", html, one or store)
    since: datetime | None = given.pop("since")
    judged = Judged(given.pop("queries"), given.pop("qrels"), given.pop("clicks"), since.date() if since else None)
    found = compare_searches(ComparisonRequest(store, judged=judged, **given))
    if html is not None:
        write_report(html, found)
    if as_json:
        document(as_document(found))
        return
    for line in lines(found):
        echo(printable(line))
    table(*figure_table(found))
    if found.worst:
        table(*worst_table(found))
    for line in verdicts(found):
        echo(line)
    if html is not None:
        echo(f"page with hits and photos: {html}")
