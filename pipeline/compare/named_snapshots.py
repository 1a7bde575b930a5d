"""Snapshots as people name them: by id, by the number of a publication, by their store, or not at all."""

from __future__ import annotations

from typing import NamedTuple

from foundation.errors import InputError
from lookup.store.manifest import is_id
from lookup.store.publications.publication import Publication
from lookup.store.store import Store


def two_snapshots(store: Store, first: str | None, second: str | None) -> tuple[str, str]:
    """The ids of the two that are compared: by default the one that is served, against the one that was before it; of
    one that is named alone, that against the one that is served. InputError where there is no such.
    """
    history = store.publications()
    served = history[-1].snapshot if history else store.published()[0]
    if first is None:
        earlier = [one.snapshot for one in history if one.snapshot != served]
        if not earlier:
            raise InputError(
                f"two snapshots that were published in {store.root}",
                f"one alone, {served}",
                "name two: `vitrine snapshots STORE` lists them; or run once more",
            )
        return earlier[-1], served
    return snapshot_named(store, history, first), served if second is None else snapshot_named(store, history, second)


def snapshot_named(store: Store, history: list[Publication], word: str) -> str:
    """The id of a snapshot by its id, or by the number of a publication of it; InputError where there is none."""
    if not word.isdigit():
        store.manifest(word)  # refused where there is none
        return word
    found = next((one.snapshot for one in history if one.number == int(word)), None)
    if found is None:
        numbers = f"{history[0].number} to {history[-1].number}" if history else "none yet"
        raise InputError("the number of a publication, or the id of a snapshot", word, f"choose one of {numbers}")
    store.manifest(found)  # its snapshot may have been deleted
    return found


class Side(NamedTuple):
    """One of two things that are compared: a snapshot, and the store that has it."""

    store: Store
    snapshot: str

    @property
    def name(self) -> str:
        """It, for people."""
        return f"{self.snapshot} of {self.store.root}"


def two_sides(path: str, first: str | None, second: str | None) -> tuple[Side, Side]:
    """As `two_snapshots` of the store at `path`; a word that is no number and no id of a snapshot is another store, of
    which the published snapshot is meant. InputError where there is no such.
    """
    store = Store.open(path)
    if first is None or (second is None and not _is_store(first)):
        before, after = two_snapshots(store, first, None)
        return Side(store, before), Side(store, after)
    words = [first] if second is None else [first, second]
    history = store.publications()
    named = [
        _published(Store.open(word)) if _is_store(word) else Side(store, snapshot_named(store, history, word))
        for word in words
    ]
    return (_published(store), named[0]) if second is None else (named[0], named[1])


def _is_store(word: str) -> bool:
    return not word.isdigit() and not is_id(word)


def _published(store: Store) -> Side:
    return Side(store, store.published()[0])
