"""`vitrine train head`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.configs import load_and_log
from pipeline.commands.options import Folder, config_option, example, json_option, log_format_option, overrides_argument

if TYPE_CHECKING:
    from pipeline.config.run_section import LogFormat


@click.command(
    "train head",
    epilog=example(
        "vitrine train head -c configs/demo.yaml --type lda --tower image --out models/head",
        "vitrine train head -c configs/nightly.yaml --type lda --groups item_group_id --out models/head --dim 128",
        "vitrine train head -c configs/nightly.yaml --type cca --out models/shared",
    ),
)
@config_option
@click.option("--type", "kind", default="lda", show_default=True, help="Kind of head: a module of encoders/heads/.")
@click.option("--tower", type=click.Choice(["text", "image"]), help="The tower it is for; image unless it joins both.")
@click.option("--out", required=True, type=Folder(), help="New folder for the head.")
@click.option(
    "--dim", default="auto", show_default=True, help="Length of its vectors; auto: the shortest that loses little."
)
@click.option("--ridge", type=click.FloatRange(min=0, min_open=True), help="Instead of one chosen on held-out groups.")
@click.option("--groups", metavar="ATTRIBUTE", help="Products with equal values are a group, instead of equal titles.")
@click.option(
    "--clicks", type=click.Path(path_type=Path), help="Parquet with query and id: a group is what was clicked."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides what is held out.")
@click.option("--force", is_flag=True, help="Write it although it finds held-out groups no better.")
@overrides_argument
@log_format_option
@json_option
def train_head(
    config: str | None,
    out: Path,
    dim: str,
    overrides: Sequence[str],
    log_format: LogFormat | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Learn a linear head for the vectors of the published snapshot, in closed form: nothing is encoded.

    The result is what fusion.text_head and fusion.image_head take. Exit code 3 where groups of products that were held
    out are found no better with it.
    """
    from foundation.errors import InputError
    from pipeline.commands.head_page import print_head
    from pipeline.config.paths import refuse_out
    from pipeline.engine import meters

    if dim != "auto" and not (dim.isdecimal() and int(dim)):
        raise InputError("--dim of 1 or more, or auto", repr(dim), "give a whole number")
    loaded = load_and_log(config, overrides, log_format, untrained=True)
    refuse_out("--out", out, loaded.config.store.path, loaded.config.catalog.path)
    from pipeline.train.heads import HeadTask, train_head

    task = HeadTask(type=asked.pop("kind"), dim=None if dim == "auto" else int(dim), **asked)
    with meters.progress() as progress:
        trained = train_head(loaded.config.settings, task, out, progress)
    print_head(trained, as_json)
