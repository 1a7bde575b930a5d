"""A catalog as something to learn from: its products that have both a text and a photo, photos decoded once and kept
small in memory.

What a run would reject is left out here and counted by the same reasons.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3

from encoders.base import Photo
from encoders.errors import InputError
from encoders.foreign import naming
from encoders.liveness import beat
from encoders.networks.pixels import resize
from encoders.photo import PhotoError, decode
from encoders.training.pairs import Pair
from encoders.training.towers import photo_side
from encoders.training.trainer import Trained, TrainSettings, train
from pipeline.allocator import keep_memory
from pipeline.catalog.pinned import unchanged
from pipeline.catalog.rows import read_unit
from pipeline.config import Config
from pipeline.config_sections import CatalogConfig
from pipeline.photos import fetch, image_root, photo_limits
from pipeline.plan import Plan, Unit
from pipeline.preflight.check import preflight
from pipeline.progress import Progress
from pipeline.watchdog import training_watchdog

# Photos are kept a little larger than the model takes them, so that a random crop need not enlarge.
_ROOM = 1.25
_MOST_BYTES = 8 * 2**30  # 36,000 photos for a model of 224 pixels


@dataclass
class Lessons:
    """The pairs of a catalog, and why other rows or photos gave none."""

    pairs: list[Pair] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


def train_on_catalog(
    config: Config, settings: TrainSettings, model: str, out: Path, progress: Progress | None = None
) -> tuple[Trained, dict[str, int]]:
    """Train `model` (a folder, or a name that `vitrine models pull` made) on the catalog of `config` into `out`.

    The other value counts by reason what the catalog has that nothing was learned from.
    """
    keep_memory()  # before torch is imported
    _refuse_roles(config.catalog)
    with training_watchdog(config.run.stall_minutes, out):
        plan = preflight(config, "train", model=model).plan
        lessons = catalog_lessons(config, plan, photo_side(model), progress)
        trained = train(lessons.pairs, model, out, settings, config.encoders.device, progress)
    return trained, dict(sorted(lessons.left_out.items()))


def catalog_lessons(config: Config, plan: Plan, photo_side: int, progress: Progress | None = None) -> Lessons:
    """Every photo of a product with each of its texts: the columns of `catalog.text`, one by one.

    `photo_side` is the shorter side, in pixels, that the model takes. InputError when the photos exceed the memory that
    is set aside for them.
    """
    lessons, done = Lessons(), 0
    kept_side = round(photo_side * _ROOM)
    with ThreadPoolExecutor(config.run.photo_threads) as pool:
        for unit in plan.units:
            _read(unit, config, kept_side, pool, lessons)
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


def _read(unit: Unit, config: Config, side: int, pool: ThreadPoolExecutor, lessons: Lessons) -> None:
    rows = rows_of(unit, config.catalog, config, duplicates_of(unit))
    texts = texts_of(unit, config)
    root = image_root(config.catalog.image_root, config.catalog.path)
    limits = photo_limits(config.catalog)
    wanted: list[tuple[str, int, tuple[str, ...], dict[str, Any]]] = []
    for row, words in zip(rows.select(["id", "photos", "reject"]).to_pylist(), texts, strict=True):
        if row["reject"] or not words or not row["photos"]:
            lessons.left_out[row["reject"] or ("no_text" if not words else "no_photo")] += 1
            continue
        wanted += [(row["id"], number, words, photo) for number, photo in enumerate(row["photos"])]

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
            continue
        photo, digest = found
        lessons.pairs.append(Pair(f"{name}/{number}", words, functools.partial(_same, photo), name, digest))
        lessons.bytes += photo.nbytes


def rows_of(unit: Unit, catalog: CatalogConfig, config: Config, duplicates: list[int]) -> pa.Table:
    """The rows of a unit with the columns that `catalog` names, as a run reads them."""
    groups = range(unit.first_group, unit.end_group)
    limit = config.shards.max_unit_bytes
    with unchanged(unit.path, unit.pin):
        return read_unit(unit.path, groups, unit.first_row, duplicates, catalog, limit, unit.spellings)


def texts_of(unit: Unit, config: Config) -> list[tuple[str, ...]]:
    """For each row, what its text columns say, without repetitions."""
    columns = list(_text_columns(unit, config))
    return [tuple(dict.fromkeys(text for text in row if text)) for row in zip(*columns, strict=True)]


def _text_columns(unit: Unit, config: Config) -> Iterator[list[str | None]]:
    for name in config.catalog.text:
        only = {"text": (name,), "image": None, "more_images": None, "attributes": (), "prices": ()}
        table = rows_of(unit, config.catalog.model_copy(update=only), config, [])
        yield table.column("text").to_pylist()


def duplicates_of(unit: Unit) -> list[int]:
    """The rows of a unit whose id came before."""
    duplicates: list[int] = np.frombuffer(unit.duplicates, np.int32).tolist()
    return duplicates


def _same(photo: Photo) -> Photo:
    return photo


def _shrunk(photo: Photo, side: int) -> Photo:
    """(h, w, 3) uint8 whose shorter side is at most `side`."""
    height, width = photo.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return photo
    return resize(photo, max(1, round(height * scale)), max(1, round(width * scale)), "bicubic")
