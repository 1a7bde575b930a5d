"""Ids of a snapshot that may have been meant by one that is not there."""

from __future__ import annotations

import difflib
import string
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

_MOST_NEAR = 5_000  # ids that are compared, letter by letter, with one that is not there
_ALIKE = 0.6  # share of letters, from which on an id is near


@dataclass
class NearIds:
    """Ids that may have been meant: all that are one letter from the one that was given, whatever the case, and of
    others some that share its first or its second half.
    """

    name: str
    found: set[str] = field(default_factory=set)

    @cached_property
    def _variants(self) -> pa.Array:
        """What is one letter more, less or other than the id, or has two in another order."""
        name = self.name.lower()
        letters = sorted({*string.ascii_lowercase, *string.digits, *"-_. ", *name})
        cuts = [(name[:at], name[at:]) for at in range(len(name) + 1)]
        variants = {name, *(a + b[1:] for a, b in cuts), *(a + b[1::-1] + b[2:] for a, b in cuts)}
        variants |= {a + letter + rest for a, b in cuts for letter in letters for rest in (b, b[1:])}
        return pa.array(sorted(variants), pa.string())

    def see(self, ids: pa.Array) -> None:
        """Look at some of the ids of a snapshot."""
        lowered, wanted = pc.utf8_lower(ids), self.name.lower()
        self.found.update(ids.filter(pc.is_in(lowered, self._variants)).to_pylist())
        if len(self.found) >= _MOST_NEAR:
            return
        half = (len(self.name) + 1) // 2
        near = pc.starts_with(lowered, wanted[:half])
        if len(wanted) > half:
            near = pc.or_(near, pc.ends_with(lowered, wanted[half:]))
        lengths = pc.utf8_length(ids)
        alike = pc.and_(pc.greater_equal(lengths, len(wanted) - 2), pc.less_equal(lengths, len(wanted) + 2))
        room = _MOST_NEAR - len(self.found)
        self.found.update(ids.filter(pc.and_(near, alike)).to_pylist()[:room])

    def nearest(self) -> list[str]:
        """Up to three, the nearest first."""
        matcher, wanted = difflib.SequenceMatcher(autojunk=False), self.name.lower()
        matcher.set_seq2(wanted)
        near = list[tuple[float, int, str]]()
        for one in self.found:
            matcher.set_seq1(one.lower())
            if (ratio := matcher.ratio()) >= _ALIKE:
                places = sum(a != b for a, b in zip(one.lower(), wanted, strict=False))
                near.append((-ratio, places, one))
        return [one for _, _, one in sorted(near)[:3]]
