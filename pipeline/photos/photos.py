"""The photos of a catalog: from what it says of each to its identity and its bytes, wherever they lie.

A stamp says which file a photo was when its row was fingerprinted: `stat ` and what `photo_facts` says, or `bytes ` and
the digest of its content; for one that was not to be had, the first word and why. It goes with the photo to where it is
read, and is compared with the very file that was opened: pixels are never kept under the stamp of others.
"""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
from blake3 import blake3

from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.paths import is_web
from foundation.reasons import Reason
from pipeline.photos.archives import Archives, is_archives
from pipeline.photos.buckets import Bucket
from pipeline.photos.cached import Cached
from pipeline.photos.folders import Folder
from pipeline.photos.inline import Inline, is_inline
from pipeline.photos.root import Root, RootAndWeb
from pipeline.photos.source import Source, changed
from pipeline.photos.web import Web

_DIGITS = 64  # of a blake3


def source_of(path: str, root: Root) -> Source:
    """Where the photo that the catalog writes as `path` is read from: the one place that tells kinds of places apart.

    Of a `path` that begins with a scheme, as `https://`, that decides; else the kind of `root`.
    """
    if is_inline(path):
        return Inline()
    if isinstance(root, RootAndWeb):
        if is_web(path):
            return Web(root.web) if root.fetched else Cached(root.web)
        root = root.folder
    if "://" in root:
        return Bucket(root)
    return Archives(os.path.abspath(root)) if is_archives(root) else Folder(root)


def expect(paths: pa.Array | pa.ChunkedArray, root: Root) -> None:
    """Have what is fetched by URL on its way, because the photo at each of `paths`, strings, will be asked for."""
    if isinstance(root, RootAndWeb):
        urls = [path for path in paths.to_pylist() if path is not None and is_web(path)]
        if urls:
            Web(root.web).expect(urls)


def fetch(photo: dict[str, Any], root: Root, limits: PhotoLimits) -> bytes:
    """The bytes of a photo, a dict of `bytes` or `path`; PhotoError with a reject's reason when there are none to be
    had.

    A path stays inside `root`, whatever it is spelled like. A photo that bears a `stamp` and is another file by now, or
    none, or one where there was none, is a PhotoError too. Errors that are not about this one photo are raised: they
    must stop the run.
    """
    if photo["bytes"] is not None:
        held: bytes = photo["bytes"]
        return held
    path, stamp = photo["path"], photo.get("stamp")
    source = source_of(path, root)
    try:
        raw, facts = source.read(path, limits)
    except PhotoError as err:
        if stamp is not None and _stamp_of_none(stamp, err, path, source) != stamp:
            raise changed(path) from err
        raise
    if stamp is not None and _stamp_of(stamp, raw, facts, path, source) != stamp:
        raise changed(path)
    return raw


def photo_facts(path: str, root: Root) -> str | None:
    """What changes when the photo at `path` does: size and mtime, or what the bucket knows of it; None when there is
    no such photo, or none that may be read. Other errors are raised, as by `fetch`.
    """
    return source_of(path, root).facts(path)


def stat_stamp(facts: str | None) -> str:
    """The stamp of a photo of which `photo_facts` says `facts`."""
    return f"stat {facts or 'none'}"


def content_stamp(found: bytes | PhotoError) -> str:
    """The stamp of a photo that was read, or could not be."""
    return f"bytes {found.code if isinstance(found, PhotoError) else blake3(found).hexdigest()}"


def is_stamp_of_none(stamp: str) -> bool:
    """Whether it says that there was no photo that could be read."""
    kind, _, what = stamp.partition(" ")
    return what == "none" if kind == "stat" else len(what) != _DIGITS


def _stamp_of(stamp: str, raw: bytes, facts: str | None, path: str, source: Source) -> str:
    """What `stamp` would be of the photo that was read just now, of which the `facts` may be known."""
    if not stamp.startswith("stat "):
        return content_stamp(raw)
    return stat_stamp(source.facts(path, anew=True) if facts is None else facts)


def _stamp_of_none(stamp: str, err: PhotoError, path: str, source: Source) -> str:
    """What `stamp` would be of the photo that could not be read just now."""
    if not stamp.startswith("stat "):
        return content_stamp(err)
    gone = err.code in (Reason.IMAGE_NOT_FOUND, Reason.IMAGE_CHANGED)
    return stat_stamp(None if gone else source.facts(path))
