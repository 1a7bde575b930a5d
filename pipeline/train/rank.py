"""`vitrine train rank`: learn to order the first candidates of a published snapshot by judged queries, and compare that
with no re-ranker on queries that nothing was learned from.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from foundation import ranking_metrics as metrics
from foundation.allocator import keep_memory
from foundation.disk import replace_file
from foundation.errors import InputError
from lookup.rerank.features import attribute_of, needs
from lookup.rerank.learned_on import parts_of_snapshot, with_terms
from lookup.rerank.models import VERSION, RankerSpec, Scores, ranker_spec
from lookup.rerank.rerank import Features
from lookup.search import Reader
from lookup.store.entries.ranker_record import Gain, HeldOut, LearnedOn, RankerSettings
from pipeline.engine.progress import Progress
from pipeline.evaluate.exact_search import parts_of
from pipeline.evaluate.judgments import Counts
from pipeline.publish.ranker_files import CONFIG
from pipeline.train.rank_judgments import Source, Split, judged_queries, refuse_few, splits_of
from pipeline.train.rank_lessons import Lesson, features_of, lessons_of, telling

PAGE = 10  # nDCG and MRR look at a first page
_SEED = 1234  # any constant: the same lessons give the same bytes
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to learn: from which `source`, in which store, seeing which attributes (None: all of numbers)."""

    store: str
    source: Source
    out: Path
    type: str = "trees"
    top: int = 100
    attributes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TrainedRanker:
    """What was learned, where it lies, and what each feature counts: shares of 1, in order."""

    folder: Path
    snapshot: str
    settings: RankerSettings
    counts: Counts
    left_out: dict[str, int]  # rows of the log of clicks
    taught: int  # queries of which some candidates are worth more than others
    importance: dict[str, float]


def train_ranker(request: Request, progress: Progress | None = None) -> TrainedRanker:
    """Learn, compare, and write the folder `out` by rename; InputError where nothing can be learned."""
    keep_memory()  # before torch is imported
    spec = ranker_spec(request.type)
    _refuse_there(request.out)
    reader = Reader.open(request.store)
    parts = parts_of(reader.store, reader.manifest)
    judged = judged_queries(request.source, reader.manifest, parts)
    features = features_of(reader, request.attributes)
    lessons = lessons_of(reader, judged.queries, parts, features, request.top, progress)
    splits = splits_of(lessons, judged)
    refuse_few(lessons, splits, request.top)
    columns, dropped = telling(lessons, features.names, spec.linear)
    if not columns:
        came = "; ".join(f"{name}: {why}" for name, why in dropped.items())
        raise InputError("features by which candidates differ", came, "judge queries that find several products")
    splits = [Split([one.of(columns) for one in a], [one.of(columns) for one in b]) for a, b in splits]
    held_out = HeldOut(
        split=judged.split,
        folds=len(splits),
        queries=sum(len(one.held_out) for one in splits),
        figures=_compared(spec, splits),
    )
    model = _learn(spec, [one.of(columns) for one in lessons])
    manifest, seen = reader.manifest, _seen(features, columns)
    scores = with_terms(parts_of_snapshot(manifest), seen["features"], seen["languages"])
    settings = RankerSettings(
        type=request.type,
        version=VERSION,
        **seen,
        top=request.top,
        kinds=tuple(sorted({one.kind for one in lessons})),
        queries=len(lessons),
        dropped=dropped,
        learned_on=LearnedOn(content=manifest.content, scores=scores),
        held_out=held_out,
        weights=blake3(model.encode()).hexdigest(),
    )
    _write(request.out, spec.file, settings, model)
    taught = sum(one.teaches for one in lessons)
    return TrainedRanker(
        request.out,
        reader.snapshot,
        settings,
        judged.counts,
        dict(judged.left_out),
        taught,
        _importance(settings, spec.open(model).importance()),
    )


# --- models ---


def _learn(spec: RankerSpec, lessons: Sequence[Lesson]) -> str:
    return spec.learn([one for one in lessons if one.teaches], _SEED)


def _importance(settings: RankerSettings, gains: Scores) -> dict[str, float]:
    """Feature -> share of 1 of `gains`, what each decides; most first."""
    shares = gains / (float(gains.sum()) or 1.0)
    order = np.argsort(-shares, kind="stable")
    return {settings.features[at]: float(shares[at]) for at in order.tolist()}


# --- the comparison ---


def _compared(spec: RankerSpec, splits: Sequence[Split]) -> dict[str, Gain]:
    """Figures of the held-out queries of all splits, in order, without and with what was learned from the others."""
    before, after = list[dict[str, float]](), list[dict[str, float]]()
    for split in splits:
        model = spec.open(_learn(spec, split.learned))
        for one in split.held_out:
            before.append(_figures(one, one.gains))
            order = _order(model.score(one.features)) if len(one.gains) else np.empty(0, np.intp)
            after.append(_figures(one, one.gains[order]))
    names = list(before[0])
    rows = [np.array([[one[name] for name in names] for one in side]) for side in (before, after)]
    low, high = metrics.intervals(rows[1] - rows[0], _SEED)
    means = [side.mean(axis=0) for side in rows]
    return {
        name: Gain(before=float(means[0][at]), after=float(means[1][at]), low=float(low[at]), high=float(high[at]))
        for at, name in enumerate(names)
    }


def _order(scores: Scores) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """(n,): candidates by score, best first; equal ones as they were."""
    return np.argsort(-scores, kind="stable")


def _figures(one: Lesson, gains: np.ndarray[tuple[int], np.dtype[np.float64]]) -> dict[str, float]:
    shown = np.zeros((1, PAGE))
    shown[0, : min(PAGE, len(gains))] = gains[:PAGE]
    judged = np.array([one.judged])
    return {
        f"ndcg@{PAGE}": float(metrics.ndcg(shown, judged, PAGE)[0]),
        "precision@1": float(metrics.precision(shown, 1)[0]),
        f"mrr@{PAGE}": float(metrics.reciprocal_rank(shown, PAGE)[0]),
    }


# --- the folder ---


def _seen(features: Features, columns: Sequence[int]) -> dict[str, Any]:
    """The fields of its settings that say what it sees: the features at `columns`, and what these are read from."""
    names = tuple(features.names[at] for at in columns)
    used = {attribute_of(name) for name in names}
    words = needs(names, "words")
    return {
        "features": names,
        "attributes": {name: kind for name, kind in features.kinds.items() if name in used},
        "title": features.values.title if words else None,
        "languages": features.words.analysis.languages if words else (),
    }


def _refuse_there(out: Path) -> None:
    if out.exists():
        raise InputError(
            "a new folder for the re-ranker", f"--out {out}: it is there", "give another name, or remove it"
        )


def _write(out: Path, file: str, settings: RankerSettings, model: str) -> None:
    """Both files, in a folder that is there when they are whole."""
    scratch = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    scratch.mkdir(parents=True)
    try:
        replace_file(scratch / file, model.encode())
        told = json.dumps(settings.model_dump(mode="json"), ensure_ascii=False, indent=1)
        replace_file(scratch / CONFIG, f"{told}\n".encode())
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
