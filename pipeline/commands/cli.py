"""The command `vitrine`. What it prints is decided here and in console.py; what it does is elsewhere, imported when
needed.

stdout holds the result (with --json one document), stderr holds log lines, progress and errors. Exit codes: 0 done or
nothing to do, 1 failed, 2 wrong usage, config or input, 3 refused by a gate, 4 the store cannot be trusted, 5 another
run holds it, 130 interrupted (Ctrl-C).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from foundation.errors import InputError
from foundation.openmp import wait_asleep
from pipeline.commands.compare_command import compare
from pipeline.commands.configs import command_line, load, load_and_log
from pipeline.commands.groups import BEAM, BeamCommand, Commands, ending
from pipeline.commands.head_command import train_head
from pipeline.commands.import_command import import_command
from pipeline.commands.life_commands import gc, rollback, snapshots
from pipeline.commands.model_commands import models
from pipeline.commands.options import (
    COUNT,
    Folder,
    category_option,
    config_option,
    example,
    json_option,
    log_format_option,
    memory_option,
    overrides_argument,
)
from pipeline.commands.photo_commands import photos
from pipeline.commands.related_command import related
from pipeline.commands.store_commands import diff, evaluate, explain, inspect, search, verify
from pipeline.commands.train_commands import train, train_fusion, train_rank

if TYPE_CHECKING:
    from pipeline.config.run_section import LogFormat

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=example(
        "vitrine demo-catalog demo && vitrine run -c configs/demo.yaml",
        'vitrine search demo/store --text "red dress"',
    ),
)
@click.version_option(package_name="vitrine-index")
def cli() -> None:
    """Cross-modal product search indexes from a product catalog, built in batches."""


for _command in (
    import_command,
    search,
    evaluate,
    compare,
    inspect,
    verify,
    diff,
    explain,
    related,
    snapshots,
    rollback,
    gc,
    train,
    train_fusion,
    train_head,
    models,
    photos,
    train_rank,
):
    cli.add_command(_command)


@cli.command(
    "demo-catalog",
    epilog=example("vitrine demo-catalog demo --products 2000", "vitrine demo-catalog dirty --products 500 --dirty"),
)
@click.argument("folder", type=Folder())
@click.option("--products", type=COUNT, default=2000, show_default=True, help="How many good products.")
@click.option("--seed", default=7, show_default=True, help="Same seed, same catalog, byte for byte.")
@click.option(
    "--dirty", is_flag=True, help="Add what real feeds have, and outcomes.parquet with what must become of each row."
)
@click.option(
    "--photos",
    type=click.Choice(["files", "bytes", "none"]),
    default="files",
    show_default=True,
    help="Where the photos are.",
)
@click.option("--row-group-rows", type=COUNT, default=1000, show_default=True, help="Rows of a Parquet row group.")
@click.option("--file-rows", type=COUNT, default=100_000, show_default=True, help="Rows of a Parquet file.")
@json_option
def demo_catalog(folder: Path, as_json: bool, **options: Any) -> None:
    """Write a catalog of drawn products, with titles in English and Chinese, into FOLDER."""
    from pipeline.commands import console
    from pipeline.demo.catalog import DemoOptions, write_demo_catalog
    from pipeline.engine import meters

    console.logs("INFO")
    with meters.progress() as progress:
        total = options["products"]
        write_demo_catalog(folder, DemoOptions(**options), lambda done: progress("products", min(done, total), total))
    console.result({"folder": str(folder), **options}, as_json, f"{total:,} products in {folder}")


@cli.command(
    epilog=example(
        "vitrine plan -c configs/demo.yaml",
        "vitrine plan -c configs/demo.yaml --memory 2GB --json",
        "vitrine plan -c configs/demo.yaml --rows",
    )
)
@config_option
@overrides_argument
@category_option
@memory_option
@click.option(
    "--rows", is_flag=True, help="Read every row: which are new, changed, gone; what is encoded, and its cost."
)
@click.option(
    "--accept",
    multiple=True,
    metavar="GATE[:PARTITION]",
    help="Go on although this gate refuses, as the run would with these words; several: each of them.",
)
@json_option
def plan(
    config: str | None,
    overrides: Sequence[str],
    category: str | None,
    memory: str | None,
    rows: bool,
    accept: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what a run would do and take, and find everything that makes it impossible, without doing any of it.

    Memory, disk and time are of a run that can use nothing of an earlier one; with --rows also of the next run.
    """
    from pipeline.commands import console
    from pipeline.config.published import as_published, to_measure
    from pipeline.plan.history import encode_seconds
    from pipeline.preflight.check import preflight
    from pipeline.preflight.parent import before_in, beside_published
    from pipeline.publish import acceptance

    accepted = acceptance.parse(accept)
    settings = load(config, overrides, memory).config.settings
    checked = preflight(settings, category=category, before=before_in(settings.store))
    checked = beside_published(as_run := as_published(settings), checked, accepted)
    seconds = encode_seconds(settings.store, settings.embedding.encoders, checked.plan.rows)
    compared = None
    if rows:
        from pipeline.compare.planned_cost import plan_rows

        compared = plan_rows(as_run, checked)
    console.plan(checked, seconds, to_measure(as_run.embedding), compared, as_json)


