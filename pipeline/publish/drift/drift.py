"""How a snapshot drifts from its parent, by partition and in all: one pass over the rows that may differ.

An unchanged night reads nothing. Memory holds 16 bytes of each such row of the partitions that are read at once, from
both snapshots: a million rows, or one partition that is larger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lookup.store.entries.drift import AttributeDrift, Drift
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.publish.drift.compare import Changes, Hashes, compare, repeats
from pipeline.publish.drift.rows import SAMPLED, Reading, Side, read_rows, read_vectors, sides

TEXTS, PHOTOS = "texts", "photos"  # by their fingerprints
LOOKS = "looks"  # of photos, by their vectors
_AT_ONCE = 1 << 20  # rows of partitions that are read together
_SAME_PHOTO = 0.99  # cosine of the vectors of a photo and of itself, written anew
_NO_VECTORS = "photos are not looked at: shards of the parent, or of this snapshot, have no vectors of photos"
_NO_IDS: Hashes = np.empty(0, np.uint64)

# What of the config decides a fingerprint: where it differs, so do all.
_DECIDES = {
    TEXTS: ("text", "max_text_chars", "null_words"),
    PHOTOS: ("image", "more_images", "image_identity", "version_column"),
}


@dataclass(frozen=True)
class Drifts:
    """The drift `of` each partition, and in `total`; `silent` says why texts, photos, or the looks of photos are not
    compared, `damaged` are files of the parent that cannot be read, whose rows are left out.
    """

    total: Drift
    of: Mapping[str, Drift]
    silent: Mapping[str, str]
    damaged: frozenset[str] = frozenset()


def drift_between(
    store: Store, before: Manifest, now: Manifest, partitions: frozenset[str] | None, look: float
) -> Drifts:
    """How `partitions`, by default all, drifted. Where more than the share `look` of the photos of one seem to have
    changed, their vectors tell whether they did: a photo that was written anew has another fingerprint.
    """
    old, new = sides(before.shards, now.shards)
    names = {one.name for manifest in (before, now) for one in manifest.partitions}
    wanted = sorted(names if partitions is None else names & partitions)
    silent = _silent(before, now)
    found: dict[str, Drift] = {}
    gone, fresh, damaged = [_NO_IDS], [_NO_IDS], set[str]()
    for some in _batches(wanted, old, new):
        every = {name: _one_in(max(old.counts(name)[0], new.counts(name)[0])) for name in some}
        then, here = read_rows(store, old, every, tolerant=True), read_rows(store, new, every, tolerant=False)
        damaged |= then.damaged
        if not (then.fingerprinted and here.fingerprinted):
            silent |= dict.fromkeys((TEXTS, PHOTOS), "shards of an earlier version have no fingerprints")
        for name in some:
            drift, changes = _drift(name, old, new, then, here)
            if changes is not None:
                gone.append(changes.gone)
                fresh.append(changes.new)
                if changes.photos_changed.size > look * drift.kept:
                    seen = None if LOOKS in silent else _seen(store, (old, new), name, changes.photos_changed, drift)
                    silent |= {} if seen else _not_seen(now, silent.get(LOOKS, _NO_VECTORS))
                    drift = seen or drift
            found[name] = drift
    moved = np.intersect1d(np.concatenate(gone), np.concatenate(fresh))
    return Drifts(_total(found, len(moved)), found, silent, frozenset(damaged))


def _batches(names: Sequence[str], old: Side, new: Side) -> Iterator[list[str]]:
    """Partitions that are read together."""
    some, rows = list[str](), 0
    for name in names:
        more = max(old.counts(name)[0], new.counts(name)[0])
        if some and rows + more > _AT_ONCE:
            yield some
            some, rows = [], 0
        some, rows = [*some, name], rows + more
    if some:
        yield some


def _one_in(rows: int) -> int:
    """A power of two: one in so many rows is sampled."""
    return 1 << max(0, (rows - 1) // SAMPLED).bit_length()


def _drift(name: str, old: Side, new: Side, then: Reading, here: Reading) -> tuple[Drift, Changes | None]:
    (may_before, before), (may_now, now) = old.counts(name), new.counts(name)
    alike = now - may_now
    if not may_before and not may_now:
        return Drift(before=before, now=now, kept=alike), None
    rows = then.rows[name], here.rows[name]
    changes = compare(*rows, alike)
    drift = Drift(
        before=alike + len(rows[0].ids),  # not what is damaged
        now=now,
        kept=alike + changes.kept,
        texts_changed=changes.texts_changed,
        photos_changed=changes.photos_changed.size,
        texts_repeated=changes.texts_repeated,
        attributes=changes.attributes,
    )
    return drift, changes


def _seen(store: Store, both: tuple[Side, Side], name: str, changed: Hashes, drift: Drift) -> Drift | None:
    """The drift with photos that did change, and how many more of them look like another's: by a sample's vectors. None
    where shards have none.
    """
    every = _one_in(changed.size)
    some = changed[changed % np.uint64(every) == 0]
    (then, before), (here, now) = (read_vectors(store, side, name, some) for side in both)
    if not some.size:
        return drift
    if then.shape != here.shape or not then.shape[1]:
        return None
    lengths = np.linalg.norm(then, axis=1) * np.linalg.norm(here, axis=1)
    alike = (then * here).sum(axis=1) >= _SAME_PHOTO * lengths
    same = (before == now) | (alike & (before != 0) & (now != 0))
    scale = changed.size / some.size
    return drift.model_copy(
        update={
            "photos_changed": round(scale * int((~same).sum())),
            "photos_repeated": round(scale * (repeats(now) - repeats(before))),
        }
    )


def _not_seen(now: Manifest, why: str) -> dict[str, str]:
    """What is silent where photos that have other fingerprints cannot be looked at. A time of a file decides nothing
    by itself: a copy has another.
    """
    found = {LOOKS: why}
    if now.config.get("catalog", {}).get("image_identity") == "stat":
        found[PHOTOS] = f"{why}, and catalog.image_identity=stat does not tell a photo that was copied from another one"
    return found


def _silent(before: Manifest, now: Manifest) -> dict[str, str]:
    then, here = (manifest.config.get("catalog", {}) for manifest in (before, now))
    found = {}
    for what, keys in _DECIDES.items():
        differing = [key for key in keys if then.get(key) != here.get(key)]
        if differing:
            told = "; ".join(f"catalog.{key} is {here.get(key)}, was {then.get(key)}" for key in differing)
            found[what] = f"{told}: every fingerprint is another"
    columns = [one.text.fields.get("fields") if one.text and one.text.by_field else None for one in (before, now)]
    if columns[0] != columns[1]:
        told = f"encoders.text.fields is {columns[1]}, was {columns[0]}"
        found.setdefault(TEXTS, f"{told}: every fingerprint is another")
    then_by, here_by = (one.image and one.image.identity for one in (before, now))
    if then_by != here_by:
        found[LOOKS] = "photos are not looked at: the image encoder is not the parent's"
    return found


def _total(found: Mapping[str, Drift], moved: int) -> Drift:
    """The sum. Of attributes the mean, by the products that are compared: no less than the distance of the whole."""
    counts = ("before", "now", "kept", "texts_changed", "photos_changed", "texts_repeated", "photos_repeated")
    sums = {name: sum(getattr(one, name) for one in found.values()) for name in counts}
    sums["kept"] += moved
    compared = max(1, sums["kept"] - moved)
    nulls: dict[str, float] = {}
    shifts: dict[str, float] = {}
    for drift in found.values():
        for one in drift.attributes:
            weight = drift.kept / compared
            nulls[one.name] = nulls.get(one.name, 0.0) + weight * one.nulls
            if one.shift is not None:
                shifts[one.name] = shifts.get(one.name, 0.0) + weight * one.shift
    attributes = tuple(AttributeDrift(name=name, nulls=n, shift=shifts.get(name)) for name, n in sorted(nulls.items()))
    return Drift(**sums, moved=moved, attributes=attributes)
