"""`lexical.weight: auto`: the share of words in a score, tuned on judged queries, so that noise does not move it.

Weights from 0 to 1 are tried on the candidates of every query, in five folds by query: the best of four is asked of the
fifth, so that what it gains is measured on queries that it was not chosen on. The first time any gain counts: a half is
nobody's finding. Later the weight before stays unless another one is surely better: the 95% interval of the gain has
to be above zero, and the gain half a point of nDCG.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foundation import ranking_metrics as metrics
from foundation.errors import InputError
from foundation.identity import identity_of
from foundation.ranking_metrics import Figures
from lookup.query import Query
from lookup.search import Reader
from lookup.store.digests import digest_file
from lookup.store.entries.lexical_record import LexicalEntry, Tuned
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.lexical import AUTO, HALF, JudgedConfig, LexicalConfig
from pipeline.evaluate.exact_search import parts_of
from pipeline.evaluate.judgments import AnswerableQuery, answerable, read_judged_queries
from pipeline.publish.snapshot import content_of

WEIGHTS = tuple(step / 20 for step in range(21))
_PAGE = 10  # hits that nDCG looks at
_FOLDS = 5
# Where all weights are alike folds and interval still let one in twelve draws through; with this, one in fifty.
_LEAST_GAIN = 0.005  # of nDCG, on queries that a weight was not chosen on
_SEED = 1234  # any constant: the same queries give the same weight
_log = logging.getLogger(__name__)


def with_weight(
    store: Store, settings: LexicalConfig | None, manifest: Manifest, parent: Manifest | None, device: str = "cpu"
) -> Manifest:
    """`manifest` with the weight that judged queries say, where that is asked for; asked anew only where the snapshot
    or the judgments are others than the parent's.
    """
    entry = manifest.lexical
    if settings is None or entry is None or settings.weight != AUTO or settings.judged is None:
        return manifest
    before = None if parent is None else parent.lexical
    weight = HALF if before is None else before.weight
    judged = identity_of({"queries": _digest(settings.judged.queries), "qrels": _digest(settings.judged.qrels)})
    as_before = _with(manifest, entry.model_copy(update={"weight": weight, "tuned": before and before.tuned}))
    same = parent is not None and as_before.content == parent.content
    if same and before is not None and before.tuned is not None and before.tuned.judged == judged:
        return as_before
    tried = _tried(store, manifest, settings.judged, device)
    if tried is None:
        return as_before
    chosen, tuned = _choose(tried, weight, judged, first=before is None or before.tuned is None)
    return _with(manifest, entry.model_copy(update={"weight": chosen, "tuned": tuned}))


def _with(manifest: Manifest, entry: LexicalEntry) -> Manifest:
    changed = manifest.model_copy(update={"lexical": entry})
    return changed.model_copy(update={"content": content_of(changed)})


def _digest(path: str) -> str:
    return digest_file(Path(path))[0]


def _tried(store: Store, manifest: Manifest, judged: JudgedConfig, device: str) -> Figures | None:
    """nDCG@10 of each query by text, of each of WEIGHTS: (nq, weights); None where there is nothing to go by."""
    parts = parts_of(store, manifest)
    try:
        given, _ = answerable(read_judged_queries(Path(judged.queries), Path(judged.qrels)), parts, None)
    except InputError as err:
        _log.warning("lexical.weight: auto stays as it is: %s", err.came)
        return None
    asked = [one for one in given if one.query.kind == "text"]
    if len(asked) < _FOLDS:
        _log.warning(
            "lexical.weight: auto stays as it is: %d judged queries by text, %d are needed", len(asked), _FOLDS
        )
        return None
    reader = Reader.of(store, "", manifest, device=device)
    return np.array([_of_query(reader, one) for one in asked])


def _of_query(reader: Reader, one: AnswerableQuery) -> list[float]:
    found = reader.by_words.halves(Query(one.query.question.text, category=one.within, k=_PAGE))
    if found is None:
        raise TypeError("a snapshot that is searched by words, asked without any")
    judged = np.array([sorted(one.gains.values(), reverse=True)])
    gains = []
    for weight in WEIGHTS:
        first = found.ranked(weight).first(_PAGE)
        ids = [reader.ids(first.name(at))[int(row)].as_py() for at, row in enumerate(first.positions)]
        row = [one.gains.get(one.numbers.get(name, -1), 0) for name in ids]
        gains.append(row + [0] * (_PAGE - len(row)))
    return [float(metrics.ndcg(np.array([row]), judged, _PAGE)[0]) for row in gains]


def _choose(tried: Figures, before: float, judged: str, first: bool) -> tuple[float, Tuned]:
    """The weight to go on with, and what it was found by; `first`: nothing was found by before."""
    at = _nearest(before)
    folds = np.random.default_rng(_SEED).permutation(len(tried)) % _FOLDS
    held_out = np.empty(len(tried))
    for fold in range(_FOLDS):
        best = _best(tried[folds != fold], at)
        held_out[folds == fold] = tried[folds == fold, best] - tried[folds == fold, at]
    low, high = (float(bound[0]) for bound in metrics.intervals(held_out[:, None], _SEED))
    best = _best(tried, at)
    unsure = low <= 0 or held_out.mean() < _LEAST_GAIN
    kept = best == at or held_out.mean() <= 0 or (unsure and not first)
    chosen = before if kept else WEIGHTS[best]
    means = tried.mean(axis=0)
    figures = {"ndcg": means[at if kept else best], "vectors": means[0], "words": means[-1], "low": low, "high": high}
    rounded = {name: round(float(value), 6) for name, value in figures.items()}
    return chosen, Tuned(judged=judged, queries=len(tried), kept=kept, **rounded)


def _best(tried: Figures, before: int) -> int:
    """The best weight by the mean; of equal ones that which is nearest to the one before."""
    means: Sequence[float] = tried.mean(axis=0).round(9).tolist()
    return min(range(len(means)), key=lambda at: (-means[at], abs(at - before), at))


def _nearest(weight: float) -> int:
    return int(np.argmin([abs(one - weight) for one in WEIGHTS]))
