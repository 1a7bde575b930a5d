"""What a run publishes: live segments, partitions, and the manifest that names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from encoders.names import category_key, clean_name
from foundation.errors import InputError
from foundation.identity import identity_of
from lookup.filters.values import common_type, type_name
from lookup.store.entries.understand_settings import UnderstandSettings, settings_of
from lookup.store.manifest import CatalogEntry, Manifest, PartitionEntry, Provenance
from lookup.store.shards import Shards, chained
from lookup.store.store import Store
from pipeline.build.lexical import analysis_of, lexical_entry
from pipeline.catalog.attribute_types import changed, joined, without_values
from pipeline.catalog.shown_photos import fields_of
from pipeline.config.duplicates import DuplicatesConfig
from pipeline.config.encoding import fusion_of
from pipeline.config.published import compared_models, duplicates_of, encoder_entry
from pipeline.config.sections import Indexing
from pipeline.plan.units import Plan

# What decides which rows are read, as what, and into which partition. Not `image_identity` and limits of photos: these
# decide what is encoded again or rejected, and may differ from run to run.
READING = (
    *("columns", "text", "image", "more_images", "image_type", "partition", "partition_levels", "partition_separator"),
    *("max_text_chars", "prices", "currency", "numbers", "decimal_mark", "null_words"),
)

# What a snapshot of before a setting was read with.
_ADDED: dict[str, Any] = {"partition_separator": [">"], "prices": [], "numbers": [], "null_words": []}


def refuse_mixing(indexing: Indexing, plan: Plan, parent: Manifest) -> None:
    """InputError when one category, read, encoded and indexed by these settings, could not stand beside the others."""
    _refuse_old_names(parent)
    catalog = indexing.embedding.catalog
    mine: dict[str, Any] = _reading(catalog.model_dump(mode="json"), plan.image_root)
    theirs: dict[str, Any] = _reading(parent.config.get("catalog", {}), parent.catalog.image_root)
    for name, (model, published) in compared_models(indexing.embedding, parent).items():
        mine[name], theirs[name] = model, published
    mine["attributes"], theirs["attributes"] = catalog.attributes, parent.attributes
    mine["lexical.fields"], theirs["lexical.fields"] = list(catalog.searched), _searched(parent)
    if indexing.lexical is not None and parent.lexical is not None:
        mine["lexical.languages"] = list(indexing.lexical.languages)
        theirs["lexical.languages"] = list(parent.lexical.analysis["languages"])
        if mine["lexical.languages"] == theirs["lexical.languages"]:  # which tell more
            analysis = analysis_of(indexing.lexical).identity
            mine["lexical: versions of PyStemmer and Unicode"] = [analysis[:16]]
            theirs["lexical: versions of PyStemmer and Unicode"] = _analyses(parent, plan.category)
    mine["duplicates"], theirs["duplicates"] = _looked_for(indexing.duplicates), _looked_for(duplicates_of(parent))
    for name, types in changed(plan.attribute_types, parent.attribute_types).items():
        theirs[f"the type of {name}"], mine[f"the type of {name}"] = types
    mine["index.metric"], theirs["index.metric"] = indexing.index.metric.value, parent.metric  # merged hits need one
    differing = [name for name in mine if mine[name] != theirs[name]]
    if differing:
        raise InputError(
            f"{', '.join(differing)} as in the published snapshot, because only one category is indexed again",
            "; ".join(f"{name}: {mine[name]} instead of {theirs[name]}" for name in differing),
            "run the whole catalog once (without --category), or use the config and the column types of the snapshot",
        )


def with_types(store: Store, parent: Manifest) -> Manifest:
    """A manifest with the types of its attributes, where it is of before manifests had them: from its shards."""
    if parent.attribute_types or not parent.attributes:
        return parent
    kinds: dict[str, list[pa.DataType]] = {name: [] for name in parent.attributes}
    live = parent.shards.segments.by_shard(len(parent.shards.entries))
    for shard, rows in zip(parent.shards.entries, live, strict=True):
        if shard.file is not None and rows:
            with pq.ParquetFile(store.verified(shard.file)) as file:
                empty = without_values(file.metadata)
                for field in file.schema_arrow.field("attributes").type:
                    if f"attributes.{field.name}" not in empty:
                        kinds[field.name].append(field.type)
    common = {name: common_type(several) for name, several in kinds.items()}
    known = {name: type_name(kind) for name, kind in common.items() if kind is not None}
    return parent.model_copy(update={"attribute_types": known})


def joined_types(mine: Mapping[str, str], carried: Manifest | None) -> dict[str, str]:
    """The types of attributes of a snapshot: `mine`, and those of what is `carried` of another."""
    types = joined(mine, carried.attribute_types if carried else {})
    return {name: kind for name, kind in types.items() if kind is not None}


def _refuse_old_names(parent: Manifest) -> None:
    """Names of before they were cleaned would stay beside the one that they mean, with the same products."""
    names = [entry.name for entry in parent.partitions]
    keys = Counter(map(category_key, names))
    odd = [name for name in names if clean_name(name) != name or keys[category_key(name)] > 1]
    if odd:
        raise InputError(
            "a published snapshot whose partitions are each one category, because only one is indexed again",
            f"several spellings of a category: {', '.join(map(repr, odd[:5]))}",
            "run the whole catalog once (without --category): it merges them",
        )


def merge_shards(carried: Manifest | None, new: Shards, category: str | None) -> Shards:
    """The shards of a snapshot: the new ones, of a category after those of the parent that hold others."""
    if carried is None or category is None:
        return new
    return chained([carried.shards.without(frozenset([category])), new])


def merge_partitions(
    parent: Sequence[PartitionEntry], new: Sequence[PartitionEntry], category: str | None
) -> list[PartitionEntry]:
    """The partitions of a snapshot, by name: the parent's, as they are, without `category`, and the new ones."""
    return sorted([*(entry for entry in parent if entry.name != category), *new], key=lambda entry: entry.name)


