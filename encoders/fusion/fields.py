"""Towers whose members read a column each, title and description say: how a product is scored that lacks some.

A product has a title and no description. For a query q its score wt cos(q, title) + wd cos(q, description) lacks the
second half. What stands in for it is wd (mean_d + slope (cos(q, title) - mean_t)): the mean of descriptions, and more
or less as the title has more or less than titles do. The means over products are inner products of q with mean vectors:
they follow the query by themselves. With several columns that are there the known part is their weighted mean, with
several that are missing each stands in by its own slope.

Nothing for the second half would bury such products, and scaling the first one up would favour them: of catalogs that
lack 30% of their descriptions such products had 0 to 21% of the first ten places under the one, and 28 to 87% under the
other. The slope is what gives them the share that they have of a catalog's products: it belongs to encoders,
weights and columns, so a run measures it.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from encoders.fusion.members import Members
from encoders.fusion.missing import balanced_share, best_scores
from foundation.arrays import Positions, Vectors

PADDING = 8  # zeros, one of them what an item lacks to 1: a product quantizer divides lengths by 8
_KEPT = 80  # best scores of a query that are looked at
_FEWEST = 12  # products that have all columns, of which a slope can be measured
_UNMEASURED = 0.5  # of fewer: between what a column has on average and as good as those that are there
_MOST, _STEPS = 4.0, 20
Floats = npt.NDArray[np.float64]


class FieldsMissing(BaseModel):
    """What stands in for each member's column: its mean vector, base64 of little-endian float16, and its slope."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    means: tuple[str, ...]
    slopes: tuple[float, ...] = Field(min_length=2)

    @field_validator("means")
    @classmethod
    def _decode(cls, means: tuple[str, ...]) -> tuple[str, ...]:
        if not all(np.isfinite(_decoded(one)).all() for one in means):
            raise ValueError("base64 of finite float16 numbers")
        return means

    @classmethod
    def of(cls, means: Sequence[Floats], slopes: Sequence[float]) -> FieldsMissing:
        """Of (d,) vectors, rounded as they are written."""
        written = tuple(base64.b64encode(one.astype("<f2").tobytes()).decode() for one in means)
        return cls(means=written, slopes=tuple(round(one, 6) for one in slopes))

    def vectors(self) -> list[Floats]:
        """The mean vectors, (d,) float64 each."""
        return [_decoded(one) for one in self.means]


@dataclass(frozen=True)
class FieldMembers:
    """Members that read a column each. `missing` None: not measured yet, and products that lack one are refused.

    Items of unit length, queries such that inner products are the scores: items are scaled to be no longer than 1, with
    what they lack to 1 in a coordinate of its own, and queries by the inverse (Bachrach et al. 2014).
    """

    members: Members
    missing: FieldsMissing | None

    @property
    def dim(self) -> int:
        """The length of what it gives."""
        return sum(self.members.lengths) + PADDING

    @property
    def scale(self) -> float:
        """What items are multiplied with: the longest that one can be comes to 1."""
        if self.missing is None:
            return 1.0
        shares, slopes = np.array(self.members.shares), np.array(self.missing.slopes)
        means = np.array([np.linalg.norm(one) for one in self.missing.vectors()])
        longest = 1.0
        for pattern in itertools.product((True, False), repeat=len(shares)):
            there = np.array(pattern)
            more = _more(there[None, :], shares, slopes)[0]
            blocks = np.where(there, abs(1 + more) + abs(more) * means, means)
            longest = max(longest, float(np.sqrt((shares * blocks * blocks).sum())))
        return 1 / longest

    def items(self, vectors: Vectors) -> Vectors:
        """(n, dim) float32, unit rows, of (n, d) float32 unit rows that are zeros where a member lacks its column."""
        shares = np.array(self.members.shares)
        blocks, there = unit_blocks(vectors, self.members.lengths)
        if self.missing is None:
            if not there.all():
                lacking = int((~there).any(axis=1).sum())
                raise ValueError(f"expected `text_missing`, measured, for products that lack a column: {lacking} do")
            means, slopes = [np.zeros(length) for length in self.members.lengths], np.zeros(len(shares))
        else:
            means, slopes = self.missing.vectors(), np.array(self.missing.slopes)
        more = _more(there, shares, slopes)[:, None]
        filled = [
            root * np.where(has[:, None], (1 + more) * block - more * mean, mean)
            for root, block, mean, has in zip(np.sqrt(shares), blocks, means, there.T, strict=True)
        ]
        out = np.zeros((len(vectors), self.dim), np.float32)
        end = self.dim - PADDING
        out[:, :end] = np.concatenate(filled, axis=1) * self.scale
        out[:, end] = np.sqrt(np.maximum(1 - (out * out).sum(axis=1, dtype=np.float64), 0))
        return out

    def queries(self, vectors: Vectors) -> Vectors:
        """(nq, dim) float32 of (nq, d) float32 unit rows, of one text that all members read."""
        out = np.zeros((len(vectors), self.dim), np.float32)
        out[:, : self.dim - PADDING] = self.members.rows(vectors) / np.float32(self.scale)
        return out


