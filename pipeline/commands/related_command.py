"""The command that writes the table of related products."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline.commands.options import COUNT, example, json_option, store_argument


@click.command(
    epilog=example(
        "vitrine related demo/store --out related.parquet",
        "vitrine related demo/store --k 50 --out related.parquet --earlier last/related.parquet",
        "vitrine related demo/store --out related.parquet --collapse any --json",
    )
)
@store_argument
@click.option("-k", "--k", "k", type=COUNT, default=20, show_default=True, help="Related products of each.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Parquet file: id, partition, related, scores."
)
@click.option(
    "--earlier",
    type=click.Path(path_type=Path),
    help="The table of an earlier snapshot, from which what did not change is copied. [default: what is at --out]",
)
@click.option(
    "--collapse",
    type=click.Choice(["any", "photo", "near", "group"]),
    help="One product of each group of near-duplicates, none of a product's own group.",
)
@json_option
def related(store: str, as_json: bool, **given: Any) -> None:
    """Write which products of its category are nearest to each product of the published snapshot, best first.

    What did not change since the table before is copied.
    """
    from pipeline.commands import console
    from pipeline.config.paths import refuse_out
    from pipeline.engine import meters
    from pipeline.engine.printing import document, echo
    from pipeline.related.related import RelatedRequest, write_related

    refuse_out("--out", given["out"], store)
    console.logs("INFO")
    with meters.progress() as progress:
        found = write_related(RelatedRequest(store, **given), progress)
    if as_json:
        document({**asdict(found), "k": given["k"], "collapse": given["collapse"]})
        return
    echo(
        f"{found.out}: {found.products:,} products of {found.snapshot}, {found.bytes / 1e6:,.1f} MB; of "
        f"{found.partitions:,} partitions {found.copied:,} copied, {found.computed:,} computed "
        f"({found.products_computed:,} products) in {found.seconds:.1f} s"
    )
