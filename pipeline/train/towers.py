"""A catalog as something to learn from: its products that have both a text and a photo, photos decoded once and kept
small in memory.

What a run would reject is left out here and counted by the same reasons.
"""

from __future__ import annotations

import functools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from blake3 import blake3

from encoders.networks.pixels import resize
from encoders.photos.decode import PhotoError, decode
from encoders.photos.foreign import naming
from encoders.training.pairs import Pair
from encoders.training.towers import photo_side
from encoders.training.trainer import Lessons as LearnedFrom
from encoders.training.trainer import Trained, TrainSettings, train
from foundation.allocator import keep_memory
from foundation.arrays import Photo
from foundation.errors import InputError
from foundation.liveness import beat
from pipeline.catalog.clicks import read_clicks
from pipeline.catalog.stage_columns import ID, PHOTOS, REJECT
from pipeline.config.encoding import photo_limits
from pipeline.config.sections import CatalogConfig, Embedding, RunSettings
from pipeline.engine.progress import Progress
from pipeline.engine.watchdog import training_watchdog
from pipeline.photos.photos import expect, fetch
from pipeline.photos.root import image_root, photo_root
from pipeline.plan.unit_rows import duplicates_of, rows_of, texts_of
from pipeline.plan.units import Plan, Unit
from pipeline.preflight.check import preflight
from pipeline.train.clicks import Products, click_lessons, snapshot_hits
from pipeline.train.synonyms import read_rules

# Photos are kept a little larger than the model takes them, so that a random crop need not enlarge.
_ROOM = 1.25
_MOST_BYTES = 8 * 2**30  # 36,000 photos for a model of 224 pixels


@dataclass
class Lessons:
    """The pairs of a catalog, and why other rows or photos gave none."""

    pairs: list[Pair] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    without: set[str] = field(default_factory=set)  # ids of products that gave no pair

    def products(self) -> Products:
        """The first pair of each product."""
        first: dict[str, Pair] = {}
        for pair in self.pairs:
            first.setdefault(pair.group, pair)
        return Products(first, self.without - first.keys())


def train_on_catalog(
    settings: RunSettings,
    training: TrainSettings,
    model: str,
    out: Path,
    clicks: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Trained, dict[str, int]]:
    """Train `model` (a folder, or a name that `vitrine models pull` made) on the catalog of `settings` into `out`, and
    on the log `clicks` where one is given.

    The other value counts by reason what catalog and log have that nothing was learned from.
    """
    keep_memory()  # before torch is imported
    embedding, limits = settings.embedding, settings.limits
    _refuse_roles(embedding.catalog)
    log = None if clicks is None else read_clicks(clicks, embedding.catalog.max_text_chars)
    rules = read_rules(training.synonyms)
    with training_watchdog(limits.stall_minutes, out):
        plan = preflight(settings, "train", model=model).plan
        embedding = plan.reading(embedding)
        lessons = catalog_lessons(embedding, plan, photo_side(model), limits.photo_threads, progress)
        chosen, left_out = None, dict(sorted(lessons.left_out.items()))
        if log is not None:
            hits_of = snapshot_hits(settings.store) if training.hard_negatives else None
            chosen, more = click_lessons(log, lessons.products(), training, hits_of, progress)
            left_out |= more
        learned = LearnedFrom(lessons.pairs, chosen, rules)
        trained = train(learned, model, out, training, embedding.encoders.device, progress)
    return trained, left_out


def catalog_lessons(
    embedding: Embedding, plan: Plan, photo_side: int, photo_threads: int, progress: Progress | None = None
) -> Lessons:
    """Every photo of a product with each of its texts: the columns of `catalog.text`, one by one.

    `photo_side` is the shorter side, in pixels, that the model takes. InputError when the photos exceed the memory that
    is set aside for them.
    """
    lessons, done = Lessons(), 0
    kept_side = round(photo_side * _ROOM)
    with ThreadPoolExecutor(photo_threads) as pool:
        for unit in plan.units:
            _read(unit, embedding, kept_side, pool, lessons)
            if lessons.bytes > _MOST_BYTES:
                came = f"{lessons.bytes:,} bytes after {done + unit.rows:,} of {plan.rows:,} rows"
                fix = "train on some of the files (catalog.path=...), a few ten thousand products are plenty"
                raise InputError(f"photos of at most {_MOST_BYTES:,} bytes at {kept_side} pixels", came, fix)
            done += unit.rows
            if progress is not None:
                progress("read", done, plan.rows)
    return lessons


def _refuse_roles(catalog: CatalogConfig) -> None:
    if not catalog.text or catalog.image is None:
        came = f"catalog.text={list(catalog.text)}, catalog.image={catalog.image}"
        raise InputError("columns of texts and of photos", came, "name both: training learns which belong together")


def _read(unit: Unit, embedding: Embedding, side: int, pool: ThreadPoolExecutor, lessons: Lessons) -> None:
    rows = rows_of(unit, embedding.catalog, embedding.shards, duplicates_of(unit))
    texts = texts_of(unit, embedding)
    root = photo_root(image_root(embedding.catalog.image_root, embedding.catalog.path), embedding.catalog)
    limits = photo_limits(embedding.catalog)
    wanted: list[tuple[str, int, tuple[str, ...], dict[str, Any]]] = []
    for row, words in zip(rows.select([ID, PHOTOS, REJECT]).to_pylist(), texts, strict=True):
        if row[REJECT] or not words or not row[PHOTOS]:
            lessons.left_out[row[REJECT] or ("no_text" if not words else "no_photo")] += 1
            lessons.without.update({row[ID]} - {None})
            continue
        wanted += [(row[ID], number, words, photo) for number, photo in enumerate(row[PHOTOS])]

    expect(pa.array([photo["path"] for *_, photo in wanted], pa.string()), root)

    def small(photo: dict[str, Any]) -> tuple[Photo, str] | PhotoError:
        beat()
        try:
            raw = fetch(photo, root, limits)
            with naming(photo["path"], photo["bytes"]):
                return _shrunk(decode(raw, limits), side), blake3(raw).hexdigest()
        except PhotoError as err:
            return err

    for (name, number, words, _), found in zip(wanted, pool.map(small, [photo for *_, photo in wanted]), strict=True):
        if isinstance(found, PhotoError):
            lessons.left_out[str(found.code)] += 1
            lessons.without.add(name)
            continue
        photo, digest = found
        shown = functools.partial(_same, photo)
        lessons.pairs.append(Pair(f"{name}/{number}", words, shown, name, digest, kin=words[0].casefold()))
        lessons.bytes += photo.nbytes


def _same(photo: Photo) -> Photo:
    return photo


def _shrunk(photo: Photo, side: int) -> Photo:
    """(h, w, 3) uint8 whose shorter side is at most `side`."""
    height, width = photo.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return photo
    return resize(photo, max(1, round(height * scale)), max(1, round(width * scale)), "bicubic")
