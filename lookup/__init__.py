"""Published snapshot -> hits: what a serving host installs.

import lookup
reader = lookup.open("store")
hits = reader.search(text="red dress", k=10)
hits = reader.search(text="red dress", where=["price < 50", "brand in Acme, Zeta"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookup.search import Reader


def open(store: str) -> Reader:
    """Open the published snapshot of `store` (a folder or an fsspec URL); see `lookup.search.Reader`."""
    from foundation.machine import machine_fault

    try:
        from lookup.search import Reader  # deferred: `vitrine inspect` reads manifests without loading faiss
    except ModuleNotFoundError as err:
        raise machine_fault(err) or err from err
    return Reader.open(store)
