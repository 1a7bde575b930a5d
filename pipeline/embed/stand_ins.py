"""What stands in for a modality that a product lacks, where the fusion adds two towers, or for a column that one of
joined text towers reads: it belongs to the towers, so a run measures it on a sample of its catalog, once. The runs
after it keep what the parent has: another value would be another fusion, and every index would be built again. The gate
`missing_shares` tells when what stands in for a modality no longer fits.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.base import ImageEncoder, TextEncoder, load_image, load_text
from encoders.fusion.fields import FieldSample, FieldsMissing, measured_fields
from encoders.fusion.members import Members
from encoders.fusion.missing import FEWEST, Missing, Sample, measured_missing
from encoders.training.fusion_lessons import asked_of
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError
from lookup.store.store import Store
from pipeline.catalog.stage_columns import ID, IMAGE_VECTOR, PARTITION, REJECT, TEXT_VECTOR
from pipeline.config.encoding import fusion_of, photo_limits
from pipeline.config.published import measured_field
from pipeline.config.sections import Embedding
from pipeline.embed.earlier.earlier_vectors import EarlierVectors, earlier_vectors
from pipeline.embed.earlier.reuse import fill_vectors
from pipeline.embed.encode import encode_photos, encode_texts
from pipeline.embed.fingerprints import fingerprint_rows
from pipeline.embed.shard_files import noted, unfinished
from pipeline.embed.vectors import vectors_of
from pipeline.engine.execution import Execution
from pipeline.photos.root import photo_root
from pipeline.plan.unit_rows import duplicates_of, rows_of, texts_of
from pipeline.plan.units import Plan

_log = logging.getLogger(__name__)
Result = TypeVar("Result")
_MOST_ROWS = 2048  # that are encoded for it
_MOST_UNITS = 64  # that they are drawn from, at random: each has to be read
_DROPPED = (0.0, 0.25, 0.5, 0.75)  # of a title's words, in turn: queries are short or long
_LEAST, _MOST = 0.05, 0.6  # share of products that lack a modality, as it is balanced for


@dataclass(frozen=True)
class Drawn:
    """Some rows of a unit, as they enter the encoders, and what somebody might ask for each; None: no text."""

    rows: pa.Table
    asked: list[str | None]


def drawn(embedding: Embedding, plan: Plan, most: int) -> Iterator[Drawn]:
    """About `most` rows that are no rejects, at random over units of the whole plan; the same for the same plan."""
    draw = np.random.default_rng(0)
    units = [plan.units[number] for number in sorted(draw.permutation(len(plan.units))[:_MOST_UNITS].tolist())]
    total = sum(unit.rows for unit in units)
    for unit in units:
        table, texts = (
            rows_of(unit, embedding.catalog, embedding.shards, duplicates_of(unit)),
            texts_of(unit, embedding),
        )
        good = pc.is_null(table.column(REJECT))
        if unit.category:
            good = pc.and_(good, pc.equal(table.column(PARTITION), unit.category))
        able = np.flatnonzero(good.combine_chunks().to_numpy(zero_copy_only=False))
        quota = min(len(able), math.ceil(most * unit.rows / total))
        rows: list[int] = np.sort(draw.choice(able, quota, replace=False)).tolist()
        picked = table.take(pa.array(rows, pa.int64()))
        names = picked.column(ID).to_pylist()
        yield Drawn(picked, [_query_of(name, texts[row], row) for name, row in zip(names, rows, strict=True)])


def _query_of(product: str, texts: tuple[str, ...], number: int) -> str | None:
    """Words of the first text, mostly a title."""
    if not texts or not texts[0].split():
        return None
    return asked_of(product, texts[:1], 1, _DROPPED[number % len(_DROPPED)], 0)[0]


def measured(
    store: Store, embedding: Embedding, plan: Plan, key: str, execution: Execution, earlier: str
) -> tuple[Embedding, dict[str, int]]:
    """`embedding` with what stands in measured on `plan`'s products, and what it was measured on, counted.

    It is noted in the run's folder: the run that resumes this one goes on with it. `key` is that of the run's plan,
    `earlier` names what earlier shards offer.
    """
    field_name, counts = measured_field(embedding), dict[str, int]()
    measure, kind = _MEASURES[field_name]
    missing: Missing | FieldsMissing | None = _noted_before(store, key, execution.run, kind, field_name)
    resumed = missing is not None
    if missing is None:
        offered = earlier_vectors(store.root, earlier)
        missing, counts = aside(lambda: measure(embedding, plan, execution, offered))
    note = {field_name: missing.model_dump(mode="json")}
    store.put_bytes(json.dumps(note).encode(), f"runs/{execution.run}/stand_ins.json")
    fusion = embedding.fusion.model_copy(update={field_name: missing})
    return replace(embedding, fusion=fusion), {**counts, "resumed": int(resumed)}


def aside(work: Callable[[], Result]) -> Result:
    """What `work` returns, done in a thread of its own, as units are encoded in theirs: a network that the main thread
    was the first to use computes otherwise, with other threads, in those of the runner.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="measure") as pool:
        return pool.submit(work).result()


def _noted_before(
    store: Store, key: str, run: str, kind: type[Missing] | type[FieldsMissing], name: str
) -> Missing | FieldsMissing | None:
    """What the run that this one resumes has measured. Of a run that a gate refused it is measured anew."""
    before = unfinished(store, key, run)
    if before is None or noted(store, f"runs/{before}/run.json", "status") == "refused":
        return None
    found = noted(store, f"runs/{before}/stand_ins.json", name)
    return None if found is None else kind.model_validate(found)


