"""What of a catalog decides what a run makes of it, where no photo is looked at: the bytes of its files, and what reads
them. Exports write the same bytes anew each night; what was made of these stands, and no row is read again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from importlib.metadata import distributions

import pyarrow as pa
from blake3 import blake3

from foundation.extras import DISTRIBUTION
from foundation.liveness import beat
from pipeline.files.discover import CatalogFile, bytes_of

_BLOCK = 2**20  # bytes that are read at once


def contents_of(files: Sequence[CatalogFile], photos: bool, tables: bool) -> dict[str, list[str]]:
    """What two catalogs have in common of which a run makes the same: of each file the blake3 of its bytes, and who
    reads them. Where there are photos, of objects in a bucket, and of `tables`, whose files are never written again,
    the size and the stamp of a file instead.
    """
    own = next((found.version for found in distributions(name=DISTRIBUTION)), "")
    stamped = photos or tables
    known = {file.path: [f"{file.size} bytes, {file.stamp}" if stamped else _digest(file)] for file in files}
    # Another version may make other rows of the same bytes.
    return {**known, "": [own, pa.__version__, unicodedata.unidata_version]}


def _digest(file: CatalogFile) -> str:
    """Read, not mapped: whoever maps a file that is cut meanwhile is killed."""
    hasher = blake3(max_threads=1)
    with bytes_of(file.path) as opened:
        if opened is None:
            return f"{file.size} bytes, {file.stamp}"
        while block := opened.read(_BLOCK):
            hasher.update(block)
            beat()
    return hasher.hexdigest()
