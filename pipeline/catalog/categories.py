"""Categories as a shop means them: one partition for all the spellings of a category.

The name of a category is a function of its value alone (encoders/names.py). Names that differ in case only have one
key; the plan, which sees all of them, gives them the name that most of their rows have, and tells what it merged.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from encoders.names import NO_CATEGORY, SEPARATOR, category_key, category_name, separator_pattern, split_levels
from foundation.errors import InputError
from pipeline.catalog.null_words import null_words_notice, spellings_of_nothing
from pipeline.config.sections import CatalogConfig
from pipeline.report.notices import Notice

MOST_CHARS = 1_000  # of a category's name: more is a description
_MOST_SPELLINGS = 10_000  # that are told apart
_REMEMBERED = 1_024  # values that are not taken apart again: the next rows have the same
_SHOWN = 20
# What may separate levels, in all the forms that feeds write for one another. Nothing is cut at them, they are told.
_OTHER_SEPARATORS = (
    *(("/", "\uff0f"), ("|", "\uff5c", "\u2502", "\uffe8"), ("\\", "\uff3c", "\ufe68"), (";", "\uff1b", "\ufe54")),
    *(("::", "\uff1a\uff1a"), ("\uff1e", "\ufe65", "&gt", "&GT"), ("\u203a",), ("\u00bb",), ("\u226b",), ("\u276f",)),
    *(("\u2192", "\u21d2", "\u2794", "\u279c", "\uffeb"), ("\u25b8", "\u25b6", "\u25ba"), ("\u27e9",)),
    (" - ", " \u2013 ", " \u2014 "),
)
# A separator in a value whose entities are not resolved yet.
_ESCAPED = {
    mark: f"(?:{mark}|&(?:amp;)*(?:{name}|#0*{ord(mark)}|#[xX]0*{ord(mark):x});)"
    for mark, name in (("<", "lt"), (">", "gt"), ("&", "amp"))
}


def partition_names(values: pa.Array, settings: CatalogConfig) -> pa.Array:
    """The name of each row's category, string: the first levels of a path like `Fruit > Apple`; `_none` where there is
    none.
    """
    encoded = pc.dictionary_encode(values)
    names = [_name(value, settings) for value in encoded.dictionary.to_pylist()]
    return pc.fill_null(pc.take(pa.array(names, pa.string()), encoded.indices), NO_CATEGORY)


def renamed(names: pa.Array, spellings: Mapping[str, str]) -> pa.Array:
    """`names` with those that `spellings` has replaced by what it gives them."""
    if not spellings:
        return names
    encoded = pc.dictionary_encode(names)
    found = [spellings.get(name, name) for name in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(found, pa.string()), encoded.indices)


class Categories:
    """Every category of a catalog, how it is spelled, and what it is called."""

    def __init__(self, settings: CatalogConfig) -> None:
        self.settings = settings
        self.rows: Counter[str] = Counter()  # name -> rows
        self.spelled: dict[str, Counter[str]] = {}  # name -> its spellings that are not the name itself
        self.nothing: Counter[str] = Counter()  # words for nothing, as they are written -> rows
        self._keys: dict[str, str] = {}  # name -> key
        self._distinct: set[str] = set()
        self._read = functools.lru_cache(_REMEMBERED)(functools.partial(_read, settings))

    def add(self, values: pa.Array) -> Counter[str]:
        """Count some rows by name; InputError when there are more categories than there may be."""
        found: Counter[str] = Counter()
        self.nothing += spellings_of_nothing(values)
        for one in pc.value_counts(values).to_pylist():
            rows = one["counts"]
            name, spelling = self._read(one["values"])
            self._know(name)
            found[name] += rows
            if spelling is not None and spelling != name:
                self._spell(name, spelling, rows)
        self.rows.update(found)
        return found

    def called(self, before: Collection[str], always: bool) -> dict[str, str]:
        """Name -> what its category is called, for those that are called otherwise.

        That is the name of most rows. One of the names `before`, of the snapshot that is replaced, comes first, so that
        a category is not renamed by a few rows; with `always` also where no row has it any more.
        """
        by_key: dict[str, list[str]] = {}
        for name, key in self._keys.items():
            by_key.setdefault(key, []).append(name)
        earlier = {category_key(name): name for name in sorted(before)}
        called: dict[str, str] = {}
        for key, names in by_key.items():
            most = min(names, key=lambda name: (name != NO_CATEGORY, -self.rows[name], name))
            if key in earlier and (always or earlier[key] in names):
                most = earlier[key]
            called |= {name: most for name in names if name != most}
        return called

    def notices(self, called: Mapping[str, str]) -> list[Notice]:
        """What was merged, and what seems to be meant otherwise than it is read."""
        told = null_words_notice("categories_null_words", "rows have categories", self.nothing, self.settings)
        return [*self._merged(called), *self._separators(called), *told]

    def _know(self, name: str) -> None:
        if name in self._keys:
            return
        if len(name) > MOST_CHARS:
            raise InputError(
                f"categories of at most {MOST_CHARS:,} characters in the column {self.settings.partition}",
                f"one of {len(name):,}: {name[:60]!r}...",
                "name the column of the categories (catalog.partition)",
            )
        self._keys[name] = category_key(name)
        self._distinct.add(self._keys[name])
        limit, keys = self.settings.max_partitions, len(self._distinct)
        if keys > limit:
            marks = self._unused_separators(self._keys)
            raise InputError(
                f"at most {limit} partitions",
                f"{keys} or more in the column {self.settings.partition}, such as "
                f"{', '.join(map(repr, sorted(self._keys)[:3]))}",
                (f"set {_setting(self.settings, marks)}, " if marks else "")
                + "use fewer levels (catalog.partition_levels) or a coarser column (catalog.partition)",
            )

    def _spell(self, name: str, spelling: str, rows: int) -> None:
        known = self.spelled.setdefault(name, Counter())
        if spelling in known or sum(map(len, self.spelled.values())) < _MOST_SPELLINGS:
            known[spelling[:MOST_CHARS]] += rows

    def _merged(self, called: Mapping[str, str]) -> list[Notice]:
        into: dict[str, Counter[str]] = {}
        for name, spellings in self.spelled.items():
            into.setdefault(called.get(name, name), Counter()).update(spellings)
        for name, most in called.items():
            own = self.rows[name] - self.spelled.get(name, Counter()).total()
            if own > 0:
                into.setdefault(most, Counter())[name] += own
        lines = [
            f"{name}: {_visible(spelling)} ({rows:,})"
            for name, spellings in sorted(into.items())
            for spelling, rows in spellings.most_common()
        ]
        if not lines:
            return []
        rows = sum(counts.total() for counts in into.values())
        told = (
            f"{len(lines):,} spellings of categories, of {rows:,} rows, are in the partition of another name; "
            "partition: spelling (rows)"
        )
        return [Notice(what="categories_merged", count=len(lines), told=told, examples=tuple(lines[:_SHOWN]))]

    def _separators(self, called: Mapping[str, str]) -> list[Notice]:
        names = {*self._keys} - {*called}
        marks = self._unused_separators(names)
        some = sorted(name for name in names if any(mark in name for mark in marks))
        if not some:
            return []
        told = (
            f"categories whose levels seem to be separated by {' or '.join(map(repr, marks))}, {len(some):,} of "
            f"{len(names):,}; if they are, set {_setting(self.settings, marks)}:"
        )
        return [Notice(what="separator_unused", count=len(some), told=told, examples=tuple(some[:_SHOWN]))]

    def _unused_separators(self, names: Collection[str]) -> list[str]:
        """Separators that are not set, and at which several of the names, cut, have the same first level."""
        keys, found = {category_key(name) for name in names}, []
        for forms in _OTHER_SEPARATORS:
            some = [mark for mark in forms if not any(mark in one for one in self.settings.partition_separator)]
            having = [name for name in names if any(mark in name for mark in some)]
            marks = [_spaced(mark, having) for mark in some if any(mark in name for name in having)]
            cut = Counter(category_key(split_levels(name, marks)[0]) for name in having)
            if any(first and (count > 1 or first in keys) for first, count in cut.items()):
                found += marks
        return found


def nearest_category(category: str, known: Sequence[str]) -> InputError:
    """The error for a category that the catalog or the snapshot does not have."""
    near = difflib.get_close_matches(category, known, n=3, cutoff=0.4)
    some = near or sorted(known)[:10]
    return InputError(
        f"a category that exists, such as {', '.join(map(repr, some))}", repr(category), "correct --category"
    )


# --- inside ---


def _name(value: str | None, settings: CatalogConfig) -> str:
    return category_name(value, settings.partition_separator, settings.partition_levels)


def _read(settings: CatalogConfig, value: str | None) -> tuple[str, str | None]:
    """The name of a category, and its spelling; None where there is no value."""
    return _name(value, settings), None if value is None else _spelling(value, settings)


def _spelling(value: str, settings: CatalogConfig) -> str:
    """The levels of `value` that count, as they are written; all of it where they are blank or cannot be told apart."""
    separators = settings.partition_separator
    marks = separator_pattern(separators, _as_written)
    parts = [part.strip(" ") for part in re.split(marks, f" {value} ")]
    if category_name(f" {SEPARATOR} ".join(parts), separators) != category_name(value, separators):
        return value
    return f" {SEPARATOR} ".join(parts[: settings.partition_levels]) or value.strip() or NO_CATEGORY


def _as_written(text: str) -> str:
    return "".join(_ESCAPED.get(character, re.escape(character)) for character in text)


def _spaced(mark: str, names: Collection[str]) -> str:
    """`mark`, with spaces where it has them in all the names."""
    return f" {mark} " if all(name.count(mark) == name.count(f" {mark} ") for name in names) else mark


def _setting(settings: CatalogConfig, marks: Sequence[str]) -> str:
    every = ", ".join(f'"{one}"' for one in (*settings.partition_separator, *marks))
    return f"catalog.partition_separator='[{every}]'"


def _visible(text: str) -> str:
    """`text` in quotes, with what cannot be seen, or is put together of several characters, spelled out."""
    if unicodedata.is_normalized("NFC", text):
        return repr(text)
    return "".join(ascii(one)[1:-1] if unicodedata.combining(one) else one for one in repr(text))
