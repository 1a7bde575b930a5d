"""Categories: the one that a `--category` may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from encoders.errors import InputError


def nearest_category(category: str, known: Sequence[str]) -> InputError:
    """The error for a category that the catalog or the snapshot does not have."""
    near = difflib.get_close_matches(category, known, n=3, cutoff=0.4)
    some = near or sorted(known)[:10]
    return InputError(
        f"a category that exists, such as {', '.join(map(repr, some))}", repr(category), "correct --category"
    )
