"""Which syntax a feed is written in and which map it is read by, told by its files' first bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from foundation.errors import InputError
from pipeline.feeds.feed_map import FeedMap, find_maps, shipped_maps
from pipeline.feeds.mapping import found_columns
from pipeline.feeds.source import FeedFile
from pipeline.feeds.syntax.base import FeedSyntax, ReadOptions, syntaxes

AUTO = "auto"


@dataclass(frozen=True)
class Recognised:
    """A feed as it will be read: its files, each in the syntax of that name, and the map."""

    syntax: str
    files: tuple[FeedSyntax, ...]
    map: FeedMap

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns of all files, in the order in which they come."""
        return tuple(dict.fromkeys(name for one in self.files for name in one.columns))

    @property
    def open_ended(self) -> bool:
        """Whether rows may have columns that `columns` lacks."""
        return any(one.open_ended for one in self.files)


def recognise(files: Sequence[FeedFile], given: str, options: ReadOptions) -> Recognised:
    """The feed in `files` by the map `given`, a name, a path or auto. InputError where no map or no syntax fits, or
    files differ in syntax.
    """
    maps = [] if given == AUTO else find_maps(given)
    names = [one for one in syntaxes() if not maps or any(one in known.syntax for known in maps)]
    syntax = _syntax_of(files[0], names, given)
    chosen = next((one for one in maps if syntax in one.syntax), None)
    options = replace(options, items=chosen.items if chosen else None)
    opened = list[FeedSyntax]()
    for file in files:
        if (theirs := _syntax_of(file, names, given)) != syntax:
            came = f"{files[0].name} is {syntax}, {file.name} {theirs}"
            raise InputError("files of one kind", came, "import them one by one")
        opened.append(syntaxes()[syntax](file, options))
        file.forget_head()
    if chosen is None:
        columns = tuple(dict.fromkeys(name for one in opened for name in one.columns))
        chosen = found_columns(shipped_maps(), columns, syntax) or _general(syntax)
    return Recognised(syntax, tuple(opened), chosen)


# --- inside ---


def _syntax_of(file: FeedFile, names: Sequence[str], given: str) -> str:
    found = next((name for name in names if syntaxes()[name].recognises(file.head)), None)
    if found is None:
        begins = file.head[:60].decode("utf-8", "replace")
        expected = f"a feed as --as {given} has it: {', '.join(names)}"
        raise InputError(expected, f"{file.name}, which begins with {begins!r}", "name the right map, or --as auto")
    return found


def _general(syntax: str) -> FeedMap:
    """The map for feeds of a syntax that no other knows."""
    found = next((one for one in shipped_maps().values() if syntax in one.syntax and not one.recognise), None)
    if found is None:
        expected = f"a feed that a map knows by its columns, because no map is for {syntax} of any kind"
        raise InputError(expected, "columns that none of them knows", "name a map with --as, your own by its path")
    return found
