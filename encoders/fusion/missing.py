"""How an item that lacks a modality is scored where two towers are added: a line for each direction, measured.

For a query q by text, the score wt cos(q, t) + wi cos(q, i) of a product without photo lacks its second half. Its
stand-in is slope cos(q, t) + line(q), line(q) = constant + weights q: what such products have in common is a slope, and
what stands in for the photo differs from query to query, since towers leave a gap (Liang et al. 2022, arXiv
2203.02053) and see some kinds of products nearer together than others. Under one factor for all, products without photo
fill the hits of some queries and are absent from those of others.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from foundation.arrays import Positions, Vectors

FEWEST = 100  # products with both modalities, of which weights can be measured; of fewer a constant alone
_RANKS = 20  # of a query's best products in a sample: where hits are decided, in catalogs as large and larger
_DEPTHS = (1, 2, 5, 10, 20)  # ranks at which shares are balanced
_KEPT = 4 * _RANKS  # best scores of a query that are looked at
_HITS = 10  # by the modality that is known, of which a query of the other one expects its mean score
_RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the mean variance of queries
_STEPS = 20  # of bisection: to a millionth of the range
Floats = npt.NDArray[np.float64]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(_Part):
    """constant + weights q, for a query's (d,) unit vector q."""

    constant: float = Field(0.0, allow_inf_nan=False)
    weights: str = ""  # base64 of d little-endian float16; empty: zeros

    @field_validator("weights")
    @classmethod
    def _decodes(cls, weights: str) -> str:
        if not np.isfinite(_decoded(weights)).all():
            raise ValueError("base64 of finite float16 numbers")
        return weights

    @classmethod
    def of(cls, constant: float, weights: Floats) -> Line:
        """The line of (d,) float64 `weights`, rounded as it is written."""
        return cls(constant=round(constant, 6), weights=base64.b64encode(weights.astype("<f2").tobytes()).decode())

    def at(self, queries: Vectors) -> Vectors:
        """(nq,) float32 of (nq, d) float32."""
        weights = _decoded(self.weights)
        # Not `queries @ weights`, whose last bits depend on how many rows there are.
        told = (queries * weights).sum(axis=1) if len(weights) else np.zeros(len(queries), np.float32)
        return np.asarray(told + np.float32(self.constant), np.float32)


class StandIn(_Part):
    """Items of one modality: slope times their cosine with a query, and what is added, by what the query asks by."""

    slope: float = Field(allow_inf_nan=False)
    by_text: Line = Line()
    by_photo: Line = Line()


class Missing(_Part):
    """What stands in where products lack their photo, and where they lack their text."""

    text_only: StandIn
    photo_only: StandIn

    @classmethod
    def example(cls, dim: int) -> Missing:
        """What a run might have measured: a slope above 1, and lines of a constant and of weights."""
        rising = np.linspace(-0.05, 0.05, dim)
        return cls(
            text_only=StandIn(slope=1.05, by_text=Line.of(-0.1, rising), by_photo=Line(constant=-0.2)),
            photo_only=StandIn(slope=0.6, by_text=Line(constant=0.125), by_photo=Line.of(-0.1, -2 * rising)),
        )


def one_factor(text_weight: float, alignment: float) -> Missing:
    """`alignment` times the known cosine for the unknown one, whichever is missing."""
    wt, wi = text_weight, 1 - text_weight
    return Missing(text_only=StandIn(slope=wt + wi * alignment), photo_only=StandIn(slope=wi + wt * alignment))


@dataclass(frozen=True)
class Sample:
    """Products with both modalities, (n, d) float32 unit rows each, and text queries, (nq, d), with the product that
    each was made of, (nq,): it is no hit of its own query. Photo queries are the photos of the other products.
    """

    text: Vectors
    image: Vectors
    queries: Vectors
    of: Positions


def measured_missing(sample: Sample, text_weight: float, lacking: tuple[float, float]) -> Missing:
    """The stand-ins under which products that lack a modality keep the share of hits that they have under the tower
    that knows them. `lacking` are the shares, in 0..1, of products without photo and without text.
    """
    text = _Queries(sample.queries, sample.of, sample.text, sample.image, text_weight)
    photo = _Queries(sample.image, np.arange(len(sample.image)), sample.image, sample.text, 1 - text_weight)
    text_slope, of_text = _matched(text, lacking[0])
    photo_slope, of_photo = _matched(photo, lacking[1])
    return Missing(
        text_only=StandIn(slope=text_slope, by_text=of_text, by_photo=_expected(photo, text_slope)),
        photo_only=StandIn(slope=photo_slope, by_photo=of_photo, by_text=_expected(text, photo_slope)),
    )


class _Queries:
    """Queries of one kind: their scores of every product by the tower that they ask by, by the other, and by both."""

    def __init__(self, queries: Vectors, of: Positions, own: Vectors, other: Vectors, weight: float) -> None:
        self.queries, self.of = queries, of
        self.known, self.unknown = queries @ own.T, queries @ other.T
        self.whole = np.float32(weight) * self.known + np.float32(1 - weight) * self.unknown
        for scores in (self.known, self.unknown, self.whole):
            scores[np.arange(len(of)), of] = -np.inf


