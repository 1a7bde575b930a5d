"""Trying to publish where others do: who finds a number taken looks again, and tries the next one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from foundation.errors import LockedError
from lookup.store.publications.publication import path_of
from lookup.store.store import TakenError

T = TypeVar("T")
# Seconds to wait while a number is found taken and no listing shows it, which of a file server may be a minute old.
PAUSES = tuple(min(0.02 * 1.3**late, 5.0) for late in range(32))


def until_published(attempt: Callable[[], T], again: str, tries: int = 5) -> T:
    """What `attempt` gives, which raises TakenError where somebody was quicker; tried for so many numbers.

    LockedError, with `again` for what to do, when others published each time, or when a number stays taken and unseen.
    """
    numbers, late = list[int](), 0
    while True:
        try:
            return attempt()
        except TakenError as err:
            late = late + 1 if numbers[-1:] == [err.number] else 0
            if not late:
                numbers.append(err.number)
        last = path_of(numbers[-1])
        if len(numbers) == tries:
            came = f"others published {tries} times meanwhile, {last} last"
            raise LockedError("a number that is free, to publish under", came, again)
        if late == len(PAUSES):
            came = f"{last} is there, and for {sum(PAUSES):.0f} seconds no listing has shown it"
            raise LockedError("a number that is free, to publish under", came, again)
        time.sleep(PAUSES[late])
