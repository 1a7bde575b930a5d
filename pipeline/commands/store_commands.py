"""The commands that read a store or change what it publishes; those that make something of a catalog are in cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from foundation.errors import InputError
from pipeline.commands.options import COUNT, DAY, example, json_option, store_argument

MIXES_HELP = "With --sessions: a share of the history to try; several. [default: 0.05, 0.1, 0.2, 0.3, 0.4]"


@click.command(
    epilog=example(
        'vitrine search demo/store --text "red dress" -k 5',
        "vitrine search demo/store photo.jpg in blue",
        "vitrine search demo/store --image photo.jpg --text blue --category Clothing --json",
        "vitrine search demo/store --queries demo/queries.parquet --html hits.html",
        "vitrine search demo/store --image photo.jpg --text blue --late",
        "vitrine search demo/store --text dress --where 'price < 60' --where 'brand in Isolde, Dunmore'",
        "vitrine search demo/store --like V-00000042 --text blue",
        "vitrine search demo/store --text dress --history V-00000042,V-00000007 --mix 0.3",
        "vitrine search demo/store --text 'red dress under 60 euros' --understand",
    )
)
@store_argument
@click.argument("words", metavar="[QUERY]...", nargs=-1)
@click.option("--text", help="What to look for, in any language.")
@click.option("--image", type=click.Path(), help="A photo of what to look for.")
@click.option(
    "--queries", type=click.Path(), help="Parquet file with the columns text and / or image: many queries at once."
)
@click.option("--category", help="Only this category.")
@click.option("-k", "k", type=COUNT, default=10, show_default=True, help="How many hits.")
@click.option("--nprobe", type=COUNT, help="Inverted lists to look at, instead of the tuned number.")
@click.option("--late", is_flag=True, help="Search by text, by words and by photo apart, and merge by rank.")
@click.option(
    "--where", multiple=True, help="Only products that meet this condition, such as 'price < 20'; several: all of them."
)
@click.option("--explain", is_flag=True, help="Say of each hit which words, modality and part of the photo it is for.")
@click.option("--like", multiple=True, metavar="ID", help="Find what is like this product; several: like all of them.")
@click.option("--rated-like", is_flag=True, help="Only what is rated as well as the products of --like, or better.")
@click.option("--history", multiple=True, metavar="ID,ID...", help="What a shopper looked at, the newest last.")
@click.option("--mix", type=click.FloatRange(0, 1), help="Share of the history in the query. [default: 0.2]")
@click.option("--no-rerank", is_flag=True, help="Hits as the search finds them, not in the order of the re-ranker.")
@click.option(
    "--understand/--no-understand",
    default=None,
    help="Take what the text says of prices, ratings and values, as in 'under 20 euros', for conditions and boosts.",
)
@click.option("--lexical-weight", type=click.FloatRange(0, 1), help="Share of words in a score; 0: vectors alone.")
@click.option("--all-categories", is_flag=True, help="Search the unlikely categories too.")
@click.option(
    "--collapse",
    type=click.Choice(["any", "photo", "near", "group"]),
    help="Show one product of each group of near-duplicates: by all kinds that the config names, or by one.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page of the hits, photos included.")
@json_option
def search(store: str, html: Path | None, as_json: bool, **given: Any) -> None:
    """Find products by text, by photo, by both, or by other products. Of QUERY, what is a photo file is the photo, and
    the other words are the text.
    """
    from lookup.filters.where import parsed
    from lookup.query import Query
    from lookup.understood.given import recognise
    from pipeline.commands.answers_page import print_answers
    from pipeline.config.paths import refuse_out
    from pipeline.evaluate.questions import ask, questions

    refuse_out("--html", html, store)
    named = [f"--{name}" for name in ("text", "image", "queries") if given[name] is not None]
    if given["words"] and named:
        came = f"{' '.join(given['words'])} and {', '.join(named)}"
        raise InputError("a query as words and photos, or by options", came, "leave one out")
    taken = recognise(given["words"]) if given["words"] else None
    text, image = (given["text"], given["image"]) if taken is None else (taken.text, taken.image)
    history = [one for several in given["history"] for one in several.split(",") if one.strip()]
    mix = {} if given["mix"] is None else {"mix": given["mix"]}
    as_named = (
        "category",
        "k",
        "nprobe",
        "explain",
        "like",
        "rated_like",
        "understand",
        "all_categories",
        "lexical_weight",
        "collapse",
    )
    asked = {name: given[name] for name in as_named}
    query = Query(**asked, where=parsed(given["where"]), history=history, rerank=not given["no_rerank"], **mix)
    questioned = questions(text, image, given["queries"], [*given["like"], *history])
    answered = ask(store, questioned, query, given["late"], html)
    print_answers(answered, parsed(query.where), html, as_json, many=given["queries"] is not None, taken=taken)


@click.command(
    "eval",
    epilog=example(
        "vitrine eval store --queries queries.parquet --qrels qrels.parquet",
        "vitrine eval store --queries queries.parquet --qrels qrels.parquet -k 5 --category Fruit --html quality.html",
        "vitrine eval store --sessions sessions.parquet --since 2026-11-24",
    ),
)
@store_argument
@click.option("--queries", type=click.Path(path_type=Path), help="Parquet: query_id, text, image.")
@click.option("--qrels", type=click.Path(path_type=Path), help="Parquet: query_id, id, gain.")
@click.option(
    "--sessions",
    type=click.Path(path_type=Path),
    help="Instead: what a shopper's history gains, on a log; Parquet: session, id, day, and query if you like.",
)
@click.option(
    "--since", type=DAY, help="First day of the sessions that are held out. [default: the last fifth of them]"
)
@click.option("--mix", "mixes", type=click.FloatRange(0, 1, min_open=True), multiple=True, help=MIXES_HELP)
@click.option("--category", help="Only the queries of this category, asked in it.")
@click.option("-k", "--k", "k", type=COUNT, default=10, show_default=True, help="The k of precision, recall and F1.")
@click.option("--late", is_flag=True, help="Also merge a text list and a photo list by rank, for queries of both.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page with the plot and the tables.")
@json_option
def evaluate(store: str, html: Path | None, as_json: bool, **given: Any) -> None:
    """Measure how well searches find what judges called right, and where what is missed gets lost; or, on a log of
    sessions, what a shopper's history gains.
    """
    from pipeline.commands import console
    from pipeline.commands.sessions_page import evaluate_sessions
    from pipeline.config.paths import refuse_out
    from pipeline.evaluate.evaluation import Request, evaluate
    from pipeline.evaluate.page import write_report

    sessions, since, mixes = (given.pop(name) for name in ("sessions", "since", "mixes"))
    if sessions is not None:
        others = {**given, "html": html}
        evaluate_sessions(store, sessions, since and since.date(), mixes, others, as_json)
        return
    if since is not None or mixes:
        raise InputError("--since and --mix with --sessions", "no --sessions", "leave them out: judgments have no days")
    if given["queries"] is None or given["qrels"] is None:
        came = "neither" if given["queries"] is None and given["qrels"] is None else "one of --queries and --qrels"
        raise InputError("--queries and --qrels, or --sessions", came, "say what the searches are judged by")
    refuse_out("--html", html, store)
    found = evaluate(Request(store, **given))
    if html is not None:
        write_report(html, found)
    console.evaluation(found, html, as_json)


@click.command(epilog=example("vitrine inspect demo/store", "vitrine inspect demo/store --html indexes.html"))
@store_argument
@click.option("--snapshot", help="Another snapshot than the published one: a name of snapshots/ without .json.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page with recall-latency plots.")
@json_option
def inspect(store: str, snapshot: str | None, html: Path | None, as_json: bool) -> None:
    """Show a snapshot: its partitions, indexes, measured recall, rejects and encoders."""
    from lookup.store.store import Store
    from pipeline.commands import console
    from pipeline.config.paths import refuse_out
    from pipeline.report.index_page import write_report

    refuse_out("--html", html, store)
    opened = Store.open(store)
    chosen, manifest = (snapshot, opened.manifest(snapshot)) if snapshot else opened.published()
    if html is not None:
        write_report(html, chosen, manifest)
    console.snapshot(chosen, manifest, html, as_json)


@click.command(epilog=example("vitrine verify demo/store", "vitrine verify demo/store --all"))
@store_argument
@click.option("--all", "every", is_flag=True, help="All snapshots that are kept, and their models.")
@json_option
def verify(store: str, every: bool, as_json: bool) -> None:
    """Read every file of the published snapshot and compare it with its digest. Exit code 4 when one differs.

    Records must bear the names of their places, each index the ids of its partition's rows; publications are read.
    """
    from pipeline.commands import console
    from pipeline.publish.verify import verify_store

    console.verified(verify_store(store, every), as_json)


@click.command(
    epilog=example(
        "vitrine diff demo/store",
        "vitrine diff demo/store 41 42 --json",
        "vitrine diff demo/store 20261121T085140Z-ffe67b365cd1c6c4 --limit 20",
    )
)
@store_argument
@click.argument("first", required=False, metavar="[A]")
@click.argument("second", required=False, metavar="[B]")
@click.option("--limit", type=click.IntRange(min=0), default=5, show_default=True, help="Ids of each kind of change.")
@json_option
def diff(store: str, first: str | None, second: str | None, limit: int, as_json: bool) -> None:
    """Show what differs between two snapshots: products, vectors, indexes, rejects, sizes, settings.

    A and B are numbers of publications or ids of snapshots; without them the snapshot that is served is compared with
    the one before it.
    """
    from lookup.store.store import Store
    from pipeline.commands.diff_page import print_diff
    from pipeline.compare.named_snapshots import two_snapshots
    from pipeline.compare.snapshots import as_document, compare_snapshots
    from pipeline.engine.printing import document

    opened = Store.open(store)
    found = compare_snapshots(opened, two_snapshots(opened, first, second), limit)
    if as_json:
        document(as_document(found))
    else:
        print_diff(found)


@click.command(
    epilog=example(
        "vitrine explain demo/store V-00000042",
        'vitrine explain demo/store V-00000042 --text "red dress" -k 20',
        "vitrine explain demo/store V-00000042 --image photo.jpg --json",
    )
)
@store_argument
@click.argument("product", metavar="ID")
@click.option("--text", help="A query for which its place is told.")
@click.option("--image", type=click.Path(), help="A photo for which its place is told, alone or with --text.")
@click.option("-k", "k", type=COUNT, default=10, show_default=True, help="Hits of the search, and of those above it.")
@json_option
def explain(store: str, product: str, text: str | None, image: str | None, k: int, as_json: bool) -> None:
    """Say why a product is, or is not, found: its row, or why it has none, and its place for a query.

    Exit code 0 also where there is no such product.
    """
    from lookup.query import photo_limits, read_photo
    from lookup.store.store import Store
    from pipeline.commands.explain_page import as_document, print_explanation
    from pipeline.engine.printing import document
    from pipeline.explain.explanation import explain
    from pipeline.explain.ranking import Asked

    asked = None
    if text is not None or image is not None:
        limits = photo_limits(Store.open(store).published()[1])
        asked = Asked(text, None if image is None else read_photo(image, limits.max_bytes), k)
    found = explain(store, product, asked)
    if as_json:
        document(as_document(found))
    else:
        print_explanation(found)
