"""The command that makes a catalog of a shop's feed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from foundation.errors import InputError
from pipeline.commands.options import COUNT, Folder, example, json_option


@click.command(
    "import",
    epilog=example(
        "vitrine import products.tsv --to shop",
        "vitrine import 'exports/*.csv.gz' --to shop --as csv --decimal-mark ,",
        "vitrine import sample:google --to shop --index store",
        "vitrine import products.csv --to shop --as my_map.yaml --check",
    ),
)
@click.argument("source")
@click.option("--to", "folder", type=Folder(), help="Folder that gets products.parquet, its report and a config.")
@click.option("--as", "given", default="auto", show_default=True, help="A map: its name, or the path of your own.")
@click.option("--check", is_flag=True, help="Say what an import would do, and write nothing.")
@click.option("--sample", type=COUNT, help="With --check: so many rows of each file are enough.")
@click.option(
    "--bad-rows",
    type=click.Choice(["skip", "stop"]),
    default="skip",
    show_default=True,
    help="Rows that cannot be read: leave them out and count them, or end at the first.",
)
@click.option("--encoding", help="Such as utf-8 or cp1252.  [default: found]")
@click.option("--delimiter", help="One character, or tab, comma, semicolon, bar.  [default: found]")
@click.option("--quote", help="One character, or none.  [default: found]")
@click.option("--decimal-mark", type=click.Choice([".", ","]), help="Of prices and numbers.  [default: found]")
@click.option("--language", "languages", multiple=True, help="Of texts in several, such as en; the first counts most.")
@click.option("--photos", is_flag=True, help="Have the config allow the hosts that the feed's photos lie on.")
@click.option("--index", "store", help="Then run the pipeline with that config into this store.")
@json_option
def import_command(source: str, folder: Path | None, store: str | None, as_json: bool, **given: Any) -> None:
    """Make a catalog of a feed, SOURCE: a file, a folder, a glob, a URL, or - for stdin; sample:NAME for one of ours.

    What the feed lacks, what could not be read and what was left out is counted, and said with examples.
    """
    from pipeline.commands import console
    from pipeline.commands.import_page import print_import
    from pipeline.engine import meters
    from pipeline.feeds.import_feed import ImportRequest, import_feed
    from pipeline.feeds.mapping import MapOptions
    from pipeline.feeds.syntax.base import ReadOptions

    if folder is None and not given["check"]:
        raise InputError("--to FOLDER, or --check", "neither", "say where the catalog is to be written: --to shop")
    if given["sample"] and not given["check"]:
        raise InputError("--sample beside --check", "--sample alone", "an import takes all rows: leave it out")
    if store is not None and given["check"]:
        raise InputError("--check, or --index", "both", "leave one out")
    console.logs("INFO")
    reading = ReadOptions(given["encoding"], given["delimiter"], given["quote"], given["bad_rows"])
    request = ImportRequest(
        source,
        None if given["check"] else folder,
        given["given"],
        reading,
        MapOptions(tuple(given["languages"]), given["decimal_mark"]),
        given["sample"],
        store,
        given["photos"],
    )
    with _terminable(), meters.progress() as progress:
        report = import_feed(request, progress)
    if store is None:
        print_import(report, as_json)
        return
    _index(report, store, as_json)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the body as an error does, so that what it has half written goes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _index(report: Any, store: str, as_json: bool) -> None:
    """The run that makes the store of an import; with --json one document has both."""
    from pipeline import run as runs
    from pipeline.commands import console
    from pipeline.commands.configs import command_line, load
    from pipeline.commands.import_page import print_import
    from pipeline.engine import meters
    from pipeline.engine.printing import document
    from pipeline.preflight import address_space
    from pipeline.report.metrics import telling_refusals

    if not as_json:
        print_import(report, as_json=False, columns=False)
    config = load(report.config, [f"store.path={store}"]).config
    address_space.refuse_few_addresses(config.encoders.networks_on_cpu)
    with telling_refusals(config.run.metrics_path, store, None), meters.progress() as progress:
        done = runs.run(runs.Request(config, progress=progress, command=command_line()))
    if as_json:
        document({"import": report.document(), "run": done.model_dump(mode="json")})
    else:
        console.report(done, store, as_json=False)
