"""Whether catalog, photos and store lie apart: a store among the catalog's files is read as products the night after.

Places are compared where they really are: links resolved, `..` and `file://` too, buckets by their names. fsspec and
pyarrow are not asked: a config must load at once.
"""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from foundation.errors import InputError
from pipeline.config.layers import Tree, leaves
from pipeline.config.yaml_files import Problem, shown

_URL = re.compile(r"(?:.*::)?([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", re.DOTALL)
_LOCAL = {"file", "local"}
_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs", "wasb": "abfs", "wasbs": "abfs"}
_FILES = {".parquet", ".parq"}
_PATHS = {
    "catalog.path",
    "catalog.image_root",
    "catalog.photo_cache",
    "catalog.photo_ca",
    "store.path",
    "index.queries",
    "search.ranker",
}
_SPECS = ("encoders.text.", "encoders.image.", "fusion.")  # whose models are folders


@dataclass(frozen=True)
class Place:
    """Where a path or URL leads: `parts` from the root of its file system on, then what a glob leaves open."""

    scheme: str  # empty: this machine
    parts: tuple[str, ...]
    pattern: tuple[str, ...] = ()
    is_file: bool = False

    def holds(self, other: Place) -> bool:
        """Whether `other` is this folder or lies inside."""
        if self.scheme != other.scheme:
            return False
        if other.parts[: len(self.parts)] == self.parts:
            return True
        # another spelling of the same folder: a file system that ignores case, a folder mounted twice
        return not self.scheme and any(_same(self.path, parent) for parent in (other.path, *other.path.parents))

    def reaches_into(self, other: Place) -> bool:
        """Whether what is read here may be a file inside of the folder `other`."""
        if not self.pattern:
            return self.holds(other)
        if not Place(self.scheme, self.parts).holds(other):
            return False
        for number, part in enumerate(other.parts[len(self.parts) :]):
            if number >= len(self.pattern):
                return False
            if "**" in self.pattern[number]:
                return True
            if not fnmatchcase(part, self.pattern[number]):
                return False
        return len(other.parts) - len(self.parts) < len(self.pattern)

    @property
    def path(self) -> Path:
        """The local path."""
        return Path("/", *self.parts)


def place_of(path: str, home: bool = False) -> Place:
    """Where `path` leads; with `home`, `~` is the user's folder, as fsspec has it."""
    url = _URL.fullmatch(path)
    scheme, rest = (url[1].lower(), url[2]) if url else ("", path)
    if scheme and scheme not in _LOCAL:
        bucket, _, inside = rest.partition("/")
        steps = [bucket.partition("@")[0], *_steps(inside)]
        fixed = _fixed(steps)
        is_file = PurePosixPath(steps[-1]).suffix in _FILES
        return Place(_SAME.get(scheme, scheme), tuple(steps[:fixed]), tuple(steps[fixed:]), is_file)
    local = os.path.expanduser(rest) if home else rest
    if os.path.exists(local) or not glob.has_magic(local):  # a folder can be named `feed [old]`
        is_file = os.path.isfile(local) or (not os.path.exists(local) and Path(local).suffix in _FILES)
        return Place("", _resolved(local), (), is_file)
    steps = local.split("/")
    fixed = _fixed(steps)
    pattern = tuple(step for step in steps[fixed:] if step not in ("", "."))
    return Place("", _resolved("/".join(steps[:fixed]) or ("/" if local.startswith("/") else ".")), pattern)


def unwritable_problems(tree: Tree) -> Iterator[Problem]:
    """The keys of a raw tree that are paths, or specs with paths among their values, and have a control character: no
    system opens NUL, and of the others a message or a log shows nothing.
    """
    for key, value in leaves(tree):
        is_path = isinstance(value, str) and (key in _PATHS or key.startswith(_SPECS))
        found = next((sign for sign in value if unicodedata.category(sign) == "Cc"), None) if is_path else None
        if found is not None:
            fix = f"write {key} without it; in YAML a backslash between double quotes begins an escape"
            yield Problem(key, shown(value), f"a path without control characters, as U+{ord(found):04X} is", fix)


def path_problems(catalog: str, image_root: str | None, store: str) -> Iterator[Problem]:
    """What is wrong with where these three lie."""
    read, kept = place_of(catalog, home=True), place_of(store)
    beside = f"set store.path to a folder of its own, such as {_beside(catalog, read)}"
    if kept.holds(Place(read.scheme, read.parts)):
        yield Problem("store.path", store, f"a folder that does not hold the catalog, catalog.path={catalog}", beside)
    elif read.reaches_into(kept):
        why = f"a folder outside of catalog.path={catalog}: the store's own Parquet files would be read as products"
        yield Problem("store.path", store, why, beside)
    if image_root is not None and kept.holds(place_of(image_root)):
        why = f"a folder outside of store.path={store}, which is a run's own"
        fix = "move the photos, or set store.path to a folder of its own"
        yield Problem("catalog.image_root", image_root, why, fix)


def cache_problems(cache: str, catalog: str, store: str) -> Iterator[Problem]:
    """What is wrong with where fetched photos are kept."""
    mine, kept, read = place_of(cache), place_of(store), place_of(catalog, home=True)
    fix = "set catalog.photo_cache to a folder of its own, or leave it out: it is in the user's cache folder then"
    if mine.scheme:
        yield Problem("catalog.photo_cache", cache, "a folder of this machine", fix)
    elif kept.holds(mine) or mine.holds(kept):
        yield Problem(
            "catalog.photo_cache", cache, f"a folder apart from store.path={store}, which is a run's own", fix
        )
    elif read.reaches_into(mine) or mine.holds(Place(read.scheme, read.parts)):
        why = f"a folder apart from catalog.path={catalog}, whose files are read as products"
        yield Problem("catalog.photo_cache", cache, why, fix)


def refuse_out(option: str, path: Path | None, store: str, catalog: str | None = None) -> None:
    """InputError where what `option` writes would take a place in the store, or among the files of the catalog."""
    if path is None:
        return
    out = place_of(os.fspath(path))
    if place_of(store).holds(out):
        fix = f"give a path outside of the store: {option} {path.name}"
        raise InputError(f"{option} outside of the store {store}, which is a run's own", str(path), fix)
    if catalog is None:
        return
    read = place_of(catalog, home=True)
    if not read.is_file and read.reaches_into(out):
        fix = f"give a path outside of the catalog: {option} {path.name}"
        raise InputError(f"{option} outside of catalog.path={catalog}", str(path), fix)


# --- inside ---


def _beside(catalog: str, read: Place) -> str:
    """A folder beside the catalog, written as the catalog is."""
    if read.pattern or read.is_file:
        parts = catalog.split("/")
        cut = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
        catalog = "/".join(parts[:cut]) or "."
    name = catalog.rstrip("/")
    return "../store" if name in ("", ".", "..") else f"{name}-store"


def _steps(path: str) -> list[str]:
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            del steps[-1:]
        elif step not in ("", "."):
            steps.append(step)
    return steps


def _fixed(steps: list[str]) -> int:
    """How many steps stand before the first that leaves something open."""
    return next((number for number, step in enumerate(steps) if glob.has_magic(step)), len(steps))


def _resolved(local: str) -> tuple[str, ...]:
    return Path(os.path.realpath(local)).parts[1:]


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))
    except (OSError, ValueError):
        return False
