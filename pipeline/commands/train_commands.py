"""The commands that learn from a catalog: models, and fusions of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundation.errors import InputError
from pipeline.commands.configs import is_store, load_and_log
from pipeline.commands.options import (
    COUNT,
    Folder,
    config_option,
    example,
    json_option,
    log_format_option,
    overrides_argument,
)

if TYPE_CHECKING:
    from pipeline.config.run_section import LogFormat


@click.command(
    epilog=example(
        "vitrine train -c configs/demo.yaml --from encoders/builtin --out models/mine",
        "vitrine train -c configs/nightly.yaml --from siglip2-b16-256 --out models/mine train.freeze=image",
        "vitrine train -c configs/nightly.yaml --from models/mine --out models/clicked --clicks log.parquet",
    )
)
@config_option
@click.option(
    "--from", "model", required=True, help="Model to start from: a folder, or a name of `models pull` or `models add`."
)
@click.option("--out", required=True, type=Folder(), help="New folder for the trained model.")
@click.option(
    "--clicks", type=click.Path(path_type=Path), help="Also what shoppers chose; Parquet: query, id, gain, day."
)
@click.option(
    "--accept",
    multiple=True,
    type=click.Choice(["worse"]),
    help="Exit code 0 although the model is not better on the held-out days of --clicks.",
)
@overrides_argument
@log_format_option
@json_option
def train(
    config: str | None,
    model: str,
    out: Path,
    clicks: Path | None,
    accept: tuple[str, ...],
    overrides: Sequence[str],
    log_format: LogFormat | None,
    as_json: bool,
) -> None:
    """Fine-tune a two-tower model on the catalog's own texts and photos, and on what shoppers chose.

    The result is a model folder for encoders of the type dual. A training that was killed is run again: it goes on
    where it stopped. With --clicks it is compared with the model it began with on the last days of the log: exit code 3
    where it is not better there.
    """
    from pipeline.commands import console, trained_page
    from pipeline.config.paths import refuse_out
    from pipeline.engine import meters
    from pipeline.engine.printing import error

    if accept and clicks is None:
        raise InputError("--accept with --clicks", "--accept alone", "leave it out: nothing is compared without clicks")
    loaded = load_and_log(config, overrides, log_format, untrained=True)
    refuse_out("--out", out, loaded.config.store.path, loaded.config.catalog.path)
    from pipeline.train.towers import train_on_catalog

    with meters.progress() as progress:
        trained, left_out = train_on_catalog(loaded.config.settings, loaded.config.train, model, out, clicks, progress)
    console.trained(trained, left_out, as_json)
    if not as_json and trained.clicks is not None:
        trained_page.print_comparison(trained.clicks)
    refused = trained_page.refusal(trained)
    if refused is not None and not accept:
        error(refused, as_json=False)
        sys.exit(refused.exit_code)


@click.command(
    "train fusion",
    epilog=example(
        "vitrine train fusion -c configs/demo.yaml fusion.type=transformer --out models/fusion",
        "vitrine train fusion -c configs/nightly.yaml fusion.type=cross_attention --out models/fusion",
    ),
)
@config_option
@click.option("--out", required=True, type=Folder(), help="New folder for the trained fusion.")
@overrides_argument
@log_format_option
@json_option
def train_fusion(
    config: str | None, out: Path, overrides: Sequence[str], log_format: LogFormat | None, as_json: bool
) -> None:
    """Train the fusion that fusion.type names for the config's encoders, on the catalog's own products.

    The encoders stay as they are. The result is what fusion.model takes. A training that was killed is run again: it
    goes on where it stopped.
    """
    from pipeline.commands import console
    from pipeline.config.paths import refuse_out
    from pipeline.engine import meters

    loaded = load_and_log(config, overrides, log_format, untrained=True)
    refuse_out("--out", out, loaded.config.store.path, loaded.config.catalog.path)
    from pipeline.train.fusion import train_fusion_on_catalog

    with meters.progress() as progress:
        trained, left_out = train_fusion_on_catalog(loaded.config.settings, loaded.config.train_fusion, out, progress)
    console.trained_fusion(trained, left_out, as_json)


@click.command(
    "train rank",
    epilog=example(
        "vitrine train rank -c configs/demo.yaml --judged queries.parquet qrels.parquet --out models/ranker",
        "vitrine train rank -c store --clicks clicks.parquet --out models/ranker --type logistic",
    ),
)
@click.option(
    "-c", "--config", "config", required=True, type=click.Path(), help="A store, or the YAML file of one's config."
)
@click.option(
    "--judged",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="QUERIES QRELS",
    help="Parquet files as `vitrine eval` takes them: query_id, text, image; and query_id, id, gain.",
)
@click.option(
    "--clicks",
    type=click.Path(path_type=Path),
    help="Or a log of what shoppers chose, a Parquet file: query, id, gain, day.",
)
@click.option("--out", required=True, type=Folder(), help="New folder for the re-ranker.")
@click.option(
    "--type",
    default="trees",
    show_default=True,
    help="Boosted trees (LambdaMART); logistic, for few queries; or another module of lookup/rerank/types/.",
)
@click.option("--top", type=COUNT, default=100, show_default=True, help="Candidates that are put in another order.")
@click.option(
    "--features", metavar="NAME,...", help="Attributes that it sees, such as price,rating; without it all of numbers."
)
@overrides_argument
@log_format_option
@json_option
def train_rank(
    config: str, overrides: Sequence[str], log_format: LogFormat | None, as_json: bool, **given: Any
) -> None:
    """Learn to put the first hits of the published snapshot in a better order, from judged queries or from clicks.

    The result is what search.ranker takes. It is compared with no re-ranker on queries that nothing was learned from,
    and a run refuses one that is not better.
    """
    from pipeline.commands import console
    from pipeline.commands.rank_page import print_ranker
    from pipeline.config.paths import refuse_out
    from pipeline.engine import meters
    from pipeline.train.rank import Request, train_ranker
    from pipeline.train.rank_judgments import Source

    if is_store(config):
        console.logs("INFO", log_format or "text")
        store = config
    else:
        store = load_and_log(config, overrides, log_format, untrained=True).config.store.path
    refuse_out("--out", given["out"], store)
    source = Source(given.pop("judged"), given.pop("clicks"))
    names = None if (said := given.pop("features")) is None else tuple(filter(None, map(str.strip, said.split(","))))
    with meters.progress() as progress:
        found = train_ranker(Request(store, source, attributes=names, **given), progress)
    print_ranker(found, as_json)