@dataclass(frozen=True)
class Origin:
    """Where a snapshot comes from: the config that was asked for, dumped; what was planned, and what was read of it;
    the id of what it follows on, and what a run of a category is joined with.
    """

    config: Mapping[str, Any]
    plan: Plan
    read: Provenance
    parent: str | None
    carried: Manifest | None


def assemble(indexing: Indexing, origin: Origin, shards: Shards, partitions: Sequence[PartitionEntry]) -> Manifest:
    """The manifest of these shards and partitions."""
    embedding, catalog = indexing.embedding, indexing.embedding.catalog
    plan, read, carried = origin.plan, origin.read, origin.carried
    image_column = catalog.columns.get(catalog.image, catalog.image) if catalog.image else None
    manifest = Manifest(
        parent=origin.parent,
        run=read.run,
        created_at=datetime.now(UTC),
        content="",
        catalog=CatalogEntry(
            path=catalog.path,
            image_root=plan.image_root,
            image_column=image_column,
            identity=plan.catalog,
            rows=sum(plan.partitions.values()),
            newest=plan.newest,
            fields=fields_of(catalog, plan.parts),
        ),
        config=dict(origin.config),
        text=encoder_entry(embedding.encoders.text),
        image=encoder_entry(embedding.encoders.image),
        fusion=embedding.fusion.model_dump(mode="json"),
        fusion_identity=embedding.fusion.identity,
        fusion_parts=embedding.fusion.parts,
        dim=fusion_of(embedding).dim,
        metric=indexing.index.metric.value,
        attributes=embedding.catalog.attributes,
        attribute_types=joined_types(plan.attribute_types, carried),
        shards=shards,
        unit_rows=plan.unit_rows,
        partitions=tuple(partitions),
        whole=read if plan.category is None else carried and carried.whole,
        lexical=lexical_entry(indexing.lexical),
    )
    return manifest.model_copy(update={"content": content_of(manifest)})


def content_of(manifest: Manifest) -> str:
    """64 hex digits of what readers get: equal snapshots have equal ones, whenever and by whichever run they were
    made.
    """
    # Identities decide. Versions beside them may differ, and older manifests have not their parts.
    towers = {
        name: one and one.model_dump(mode="json", include={"fields", "identity", "dim"})
        for name, one in (("text", manifest.text), ("image", manifest.image))
    }
    others = {name: getattr(manifest, name) for name in ("fusion", "fusion_identity", "attributes")}
    return identity_of(
        {
            "encoding": {**towers, **others},
            "image_root": manifest.catalog.image_root,
            "shards": [[one.name, one.source, one.row_groups] for one in manifest.shards.entries],
            "segments": manifest.shards.segments.digest(),
            "partitions": [[p.name, *(one.name for one in p.records())] for p in manifest.partitions],
            **({"lexical": manifest.lexical.model_dump(mode="json", exclude={"tuned"})} if manifest.lexical else {}),
            **_said_of_queries(manifest),
            **({} if manifest.ranker is None else {"ranker": manifest.ranker.identity}),
        }
    )


def _said_of_queries(manifest: Manifest) -> dict[str, Any]:
    """What the config makes of queries, where that is not the default: readers answer otherwise."""
    said = settings_of(manifest.config)
    return {} if said == UnderstandSettings() else {"understand": said.model_dump(mode="json")}


def _searched(parent: Manifest) -> list[str]:
    """The columns whose texts the shards of a snapshot keep, by name."""
    return [] if parent.lexical is None else sorted(parent.lexical.fields)


def _looked_for(duplicates: DuplicatesConfig | None) -> dict[str, Any] | None:
    """What makes a group, of section `duplicates`; None: nothing is looked for."""
    return None if duplicates is None else duplicates.model_dump(mode="json", exclude={"told"})


def _analyses(parent: Manifest, category: str | None) -> list[str]:
    """The first hex digits of how words became terms in the partitions that stay."""
    staying = (one.lexical for one in parent.partitions if one.name != category)
    return sorted({one.analysis[:16] for one in staying if one is not None})


def _reading(catalog: Mapping[str, Any], root: str | None) -> dict[str, Any]:
    """The values of `READING` in a dumped section, by dotted key, and where photos are looked for, if they are."""
    reading = {f"catalog.{name}": catalog.get(name, _ADDED.get(name)) for name in READING}
    return reading | {"catalog.image_root": root if catalog.get("image") else None}
