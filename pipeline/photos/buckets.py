"""Photos in a bucket, or wherever else fsspec has a driver for: objects whose names begin with that of the root."""

from __future__ import annotations

from dataclasses import dataclass

import fsspec

from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.paths import spellings
from foundation.reasons import Reason
from pipeline.files.storage import filesystem
from pipeline.photos.source import outside, too_large


@dataclass(frozen=True)
class Bucket:
    """The objects below the URL `root`; they are told by what the bucket knows of them."""

    root: str

    def facts(self, path: str, anew: bool = False) -> str | None:
        """See Source."""
        try:
            fs, name = self._placed(path)
            if anew:
                fs.invalidate_cache()  # a listing of before would say what was
            return str(fs.ukey(name))
        except (FileNotFoundError, ValueError, PhotoError):
            return None

    def read(self, path: str, limits: PhotoLimits) -> tuple[bytes, None]:
        """See Source."""
        fs, name = self._placed(path)
        try:
            facts = fs.info(name)
            if facts["type"] != "file":
                raise PhotoError(Reason.IMAGE_FORBIDDEN, f"not a file: {path[:200]}")
            if (size := int(facts["size"])) > limits.max_bytes:
                raise too_large(size, path, limits)
            raw: bytes = fs.cat_file(name)
        except FileNotFoundError as err:
            raise PhotoError(Reason.IMAGE_NOT_FOUND, f"no such object: {path[:200]}") from err
        return raw, None

    def _placed(self, path: str) -> tuple[fsspec.AbstractFileSystem, str]:
        """(the file system, the name of `path` there), of its spellings the first that is there, else as it is written;
        PhotoError when it lies outside of the root.
        """
        fs, base = filesystem(self.root, "catalog.image_root")
        inside = spellings(path.removeprefix(self.root.rstrip("/") + "/"))
        if any(one.startswith("/") or ".." in one.split("/") for one in inside):
            raise outside(path)
        written, *others = (f"{base.rstrip('/')}/{one}" for one in inside)
        if not others or fs.exists(written):
            return fs, written
        return fs, next((one for one in others if fs.exists(one)), written)
