"""`vitrine train head`: a head learned from the shards of the published snapshot, its ridge and length chosen on groups
that it did not see.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from encoders.base import EncoderSpec, Modality
from encoders.heads.base import HeadSpec, Map, head_class
from encoders.heads.folder import Figure, Groups, HeadFolder, HeldOut, Settings, write_head
from encoders.heads.held_out import Trials, chosen, measure, widths_of
from encoders.models.folders import digest_of
from encoders.training.loop import RECORD, finished, working
from foundation.allocator import keep_memory
from foundation.disk import sync
from foundation.errors import GateError, InputError
from foundation.identity import identity_of
from foundation.liveness import computing
from lookup.identities import refuse_other_encoder
from lookup.store.store import Store
from pipeline.config.sections import RunSettings
from pipeline.engine.progress import Progress
from pipeline.engine.watchdog import training_watchdog
from pipeline.train.head_groups import Counts, GroupFiles
from pipeline.train.head_rows import Grouping, HeadRows, by_attribute, by_clicks, by_text

VERSION = 1  # raised when the same settings make another head
_SURE = 2  # standard errors that a head has to win by
FEWEST = 8  # groups of two products or more, of which anything can be held out
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadTask:
    """What is asked for. `dim` and `ridge` None: chosen on held-out groups; `force`: written however it does there."""

    type: str
    tower: Modality | None = None
    dim: int | None = None
    ridge: float | None = None
    groups: str | None = None
    clicks: Path | None = None
    seed: int = 0
    force: bool = False


@dataclass(frozen=True)
class TrainedHead:
    """What came of it: a folder, and what that says of itself."""

    folder: Path
    settings: Settings
    seconds: float


def train_head(settings: RunSettings, task: HeadTask, out: Path, progress: Progress | None = None) -> TrainedHead:
    """Learn the head that `task` describes on what the store of `settings` publishes, and write it to `out`, by rename.

    Nothing is done where `out` already holds this very head. InputError for what cannot be learned, GateError where
    it finds held-out groups no better than the tower alone, LockedError when another process trains the same `out`.
    """
    keep_memory()
    spec = head_class(task.type)(task.tower)
    rows = _rows(settings, spec, task)
    identity = _identity(rows, spec, task)
    if finished(out, identity):
        return _told(out)
    with training_watchdog(settings.limits.stall_minutes, out), computing(), working(out) as work:
        began = time.monotonic()
        learned = _learned(rows, spec, task, work, progress)
        partial = work / "head"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_head(partial, learned.settings, learned.maps)
        _publish(partial, out, identity, round(time.monotonic() - began, 1))
    return _told(out)


@dataclass(frozen=True)
class _Learned:
    settings: Settings
    maps: dict[Modality, Map]


def _learned(rows: HeadRows, spec: HeadSpec, task: HeadTask, work: Path, progress: Progress | None) -> _Learned:
    shutil.rmtree(work / "rows", ignore_errors=True)
    files = GroupFiles(rows, work / "rows", task.seed, progress)
    counts = files.counts()
    _refuse_few(counts, spec, rows.grouping)
    parts, sample = files.sums(counts.able, progress)
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.plus(part)
    full = spec.rank(whole, rows.dims)
    tried = min(spec.rank(whole.without(part), rows.dims) for part in parts)
    _refuse_long(task.dim, full)
    ridges = spec.ridges if task.ridge is None else (task.ridge,)
    held_out = measure(Trials(spec, parts, rows.dims, ridges, widths_of(full, tried, task.dim), sample))
    best = chosen(held_out, task.dim)
    _refuse_worse(held_out, best, task)
    fitted = spec.fit(whole, rows.dims, best.ridge or 0.0)
    maps = {name: one.cut(best.dim) for name, one in fitted.items()}
    towers = {name: rows.tower(name) for name in maps}
    settings = Settings(
        type=spec.type,
        version=spec.version,
        ridge=best.ridge or 0.0,
        towers={name: tower.identity for name, tower in towers.items()},
        tower_parts={name: tower.parts for name, tower in towers.items()},
        shapes={name: (rows.dims[name], best.dim) for name in maps},
        groups=Groups(by=rows.grouping.by, rows=counts.rows, groups=counts.groups, shared=counts.shared),
        chosen=best,
        held_out=held_out,
        weights="",
    )
    return _Learned(settings, maps)


def _rows(settings: RunSettings, spec: HeadSpec, task: HeadTask) -> HeadRows:
    store = Store.open(settings.store)
    _, manifest = store.published()
    encoders, catalog = settings.embedding.encoders, settings.embedding.catalog
    if task.groups is not None and task.clicks is not None:
        raise InputError("--groups or --clicks", "both", "give one of them: a product is in one group")
    title = next(iter(catalog.text), None)
    if task.clicks is not None:
        grouping = by_clicks(task.clicks)
    elif task.groups is not None or title in manifest.attributes:
        grouping = by_attribute(manifest, task.groups or str(title))
    else:
        grouping = by_text()
    weighed = settings.embedding.fusion.shares
    rows = HeadRows(store, manifest, spec.reads, grouping, {one: weighed[one] for one in spec.reads if one in weighed})
    specs: dict[Modality, EncoderSpec | None] = {"text": encoders.text, "image": encoders.image}
    for modality in spec.reads:
        entry, mine = rows.entry(modality), specs[modality]
        if mine is None:
            its = f"encoders.{modality}"
            raise InputError(f"{its}: the encoder that a head is for", "null", "name it, or give another --tower")
        refuse_other_encoder(entry, mine, modality)
    return rows


def _identity(rows: HeadRows, spec: HeadSpec, task: HeadTask) -> str:
    """64 hex digits: equal for trainings that end in the same head."""
    clicks = None if task.clicks is None else digest_of(task.clicks)
    asked = {"dim": task.dim, "ridge": task.ridge, "by": rows.grouping.by, "clicks": clicks, "seed": task.seed}
    kind = {"version": VERSION, "head": [spec.type, spec.version], "towers": list(spec.reads)}
    weighed = {"weights": rows.shares} if rows.shares else {}
    return identity_of({**kind, **asked, **weighed, "content": rows.manifest.content})


def _refuse_few(counts: Counts, spec: HeadSpec, grouping: Grouping) -> None:
    by = f"{counts.rows:,} products in {counts.groups:,} groups by {grouping.by}, {counts.shared:,} of two or more"
    if spec.both and counts.groups < FEWEST:
        raise InputError(f"{FEWEST} different products or more with a text and a photo", by, "give a larger catalog")
    if not spec.both and counts.shared < FEWEST:
        fix = "group by another column (--groups), by clicks (--clicks), or do without a head"
        raise InputError(f"{FEWEST} groups or more of two products or more each", by, fix)


def _refuse_long(dim: int | None, full: int) -> None:
    if dim is not None and dim > full:
        fix = "lower --dim, or leave it out: it is chosen on held-out groups"
        raise InputError(f"--dim of at most {full}, which is all that these groups tell apart", str(dim), fix)


def _refuse_worse(held_out: HeldOut, best: Figure, task: HeadTask) -> None:
    """GateError unless the head finds held-out groups better than the towers do as they are."""
    before, won, error = held_out.before, best.won, best.error
    if before is None or won is None or error is None or won > _SURE * error:
        return
    came = f"{best.recall:.3f} with {best.dim} dimensions, {won:+.3f} with a standard error of {error:.3f}"
    if task.force:
        _log.warning("held-out groups are found no better than without the head: %s", came)
        return
    raise GateError(
        f"held-out groups found better with the head than without: recall above {before.recall:.3f}",
        came,
        "do without a head, group by what looks alike (--groups, --clicks), or write it all the same: --force",
    )


def _publish(partial: Path, out: Path, identity: str, seconds: float) -> None:
    record = {"identity": identity, "result": {"seconds": seconds}}
    (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for file in partial.iterdir():
        sync(file)
    sync(partial)
    os.rename(partial, out)
    sync(out.parent)


def _told(out: Path) -> TrainedHead:
    """What a folder of a head says of itself."""
    settings = HeadFolder(str(out.absolute()), "--out").settings
    seconds = json.loads((out / RECORD).read_bytes())["result"]["seconds"]
    return TrainedHead(out, settings, seconds)
