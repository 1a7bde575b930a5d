"""Which column of a file is which canonical column (`catalog.columns`), whether its type fits its roles, and what it is
read as in them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import pyarrow as pa

from foundation.errors import InputError
from pipeline.catalog import columns
from pipeline.catalog.null_words import nulled
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.parts import Column


class Role(NamedTuple):
    """What a column is for, the test that its type must pass, and the key of the config that asks for it; none asks
    for ids.
    """

    what: str
    fits: Callable[[pa.DataType], bool]
    key: str = ""


def file_columns(schema: pa.Schema, settings: CatalogConfig, path: str) -> dict[str, str]:
    """Canonical name -> what the column is called among what is read of this file (see `Part.key`), for every column in
    use; InputError lists all that are mistyped, and the ids where they are missing. Other columns may be missing: see
    `missing_columns`.
    """
    return _checked(schema, settings, path, {settings.columns.get("id", "id")})


def missing_columns(schema: pa.Schema, settings: CatalogConfig, path: str) -> set[str]:
    """The columns in use that neither a file nor its path has: they are null in all of its rows."""
    names = {settings.columns.get(name, name) for name, _ in _roles(settings)}
    return names - {*part_of(settings, path).columns(schema, names)}


def refuse_missing(schema: pa.Schema, settings: CatalogConfig, path: str, everywhere: Collection[str]) -> None:
    """InputError where columns are missing `everywhere`, in all files: they are a mistake. `path` is one of them."""
    _checked(schema, settings, path, everywhere)


def as_meant(column: pa.ChunkedArray, name: str, settings: CatalogConfig) -> pa.ChunkedArray:
    """The column `name` as its roles have it: bytes are text unless it holds photos, and `catalog.null_words` null."""
    return nulled(column if _has_photos(name, settings) else columns.as_text(column), settings)


def unmarked_columns(schema: pa.Schema, settings: CatalogConfig, path: str) -> set[str]:
    """The columns in use of bytes that are read as text."""
    names = {settings.columns.get(name, name) for name, _ in _roles(settings) if not _has_photos(name, settings)}
    known = part_of(settings, path).columns(schema, names)
    kinds = {name: columns.plain_type(column.type) for name, column in known.items() if name in names}
    return {name for name, kind in kinds.items() if columns.text_type(kind) != kind}


# --- inside ---


def _checked(schema: pa.Schema, settings: CatalogConfig, path: str, needed: Collection[str]) -> dict[str, str]:
    wanted, part = [*_roles(settings), *_currencies(settings)], part_of(settings, path)
    names = {name: settings.columns.get(name, name) for name, _ in wanted}
    known = part.columns(schema, {*names.values()})
    optional = {name for name, _ in _currencies(settings) if names[name] not in known}
    wanted = [(name, role) for name, role in wanted if name not in optional]
    names = {name: names[name] for name, _ in wanted}
    absent = {*names.values()} - {*known} - {*needed}
    problems: dict[str, list[str]] = {}  # what is wrong -> the keys that ask for it
    for name, role in wanted:
        problem = _problem(known, schema, names[name], role, photos=_has_photos(name, settings))
        if problem is not None and names[name] not in absent:
            problems.setdefault(problem, []).extend([role.key] if role.key else [])
    if problems:
        told = [problem + (f", for {_all(keys)}" if keys else "") for problem, keys in problems.items()]
        raise InputError(
            f"columns {', '.join(names.values())}",
            f"{path}: {'; '.join(told)}; it has {', '.join(known)}",
            _fix(
                [name for name, _ in wanted if names[name] not in {*known, *absent}],
                [*known],
                [key for keys in problems.values() for key in keys],
            ),
        )
    return {name: part.key(column, schema) for name, column in names.items()}


def _currencies(settings: CatalogConfig) -> list[tuple[str, Role]]:
    """(canonical name, role) of the columns of currencies beside declared prices, which a file may have."""
    role = Role("currencies", columns.is_text, "catalog.prices")
    return [(f"{price}_currency", role) for price in settings.prices]


def _fix(missing: list[str], there: list[str], keys: list[str]) -> str:
    """What to do about columns that do not fit, which `keys` ask for, and of which `missing` are not there at all."""
    ways = [f"correct {_all(keys)}"] if keys else []
    if missing:
        near = difflib.get_close_matches(missing[0], there, n=1)
        ways.append(f"say which column it is: catalog.columns.{missing[0]}={near[0] if near else 'NAME'}")
    elif not keys:
        ways.append("name a column of ids: catalog.columns.id=NAME")
    left_out = (
        "; a file that is no part of the catalog is left out by a glob in catalog.path" if "id" in missing else ""
    )
    return ", or ".join(ways) + left_out


def _all(keys: list[str]) -> str:
    return ", ".join(dict.fromkeys(keys))


def _roles(settings: CatalogConfig) -> list[tuple[str, Role]]:
    """(canonical name, role) of every column in use; a column can have several roles."""
    given: list[tuple[str | None, Role]] = [("id", Role("an id", columns.is_name))]
    texts: dict[str, str] = {}  # column -> the first key that asks for it
    for key, asked in (
        ("catalog.text", settings.text),
        ("lexical.fields", settings.searched),
        ("encoders.text", settings.text_fields),
    ):
        texts |= {column: key for column in asked if column not in texts}
    given += [(column, Role("text", columns.is_text, key)) for column, key in texts.items()]
    for key, column in (("catalog.image", settings.image), ("catalog.more_images", settings.more_images)):
        given.append((column, Role("a photo", columns.is_photo, key)))
    given.append((settings.partition, Role("a category", columns.is_category, "catalog.partition")))
    given.append((settings.version_column, Role("a version", columns.is_version, "catalog.version_column")))
    attribute = Role("an attribute", columns.is_attribute, "catalog.attributes")
    given += [(column, attribute) for column in settings.attributes]
    for what, key, declared in (
        ("a price", "catalog.prices", settings.prices),
        ("a number", "catalog.numbers", settings.numbers),
    ):
        given += [(column, Role(what, columns.is_price, key)) for column in declared]
    return [(column, role) for column, role in given if column is not None]


def _has_photos(name: str, settings: CatalogConfig) -> bool:
    return name in (settings.image, settings.more_images)


def _problem(known: Mapping[str, Column], schema: pa.Schema, column: str, role: Role, photos: bool) -> str | None:
    """What is wrong with a column in a role; None when it fits. `photos`: in another role it holds photos."""
    if column not in known:
        near = difflib.get_close_matches(column, known, n=1)
        return f"no column {column!r}" + (f" (nearest: {near[0]!r})" if near else "")
    key, kind = known[column]
    if schema.names.count(key) > 1:
        return f"column {column!r} is there {schema.names.count(key)} times"
    return (
        None
        if role.fits(kind if photos else columns.text_type(kind))
        else f"column {column!r} has the type {kind}, which cannot be {role.what}"
    )
