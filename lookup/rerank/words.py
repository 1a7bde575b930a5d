"""Terms of queries and titles, as features compare them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

_WORD = re.compile(r"\w+")
_KEPT = 16_384  # titles whose terms stay in memory
_LONGEST = 400  # characters of a title that count


class Words:
    """Cuts texts into terms. Threads may share it."""

    def __init__(self) -> None:
        self.title = lru_cache(_KEPT)(self._title)

    def terms(self, text: str, role: Literal["item", "query"]) -> list[str]:
        """The terms of a text, in order."""
        return _WORD.findall(text.casefold())

    def _title(self, text: str) -> tuple[str, ...]:
        return tuple(self.terms(text[:_LONGEST], "item"))
