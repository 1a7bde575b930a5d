"""Photos in a local folder: nothing that leads out of it once links are resolved, and regular files alone."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.paths import spellings
from foundation.reasons import Reason
from foundation.regular_files import IrregularFileError, OversizedFileError, read_with_facts
from pipeline.photos.source import changed, outside, too_large

# What opening a path says of that one file. Other errors (a failing disk, too many open files) must stop the run.
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
_NO_PHOTO = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV}  # locked, link to itself, socket


@dataclass(frozen=True)
class Folder:
    """The folder at `root`; its photos are told by size and mtime."""

    root: str

    def facts(self, path: str, anew: bool = False) -> str | None:
        """See Source."""
        try:
            local = self._spelled(path, self.root)
            found = os.stat(local)
        except (FileNotFoundError, ValueError, PhotoError):  # absent or no path at all: reading it will say which
            return None
        except OSError as err:
            if err.errno in _NO_FILE | _NO_PHOTO:
                return None
            raise
        return _facts(found) if os.access(local, os.R_OK) else None

    def read(self, path: str, limits: PhotoLimits) -> tuple[bytes, str | None]:
        """See Source; PhotoError also when the file was written to meanwhile."""
        real = self._found(path)
        try:
            raw, before, after = read_with_facts(real, limits.max_bytes, follow_links=False)
        except IrregularFileError as err:
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{err.kind}, not a regular file: {path[:200]}") from err
        except OversizedFileError as err:
            raise too_large(err.size, path, limits) from err
        except OSError as err:
            if err.errno in _NO_FILE:
                raise PhotoError(Reason.IMAGE_NOT_FOUND, f"no such file: {path[:200]}") from err
            if err.errno in _NO_PHOTO:
                raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{os.strerror(err.errno).lower()}: {path[:200]}") from err
            raise
        if _facts(before) != _facts(after):
            raise changed(path)
        return raw, _facts(before)

    def _found(self, path: str) -> str:
        """The local file that `path` means, with links resolved; PhotoError when it lies outside."""
        base = os.path.realpath(self.root)
        real = os.path.realpath(self._spelled(path, base))
        if not _is_inside(real, base):
            raise outside(path)
        return real

    @staticmethod
    def _spelled(path: str, root: str) -> str:
        """Where `path` lies, or would lie: of its spellings the first that is there, else as it is written.

        One that only decoded leads out of `root` is not looked at: nobody learns what lies there.
        """
        written, *others = (os.path.join(root, one) for one in spellings(path))
        if not others or os.path.lexists(written):
            return written
        base = os.path.realpath(root)
        inside = (one for one in others if _is_inside(os.path.realpath(one), base))
        return next(filter(os.path.lexists, inside), written)


def _facts(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns}"


def _is_inside(real: str, base: str) -> bool:
    return real.startswith(base.rstrip(os.sep) + os.sep)
