"""A catalog as something that a fusion learns from: its products that have both a text and a photo, encoded once by the
towers as a run encodes them.

What a run would reject is left out here and counted by the same reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.base import ImageEncoder, TextEncoder, load_image, load_text
from encoders.fusion.learned.network import learned_of
from encoders.fusion.load import Before, fused_towers
from encoders.photos.decode import PhotoLimits
from encoders.training.fusion_lessons import FusionLessons, Halves, asked_of
from encoders.training.fusion_trainer import FusionTask, FusionTrainSettings, TrainedFusion, train_fusion
from foundation.allocator import keep_memory
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError, VitrineError
from foundation.identity import identity_of
from foundation.liveness import computing
from foundation.reasons import Reason
from pipeline.catalog import stage_columns as col
from pipeline.catalog.stage_columns import with_columns
from pipeline.config.encoding import photo_limits, towers
from pipeline.config.sections import Embedding, RunSettings
from pipeline.embed.earlier.reuse import empty_vectors
from pipeline.embed.encode import encode_photos, encode_texts
from pipeline.embed.fingerprints import fingerprint_rows, shard_name, stamp_photos, text_fingerprints
from pipeline.embed.states import CHUNK, chunks
from pipeline.embed.vectors import vectors_of
from pipeline.engine.progress import Progress
from pipeline.engine.watchdog import training_watchdog
from pipeline.photos.root import Root, photo_root
from pipeline.plan.unit_rows import duplicates_of, rows_of, texts_of
from pipeline.plan.units import Plan, Unit
from pipeline.preflight.check import preflight

MOST_BYTES = 8 * 2**30  # of the towers' outputs: some 15,000 products of 256 patches of 768 numbers, if states are read
Stamps = dict[int, pa.ChunkedArray]  # number of a unit -> the stamps of its rows' photos, see fingerprints.py


@dataclass
class _Reading:
    """What reading a catalog goes through: both encoders, where photos are, and what came of it so far."""

    embedding: Embedding
    text: TextEncoder
    image: ImageEncoder
    root: Root
    limits: PhotoLimits
    pool: ThreadPoolExecutor
    settings: FusionTrainSettings
    states: bool
    lessons: FusionLessons
    before: Before
    left_out: Counter[str]


def train_fusion_on_catalog(
    settings: RunSettings, training: FusionTrainSettings, out: Path, progress: Progress | None = None
) -> tuple[TrainedFusion, dict[str, int]]:
    """Train a fusion of the type that `fusion` names for the encoders of `settings`, on their catalog, into `out`.

    The other value counts by reason the rows that nothing was learned from; none where `out` was already there.
    """
    keep_memory()  # before torch is imported
    embedding, limits = settings.embedding, settings.limits
    spec = learned_of(embedding.fusion)
    text, image = fused_towers(embedding.fusion, *towers(embedding))
    if text is None or image is None:
        raise InputError("a text and a photo encoder", "one of the two is null", "name both: a fusion joins them")
    left_out: Counter[str] = Counter()
    with training_watchdog(limits.stall_minutes, out):
        plan = preflight(settings, "train fusion").plan
        embedding = plan.reading(embedding)
        source, stamps = _source(embedding, plan, progress)
        task = FusionTask(spec, text, image, source, training, embedding.encoders.device)

        def lessons() -> FusionLessons:
            with ThreadPoolExecutor(limits.photo_threads) as pool:
                return _lessons(_reading(embedding, training, plan, pool, left_out), plan, stamps, progress)

        trained = train_fusion(task, lessons, out, progress)
    return trained, dict(sorted(left_out.items()))


def _source(embedding: Embedding, plan: Plan, progress: Progress | None) -> tuple[str, Stamps]:
    """64 hex digits of the ids, texts and photos that are learned from, in order, wherever and however they are stored;
    and which files the photos were.

    A photo is told by its fingerprint, which `catalog.image_identity` defines, as in the names of shards.
    """
    catalog, parts, stamps, done = embedding.catalog, [], Stamps(), 0
    root = photo_root(plan.image_root, catalog)
    for unit in plan.units:
        rows = fingerprint_rows(rows_of(unit, catalog, embedding.shards, duplicates_of(unit)), catalog, root)
        stamps[unit.number] = rows.column(col.STAMPS)
        named = {
            "id": rows.column(col.ID),
            "reject": rows.column(col.REJECT),
            "text": rows.column(col.TEXT_FINGERPRINT),
            "texts": text_fingerprints(pa.array(map(repr, texts_of(unit, embedding)), pa.string())),
            "photos": rows.column(col.PHOTO_FINGERPRINT),
        }
        parts.append(pa.table(named))
        done += unit.rows
        if progress is not None:
            progress("fingerprint", done, plan.rows)
    limits = [catalog.max_photo_bytes, catalog.max_photo_pixels]
    return identity_of({"rows": shard_name("", pa.concat_tables(parts)), "photo_limits": limits}), stamps


def _reading(
    embedding: Embedding, training: FusionTrainSettings, plan: Plan, pool: ThreadPoolExecutor, left_out: Counter[str]
) -> _Reading:
    encoders = embedding.encoders
    if encoders.text is None or encoders.image is None:
        raise TypeError("expected both encoders")
    with computing():
        text, image = load_text(encoders.text, encoders.device), load_image(encoders.image, encoders.device)
    limits, states = photo_limits(embedding.catalog), embedding.fusion.reads_states
    lessons, before = FusionLessons(training.variants), Before(embedding.fusion, *towers(embedding))
    root = photo_root(plan.image_root, embedding.catalog)
    return _Reading(embedding, text, image, root, limits, pool, training, states, lessons, before, left_out)


def _lessons(reading: _Reading, plan: Plan, stamps: Stamps, progress: Progress | None) -> FusionLessons:
    done = 0
    for unit in plan.units:
        _read(unit, stamps[unit.number], reading)
        done += unit.rows
        if progress is not None:
            progress("read", done, plan.rows)
    return reading.lessons


def _read(unit: Unit, stamps: pa.ChunkedArray, reading: _Reading) -> None:
    """Add the products of a unit, chunk by chunk."""
    embedding = reading.embedding
    table = rows_of(unit, embedding.catalog, embedding.shards, duplicates_of(unit))
    table = stamp_photos(with_columns(table, **{col.STAMPS: stamps}))
    table = empty_vectors(table, reading.text.dim, reading.image.dim)
    texts = texts_of(unit, embedding)
    for start, rows in chunks(table, CHUNK):
        _add(table.slice(start, rows), texts[start : start + rows], reading)
        lessons = reading.lessons
        if lessons.bytes > MOST_BYTES:
            fit = len(lessons.ids) * MOST_BYTES // lessons.bytes
            raise InputError(
                f"at most {MOST_BYTES:,} bytes of what the encoders give, of about {fit:,} products",
                f"{lessons.bytes:,} bytes of {len(lessons.ids):,} products, and more to come",
                "train on some of the catalog's files (catalog.path=...), or lower train_fusion.variants",
            )


def _add(batch: pa.Table, texts: Sequence[tuple[str, ...]], reading: _Reading) -> None:
    lessons = reading.lessons
    joined = batch.column(col.TEXT).to_pylist()
    table, of_texts = encode_texts(batch, reading.text, reading.states)
    photos = reading.root, reading.limits, reading.pool
    table, of_photos = encode_photos(table, reading.image, *photos, reading.states)
    text, has_text = vectors_of(table, col.TEXT_VECTOR, reading.text.dim)
    image, has_image = vectors_of(table, col.IMAGE_VECTOR, reading.image.dim)
    _refuse_changed(table)
    _count(table, has_text, has_image, reading.left_out)
    rows = np.flatnonzero(has_text & has_image)
    ids = table.column(col.ID).to_pylist()
    how = reading.settings
    query_texts = [
        query
        for row in rows.tolist()
        for query in asked_of(ids[row], texts[row], how.variants, how.drop_words, how.seed)
    ]
    lessons.ids += [ids[row] for row in rows.tolist()]
    lessons.texts += [joined[row] for row in rows.tolist()]
    lessons.query_texts += query_texts
    before = reading.before
    lessons.text.append(before.rows("text", text[rows]))
    lessons.image.append(before.rows("image", image[rows]))
    if not reading.states:
        lessons.queries.append(before.query("text", reading.text.encode(query_texts, "query")))
        return
    found = reading.text.encode_states(query_texts, "query")
    lessons.queries.append(before.query("text", found.vectors))
    lessons.query_states += _halves([[states] for states in found.states])
    lessons.text_states += _halves([of_texts[row] for row in rows.tolist()])
    lessons.image_states += _halves([of_photos[row] for row in rows.tolist()])


def _refuse_changed(table: pa.Table) -> None:
    """VitrineError where a photo is another file than the one that the training's identity was made of."""
    changed = pc.equal(table.column(col.IMAGE_FAULT), Reason.IMAGE_CHANGED.value)
    details = table.filter(pc.fill_null(changed, False)).column(col.IMAGE_DETAIL).to_pylist()
    if details:
        more = f", and {len(details) - 1:,} more of the next rows" if len(details) > 1 else ""
        raise VitrineError(
            "photos that stay as they were when the training began to read the catalog",
            f"{details[0]}{more}",
            "start again when nothing writes to the photos",
        )


def _halves(states: Sequence[Sequence[Vectors]]) -> list[Halves]:
    """Of each row (length, s) float16: its arrays one after the other, cut to what a half can hold."""
    most = np.finfo(np.float16).max
    return [np.concatenate(arrays).clip(-most, most).astype(np.float16) for arrays in states]


def _count(table: pa.Table, has_text: Mask, has_image: Mask, left_out: Counter[str]) -> None:
    """Add why rows are left out."""
    faults = zip(
        *(table.column(name).to_pylist() for name in (col.REJECT, col.TEXT_FAULT, col.IMAGE_FAULT)), strict=True
    )
    for (reject, text_fault, image_fault), text, image in zip(faults, has_text, has_image, strict=True):
        if not text or not image:
            fault = text_fault or "no_text" if not text else image_fault or "no_photo"
            left_out[reject or fault] += 1
