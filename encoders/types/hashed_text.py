"""Text without weights: signed feature hashing of character n-grams and words (Weinberger et al. 2009, arXiv
0902.2206).

Two texts are near when they share letters in order, so it finds words and their misspellings, in any language; it knows
no synonyms and no translations. It is for machines without weights, for tests, and as the measure a network must beat.

- Words of letters: the word itself, and its 3-, 4- and 5-grams with its edges marked (as fastText does, arXiv
  1607.04606).
- Ideographs, kana, hangul: each character, and each pair. Pairs weigh less: a long name shares its characters with the
  query, but a word set between them breaks pairs, and short names that share less would come before it.

Letter case is folded. Query and product are alike. A text whose features cancel to exact zero, or that has none (`!?`),
becomes the unit vector of one bucket, chosen by the hash of the whole text: equal texts stay equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from pydantic import Field

from encoders.base import EncoderSpec, Modality, Role, TextEncoder
from foundation.arrays import Vectors

_Hashes = npt.NDArray[np.uint64]
_Mask = npt.NDArray[np.bool_]

_LETTER_ORDERS = (3, 4, 5)
_SPACE = np.uint32(0x20)
# Multiplier and finalizer of splitmix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32, _1 = (np.uint64(bits) for bits in (30, 27, 31, 32, 1))


class Spec(EncoderSpec):
    """Hashed character n-grams; see the module."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"text"})
    cpu_only: ClassVar[bool] = True

    type: Literal["hashed_text"] = "hashed_text"
    dim: int = Field(
        256, ge=8, le=8192, description="buckets; chance similarity of unrelated texts is about dim ** -0.5"
    )
    seed: int = Field(0, ge=0, lt=2**32)
    word_weight: float = Field(2.0, ge=0, description="a whole word against one of its n-grams")
    pair_weight: float = Field(0.4, ge=0, description="two ideographs against one")

    def load(self, device: str) -> HashedText:
        """The encoder, on the CPU."""
        return HashedText(self)