@dataclass(frozen=True)
class FieldSample:
    """Products, (n, d) float32 as the joined encoder gives them, and text queries, (nq, d), with the row of the product
    that each was made of, (nq,): it is no hit of its own query.
    """

    rows: Vectors
    queries: Vectors
    of: Positions


def measured_fields(sample: FieldSample, members: Members, bounds: tuple[float, float]) -> FieldsMissing:
    """What stands in for each column, so that products that lack it keep their share of hits. The share is what the
    sample lacks, within `bounds`.
    """
    shares = np.array(members.shares)
    rows, there = unit_blocks(sample.rows, members.lengths)
    queries, _ = unit_blocks(sample.queries, members.lengths)
    means = [
        block[has].mean(axis=0) if has.any() else np.zeros(block.shape[1])
        for block, has in zip(rows, there.T, strict=True)
    ]
    whole = np.flatnonzero(there.all(axis=1))
    if len(whole) < _FEWEST or not len(sample.of):
        return FieldsMissing.of(means, [_UNMEASURED] * len(shares))
    place = np.full(len(sample.rows), -1)
    place[whole] = np.arange(len(whole))
    own = place[sample.of]
    cosines = [asked @ block[whole].T for asked, block in zip(queries, rows, strict=True)]
    average = [asked @ mean for asked, mean in zip(queries, means, strict=True)]
    slopes = []
    for at, share in enumerate(shares):
        lacking = float(1 - there[:, at].mean())
        scores = cosines, average, own
        # What no product lacks stands in by its mean alone: a slope would only shorten all items.
        slopes.append(_balanced(at, share, shares, scores, float(np.clip(lacking, *bounds))) if lacking else 0.0)
    return FieldsMissing.of(means, slopes)


def unit_blocks(vectors: Vectors, lengths: Sequence[int]) -> tuple[list[Floats], npt.NDArray[np.bool_]]:
    """(The unit rows of each member, float64, zeros where there is none; (n, members) bool of what is there)."""
    blocks = np.split(vectors.astype(np.float64), np.cumsum(lengths)[:-1], axis=1)
    norms = [np.sqrt((block * block).sum(axis=1, keepdims=True)) for block in blocks]
    there = np.concatenate(norms, axis=1) > 0
    return [block / np.where(norm > 0, norm, 1) for block, norm in zip(blocks, norms, strict=True)], there


def _more(there: npt.NDArray[np.bool_], shares: Floats, slopes: Floats) -> Floats:
    """(n,): how much more the columns that are there count, for those that are not."""
    known = np.where(there, shares, 0).sum(axis=1)
    lent = np.where(there, 0, shares * slopes).sum(axis=1)
    return np.asarray(np.divide(lent, known, out=np.zeros_like(known), where=known > 0))


def _balanced(
    at: int,
    share: float,
    shares: Floats,
    scores: tuple[list[Floats], list[Floats], npt.NDArray[np.int64]],
    lacking: float,
) -> float:
    """The slope under which stand-ins for member `at` have the share `lacking` of the best."""
    cosines, average, own = scores
    known = 1 - share
    if share <= 0 or known <= 0:  # it counts nothing, or there is nothing else to go by
        return 0.0
    others = [one for one in range(len(shares)) if one != at]
    near = sum((shares[one] * cosines[one] for one in others), np.zeros_like(cosines[at])) / known
    usual = sum((shares[one] * average[one] for one in others), np.zeros_like(average[at])) / known
    full = known * near + share * cosines[at]
    for one in (near, full):
        one[own >= 0, own[own >= 0]] = -np.inf
    count = min(near.shape[1] - 1, _KEPT)
    best, whole = best_scores(near, count), best_scores(full, count)
    base = (share * average[at])[:, None]
    low, high = max(-1.0, -0.9 * known / share), _MOST
    for _ in range(_STEPS):
        slope = (low + high) / 2
        stand_ins = known * best + base + share * slope * (best - usual[:, None])
        low, high = (slope, high) if balanced_share(stand_ins, whole, lacking) < lacking else (low, slope)
    return (low + high) / 2


def _decoded(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").astype(np.float64)
