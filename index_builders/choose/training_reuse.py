"""The training of an earlier index, used again: its centroids, rotation and codebooks, while they fit the rows of now.

Which training may be used is known before anything is read: `why_anew`. Whether it still fits is measured on the new
rows and held against figures of the time when it was learned, never of the last use, so that a slow drift adds up to a
training of its own. Cheap figures come first: the distance of rows to their centroids, then with the rows in their
lists how uneven these are, then recall@k. The first one out of its bound decides, and the index is trained anew.

Centroids lie nearer to rows that they were learned from than to others. So that distance is taken over rows drawn from
all, trained on or not, at both times: it grows too as the rows that were learned from are replaced by others.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from pydantic import ValidationError

from foundation.arrays import Vectors
from foundation.errors import InputError, IntegrityError
from foundation.identity import identity_of
from index_builders.base import BuilderSpec, builder_spec
from index_builders.choose.choice import refused
from index_builders.devices import CPU_DEVICE
from index_builders.fill.threads import threads
from index_builders.measure.cost import list_sizes
from index_builders.measure.queries import least
from index_builders.measure.recall import recalls
from index_builders.measure.trial import Before, Rows, Trial, trial
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import AUTO, CHOICE, IndexSettings
from lookup.index.partition_index import FORMAT
from lookup.store.entries.index_record import IndexRecord, TrainingFigures

_CHOSEN_BY = ("target_recall", "max_bytes_per_vector", "max_disk_bytes_per_vector", "held_out_queries")
_BOUNDS = ("retrain_max_error", "retrain_max_imbalance", "retrain_max_recall_loss")
_SAMPLED = 8192  # rows whose distance to their centroids is measured: its mean is then known to about 0.5%
_ROUNDING = 1e-6  # of a row's squared length: what an error of zero is measured as


@dataclass(frozen=True)
class Earlier:
    """A training that may be used again: the FAISS file that holds it, and the record of its index."""

    path: Path
    record: IndexRecord

    @property
    def then(self) -> TrainingFigures:
        """The figures of the time when it was learned."""
        assert self.record.training is not None
        assert self.record.training.then is not None  # why_anew saw to both
        return self.record.training.then


@dataclass(frozen=True)
class Learned:
    """Where the training of a built index is from, and its figures when it was learned and now."""

    reused: bool
    reason: str
    then: TrainingFigures | None
    now: TrainingFigures | None


# --- before anything is read ---


def learned_under(settings: IndexSettings, texts: str | None, spec: BuilderSpec) -> str:
    """64 hex digits of what decides a training of `spec`, its recall, and under `type: auto` that `spec` was chosen.

    `texts` as IndexSettings.identity has it.
    """
    chosen = settings.large.get("type") == AUTO
    fields = {"metric", "seed", "max_train_rows", "k", *(_CHOSEN_BY if chosen else ())}
    fields |= {"device"} if settings.device != CPU_DEVICE else set()  # as before there was a choice
    read = settings.model_dump(mode="json", include=fields)
    auto = CHOICE if chosen else False
    return identity_of({"format": FORMAT, "auto": auto, "spec": spec.identity, "settings": read, "texts": texts})


def why_anew(parent: IndexRecord | None, settings: IndexSettings, rows: int, dim: int, texts: str | None) -> str | None:
    """Why the training of `parent`, the partition's index before, is of no use for `rows` rows; None: it may be."""
    chosen = settings.choose(rows, dim)
    if chosen is not None and not chosen.trained:
        return f"{chosen.type} learns nothing"
    if parent is None:
        return "the parent snapshot has no index of this partition"
    training = parent.training
    if training is None:
        return "an earlier version built the parent's index, without figures of its training"
    if training.then is None:
        return f"the parent's index, {parent.type}, learned nothing"
    if (parent.dim, parent.metric) != (dim, settings.metric.value):
        return f"the parent's index is of {parent.dim} dimensions and {parent.metric}"
    try:
        spec = spec_of(parent)
    except (InputError, ValidationError):  # a type that was taken away, or whose parameters are others by now
        return f"the parent's index, {parent.type}, is of a type or of parameters that are not known here"
    specs = settings.candidates(rows, dim) if chosen is None else [chosen]
    if training.settings != learned_under(settings, texts, spec):
        return "other settings than those that the parent's index was trained and chosen under"
    if spec not in specs:
        lists = spec.model_dump()["nlist"]
        for one in specs if "nlist" not in settings.large else []:
            if "nlist" in one.model_dump() and one.model_copy(update={"nlist": lists}) == spec:
                now = one.model_dump()["nlist"]
                return f"nlist: {now:,} by rule for {rows:,} rows, {lists:,} for {training.then.rows:,} when trained"
        return f"the parent's index, {spec.described}, is not what the settings name for {rows:,} rows"
    return None


