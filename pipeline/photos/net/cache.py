"""Photos that were fetched, on a local disk: each content once, under its digest, and an index of what each URL gave.

A content is written under another name and renamed, and its digest is compared when it is read, so that it need not be
on the disk before the next one is fetched: what a power failure leaves of one is fetched again. The index is SQLite's,
which several runs may write at once. The longest unused contents go when there are too many bytes; what the index says
of their URLs stays, for a photo that did not change is told by its digest alone.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from foundation.errors import InputError, VitrineError
from foundation.machine import machine_fault
from foundation.regular_files import read_regular

_INDEX = "index.sqlite"
_USED = 6 * 3600.0  # seconds after which it is noted anew that a photo is in use
_FORGOTTEN = 90 * 86_400.0  # seconds after which a URL that nobody asked for is dropped
_KEEP = 0.9  # of the bytes that may be kept, once some had to go
_MANY = 1000  # contents that go at once
_WAIT = 120.0  # seconds for another process to be done with the index
_ANOTHER = "set catalog.photo_cache to a folder of your own that can be written"
_TABLES = """
CREATE TABLE IF NOT EXISTS photos (
    url TEXT PRIMARY KEY, digest TEXT, size INTEGER NOT NULL, etag TEXT, modified TEXT,
    checked REAL NOT NULL, fresh_until REAL NOT NULL, code TEXT, words TEXT, used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON contents (used);
"""
_COLUMNS = "digest, size, etag, modified, checked, fresh_until, code, words"


@dataclass(frozen=True)
class Entry:
    """What a URL gave when it was asked last, in seconds since 1970.

    `fresh_until` is what the host says of it. With `code` and `words` why it gave no photo; where there is a `digest`
    all the same, it is that of the photo that it gave before, and the failure one that may pass.
    """

    digest: str | None  # blake3, 64 hex digits
    size: int
    etag: str | None
    modified: str | None
    checked: float
    fresh_until: float
    code: str | None = None
    words: str | None = None


@dataclass(frozen=True)
class Came:
    """What came of a URL just now, and the photo, where it was sent: then its digest need not be known yet."""

    url: str
    entry: Entry
    raw: bytes | None = None


class PhotoCache:
    """The cache in `folder`, which may be of several processes, and have `most` bytes of contents."""

    def __init__(self, folder: str, most: int) -> None:
        self.folder, self.most = Path(folder), most
        self._lock = threading.Lock()
        _make(self.folder)
        with self._sql():
            self._index = sqlite3.connect(
                self.folder / _INDEX, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._index.execute("PRAGMA journal_mode=WAL")
            self._index.execute("PRAGMA synchronous=NORMAL")
            self._index.executescript(_TABLES)
            self._index.execute("DELETE FROM photos WHERE used < ?", (time.time() - _FORGOTTEN,))
            self._bytes = self._sum()

    def find(self, url: str) -> Entry | None:
        """What is known of `url`."""
        with self._lock, self._sql():
            row = self._index.execute(f"SELECT {_COLUMNS}, used FROM photos WHERE url = ?", (url,)).fetchone()
            if row is None:
                return None
            now = time.time()
            if row[-1] < now - _USED:
                self._index.execute("UPDATE photos SET used = ? WHERE url = ?", (now, url))
                self._index.execute("UPDATE contents SET used = ? WHERE digest = ?", (now, row[0]))
        return Entry(*row[:-1])

    def note(self, url: str, entry: Entry) -> None:
        """What is known of `url` from now on."""
        self.keep([Came(url, entry)])

    def keep(self, came: Sequence[Came]) -> list[Entry]:
        """Keep what came, in one transaction; what is known of its URLs now. VitrineError where a disk is full."""
        try:
            entries = [one.entry if one.raw is None else self._write(one.entry, one.raw) for one in came]
        except OSError as err:
            raise machine_fault(err) or err from err
        now = time.time()
        with self._lock, self._sql(), self._transaction():
            for one, entry in zip(came, entries, strict=True):
                self._note(one.url, entry, now)
                if one.raw is not None:
                    self._count(entry, now)
            full = self._bytes > self.most
        if full:
            self.evict(int(_KEEP * self.most))
        return entries

    def read(self, digest: str, most: int) -> bytes | None:
        """The photo of this digest; None where it is not there any more, or was damaged: then it goes."""
        raw = _content(self._place(digest), most)
        if raw is None or blake3(raw).hexdigest() == digest:
            return raw
        with suppress(FileNotFoundError):
            self._place(digest).unlink()  # else the one that is fetched in its place would be taken to be there
        return None

    def evict(self, most: int) -> tuple[int, int]:
        """Drop contents, the longest unused first, until there are `most` bytes; (photos dropped, their bytes)."""
        photos = freed = 0
        while True:
            with self._lock, self._sql():
                self._bytes = self._sum()
                if self._bytes <= most:
                    return photos, freed
                oldest = self._index.execute(
                    "SELECT digest, size FROM contents ORDER BY used LIMIT ?", (_MANY,)
                ).fetchall()
                gone, left = list[tuple[str]](), self._bytes - most
                for digest, size in oldest:
                    if left <= 0:
                        break
                    gone.append((digest,))
                    left, freed = left - size, freed + size
                self._index.executemany("DELETE FROM contents WHERE digest = ?", gone)
            for (digest,) in gone:
                with suppress(FileNotFoundError):
                    self._place(digest).unlink()
            photos += len(gone)

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            self._index.close()

    # --- inside ---

    def _note(self, url: str, entry: Entry, now: float) -> None:
        values = (url, entry.digest, entry.size, entry.etag, entry.modified, entry.checked, entry.fresh_until)
        self._index.execute(
            f"INSERT OR REPLACE INTO photos (url, {_COLUMNS}, used) VALUES ({', '.join('?' * 10)})",
            (*values, entry.code, entry.words, now),
        )

    def _count(self, entry: Entry, now: float) -> None:
        known = self._index.execute("SELECT 1 FROM contents WHERE digest = ?", (entry.digest,)).fetchone()
        self._index.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (entry.digest, entry.size, now))
        self._bytes += 0 if known else entry.size

    def _write(self, entry: Entry, raw: bytes) -> Entry:
        """`entry` with the digest of this content, which is there from now on: under another name first."""
        found = replace(entry, digest=blake3(raw).hexdigest(), size=len(raw))
        place = self._place(str(found.digest))
        with suppress(FileNotFoundError):
            if place.stat().st_size == len(raw):
                return found
        scratch = place.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            _write_new(scratch, raw)
            os.replace(scratch, place)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        return found

    def _place(self, digest: str) -> Path:
        return _place(self.folder, digest)

    def _sum(self) -> int:
        return int(self._index.execute("SELECT coalesce(sum(size), 0) FROM contents").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._index.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._index.execute("ROLLBACK")
            raise
        self._index.execute("COMMIT")

    @contextmanager
    def _sql(self) -> Iterator[None]:
        with _errors_of(self.folder / _INDEX):
            yield


def look_up(folder: str, url: str, most: int) -> tuple[Entry | None, bytes | None]:
    """(what is known of `url`, the photo that it gave) as far as the cache in `folder` has them; both None where there
    is no cache. Nothing is made, noted or dropped. VitrineError for a cache that cannot be read, or is another user's.
    """
    index = Path(folder, _INDEX)
    if not index.is_file():
        return None, None
    _refuse_others(index.parent)
    with _errors_of(index), closing(sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        row = opened.execute(f"SELECT {_COLUMNS} FROM photos WHERE url = ?", (url,)).fetchone()
    if row is None:
        return None, None
    entry = Entry(*row)
    raw = None if entry.digest is None else _content(_place(index.parent, entry.digest), most)
    return entry, raw if raw is not None and blake3(raw).hexdigest() == entry.digest else None


def _write_new(place: Path, raw: bytes) -> None:
    """A new file, by few calls of the system: after each one a thread of Python waits for its next turn."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        file = os.open(place, flags, 0o666)
    except FileNotFoundError:
        place.parent.mkdir(exist_ok=True)
        file = os.open(place, flags, 0o666)
    try:
        left = memoryview(raw)
        while left:  # of a full disk the first call takes a part, and the second one raises
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def without_validators(entry: Entry) -> Entry:
    """What is known of a URL, so that the next request asks for the photo itself."""
    return replace(entry, etag=None, modified=None)


def _make(folder: Path) -> None:
    """The folder, which is this user's."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise machine_fault(err) or InputError("a folder for fetched photos", str(err), _ANOTHER) from err
    _refuse_others(folder)


def _refuse_others(folder: Path) -> None:
    """InputError for a folder of another user: what is read there is believed to be what was fetched."""
    try:
        owner = folder.stat().st_uid
    except OSError as err:
        raise machine_fault(err) or InputError("a folder for fetched photos", str(err), _ANOTHER) from err
    if owner != os.getuid():
        raise InputError(f"a cache of photos that belongs to user {os.getuid()}", f"{folder} of user {owner}", _ANOTHER)


def _place(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / digest


def _content(place: Path, most: int) -> bytes | None:
    """What lies there, whatever it is by now; None where nothing does that can be read."""
    try:
        return read_regular(place, most, follow_links=False)
    except FileNotFoundError:
        return None
    except OSError as err:
        fault = machine_fault(err)
        if fault is not None:
            raise fault from err
        return None


@contextmanager
def _errors_of(index: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as err:
        raise VitrineError(
            "a cache of photos that can be read and written",
            f"{index}: {err}",
            f"free or mend the disk, or delete the folder {index.parent}: photos are fetched again",
        ) from err
