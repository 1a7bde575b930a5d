"""Options and arguments that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from foundation.regular_files import utf8_path

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
config_option = click.option("-c", "--config", "config", type=click.Path(), help="YAML file; see configs/.")
category_option = click.option("--category", help="Only this category: a partition of the catalog.")
memory_option = click.option(
    "--memory", metavar="SIZE", help="Bytes that the run may hold, such as 4GB; the same as run.memory=SIZE."
)
log_format_option = click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Log lines on stderr; the same as run.log_format=FORMAT."
)
overrides_argument = click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")
store_argument = click.argument("store")
COUNT = click.IntRange(min=1)
DAY = click.DateTime(["%Y-%m-%d"])


class Folder(click.Path):
    """A folder that is written, as a `Path`; InputError where it has no name in UTF-8, before any work is done."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """See click.Path."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        utf8_path(str(path.absolute()))
        return path


def example(*lines: str) -> str:
    """What `--help` shows below the options."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
