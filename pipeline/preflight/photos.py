"""Photos that are not where the catalog says, from where they could be had, and those that cannot be decoded."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from encoders.photos.decode import PhotoError, PhotoLimits, decode
from encoders.photos.foreign import heard
from encoders.photos.paths import PHOTO_NAME, is_web
from foundation.errors import InputError
from foundation.reasons import Reason, fix_of
from pipeline.config.encoding import fusion_of, photo_limits
from pipeline.embed.photo_batches import placed
from pipeline.photos.archives import all_in, archives_of, ending_of, is_archives
from pipeline.photos.hosts_to_allow import refused_hosts
from pipeline.photos.inline import is_inline, is_photo_text
from pipeline.photos.members import Members
from pipeline.photos.photos import fetch, photo_facts
from pipeline.photos.root import Root, RootAndWeb, photo_root
from pipeline.photos.session import fetcher_of
from pipeline.preflight.findings import Finding, Subject
from pipeline.report.notices import Notice

_MOST = 200  # photos that are looked for
_TRIED = 20  # of them, from each folder that might have been meant; and so many are decoded
_DECODED_AT_ONCE = 2  # each may have all the pixels that are allowed
_SLOW = 3  # photos at most that take all their seconds: one more, and no other is tried
_FOLDERS = 200  # that are tried
_LEAST = 20  # photos that must be looked for, where these are not all: fewer say nothing
_THREADS = 8
_FETCHED = 40  # photos by URL that are fetched at most, as a run would
_FEW = 0.01  # share of photos whose host is not allowed that a run's report tells early enough
_ANSWER_SECONDS = 30.0  # for which their hosts are waited for
_SIZE_FIRST = PhotoLimits(max_bytes=-1, max_pixels=0)  # whatever is there is too large: nothing is read of it
_NAME = re.compile(PHOTO_NAME, re.IGNORECASE | re.DOTALL)


def photo_findings(subject: Subject) -> Iterator[Finding]:
    """Whether the photos of the sampled rows are there, and whether some of them can be decoded."""
    sample = subject.sample
    if (subject.encoders.image is None and subject.purpose != "train") or subject.catalog.image is None:
        return
    if not any(sample.photos):
        yield from _none(subject)
        return
    each = [photo for row in sample.photos for photo in row]
    held = sum(photo["bytes"] is not None for photo in each)
    paths = list(dict.fromkeys(photo["path"] for photo in each if photo["bytes"] is None))[:_MOST]
    root = photo_root(subject.plan.image_root, subject.catalog)
    refused = refused_hosts(paths, root.web if isinstance(root, RootAndWeb) else None)
    reasons = dict.fromkeys(refused.urls, PhotoError(Reason.IMAGE_FORBIDDEN, "its host is not allowed"))
    reasons |= _missing([path for path in paths if path not in reasons], root)
    share = len(reasons) / max(1, len(paths)) * (len(each) - held) / len(each)
    if refused.urls:
        expected, fix = "hosts that catalog.photo_hosts allows", refused.fix(subject.catalog.photo_hosts)
        stops = (len(paths) >= _LEAST or subject.sample.whole) and _lost(subject, share)
        if stops or len(refused.urls) > _FEW * len(paths):
            yield Finding("catalog.photo_hosts", refused.came(len(paths)), expected, fix, stops)
        if len(refused.urls) == len(paths):
            return
    if paths and len(reasons) == len(paths) and not held:
        yield _all_missing(subject, paths, reasons)
        return
    if len(reasons) > len(refused.urls):
        yield from _some_missing(subject, paths, reasons, share)
    had = {*paths} - {*reasons}
    there = {photo["bytes"] or photo["path"]: photo for photo in each if photo["bytes"] or photo["path"] in had}
    yield from _unusable(subject, list(there.values()), share)


def photo_notices(subject: Subject) -> list[Notice]:
    """Columns of bytes whose values are no photos but their paths; members of archives that are never read."""
    settings = subject.catalog
    found: list[Notice] = []
    for name in (settings.image, settings.more_images):
        paths = subject.sample.paths_in_bytes(name) if name else []
        told = (
            f"{len(paths):,} sampled values of {name}, a column of bytes without a mark for text, are paths of photos, "
            "and read as such; such as"
        )
        found += [Notice(what="sampled_photo_paths", count=len(paths), told=told, examples=tuple(paths[:3]))][
            : len(paths)
        ]
    root = subject.plan.image_root
    if subject.encoders.image is not None and settings.image is not None and is_archives(root):
        found += _of_archives(archives_of(root), root)
    return found


# --- inside ---


def _of_archives(members: Members, root: str) -> Iterator[Notice]:
    if members.repeated:
        told = f"{members.repeated:,} members of {root} have the name of a later one, which is read in their place"
        yield Notice(what="photo_members_repeated", count=members.repeated, told=told)
    if members.refused:
        told = f"{members.refused:,} members of {root} have names that lead out of it, and are not read; such as"
        some = (repr(members.example),)
        yield Notice(what="photo_members_refused", count=members.refused, told=told, examples=some)


def _missing(paths: Sequence[str], root: Root) -> dict[str, PhotoError]:
    """Path -> why, of those that cannot be had. Of photos by URL some are fetched, and taken to be as the others."""
    urls = [path for path in paths if is_web(path)]
    late = set[str]()
    if isinstance(root, RootAndWeb):
        late = fetcher_of(root.web).unanswered(urls[:_FETCHED], _ANSWER_SECONDS)
        paths = [path for path in paths if not is_web(path) or path in urls[:_FETCHED]]

    def reason(path: str) -> PhotoError | None:
        if path in late:
            return PhotoError(
                Reason.IMAGE_UNAVAILABLE, f"no answer in {_ANSWER_SECONDS:g} s: {path[:200]}", may_pass=True
            )
        try:
            fetch({"bytes": None, "path": path}, root, _SIZE_FIRST)
        except PhotoError as err:
            return None if err.code == Reason.IMAGE_TOO_LARGE else err
        return None

    with ThreadPoolExecutor(_THREADS) as pool:
        found = zip(paths, pool.map(reason, paths), strict=True)
        missing = {path: err for path, err in found if err is not None}
    if urls and all(url in missing for url in urls[:_FETCHED]):
        missing |= dict.fromkeys(urls[_FETCHED:], missing[urls[0]])
    return missing


def _unusable(subject: Subject, photos: Sequence[dict[str, Any]], missing: float) -> Iterator[Finding]:
    """Photos that are there, and no decoder takes: some of them are tried as a run does it. A run is stopped where all
    of these are lost; `missing` is the share of photos that cannot be had.
    """
    drawn = np.random.default_rng(0).permutation(len(photos))[:_TRIED]
    chosen = [photos[number] for number in sorted(drawn.tolist())]
    faults, tried = _faults(chosen, subject)
    counts, bad = Counter(one.code for one in faults.values()), len(faults) / max(1, tried)
    lost = missing + (1 - missing) * bad
    if not faults or not _lost(subject, lost):
        return
    enough = tried >= _LEAST or tried < len(chosen) or (subject.sample.whole and tried == len(photos))
    for code, count in counts.most_common():
        said = next(placed(str(one), chosen[at]["path"]) for at, one in faults.items() if one.code == code)
        came = f"{count:,} of {tried:,} sampled photos cannot be used ({code}), such as: {said}"
        yield Finding("catalog.image", came, _bounds(subject), fix_of(code), stops=enough and len(faults) == tried)


def _faults(photos: Sequence[dict[str, Any]], subject: Subject) -> tuple[dict[int, PhotoError], int]:
    """(place among `photos` -> why it cannot be used, how many were tried): a few at once, and no more where each takes
    all the time that a photo may.
    """
    limits, root = photo_limits(subject.catalog), photo_root(subject.plan.image_root, subject.catalog)

    def fault(photo: dict[str, Any]) -> PhotoError | None:
        try:
            with heard():  # a run that reads the photo tells of it
                decode(fetch(photo, root, limits), limits)
        except PhotoError as err:
            return err
        return None

    found: dict[int, PhotoError] = {}
    with ThreadPoolExecutor(_DECODED_AT_ONCE) as pool:
        for start in range(0, len(photos), _DECODED_AT_ONCE):
            few = pool.map(fault, photos[start : start + _DECODED_AT_ONCE])
            found |= {start + at: err for at, err in enumerate(few) if err is not None}
            if sum(one.code == Reason.IMAGE_TOO_SLOW for one in found.values()) > _SLOW:
                return found, min(len(photos), start + _DECODED_AT_ONCE)
    return found, len(photos)


def _lost(subject: Subject, share: float) -> bool:
    """Whether a gate refuses a run that loses `share` of the photos of every row."""
    if subject.purpose != "run":
        return share == 1
    try:
        used = "image" in fusion_of(subject.settings.embedding).uses
    except InputError:  # found elsewhere
        used = True
    if not used:
        return False
    sample, gates = subject.sample, subject.settings.gates
    texts = [sample.words(name) for name in subject.catalog.text] if subject.encoders.text else []
    told = [any(one[row] for one in texts) for row in range(sample.rows)]
    degraded = sum(has_text and bool(photos) for has_text, photos in zip(told, sample.photos, strict=True))
    rejected = sum(not has_text and bool(photos) for has_text, photos in zip(told, sample.photos, strict=True))
    kept = sample.rows - rejected * share
    lost = share * degraded * subject.plan.rows / max(1, sample.rows)
    if share > gates.max_photos_lost_share and lost >= gates.least_rows:
        return True
    each = subject.plan.rows / max(1, sample.rows)
    figures = (
        (share * rejected, sample.rows, gates.max_reject_share),
        (share * degraded, kept, gates.max_degraded_share),
    )
    return any(part > most * whole and gates.enough(part * each, whole * each) for part, whole, most in figures)


def _all_missing(subject: Subject, paths: Sequence[str], reasons: dict[str, PhotoError]) -> Finding:
    key, came, fix = _why(subject, paths, reasons)
    below = f"photos that can be read below catalog.image_root={subject.plan.image_root}"
    expected = "photos that their hosts give" if key == "catalog.photo_hosts" else below
    enough = len(paths) >= _LEAST or subject.sample.whole
    return Finding(key, came, expected, fix, stops=enough and _lost(subject, 1.0))


def _some_missing(
    subject: Subject, paths: Sequence[str], reasons: dict[str, PhotoError], share: float
) -> Iterator[Finding]:
    """Many photos lost, a `share` of all, are a warning: which of them is for the report to say."""
    if not _lost(subject, share):
        return
    first, err = next(iter(reasons.items()))
    came = f"{len(reasons):,} of {len(paths):,} sampled photos cannot be had, such as {first[:200]!r} ({err.code})"
    yield Finding("catalog.image", came, _bounds(subject), "see where these photos are, or raise the gate", stops=False)


def _bounds(subject: Subject) -> str:
    bounds = subject.settings.gates
    return (
        f"photos for all but gates.max_degraded_share={bounds.max_degraded_share:g} of the products, "
        f"texts for those without, but for gates.max_reject_share={bounds.max_reject_share:g}, "
        f"and at most gates.max_photos_lost_share={bounds.max_photos_lost_share:g} of the photos lost"
    )


def _none(subject: Subject) -> Iterator[Finding]:
    name, rows = str(subject.catalog.image), subject.sample.rows
    if rows < _LEAST:
        return
    came = f"null or blank in each of {rows:,} rows of the column {name}"
    fix = _meant(subject) or "name the column of the photos, or set catalog.image=null and encoders.image=null"
    yield Finding("catalog.image", came, "photos of products", fix, stops=subject.purpose != "run")


def _why(subject: Subject, paths: Sequence[str], reasons: dict[str, PhotoError]) -> tuple[str, str, str]:
    """(key, what came, what to do) where none of `paths` can be had."""
    root, n = subject.plan.image_root, len(paths)
    if 2 * sum(map(is_photo_text, paths)) > n:
        came = f"photos in base64 in the column {subject.catalog.image}, such as {paths[0][:60]!r}: {_of(n)}"
        return "catalog.image_type", came, "declare them: catalog.image_type=base64"
    if 2 * sum(map(is_inline, paths)) > n:
        came = f"no base64 in the column {subject.catalog.image}, but {paths[0][:60]!r}: {_of(n)}"
        return "catalog.image_type", came, "write photos in base64 (RFC 4648), or their paths: catalog.image_type=null"
    if 2 * sum(map(is_web, paths)) > n:
        err = reasons[next(filter(is_web, paths))]
        return "catalog.photo_hosts", f"none of {n:,} sampled photos can be had, such as: {err}", fix_of(err.code)
    if 2 * sum(bool(_NAME.fullmatch(path)) for path in paths) < n and (meant := _meant(subject)):
        came = f"no paths in the column {subject.catalog.image}, but {paths[0][:60]!r}: {_of(n)}"
        return "catalog.image", came, meant
    place = os.path.join(root, paths[0]) if "://" not in root else f"{root.rstrip('/')}/{paths[0].lstrip('/')}"
    most = Counter(err.code for err in reasons.values()).most_common(1)[0][0]
    came = f"catalog.image_root={root}: none of {n:,} sampled photos can be had ({most}); looked for {place}"
    fix = _elsewhere(root, paths) if "://" not in root else ""
    return "catalog.image_root", came, fix or "correct catalog.image_root: photo paths are relative to it"


def _meant(subject: Subject) -> str:
    """A column of the file that holds photos, as far as its values look it."""
    for column, values in subject.sample.other_columns().items():
        if values and 2 * sum(bool(_NAME.fullmatch(value)) for value in values) > len(values):
            return f"the column {column} looks like photos: catalog.columns.{subject.catalog.image}={column}"
    return ""


def _elsewhere(root: str, paths: Sequence[str]) -> str:
    """What would find most of `paths`: another root, or the paths without what stands before their names."""
    tried = paths[:: max(1, len(paths) // _TRIED)][:_TRIED]
    best = max(_folders(root, paths), key=lambda folder: _count(folder, tried), default=root)
    found = _count(best, paths)
    if 2 * found > len(paths):
        return f"catalog.image_root={_short(best)} would find {found:,} of {len(paths):,}"
    for cut in range(1, 1 + min(path.count("/") for path in paths)):
        prefix = "/".join(paths[0].split("/")[:cut]) + "/"
        shorter = [path.removeprefix(prefix) for path in paths]
        found = _count(root, shorter)
        if 2 * found > len(paths):
            return f"write the paths without {prefix!r}: {found:,} of {len(paths):,} would be found"
    return ""


def _folders(root: str, paths: Sequence[str]) -> Iterator[str]:
    """Folders above `root` and two levels below it, the current one, where absolute paths lie, and archives in it."""
    home = Path(root)
    endings = {ending_of(one.name) for one in home.iterdir()} if home.is_dir() else set[str | None]()
    yield from (all_in(root, ending) for ending in sorted(filter(None, endings)))
    absolute = [os.path.dirname(path) for path in paths if path.startswith("/") and os.path.isfile(path)]
    if absolute:
        yield os.path.commonpath(absolute)
    yield from map(str, home.parents)
    yield os.getcwd()
    below = (str(path) for pattern in ("*/", "*/*/") for path in sorted(home.glob(pattern)) if path.is_dir())
    yield from (folder for _, folder in zip(range(_FOLDERS), below, strict=False))


def _count(folder: str, paths: Iterable[str]) -> int:
    if is_archives(folder):
        with suppress(InputError):  # one that is damaged, or compressed as a whole
            return sum(photo_facts(path, folder) is not None for path in paths)
        return 0
    inside = os.path.realpath(folder).rstrip("/") + "/"
    full = (os.path.join(folder, path) for path in paths)
    return sum(os.path.isfile(path) and os.path.realpath(path).startswith(inside) for path in full)


def _short(folder: str) -> str:
    """As a user would write it: relative where that is shorter."""
    relative = os.path.relpath(folder)
    return relative if not relative.startswith("..") else folder


def _of(n: int) -> str:
    return f"most of {n:,} sampled values" if n > 1 else "the only value"
