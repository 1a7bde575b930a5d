"""Folders like `category=Shoes/year=2026`, as Hive and Spark write them: columns that stand in the path of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

import pyarrow as pa

from pipeline.files.parts import PLAIN, Part

_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")  # with a leading zero it is a code, and 01 is not 1


def path_values(path: str) -> dict[str, str | None]:
    """Columns that stand in a path: `category=Home%20%26%20Garden/part-0`. What is not UTF-8 without its escapes keeps
    them; of folders of one name the innermost counts.
    """
    found: dict[str, str | None] = {}
    for part in path.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if name and equals:
            known = _unquoted(value)
            found[_unquoted(name)] = None if known in ("", _NULL) else known
    return found


def parts_of(paths: Iterable[str]) -> dict[str, Part]:
    """The parts of those of some files that have columns in their paths.

    A column is one of whole numbers (int64) where all of its values, of all of the files, are such without leading
    zeros; else it is text.
    """
    values = {path: found for path in paths if (found := path_values(path))}
    numbers = {name for found in values.values() for name in found}
    for found in values.values():
        numbers -= {name for name, one in found.items() if one is not None and not _WHOLE.fullmatch(one)}
    return {
        path: Part({name: _scalar(one, name in numbers) for name, one in found.items()})
        for path, found in values.items()
    }


def part_of(path: str) -> Part:
    """The part of a file that is looked at alone: `PLAIN` where its path has no columns."""
    return parts_of([path]).get(path, PLAIN)


# --- inside ---


def _scalar(value: str | None, number: bool) -> pa.Scalar:
    if number:
        return pa.scalar(None if value is None else int(value), pa.int64())
    return pa.scalar(value, pa.string())


def _unquoted(text: str) -> str:
    """`text` without its %-escapes; as it is written where they are not UTF-8, for two such values are not the same."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
