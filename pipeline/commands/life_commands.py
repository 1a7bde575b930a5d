"""The commands of the life of a store: which snapshots it has, which of them is served, which are kept."""

from __future__ import annotations

import click

from foundation.errors import InputError
from pipeline.commands.options import example, json_option, store_argument


@click.command(
    epilog=example(
        'vitrine rollback demo/store --why "wrong prices"', 'vitrine rollback demo/store 41 --why "wrong prices"'
    )
)
@store_argument
@click.argument("number", type=click.IntRange(min=0), required=False)
@click.option("--why", required=True, help="The reason, for whoever finds the next run refused.")
@click.option("--verify", "verify_files", is_flag=True, help="Read every file of the snapshot first.")
@json_option
def rollback(store: str, number: int | None, why: str, verify_files: bool, as_json: bool) -> None:
    """Serve an earlier snapshot again: that of publication NUMBER, by default the one before.

    No run publishes what was left again unless `run --accept went_back` says so. Readers that are open stay: open new
    ones.
    """
    from lookup.store.rollback import roll_back
    from lookup.store.store import Store
    from pipeline.commands import life_pages
    from pipeline.publish.verify import verify_snapshot

    if not why.strip():
        fix = "say what was wrong: whoever finds the next run refused reads it"
        raise InputError("--why with a reason", repr(why), fix)
    check = verify_snapshot if verify_files else None
    life_pages.rolled_back(roll_back(Store.open(store), number, why, check), as_json)
