"""The commands of the life of a store: which snapshots it has, which of them is served, which are kept."""

from __future__ import annotations

import sys

import click

from foundation.errors import InputError
from pipeline.commands.options import COUNT, example, json_option, store_argument


@click.command(epilog=example("vitrine snapshots demo/store", "vitrine snapshots demo/store --limit 0 --json"))
@store_argument
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The last publications; 0: all of them."
)
@json_option
def snapshots(store: str, limit: int, as_json: bool) -> None:
    """Show what was published when, by which run and why, and the bytes that each snapshot alone holds.

    Exit code 4 where the last publication is damaged or lost, after all that is whole was shown.
    """
    from lookup.store.store import Store
    from pipeline.collect.listing import list_snapshots
    from pipeline.commands import life_pages

    found = list_snapshots(Store.open(store))
    life_pages.snapshots(found, limit, as_json)
    if found.damage is not None and as_json:
        sys.exit(found.damage.exit_code)
    if found.damage is not None:
        raise found.damage


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
    from lookup.store.publications.rollback import Check, roll_back
    from lookup.store.store import Store
    from pipeline.commands import life_pages

    if not why.strip():
        fix = "say what was wrong: whoever finds the next run refused reads it"
        raise InputError("--why with a reason", repr(why), fix)
    check: Check | None = None
    if verify_files:
        from pipeline.publish.verify import verify_snapshot as check  # its imports take longer than all the rest
    life_pages.rolled_back(roll_back(Store.open(store), number, why, check), as_json)


@click.command(epilog=example("vitrine gc demo/store --dry-run", "vitrine gc demo/store --keep 14 --older-than 1w"))
@store_argument
@click.option("--keep", type=COUNT, default=7, show_default=True, help="How many snapshots to keep at least.")
@click.option(
    "--older-than",
    default="2d",
    show_default=True,
    help="Delete nothing younger, or served since: 12h, 2d.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@json_option
def gc(store: str, keep: int, older_than: str, dry_run: bool, as_json: bool) -> None:
    """Delete the files that no snapshot needs which is kept, no run and no reader that is younger than an age.

    Runs and searches may be at work meanwhile. Publications stay: they are the history.
    """
    from lookup.store.store import Store
    from pipeline.collect.ages import parse_age
    from pipeline.collect.collection import collect
    from pipeline.commands import console, life_pages

    console.logs("WARNING")
    age = parse_age(older_than)
    words = f"--keep {keep} --older-than {older_than.strip()}"
    life_pages.collected(collect(Store.open(store), keep, age, words, dry_run), dry_run, as_json)
