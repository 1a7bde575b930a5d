"""Tar and zip files of given members."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Named = Iterable[tuple[str, bytes]]


def tarred(path: Path, named: Named, **of_each: Any) -> Path:
    """A tar of these members, in order."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, raw in named:
            one = tarfile.TarInfo(name)
            one.size = len(raw)
            for key, value in of_each.items():
                setattr(one, key, value)
            tar.addfile(one, io.BytesIO(raw))
    return path


def zipped(path: Path, named: Named, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of these members, in order."""
    with zipfile.ZipFile(path, "w", method) as found:
        for name, raw in named:
            found.writestr(name, raw)
    return path
