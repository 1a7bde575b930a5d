"""The config that fits an imported feed: its columns, its prices, its categories. Yours once you change it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from foundation.disk import replace_file
from pipeline.catalog.categories import MOST_CHARS
from pipeline.config.photo_hosts import host_rule
from pipeline.config.sections import CatalogConfig
from pipeline.feeds.catalog_file import PRODUCTS
from pipeline.feeds.feed_facts import FeedFacts
from pipeline.feeds.import_report import REPORT, ImportReport

CONFIG = "_vitrine.yaml"
_TEXTS = ("title", "description")
_FIRST = ("title", "brand", "price", "sale_price", "availability")
_LAST = ("link", "image_link")
_NOT_CARRIED = {"description", "additional_image_link"}  # long, and no filter asks for them
_MOST_PARTITIONS = CatalogConfig.model_fields["max_partitions"].default
_NAMED_HOSTS = 32


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
    found = _photos(report, facts, photos)
    return "\n".join([*_head(report, folder), *_catalog(report, facts, folder, found), *_rest(store, found.taken), ""])


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


def _catalog(report: ImportReport, facts: FeedFacts, folder: Path, photos: _Photos) -> Iterator[str]:
    filled = [one for one in report.columns if one.values]
    names = [one.name for one in filled]
    prices = [one.name for one in filled if one.type.startswith("decimal")]
    own = [name for name in names if name not in report.carried and name != "id"]
    yield "catalog:"
    yield f"  path: {_quoted(str(folder / PRODUCTS))}"
    yield f"  text: {_list([name for name in _TEXTS if name in names] or own[:1])}"
    yield from (f"  {line}" for line in photos.lines)
    yield from _partition(facts, names)
    carried = [name for name in own if name not in _NOT_CARRIED]
    yield f"  attributes: {_list(sorted(carried, key=_place))}"
    if report.carried:
        some = [name for name in report.carried if name in names][:20]
        yield f"  # also in the file, as text: {json.dumps(some, ensure_ascii=False)[1:-1]}"
    if prices:
        yield f"  prices: {_list(prices)}  # amounts; the currency of each stands beside it, in NAME_currency"
        yield from _currency({one.name: one.values for one in filled}, prices)


def _currency(values: Mapping[str, int], prices: Sequence[str]) -> Iterator[str]:
    """Where to name the currency of prices that the feed names none for, of all or of some."""
    bare = {name: values[name] - values.get(f"{name}_currency", 0) for name in prices}
    told = [
        name if bare[name] == values[name] else f"{bare[name]:,} of {values[name]:,} of {name}"
        for name in prices
        if bare[name]
    ]
    if told:
        example = f"`{next(filter(bare.get, prices))} < 20 EUR` does not find them without it"
        yield f"  # currency: EUR  # the feed names none for {', '.join(told)}, and {example}"


@dataclass(frozen=True)
class _Photos:
    """The lines of a config's catalog on photos, and whether a run takes any."""

    lines: tuple[str, ...]
    taken: bool


def _photos(report: ImportReport, facts: FeedFacts, allowed: bool) -> _Photos:
    filled = {one.name for one in report.columns if one.values}
    if "image_link" not in filled:
        return _Photos(("image: null  # the feed has no photos",), taken=False)
    further = ["more_images: additional_image_link"] if "additional_image_link" in filled else []
    lines = ["image: image_link", *further]
    root = _photo_root(report, facts)
    beside = [] if root is None else [f"image_root: {_quoted(root)}"]
    if facts.hosts:
        lines += [*beside, *_hosts(facts)]
        if allowed:
            return _Photos(tuple(lines), taken=True)
        why = "photos lie on other hosts, asked only where you allow it. Then put here, and in encoders.image:"
    else:
        if beside:
            return _Photos((*lines, *beside), taken=True)
        lines.append("image_root: ...")
        why = "photos are paths, of which no file is beside the feed. Copy them, and put here, and in encoders.image:"
    told = (line if line.startswith("#") else f"# {line}" for line in lines)
    return _Photos((f"image: null  # {why}", *told), taken=False)


def _hosts(facts: FeedFacts) -> Iterator[str]:
    """Where the feed's photos lie, as far as a config can name it. Without TLS nobody knows who answers."""
    named = [host for host, _ in facts.hosts.most_common() if _is_rule(host)]
    plain = [host for host in named if host.startswith("http://")]
    most = [host for host in named if host not in plain][:_NAMED_HOSTS]
    yield f"photo_hosts: {_list(sorted(most))}  # where the feed's photos lie"
    if others := len(facts.hosts) - len(most) - len(plain):
        yield f"# others, with fewer photos or without a name that a host has: {others:,}"
    if plain:
        yield f"# not allowed, because without TLS nobody knows who answers: {_list(plain[:_NAMED_HOSTS])[1:-1]}"


def _is_rule(host: str) -> bool:
    try:
        host_rule(host)
    except ValueError:
        return False
    return True


def _photo_root(report: ImportReport, facts: FeedFacts) -> str | None:
    """The feed's own folder, where at least one of its photos is there."""
    folder = Path(str(report.files[0]["name"])).parent
    return str(folder) if any(_is_file(folder / path) for path in facts.paths) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, as a photo in base64 is
        return False


def _partition(facts: FeedFacts, names: Sequence[str]) -> Iterator[str]:
    if "product_type" not in names:
        return
    firsts, separator = facts.first_levels(), facts.separator()
    levels, longest = len(firsts), max(map(len, firsts), default=0)
    if levels > _MOST_PARTITIONS:
        yield f"  partition: null  # product_type has {levels:,} first levels, more than max_partitions"
        return
    if longest > MOST_CHARS:
        yield f"  partition: null  # product_type has a value of {longest:,} characters, which no category is"
        return
    yield f"  partition: product_type  # {levels:,} first levels"
    if separator is not None:
        yield f"  partition_separator: [{_quoted(separator)}]"


def _rest(store: str, photos: bool) -> Iterator[str]:
    yield ""
    yield "encoders:"
    yield "  text: {type: hashed_text, dim: 1024}"
    yield "  image: {type: photo_descriptors}" if photos else "  image: null  # {type: photo_descriptors}"
    yield ""
    yield "fusion: {type: concat}"
    yield ""
    yield "lexical: {weight: 0.5}  # half of a score is of the words themselves"
    yield ""
    yield "store:"
    yield f"  path: {_quoted(store)}"


def _place(name: str) -> int:
    """Where an attribute stands in a hit: what people read first, then the others as the map has them, then links, and
    currencies, which stand beside their prices already.
    """
    if name in _LAST or name.endswith("_currency"):
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