def offered_inputs(content: str, parent: IndexRecord, settings: IndexSettings) -> str:
    """The inputs, 64 hex digits, of an index of `content` that may have the training of `parent`, whether it will or
    not.

    It says what the decision depends on, so that a run that is killed finds what it has built.
    """
    assert parent.training is not None
    bounds = settings.model_dump(mode="json", include=set(_BOUNDS))
    return identity_of({"index": content, "training": parent.training.trained_by, "bounds": bounds})


def spec_of(record: IndexRecord) -> BuilderSpec:
    """The spec that built an index."""
    return builder_spec({"type": record.type, **record.parameters})


# --- the trained part of a file ---


def emptied(path: Path) -> faiss.Index:
    """The index in `path` without its rows: what `BuilderSpec.empty` gave. The file must stay while this is used.

    The file is mapped and its lists are left where they are; FAISS's own `reset` ends the process on mapped lists.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as err:
        raise IntegrityError(f"{path} to be a FAISS index", str(err), "run `vitrine verify STORE`") from err
    ivf: Any = faiss.try_extract_index_ivf(index)
    if ivf is None:
        raise IntegrityError(f"{path} to hold an index with lists", type(index).__name__, "run `vitrine verify STORE`")
    lists: Any = faiss.downcast_InvertedLists(ivf.invlists)
    if isinstance(lists, faiss.BlockInvertedLists):  # type: ignore[attr-defined]  # the stubs lack it
        empty: Any = type(lists)(ivf.nlist, lists.n_per_block, lists.block_size)
        empty.packer = ivf.get_CodePacker()
        empty.packer.this.disown()  # the lists delete it
    else:
        empty = faiss.ArrayInvertedLists(ivf.nlist, ivf.code_size)
    ivf.replace_invlists(empty, True)
    empty.this.disown()  # the index deletes them
    ivf.ntotal = index.ntotal = 0
    return index


# --- figures, and what they decide ---


def assignment_error(index: faiss.Index, x: Vectors) -> float:
    """Mean squared distance of (n, d) float32 `stored` rows to the centroids of their lists, where the index rotates
    after that; what it drops of a row, because it keeps some directions only, is part of the distance.

    For rows and centroids of unit length that is twice the inner product that is lost.
    """
    dropped = 0.0
    ivf: Any = faiss.try_extract_index_ivf(index)
    with threads(1):
        if isinstance(index, faiss.IndexPreTransform):
            turned = faiss.downcast_VectorTransform(index.chain.at(0)).apply(x)  # type: ignore[attr-defined]  # stubs
            if ivf.d < index.d:
                dropped = _squared(x) - _squared(turned)
            x = turned
        _, lists = ivf.quantizer.search(x, 1)
        centroids = ivf.quantizer.reconstruct_batch(lists[:, 0])
    return _squared(x - centroids) + dropped


def _squared(x: Vectors) -> float:
    """The mean squared length of (n, d) rows."""
    return float((x.astype(np.float64) ** 2).sum(axis=1).mean())


def sampled(vectors: VectorsFile, seed: int) -> Vectors:
    """Random rows of all, (n, d) float32 `stored`; all of them where there are few."""
    rng = np.random.default_rng((seed, 3))
    at = rng.choice(len(vectors), min(_SAMPLED, len(vectors)), replace=False, shuffle=False)
    return vectors.at(np.sort(at).astype(np.int64))


def figures(made: Trial, seed: int, then: TrainingFigures | None = None) -> TrainingFigures | None:
    """What `made` fits its rows like, at the setting of `then` or else its own; None for an index without lists."""
    if made.spec.exact:
        return None
    index = made.index
    if not index.nlist:
        return None
    setting = made.tuned.point if then is None else then
    sizes = list_sizes(index).astype(np.float64)
    return TrainingFigures(
        rows=index.rows,
        assignment_error=assignment_error(index.faiss_index, sampled(made.vectors, seed)),
        imbalance=float(len(sizes) * (sizes**2).sum() / index.rows**2),
        nprobe=setting.nprobe,
        refine_factor=setting.refine_factor,
        recall=made.tuned.point.recall if then is None else _recall_at(made, then.nprobe, then.refine_factor),
    )


def used_again(earlier: Earlier, rows: Rows, settings: IndexSettings, folder: Path) -> tuple[Trial | None, Learned]:
    """The index of `rows` with the training of `earlier`, or None where it does not fit them; and what decided."""
    empty, far = near_enough(earlier, rows.vectors, settings)
    if empty is None:
        return None, Learned(False, far, None, None)
    folder.mkdir()
    before = Before(empty, earlier.then)
    made = trial(spec_of(earlier.record), rows, settings.target_recall, folder, before=before)
    learned = judge_training(earlier, made, settings)
    if not learned.reused:
        del made, empty, before  # before the files, which they map
        shutil.rmtree(folder)
        return None, learned
    return replace(made, train_rows=earlier.record.train_rows), learned


def near_enough(earlier: Earlier, vectors: VectorsFile, settings: IndexSettings) -> tuple[faiss.Index | None, str]:
    """The trained index of `earlier` without rows, where `vectors` lie near its centroids; or why they do not."""
    empty, x = emptied(earlier.path), sampled(vectors, settings.seed)
    far = _too_far(assignment_error(empty, x), earlier.then, float((x**2).sum(axis=1).mean()), settings)
    return (empty, "") if far is None else (None, far)


def judge_training(earlier: Earlier, made: Trial, settings: IndexSettings) -> Learned:
    """Whether `made`, filled with the training of `earlier`, is within the bounds, and the figures that decided."""
    then = earlier.then
    now = figures(made, settings.seed, then)
    assert now is not None  # `emptied` has lists
    out = _out_of_bounds(made, now, then, settings)
    if out is not None:
        return Learned(False, out, None, None)
    within = (
        f"assignment error {now.assignment_error:.4g} ({then.assignment_error:.4g} when trained), "
        f"imbalance {now.imbalance:.3f} ({then.imbalance:.3f}), recall {now.recall:.4f} ({then.recall:.4f})"
    )
    return Learned(True, f"within the bounds: {within}", then, now)


def _too_far(error: float, then: TrainingFigures, squared: float, settings: IndexSettings) -> str | None:
    most = settings.retrain_max_error
    if error <= most * then.assignment_error + _ROUNDING * squared:
        return None
    return f"assignment error {error:.4g}, more than {most:g} times {then.assignment_error:.4g} when trained"


def _out_of_bounds(made: Trial, now: TrainingFigures, then: TrainingFigures, settings: IndexSettings) -> str | None:
    """The bound that a filled and tuned index exceeds, with both figures; None: it is within all of them."""
    if now.imbalance > settings.retrain_max_imbalance * then.imbalance:
        most = settings.retrain_max_imbalance
        return f"imbalance {now.imbalance:.3f}, more than {most:g} times {then.imbalance:.3f} when trained"
    if now.recall < then.recall - settings.retrain_max_recall_loss:
        at = f"nprobe {then.nprobe}" + (f" and refine factor {then.refine_factor}" if then.refine_factor else "")
        lost = settings.retrain_max_recall_loss
        return f"recall {now.recall:.4f}, more than {lost:g} below {then.recall:.4f} when trained, at {at}"
    if made.tuned.point.recall < settings.target_recall <= then.recall:
        reached = f"{made.tuned.point.recall:.4f}, {then.recall:.4f} when trained"
        return f"target recall {settings.target_recall:g} is out of reach: {reached}"
    over = refused(made, settings)
    return None if over is None else f"bytes: {over.came}, {then.rows:,} rows when trained"


def _recall_at(made: Trial, nprobe: int, refine_factor: int) -> float:
    """recall@k that a reader gets at a setting, of the kind of queries that has the least."""
    point = made.tuned.point
    if (point.nprobe, point.refine_factor) == (nprobe, refine_factor):
        return point.recall
    index = replace(made.index, nprobe=nprobe, refine_factor=refine_factor)
    return least(made.queries, recalls(index, made.queries))
