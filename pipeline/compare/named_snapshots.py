"""Snapshots as people name them: by id, by the number of a publication, or not at all."""

from __future__ import annotations

from foundation.errors import InputError
from lookup.store.publication import Publication
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
