"""Which column of a file is which canonical column (`catalog.columns`), whether its type fits its roles, and what it is
read as in them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping

import pyarrow as pa

from foundation.errors import InputError
from pipeline.catalog import columns
from pipeline.catalog.null_words import nulled
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.parts import Column

Role = tuple[str, Callable[[pa.DataType], bool]]  # what a column is for, and the test that its type must pass


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
    found = [
        _problem(known, schema, names[name], role, photos=_has_photos(name, settings))
        for name, role in wanted
        if names[name] not in absent
    ]
    problems = [problem for problem in found if problem]
    if problems:
        raise InputError(
            f"columns {', '.join(names.values())}",
            f"{path}: {'; '.join(dict.fromkeys(problems))}; it has {', '.join(known)}",
            _fix([name for name, _ in wanted if names[name] not in {*known, *absent}], [*known]),
        )
    return {name: part.key(column, schema) for name, column in names.items()}


def _currencies(settings: CatalogConfig) -> list[tuple[str, Role]]:
    """(canonical name, role) of the columns of currencies beside declared prices, which a file may have."""
    return [(f"{price}_currency", ("currencies", columns.is_text)) for price in settings.prices]


def _fix(missing: list[str], there: list[str]) -> str:
    """What to do about columns that do not fit, of which `missing` are not there at all."""
    fix = "correct the keys of catalog that ask for them"
    if missing:
        near = difflib.get_close_matches(missing[0], there, n=1)
        fix += f", or say which column it is: catalog.columns.{missing[0]}={near[0] if near else 'NAME'}"
    if "id" in missing:
        fix += "; a file that is no part of the catalog is left out by a glob in catalog.path"
    return fix


def _roles(settings: CatalogConfig) -> list[tuple[str, Role]]:
    """(canonical name, role) of every column in use; a column can have several roles."""
    name, version = ("an id", columns.is_name), ("a version", columns.is_version)
    text, photo, attribute = ("text", columns.is_text), ("a photo", columns.is_photo), columns.is_attribute
    given: list[tuple[str | None, Role]] = [
        ("id", name),
        *((column, text) for column in dict.fromkeys([*settings.text, *settings.searched, *settings.text_fields])),
        *((column, photo) for column in (settings.image, settings.more_images)),
        (settings.partition, ("a category", columns.is_category)),
        (settings.version_column, version),
        *((column, ("an attribute", attribute)) for column in settings.attributes),
    ]
    for role, declared in (("a price", settings.prices), ("a number", settings.numbers)):
        given += [(column, (role, columns.is_price)) for column in declared]
    return [(column, role) for column, role in given if column is not None]


def _has_photos(name: str, settings: CatalogConfig) -> bool:
    return name in (settings.image, settings.more_images)


def _problem(known: Mapping[str, Column], schema: pa.Schema, column: str, role: Role, photos: bool) -> str | None:
    """What is wrong with a column in a role; None when it fits. `photos`: in another role it holds photos."""
    what, fits = role
    if column not in known:
        near = difflib.get_close_matches(column, known, n=1)
        return f"no column {column!r}" + (f" (nearest: {near[0]!r})" if near else "")
    key, kind = known[column]
    if schema.names.count(key) > 1:
        return f"column {column!r} is there {schema.names.count(key)} times"
    return (
        None
        if fits(kind if photos else columns.text_type(kind))
        else f"column {column!r} has the type {kind}, which cannot be {what}"
    )
