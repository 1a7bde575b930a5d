"""What a snapshot's manifest gets of figures, once it is built and before gates judge it.

Of what is the parent's, the parent's figures stay: a night on which nothing changed measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from index_builders.measure.queries import PHOTO, TEXT
from lookup.store.entries.figures import Agreement, FoundAgain, PartitionFigures
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.store import Store
from pipeline.build.tower_queries import Asking, query_kinds
from pipeline.config.sections import Embedding, Indexing, RunSettings
from pipeline.embed.stand_ins import aside
from pipeline.plan.units import Plan
from pipeline.publish.figures.agreement import agreement_of
from pipeline.publish.figures.found_again import Asked, found_again
from pipeline.publish.figures.golden import with_golden
from pipeline.publish.figures.missing_shares import missing_shares
from pipeline.report.notices import Notice

_ASKED = {TEXT: 200, PHOTO: 60}  # products, over all partitions that are looked at; a photo costs more
_ASKED_EACH = {TEXT: 20, PHOTO: 10}  # of one partition at least: a later run of it alone is compared with these
_ASKED_MOST = {TEXT: 1000, PHOTO: 200}  # over all, also where that is less of each
_ASKED_SEGMENTS = {TEXT: 48, PHOTO: 16}  # that they are drawn from: of each the catalog is read once more
_PARTITION_ROWS, _PARTITION_SEGMENTS = 256, 256  # rows of a partition; segments, over all that are looked at
_ROWS, _SEGMENTS = 1024, 48  # of all partitions together
_LEAST, _MOST = 2, 16  # segments of a partition


def with_figures(
    store: Store, manifest: Manifest, parent: Manifest | None, settings: RunSettings, plan: Plan, run: str
) -> tuple[Manifest, list[Notice]]:
    """`manifest` with how products fare that lack a modality, how far texts and photos agree, whether products find
    themselves, and what golden queries find; and what is to be told of these.
    """
    indexing, scope = settings.indexing, None if plan.category is None else frozenset([plan.category])
    known = _known(manifest, parent)
    touched = [one for one in manifest.partitions if scope is None or one.name in scope]
    new = [one for one in touched if one.name not in known and one.figures is None]  # a merge has measured them
    measured = dict(_measured(store, manifest, new, indexing)) if new else {}
    partitions = tuple(_with(one, known, measured) for one in manifest.partitions)
    same = parent is not None and parent.content == manifest.content
    manifest = manifest.model_copy(
        update={
            "missing": missing_shares(store, manifest, parent, indexing.embedding, plan),
            "partitions": partitions,
            "agreement": parent.agreement if same and parent else _overall(store, manifest, indexing.embedding),
        }
    )
    return with_golden(store, manifest, parent, settings, scope, f"runs/{run}/golden.json")


def products_of_each(kind: str, partitions: int) -> int:
    """How many products, 1 at least, are asked for by `kind` (text or photo) of each of so many partitions."""
    enough = max(-(-_ASKED[kind] // partitions), _ASKED_EACH[kind])
    return max(1, min(enough, _ASKED_MOST[kind] // partitions))


def keeps_towers(embedding: Embedding) -> bool:
    """Whether shards keep the vectors of two towers."""
    return embedding.shards.towers and None not in (embedding.encoders.text, embedding.encoders.image)


def _known(manifest: Manifest, parent: Manifest | None) -> dict[str, PartitionFigures]:
    """What the parent has measured of the partitions whose index is the parent's."""
    indexes = {one.name: one.index.name for one in manifest.partitions}
    return {
        one.name: one.figures
        for one in (parent.partitions if parent else ())
        if one.figures is not None and indexes.get(one.name) == one.index.name
    }


def _with(
    entry: PartitionEntry, known: Mapping[str, PartitionFigures], measured: Mapping[str, PartitionFigures]
) -> PartitionEntry:
    figures = measured.get(entry.name) or known.get(entry.name)
    return entry if figures is None else entry.model_copy(update={"figures": figures})


def _measured(
    store: Store, manifest: Manifest, entries: list[PartitionEntry], indexing: Indexing
) -> list[tuple[str, PartitionFigures]]:
    asking, each = Asking.of(indexing), len(entries)
    kinds = [
        Asked(kind, products_of_each(kind, each), _each(_ASKED_SEGMENTS[kind], each)) for kind in query_kinds(indexing)
    ]
    agreeing = keeps_towers(indexing.embedding) and len(manifest.partitions) > 1
    segments = _each(_PARTITION_SEGMENTS, each)

    def figures(entry: PartitionEntry) -> PartitionFigures:
        found: tuple[FoundAgain, ...] = ()
        alike: Agreement | None = None
        if kinds:
            found = found_again(store, manifest.shards, entry, asking, kinds)
        if agreeing:
            alike = agreement_of(store, manifest.shards, [entry.name], segments, _PARTITION_ROWS)
        return PartitionFigures(agreement=alike, found_again=found)

    return aside(lambda: [(entry.name, figures(entry)) for entry in entries])


def _overall(store: Store, manifest: Manifest, embedding: Embedding) -> Agreement | None:
    if not keeps_towers(embedding):
        return None
    names = [one.name for one in manifest.partitions]
    return agreement_of(store, manifest.shards, names, _SEGMENTS, _ROWS)


def _each(segments: int, partitions: int) -> int:
    return min(_MOST, max(_LEAST, segments // partitions))
