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
from typing import Literal, NamedTuple

import numpy as np
from blake3 import blake3

from encoders.names import SEPARATOR
from foundation import ranking_metrics as metrics
from foundation.allocator import keep_memory
from foundation.disk import replace_file
from foundation.errors import InputError
from lookup.rerank.features import attribute_of, needs
from lookup.rerank.learned_on import parts_of_snapshot
from lookup.rerank.models import FILES, VERSION, Logistic, Model, Trees
from lookup.rerank.rerank import Features
from lookup.search import Reader
from lookup.store.ranker_record import Gain, HeldOut, LearnedOn, RankerSettings
from pipeline.engine.progress import Progress
from pipeline.evaluate.exact_search import parts_of
from pipeline.evaluate.judgments import Counts, answerable, category_of, read_judged_queries
from pipeline.publish.ranker_files import CONFIG
from pipeline.train.rank_lessons import Lesson, counted_kinds, features_of, lessons_of, telling
from pipeline.train.rank_models import learn_logistic, learn_trees, order_of

FOLDS = 5
PAGE = 10  # nDCG and MRR look at a first page
_SEED = 1234  # any constant: the same lessons give the same bytes
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to learn: from which judgments, in which store, seeing which attributes (None: all of numbers)."""

    store: str
    queries: Path
    qrels: Path
    out: Path
    type: Literal["trees", "logistic"] = "trees"
    top: int = 100
    attributes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class TrainedRanker:
    """What was learned, where it lies, and what each feature counts: shares of 1, in order."""

    folder: Path
    snapshot: str
    settings: RankerSettings
    counts: Counts
    taught: int  # queries of which some candidates are worth more than others
    importance: dict[str, float]


class _Split(NamedTuple):
    """Lessons to learn from, and those to compare on."""

    learned: list[Lesson]
    held_out: list[Lesson]


def train_ranker(request: Request, progress: Progress | None = None) -> TrainedRanker:
    """Learn, compare, and write the folder `out` by rename; InputError where nothing can be learned."""
    keep_memory()  # before torch is imported
    _refuse_there(request.out)
    given = read_judged_queries(request.queries, request.qrels)
    reader = Reader.open(request.store)
    manifest = reader.manifest
    parts = parts_of(reader.store, manifest)
    separators = manifest.config["catalog"].get("partition_separator", (SEPARATOR,))
    queries, counts = answerable(given, parts, category_of(None, parts, separators))
    features = features_of(reader, request.attributes)
    lessons = lessons_of(reader, queries, parts, features, request.top, progress)
    splits = _folds(lessons)
    _refuse_few(lessons, splits, request.top)
    columns, dropped = telling(lessons, features.names, request.type == "logistic")
    if not columns:
        came = "; ".join(f"{name}: {why}" for name, why in dropped.items())
        raise InputError("features by which candidates differ", came, "judge queries that find several products")
    of = _of(splits, columns)
    figures = _compared(request.type, of)
    learned = [one.of(columns) for one in lessons]
    model = _learn(request.type, learned)
    names = tuple(features.names[at] for at in columns)
    settings = RankerSettings(
        type=request.type,
        version=VERSION,
        features=names,
        attributes=_seen(features, names),
        title=features.values.title if needs(names, "words") else None,
        top=request.top,
        kinds=tuple(counted_kinds(lessons)),
        queries=len(lessons),
        dropped=dropped,
        learned_on=LearnedOn(content=manifest.content, scores=parts_of_snapshot(manifest)),
        held_out=HeldOut(
            split="query", folds=len(splits), queries=sum(len(one.held_out) for one in splits), figures=figures
        ),
        weights=blake3(model.encode()).hexdigest(),
    )
    _write(request.out, settings, model)
    taught = sum(one.teaches for one in lessons)
    return TrainedRanker(request.out, reader.snapshot, settings, counts, taught, _importance(settings, model))


# --- lessons ---


def _folds(lessons: Sequence[Lesson]) -> list[_Split]:
    """`FOLDS` ways to hold out a share of the queries, each once; what was asked twice is on one side."""
    groups = sorted({one.group for one in lessons}, key=lambda group: blake3(group.encode()).digest())
    fold = {group: at % FOLDS for at, group in enumerate(groups)}
    return [
        _Split([one for one in lessons if fold[one.group] != at], [one for one in lessons if fold[one.group] == at])
        for at in range(min(FOLDS, len(groups)))
    ]


def _refuse_few(lessons: Sequence[Lesson], splits: Sequence[_Split], top: int) -> None:
    """InputError where there is nothing to learn, or nothing to compare on."""
    taught = [one for one in lessons if one.teaches]
    if not taught:
        raise InputError(
            f"queries with a candidate that is worth more than others, among the first {top} of each",
            f"{len(lessons):,} queries, in each of which all candidates are worth the same",
            "judge some products that the search finds; give 0 to what is not relevant, or leave it out",
        )
    if len(splits) < FOLDS or any(not any(one.teaches for one in split.learned) for split in splits):
        raise InputError(
            f"{FOLDS} different queries or more that teach something, to hold out one in {FOLDS}",
            f"{len({one.group for one in taught}):,} of {len(lessons):,} queries",
            "judge more queries: some hundreds are needed to tell whether a re-ranker helps",
        )


def _of(splits: Sequence[_Split], columns: Sequence[int]) -> list[_Split]:
    return [_Split([one.of(columns) for one in a], [one.of(columns) for one in b]) for a, b in splits]


# --- models ---


def _learn(kind: Literal["trees", "logistic"], lessons: Sequence[Lesson]) -> str:
    taught = [one for one in lessons if one.teaches]
    return learn_trees(taught, _SEED) if kind == "trees" else learn_logistic(taught).model_dump_json(indent=1) + "\n"


def _model(kind: Literal["trees", "logistic"], text: str) -> Model:
    return Trees(text) if kind == "trees" else Logistic.model_validate_json(text)


def _importance(settings: RankerSettings, text: str) -> dict[str, float]:
    """Feature -> share of 1: of what trees gain by their splits, of the absolute weights."""
    model = _model(settings.type, text)
    gains = model.importance()
    shares = gains / (float(gains.sum()) or 1.0)
    order = np.argsort(-shares, kind="stable")
    return {settings.features[at]: float(shares[at]) for at in order.tolist()}


# --- the comparison ---


def _compared(kind: Literal["trees", "logistic"], splits: Sequence[_Split]) -> dict[str, Gain]:
    """Figures of the held-out queries of all splits, in order, without and with what was learned from the others."""
    before, after = list[dict[str, float]](), list[dict[str, float]]()
    for split in splits:
        model = _model(kind, _learn(kind, split.learned))
        for one in split.held_out:
            before.append(_figures(one, one.gains))
            order = order_of(model.score(one.features)) if len(one.gains) else np.empty(0, np.intp)
            after.append(_figures(one, one.gains[order]))
    names = list(before[0])
    rows = [np.array([[one[name] for name in names] for one in side]) for side in (before, after)]
    low, high = metrics.intervals(rows[1] - rows[0], _SEED)
    means = [side.mean(axis=0) for side in rows]
    return {
        name: Gain(before=float(means[0][at]), after=float(means[1][at]), low=float(low[at]), high=float(high[at]))
        for at, name in enumerate(names)
    }


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


def _seen(features: Features, names: Sequence[str]) -> dict[str, str]:
    """The attributes that features of these names are of -> what each counts as."""
    used = {attribute_of(name) for name in names}
    return {name: kind for name, kind in features.kinds.items() if name in used}


def _refuse_there(out: Path) -> None:
    if out.exists():
        raise InputError(
            "a new folder for the re-ranker", f"--out {out}: it is there", "give another name, or remove it"
        )


def _write(out: Path, settings: RankerSettings, model: str) -> None:
    """Both files, in a folder that is there when they are whole."""
    scratch = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    scratch.mkdir(parents=True)
    try:
        replace_file(scratch / FILES[settings.type], model.encode())
        told = json.dumps(settings.model_dump(mode="json"), ensure_ascii=False, indent=1)
        replace_file(scratch / CONFIG, f"{told}\n".encode())
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
