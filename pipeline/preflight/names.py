"""Columns that are named the wrong way round, twice, or for a purpose that they cannot have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.config.sections import CatalogConfig
from pipeline.preflight.findings import Finding


def name_findings(settings: CatalogConfig, columns: Sequence[str]) -> Iterator[Finding]:
    """What `catalog.columns` and the roles of columns say, against the `columns` that a file or its path has."""
    yield from _renames(settings, set(columns))
    renamed = {name: settings.columns.get(name, name) for name in ("id", settings.partition) if name}
    if settings.partition and renamed[settings.partition] == renamed["id"]:
        came = f"catalog.partition={settings.partition}: the ids, of which every product has its own"
        fix = "name the column of the categories, or set catalog.partition=null: one partition"
        yield Finding("catalog.partition", came, "a column whose values many products share", fix)


def used_names(settings: CatalogConfig) -> set[str]:
    """Every canonical name that a key asks for."""
    single = (settings.image, settings.more_images, settings.partition, settings.version_column)
    return {"id", *settings.text, *settings.attributes, *(name for name in single if name)}


# --- inside ---


def _renames(settings: CatalogConfig, columns: set[str]) -> Iterator[Finding]:
    used = used_names(settings)
    for name, column in settings.columns.items():
        if name in used:
            continue
        key = f"catalog.columns.{name}"
        if column in used and name in columns and column not in columns:
            came = f"{{{name}: {column}}}, and the file has a column {name!r} and none {column!r}"
            fix = f"turn it round: {{{column}: {name}}}"
            yield Finding(key, came, "canonical name: the column's name in the file", fix)
        else:
            came = f"{name}, which no key of catalog asks for"
            fix = f"drop it, or name {name} in catalog.text, catalog.attributes or another key"
            yield Finding(key, came, "a canonical name that is used", fix, stops=False)
