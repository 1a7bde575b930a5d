"""A click log beside a catalog, as something that a two-tower model learns from: pairs of earlier days, queries of the
last, and products that searches find and nobody chooses.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from blake3 import blake3

from encoders.training.clicks import ClickLessons, HeldQuery
from encoders.training.pairs import Pair, is_held_out
from encoders.training.trainer import TrainSettings
from foundation.errors import InputError
from foundation.liveness import beat
from lookup.query import Query
from lookup.search import Reader
from lookup.store.store import Store
from pipeline.catalog.clicks import Clicks
from pipeline.engine.progress import Progress

_DEPTH = 50  # hits of a query that are looked through for negatives
_MOST_NEGATIVES = 20  # that are kept of them: each epoch draws some
_SHARE = 0.2  # of the queries that are held out where all clicks are of one day
_log = logging.getLogger(__name__)

HitsOf = Callable[[str], list[str]]  # a query's text -> ids, best first


@dataclass(frozen=True)
class Products:
    """The products of a catalog: the pair of the first photo of each that has one, by id; ids of those without."""

    pairs: Mapping[str, Pair]
    without: Collection[str]


def click_lessons(
    clicks: Clicks,
    products: Products,
    settings: TrainSettings,
    hits_of: HitsOf | None,
    progress: Progress | None = None,
) -> tuple[ClickLessons, dict[str, int]]:
    """The lessons of `clicks`, and counts of what nothing was learned from.

    Held out are the last days, or where all clicks are of one day a share of the queries, and what the split of the
    catalog holds out: its products are in no pair. `hits_of` finds negatives; None: there are none but those of a step.
    InputError where no click is left to learn from.
    """
    counts = Counter({f"clicks_{why}": rows for why, rows in clicks.left_out.items() if rows})
    every = clicks.gains()
    known = {query: _known(gains, products, counts) for query, gains in every.items()}
    known = {query: gains for query, gains in known.items() if gains}
    if not known:
        came = ", ".join(f"{count:,} {why}" for why, count in sorted(counts.items()))
        fix = "give the log of this catalog's ids; a gain of 0 is no click"
        raise InputError("a click on a product of the catalog that has a text and a photo", came, fix)
    learned, asked = _split(clicks, settings)
    right = {query: frozenset(gains) for query, gains in known.items()}
    pairs = []
    for query in sorted(known.keys() & learned.keys()):
        chosen = sorted(_chosen(learned[query], known[query]))
        chosen = [one for one in chosen if not is_held_out(products.pairs[one].family, settings.held_out)]
        pairs += [_pair(query, products.pairs[one], right[query]) for one in chosen]
    if not pairs:
        came = f"{clicks.table.num_rows:,} rows, all of the days or products that are held out"
        raise InputError("clicks to learn from", came, "give a log of more days, or lower train.held_out")
    pairs = _with_negatives(pairs, products, settings, hits_of, progress)
    gains = {query: _chosen(asked[query], known[query]) for query in known.keys() & asked.keys()}
    gains = {query: chosen for query, chosen in gains.items() if chosen}
    held = [HeldQuery(query, gains[query]) for query in _first(gains, settings.held_out_most)]
    lessons = ClickLessons(pairs, held, _pool(held, products, settings.held_out_most))
    lessons.check()
    _log.info(
        "clicks: %s pairs of a query and a product to learn from, %s with mined negatives; %s queries held out",
        f"{len(pairs):,}", f"{sum(1 for one in pairs if one.negatives):,}", f"{len(held):,}",
    )  # fmt: skip
    return lessons, dict(sorted(counts.items()))


def hard_negatives(
    hits: Sequence[str], right: Collection[str], products: Mapping[str, Pair], share: float
) -> list[Pair]:
    """The products among `hits`, best first, that were never chosen for their query: none of `right`, the ids that
    were, none of a title that one of those has, none without a photo, none that is held out by `share`.
    """
    titles = {text for one in right if one in products for text in products[one].texts}
    found: list[Pair] = []
    for one in hits:
        pair = products.get(one)
        if pair is None or one in right or titles.intersection(pair.texts) or is_held_out(pair.family, share):
            continue
        found.append(pair)
    return found[:_MOST_NEGATIVES]


def snapshot_hits(path: str) -> HitsOf | None:
    """What searches of the snapshot that the store at `path` publishes find; None, and said, where there is none that
    texts can be asked of.
    """
    store = Store.at(path)
    name = store.current()
    manifest = None if name is None else store.manifest(name)
    if name is None or manifest is None or manifest.text is None:
        why = "nothing is published there" if manifest is None else "its snapshot has no text encoder"
        _log.info("hard negatives: none are mined from %s: %s; those of a step are all", store.root, why)
        return None
    reader = Reader.of(store, name, manifest)
    try:
        reader.load(text=True)
    except InputError as err:
        _log.info("hard negatives: none are mined from %s: %s; those of a step are all", store.root, err.came)
        return None

    def hits_of(text: str) -> list[str]:
        return [hit.id for hit in reader.answer(Query(text=text, k=_DEPTH))]

    return hits_of


# --- inside ---


def _known(gains: Mapping[str, float], products: Products, counts: Counter[str]) -> dict[str, float]:
    """Those that were chosen and can be shown; the rest is counted."""
    found = {}
    for one, gain in gains.items():
        if one not in products.pairs:
            counts["clicks_without_photo" if one in products.without else "clicks_unknown_id"] += 1
        elif gain > 0:
            found[one] = gain
        else:
            counts["clicks_of_gain_0"] += 1
    return found


def _chosen(gains: Mapping[str, float], known: Collection[str]) -> dict[str, float]:
    return {one: gain for one, gain in sorted(gains.items()) if gain > 0 and one in known}


def _split(clicks: Clicks, settings: TrainSettings) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """(what is learned from, what is held out): by query and id, the gain."""
    days, every = clicks.days, clicks.gains()
    if not settings.held_out:
        return every, {}
    if len(days) > 1:
        first = days[-min(settings.held_out_days, len(days) // 2)]
        _log.info(
            "clicks: %s to %s are learned from, %s to %s held out",
            days[0],
            clicks.before(first).days[-1],
            first,
            days[-1],
        )
        return clicks.before(first).gains(), clicks.since(first).gains()
    _log.warning(
        "clicks: all are of one day, %s, so a share of the queries is held out instead of the last days: what the "
        "model will make of tomorrow's queries is not measured; give a log of two days or more",
        days[0],
    )
    held = {query: gains for query, gains in every.items() if is_held_out(f"query/{query}", _SHARE)}
    return {query: gains for query, gains in every.items() if query not in held}, held


def _pair(query: str, product: Pair, right: frozenset[str]) -> Pair:
    return replace(product, id=f"{product.id}?{query}", texts=(query,), title=product.texts[0], right=right)


def _with_negatives(
    pairs: list[Pair], products: Products, settings: TrainSettings, hits_of: HitsOf | None, progress: Progress | None
) -> list[Pair]:
    if hits_of is None or not settings.hard_negatives:
        return pairs
    mined: dict[str, tuple[Pair, ...]] = {}
    queries = {pair.texts[0]: pair.right for pair in pairs}
    for done, (query, right) in enumerate(queries.items(), 1):
        beat()
        mined[query] = tuple(hard_negatives(hits_of(query), right, products.pairs, settings.held_out))
        if progress is not None:
            progress("mine", done, len(queries))
    return [replace(pair, negatives=mined[pair.texts[0]]) for pair in pairs]


def _pool(held: Sequence[HeldQuery], products: Products, most: int) -> list[Pair]:
    """The products that answer the held-out queries, and others by hash until there are `most`; in the order of ids, so
    that of equal scores no answer comes first.
    """
    if not held:
        return []
    answers = {one for query in held for one in query.gains}
    others = _first(products.pairs.keys() - answers, max(0, most - len(answers)))
    return [products.pairs[one] for one in sorted({*answers, *others})]


def _first(names: Collection[str], most: int) -> list[str]:
    """`most` of the names, whatever their order: the first by hash, in order."""
    return sorted(sorted(names, key=lambda name: blake3(name.encode("utf-8", "surrogatepass")).digest())[:most])