@dataclass
class _Seen:
    """What the towers made of the rows that were drawn."""

    text: list[Vectors] = field(default_factory=list)
    image: list[Vectors] = field(default_factory=list)
    has_text: list[Mask] = field(default_factory=list)
    has_image: list[Mask] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)


def _measured(
    embedding: Embedding, plan: Plan, execution: Execution, earlier: EarlierVectors
) -> tuple[Missing, dict[str, int]]:
    spec, encoders = embedding.fusion, embedding.encoders
    if encoders.text is None or encoders.image is None or spec.measure_weight is None:
        raise TypeError("expected two encoders, and a fusion that has to be measured")
    text, image = load_text(encoders.text, encoders.device), load_image(encoders.image, encoders.device)
    seen = _encoded(embedding, plan, (text, image), execution, earlier)
    has_text, has_image = np.concatenate(seen.has_text), np.concatenate(seen.has_image)
    both = np.flatnonzero(has_text & has_image)
    numbers = {int(row): number for number, row in enumerate(both)}
    asked = [(query, numbers[row]) for row, query in enumerate(seen.asked) if query is not None and row in numbers]
    queries = text.encode([query for query, _ in asked], "query")
    of = np.array([number for _, number in asked], dtype=np.int64)
    finite = np.isfinite(queries).all(axis=1)
    fusion = fusion_of(embedding)
    texts = fusion.before("text", np.concatenate(seen.text)[both])
    photos = fusion.before("image", np.concatenate(seen.image)[both])
    sample = Sample(texts, photos, fusion.asked("text", queries[finite]), of[finite])
    lacking = _share(~has_image[has_text]), _share(~has_text[has_image])
    counts = {"products": len(both), "queries": int(finite.sum()), "rows": len(has_text)}
    if len(both) < FEWEST:
        _log.warning(
            "what stands in for a missing photo or text is measured on %d products that have both, of %d rows drawn: "
            "expected %d or more; fewer give one constant for all queries, and the gate on missing shares judges it",
            len(both), len(has_text), FEWEST,
        )  # fmt: skip
    return measured_missing(sample, spec.measure_weight, lacking), counts


def _measured_fields(
    embedding: Embedding, plan: Plan, execution: Execution, earlier: EarlierVectors
) -> tuple[FieldsMissing, dict[str, int]]:
    spec = embedding.encoders.text
    if spec is None:
        raise TypeError("expected a text encoder that reads columns by themselves")
    text = load_text(spec, embedding.encoders.device)
    seen = _encoded(embedding, plan, (text, None), execution, earlier)
    has_text = np.concatenate(seen.has_text)
    numbers = {int(row): number for number, row in enumerate(np.flatnonzero(has_text))}
    asked = [(query, numbers[row]) for row, query in enumerate(seen.asked) if query is not None and row in numbers]
    queries = text.encode([query for query, _ in asked], "query")
    of = np.array([number for _, number in asked], dtype=np.int64)
    finite = np.isfinite(queries).all(axis=1)
    sample = FieldSample(np.concatenate(seen.text)[has_text], queries[finite], of[finite])
    members = tuple(one.dim for one in spec.joined)
    shares = embedding.fusion.shares.get("text") or (1 / len(members),) * len(members)
    counts = {"products": int(has_text.sum()), "queries": int(finite.sum()), "rows": len(has_text)}
    return measured_fields(sample, Members(members, shares), (_LEAST, _MOST)), counts


_MEASURES: dict[str, tuple[Callable[..., Any], type[Missing] | type[FieldsMissing]]] = {
    "missing": (_measured, Missing),
    "text_missing": (_measured_fields, FieldsMissing),
}


def _share(lacking: Mask) -> float:
    return float(np.clip(lacking.mean() if len(lacking) else 0, _LEAST, _MOST))


def _encoded(
    embedding: Embedding,
    plan: Plan,
    towers: tuple[TextEncoder, ImageEncoder | None],
    execution: Execution,
    earlier: EarlierVectors,
) -> _Seen:
    seen, done, (text, image) = _Seen(), 0, towers
    image_dim = None if image is None else image.dim
    limits, root = photo_limits(embedding.catalog), photo_root(plan.image_root, embedding.catalog)
    with ThreadPoolExecutor(execution.photo_threads, thread_name_prefix="photos") as pool:
        for one in drawn(embedding, plan, _MOST_ROWS):
            rows = fingerprint_rows(one.rows, embedding.catalog, root)
            table = encode_texts(fill_vectors(rows, text.dim, image_dim, earlier)[0], text).table
            table = encode_photos(table, image, root, limits, pool).table
            texts, has_text = vectors_of(table, TEXT_VECTOR, text.dim)
            images, has_image = vectors_of(table, IMAGE_VECTOR, image_dim)
            seen.text.append(texts)
            seen.image.append(images)
            seen.has_text.append(has_text)
            seen.has_image.append(has_image)
            seen.asked += one.asked
            done += len(one.asked)
            if execution.progress is not None:
                execution.progress("measure", done, min(plan.rows, _MOST_ROWS))
    return seen


def refuse_anew(category: str | None) -> None:
    """InputError for one category measured anew: the others would stand beside it with other scores."""
    if category is not None:
        came = f"--measure with --category {category!r}"
        fix = "leave --category out: every index is built again"
        raise InputError("--measure with the whole catalog, whose products share what is measured", came, fix)
