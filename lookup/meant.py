"""The partition that a user means by a category."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from encoders.names import SEPARATOR, same_category
from foundation.errors import InputError


def partitions_meant(name: str, known: Mapping[str, Any], catalog: Mapping[str, Any]) -> list[Any]:
    """The partitions that `name` means: one, but in snapshots of before spellings were merged."""
    found = same_category(str(name), known, catalog.get("partition_separator", (SEPARATOR,)))
    if not found:
        near = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.4) or sorted(known)[:10]
        raise InputError(
            f"a category of the snapshot, such as {', '.join(map(repr, near))}", repr(name), "correct --category"
        )
    return [known[one] for one in found]