class HashedText(TextEncoder):
    """A micro-batch is one long array of code points; each kind of feature is hashed at all its positions at once."""

    def __init__(self, spec: Spec) -> None:
        self.dim = spec.dim
        self._spec = spec

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows, of non-empty texts."""
        if not all(texts):
            empty = texts.index("")
            raise ValueError(f"expected texts of at least one character, text {empty} is empty: an absent one, mask it")
        spec, folded = self._spec, [text.casefold() for text in texts]
        codes, rows = _code_points(folded)
        kinds = _KIND[np.minimum(codes, len(_KIND) - 1)]
        sums = np.zeros(len(texts) * self.dim)
        # Each kind of feature has its own number in the seed: `a` as a word is not `a` as an ideograph.
        for kind, (hashes, at, weight) in enumerate(
            [
                *_letter_grams(codes, kinds),
                *_ideographs(codes, kinds, spec.pair_weight),
                _words(codes, kinds, spec.word_weight),
            ]
        ):
            mixed = _mix(hashes + np.uint64((spec.seed * 64 + kind + 1) * _GOLDEN % 2**64))
            bucket = ((mixed >> _32) * np.uint64(self.dim)) >> _32  # the high half, scaled to 0..dim-1 (Lemire 2019)
            sign = np.where(mixed & _1, weight, -weight)
            sums += np.bincount(rows[at] * self.dim + bucket.astype(np.int64), sign, len(sums))
        return _unit_rows(sums.reshape(len(texts), self.dim), folded, spec.seed)


def _code_points(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """All texts, a space before each and some at the end, as code points; and the row that each position belongs to."""
    tail = max(_LETTER_ORDERS)  # room for a window of every order, however short the text
    joined = " " + " ".join(texts) + " " * tail
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts))
    lengths[-1] += tail
    return codes, np.repeat(np.arange(len(texts)), lengths)


def _letter_grams(
    codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]
) -> list[tuple[_Hashes, npt.NDArray[np.intp], float]]:
    """Hashes and first positions of the windows over letters in which only the outer characters may be no letters."""
    letter = kinds == _LETTER
    shown = np.where(letter, codes, _SPACE).astype(np.uint64)
    hashes, inner, grams = shown.copy(), np.ones(len(codes), bool), []
    for order in range(2, max(_LETTER_ORDERS) + 1):
        hashes = hashes[:-1] * np.uint64(_GOLDEN) + shown[order - 1 :]
        inner = inner[:-1] & letter[order - 2 : -1] if order > 2 else inner[:-1]
        if order in _LETTER_ORDERS:
            at = np.flatnonzero(inner)
            grams.append((hashes[at], at, 1.0))
    return grams


def _ideographs(
    codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8], pair_weight: float
) -> list[tuple[_Hashes, npt.NDArray[np.intp], float]]:
    """Hashes and positions of single ideographs and of pairs."""
    ideograph, wide = kinds == _IDEOGRAPH, codes.astype(np.uint64)
    single, pair = np.flatnonzero(ideograph), np.flatnonzero(ideograph[:-1] & ideograph[1:])
    return [(wide[single], single, 1.0), (wide[pair] * np.uint64(_GOLDEN) + wide[pair + 1], pair, pair_weight)]


def _words(
    codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8], weight: float
) -> tuple[_Hashes, npt.NDArray[np.intp], float]:
    """Hashes and first positions of runs of letters: the sum over a run of each letter mixed with its place in it."""
    letter = kinds == _LETTER
    edges = np.flatnonzero(letter[1:] != letter[:-1]) + 1  # the first and the last position are spaces
    starts, ends = edges[::2], edges[1::2]
    at = np.flatnonzero(letter)
    if not len(at):
        return np.empty(0, np.uint64), starts, weight
    lengths = ends - starts
    place = (at - np.repeat(starts, lengths)).astype(np.uint64)
    mixed = _mix(codes[at].astype(np.uint64) + (place << _32))
    return np.add.reduceat(mixed, np.cumsum(lengths) - lengths), starts, weight


def _mix(hashes: _Hashes) -> _Hashes:
    hashes = (hashes ^ (hashes >> _30)) * _MIX_1
    hashes = (hashes ^ (hashes >> _27)) * _MIX_2
    return hashes ^ (hashes >> _31)


def _unit_rows(sums: npt.NDArray[np.float64], texts: Sequence[str], seed: int) -> Vectors:
    norms = np.sqrt((sums * sums).sum(axis=1))
    for row in np.flatnonzero(norms < 1e-9).tolist():
        digest = blake3(f"{seed}:{texts[row]}".encode("utf-8", "surrogatepass")).digest()
        sums[row] = 0.0
        sums[row, int.from_bytes(digest[:8], "little") % sums.shape[1]] = norms[row] = 1.0
    vectors: Vectors = (sums / norms[:, None]).astype(np.float32)
    return vectors


_BREAK, _LETTER, _IDEOGRAPH = 0, 1, 2


def _kinds() -> npt.NDArray[np.uint8]:
    """The kind of every code point below U+10000, and last the one of all above (rare ideographs, emoji).

    Written down, not asked of `unicodedata`, whose tables differ between Python versions.
    """
    kinds = np.full(0x10001, _LETTER, np.uint8)
    # ASCII and Latin-1 signs; general punctuation to miscellaneous symbols and arrows; CJK punctuation; fullwidth
    # signs.
    signs = [
        (0x00, 0x2F),
        (0x3A, 0x40),
        (0x5B, 0x60),
        (0x7B, 0xA9),
        (0xAB, 0xB4),
        (0xB6, 0xB9),
        (0xBB, 0xBF),
        (0xD7, 0xD7),
        (0xF7, 0xF7),
    ]
    signs += [
        (0x2000, 0x206F),
        (0x20A0, 0x20CF),
        (0x2190, 0x2BFF),
        (0x3000, 0x3004),
        (0x3008, 0x3020),
        (0x3030, 0x3030),
        (0x30FB, 0x30FB),
    ]
    signs += [(0xFF00, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65)]
    # Radicals; kana to CJK compatibility; extension A; unified ideographs; hangul; compatibility ideographs; all above.
    ideographs = [
        (0x2E80, 0x2FDF),
        (0x3041, 0x30FA),
        (0x30FC, 0x33FF),
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xAC00, 0xD7A3),
    ]
    ideographs += [(0xF900, 0xFAFF), (0x10000, 0x10000)]
    for ranges, kind in ((ideographs, _IDEOGRAPH), (signs, _BREAK)):
        for first, last in ranges:
            kinds[first : last + 1] = kind
    return kinds


_KIND = _kinds()