@cli.command(
    cls=BeamCommand,
    epilog=example(
        "vitrine run -c configs/demo.yaml",
        "vitrine run -c configs/nightly.yaml catalog.path=feed/ store.path=store --category Shoes",
        "vitrine run -c configs/demo.yaml -- --direct_num_workers=3",
    ),
)
@config_option
@overrides_argument
@category_option
@memory_option
@click.option("--no-parent", is_flag=True, help="Publish with no earlier snapshot, on purpose: the history was lost.")
@click.option("--measure", is_flag=True, help="Measure anew what stands in for a missing photo or text.")
@log_format_option
@click.option(
    "--accept",
    multiple=True,
    metavar="GATE[:PARTITION]",
    help="Publish although this gate refuses, and have the snapshot say so; several: each of them.",
)
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    config: str | None,
    overrides: Sequence[str],
    category: str | None,
    memory: str | None,
    no_parent: bool,
    measure: bool,
    log_format: LogFormat | None,
    accept: tuple[str, ...],
    as_json: bool,
) -> None:
    """Encode what changed, build the indexes, and publish them if they pass the gates.

    What stands after -- goes to Beam's PipelineOptions. A run that was killed is run again: it goes on where it
    stopped.
    """
    from pipeline.commands import console
    from pipeline.engine import meters
    from pipeline.preflight import address_space

    loaded = load_and_log(config, overrides, log_format, memory)
    address_space.refuse_few_addresses(loaded.config.encoders.networks_on_cpu)
    from pipeline import run as runs
    from pipeline.report.metrics import telling_refusals

    of = loaded.config.run.metrics_path, loaded.config.store.path, category
    with telling_refusals(*of), meters.progress() as progress:
        asked = category, ctx.meta.get(BEAM, ()), command_line(), progress, no_parent, measure, accept
        report = runs.run(runs.Request(loaded.config, *asked))
    console.report(report, loaded.config.store.path, as_json)


@cli.command(epilog=example("vitrine doctor", "vitrine doctor --device cuda"))
@click.option(
    "--device", default="cpu", show_default=True, help="Try this device with a real kernel: cpu, cuda, cuda:1."
)
@json_option
def doctor(device: str, as_json: bool) -> None:
    """Check this machine: Python, packages, FAISS, photo formats, disk, memory and the device."""
    from index_builders.devices import DEVICE
    from pipeline.commands import console
    from pipeline.commands.doctor import diagnose

    if not re.fullmatch(DEVICE, device):
        raise InputError("--device cpu, cuda or cuda:N", repr(device), "name one of them")
    checks = diagnose(device)
    console.checks(checks, as_json)
    if not all(check.ok for check in checks):
        sys.exit(1)


@cli.group()
def config() -> None:
    """Look at the config that a run would use."""


@config.command(
    "show",
    epilog=example(
        "vitrine config show -c configs/demo.yaml index.k=20",
        "VITRINE_RUN__WORKERS=3 vitrine config show -c configs/demo.yaml",
    ),
)
@config_option
@overrides_argument
@json_option
def config_show(config: str | None, overrides: Sequence[str], as_json: bool) -> None:
    """Print every key of the effective config, and where its value came from."""
    from pipeline.commands import console
    from pipeline.config.load import describe

    console.config(describe(load(config, overrides)), as_json)


def main() -> None:
    """Entry point of the command."""
    wait_asleep()
    with ending():
        cli(prog_name="vitrine")