def _matched(queries: _Queries, lacking: float) -> tuple[float, Line]:
    """The slope and the line that make the best known scores look like the best whole ones."""
    n = queries.known.shape[1]
    if n <= _HITS + 1 or not len(queries.of):  # all are hits of everything, or nothing asks
        return 1.0, Line()
    count = min(n - 1, _KEPT)
    known, whole = best_scores(queries.known, count), best_scores(queries.whole, count)
    ranks = min(n - 1, _RANKS)
    x, y = known[:, :ranks].mean(axis=0), whole[:, :ranks].mean(axis=0)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = round(float(((x - x.mean()) * (y - y.mean())).sum()) / spread, 6) if spread > 1e-12 else 1.0
    offsets = (whole[:, :ranks] - slope * known[:, :ranks]).mean(axis=1)
    line, held_out = _fitted(queries, offsets)
    extra = _balance(slope * known + held_out[:, None], whole, lacking)
    return slope, Line(constant=round(line.constant + extra, 6), weights=line.weights)


def _expected(queries: _Queries, slope: float) -> Line:
    """Of items of the modality that is not asked by: with `slope` times their cosine, the mean score of the products
    that come as near. Where that cosine says nothing, it is the mean of all, and such items are no hits.
    """
    n = queries.known.shape[1]
    if n <= _HITS + 1 or not len(queries.of):
        return Line()
    best = np.argpartition(-queries.unknown, _HITS - 1, axis=1)[:, :_HITS]
    scores = (np.take_along_axis(scores, best, axis=1).mean(axis=1) for scores in (queries.whole, queries.unknown))
    whole, near = scores
    return _fitted(queries, (whole - slope * near).astype(np.float64))[0]


def best_scores(scores: Vectors | Floats, count: int) -> Floats:
    """The `count` greatest of each row, falling."""
    return -np.sort(np.partition(-scores, count - 1, axis=1)[:, :count], axis=1).astype(np.float64)


def _fitted(asking: _Queries, offsets: Floats) -> tuple[Line, Floats]:
    """The line through (nq,) offsets of queries, by ridge regression, and what it says of each query when it is fitted
    on other products' queries only. Of too few products it is a constant.
    """
    queries, halves = asking.queries.astype(np.float64), asking.of % 2 == 0
    mean = float(offsets.mean())
    if asking.known.shape[1] < FEWEST:
        return Line(constant=round(mean, 6)), np.full(len(offsets), mean)
    found: dict[float, Floats] = {ridge: np.empty(len(offsets)) for ridge in _RIDGES}
    for half in (halves, ~halves):
        for ridge, (constant, weights) in _ridges(queries[~half], offsets[~half]).items():
            found[ridge][half] = constant + queries[half] @ weights
    best = min(found, key=lambda ridge: float(((found[ridge] - offsets) ** 2).sum()))
    constant, weights = _ridges(queries, offsets)[best]
    return Line.of(constant, weights), found[best]


def _ridges(queries: Floats, offsets: Floats) -> dict[float, tuple[float, Floats]]:
    """Ridge -> (constant, (d,) weights)."""
    center, mean = queries.mean(axis=0), float(offsets.mean())
    values, axes = np.linalg.eigh((queries - center).T @ (queries - center))
    seen = axes.T @ ((queries - center).T @ (offsets - mean))
    unit = max(float(values.mean()), 1e-12)
    fits = {ridge: axes @ (seen / (np.maximum(values, 0) + ridge * unit)) for ridge in _RIDGES}
    return {ridge: (mean - float(center @ weights), weights) for ridge, weights in fits.items()}


def _balance(stand_ins: Floats, whole: Floats, lacking: float) -> float:
    """What to add to `stand_ins` for them to have the share `lacking` of the best, at the mean of `_DEPTHS`."""
    low, high = -2.0, 2.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        share = balanced_share(stand_ins + middle, whole, lacking)
        low, high = (middle, high) if share < lacking else (low, middle)
    return (low + high) / 2


def balanced_share(stand_ins: Floats, whole: Floats, lacking: float) -> float:
    """The expected share of stand-ins among the best, at the mean of `_DEPTHS`, where each product is one with the
    probability `lacking`: all stand in the ranking, both ways, and count by their probability. (nq, r) falling scores.
    """
    depths = [depth for depth in _DEPTHS if 3 * depth < whole.shape[1]] or [1]
    order = np.argsort(-np.concatenate([stand_ins, whole], axis=1), axis=1, kind="stable")
    is_one = order < stand_ins.shape[1]
    counts = np.where(is_one, lacking, 1 - lacking)
    before = np.cumsum(counts, axis=1) - counts
    shares = [float((np.clip(depth - before, 0, counts) * is_one).sum(axis=1).mean()) / depth for depth in depths]
    return sum(shares) / len(shares)


def _decoded(weights: str) -> Vectors:
    return np.frombuffer(base64.b64decode(weights, validate=True), dtype="<f2").astype(np.float32)
