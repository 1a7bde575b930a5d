"""The config that fits an imported feed: its columns, its prices, its categories. Yours once you change it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from blake3 import blake3

from foundation.disk import replace_file
from pipeline.config.sections import CatalogConfig
from pipeline.feeds.catalog_file import PRODUCTS
from pipeline.feeds.feed_facts import FeedFacts
from pipeline.feeds.import_report import REPORT, ImportReport

CONFIG = "_vitrine.yaml"
_TEXTS = ("title", "description")
_FIRST = ("title", "brand", "price", "price_currency", "sale_price", "sale_price_currency", "availability")
_LAST = ("link", "image_link")
_NOT_CARRIED = {"description", "additional_image_link"}  # long, and no filter asks for them
_MOST_PARTITIONS = CatalogConfig.model_fields["max_partitions"].default
_NAMED_HOSTS = 8


def write_config(report: ImportReport, facts: FeedFacts, folder: Path, store: str | None, photos: bool) -> ImportReport:
    """Write the config into `folder` where none is, or one of ours that nobody changed; the report with what became
    of it.
    """
    path = folder / CONFIG
    raw = config_text(report, facts, folder, store or _store_beside(folder), photos).encode()
    digest = blake3(raw).hexdigest()
    there = path.read_bytes() if path.exists() else None
    if there is None or blake3(there).hexdigest() in (_written_before(folder), digest):
        replace_file(path, raw)
        return replace(report, config=str(path), config_digest=digest)
    told = f"{path} was changed by hand, and stays: see whether it still fits"
    return replace(report, config=str(path), config_digest=None, notices=(*report.notices, told))


def config_text(report: ImportReport, facts: FeedFacts, folder: Path, store: str, photos: bool) -> str:
    """The YAML, with the reason of each choice on its line."""
    return "\n".join([*_head(report, folder), *_catalog(report, facts, folder, photos), *_rest(store, photos), ""])


# --- inside ---


def _written_before(folder: Path) -> str | None:
    """The digest of the config that the last import wrote here."""
    try:
        found = json.loads((folder / REPORT).read_bytes())
    except (OSError, ValueError):
        return None
    return found.get("config_digest") if isinstance(found, dict) else None


def _store_beside(folder: Path) -> str:
    """A store may not lie inside of its catalog."""
    return str(folder.parent / f"{folder.resolve().name}-store")


def _head(report: ImportReport, folder: Path) -> Iterator[str]:
    source = json.dumps(report.source, ensure_ascii=False)[1:-1]
    yield f"# A config that fits {source}, read by the map {report.map}: {report.rows_written:,} products."
    yield "# The next import writes it anew, unless you change it: then it is yours."
    yield "#"
    yield f"#   vitrine run -c {folder / CONFIG}"
    yield "#"
    yield "# Paths are relative to the current directory. Texts are compared without weights, by their words and parts"
    yield "# of them; for real weights take `encoders`, `fusion` and `lexical` of configs/starter.yaml."
    yield ""


def _catalog(report: ImportReport, facts: FeedFacts, folder: Path, photos: bool) -> Iterator[str]:
    filled = [one for one in report.columns if one.values]
    names = [one.name for one in filled]
    prices = [one.name for one in filled if one.type.startswith("decimal")]
    own = [name for name in names if name not in report.carried and name != "id"]
    yield "catalog:"
    yield f"  path: {_quoted(str(folder / PRODUCTS))}"
    yield f"  text: {_list([name for name in _TEXTS if name in names] or own[:1])}"
    yield from _photos(facts, names, photos)
    yield from _partition(facts, names)
    carried = [name for name in own if name not in _NOT_CARRIED]
    yield f"  attributes: {_list(sorted(carried, key=_place))}"
    if report.carried:
        some = [name for name in report.carried if name in names][:20]
        yield f"  # also in the file, as text: {json.dumps(some, ensure_ascii=False)[1:-1]}"
    if prices:
        yield f"  prices: {_list(prices)}  # amounts; the currency of each stands beside it, in NAME_currency"


def _photos(facts: FeedFacts, names: Sequence[str], photos: bool) -> Iterator[str]:
    further = ["  more_images: additional_image_link"] if "additional_image_link" in names else []
    hosts = _list([host for host, _ in sorted(facts.hosts.most_common(_NAMED_HOSTS))])
    if "image_link" not in names:
        yield "  image: null  # the feed has no photos"
    elif not facts.hosts:
        yield "  image: image_link  # paths; set image_root to the folder that they are relative to"
        yield from further
    elif photos and "photo_hosts" in CatalogConfig.model_fields:
        yield "  image: image_link"
        yield from further
        yield f"  photo_hosts: {hosts}  # where the feed's photos lie: only these are asked"
    else:
        lines = ["image: image_link", *(line.strip() for line in further), f"photo_hosts: {hosts}"]
        yield "  image: null  # photos lie on other hosts, which a run asks only where you allow it; then put here:"
        yield from (f"  # {line}" for line in lines)


def _partition(facts: FeedFacts, names: Sequence[str]) -> Iterator[str]:
    if "product_type" not in names:
        return
    levels, separator = facts.first_levels(), facts.separator()
    if levels > _MOST_PARTITIONS:
        yield f"  partition: null  # product_type has {levels:,} first levels, more than max_partitions"
        return
    yield f"  partition: product_type  # {levels:,} first levels"
    if separator is not None:
        yield f"  partition_separator: [{_quoted(separator)}]"


def _rest(store: str, photos: bool) -> Iterator[str]:
    yield ""
    yield "encoders:"
    yield "  text: {type: hashed_text, dim: 1024}"
    image = photos and "photo_hosts" in CatalogConfig.model_fields
    yield (
        "  image: {type: photo_descriptors}"
        if image
        else "  image: null  # {type: photo_descriptors} once there are photos"
    )
    yield ""
    yield "fusion: {type: concat}"
    yield ""
    yield "lexical: {weight: 0.5}  # half of a score is of the words themselves"
    yield ""
    yield "store:"
    yield f"  path: {_quoted(store)}"


def _place(name: str) -> int:
    """Where an attribute stands in a hit: what people read first, then the others as the map has them, then links."""
    if name in _LAST:
        return len(_FIRST) + 1
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(names: Sequence[str]) -> str:
    return (
        "["
        + ", ".join(name if name.replace("_", "a").isalnum() and name.isascii() else _quoted(name) for name in names)
        + "]"
    )
