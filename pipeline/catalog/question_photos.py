"""Photos that queries ask by: files, members of archives, and what the cache has of URLs; nothing is fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from encoders.photos.limits import PhotoError, PhotoLimits
from encoders.photos.paths import is_web
from foundation.errors import InputError
from lookup.query import photo_limits, read_photo
from lookup.store.manifest import Manifest

if TYPE_CHECKING:
    from pipeline.catalog.shown_photos import ShownPhotos


@dataclass(frozen=True)
class QuestionPhotos:
    """Photos of queries to a snapshot, within the limits of its run; URLs are those of the hosts that it allowed."""

    manifest: Manifest

    def read(self, image: str | None) -> bytes | None:
        """The bytes of the photo at `image`: a path, one behind that of an archive (`photos.tar/7.jpg`), or a URL;
        InputError where it cannot be had, None for None.
        """
        if image is None:
            return None
        if is_web(image):
            found = self._shown.of_path(image)
            if isinstance(found, bytes):
                return found
            raise InputError(
                "a query photo at hand: a file, or a URL that is in the cache of photos, for nothing is fetched",
                f"{image}: {found.why}",
                "save the photo to a file",
            )
        archive = _archive_of(image)
        return read_photo(image, self._limits.max_bytes) if archive is None else _member(archive, image, self._limits)

    @cached_property
    def _limits(self) -> PhotoLimits:
        return photo_limits(self.manifest)

    @cached_property
    def _shown(self) -> ShownPhotos:
        from pipeline.catalog.shown_photos import ShownPhotos  # most queries need none of it

        return ShownPhotos.of(self.manifest)


def _archive_of(path: str) -> str | None:
    """The archive that `path` leads into."""
    from pipeline.photos.archives import is_archives  # queries without a photo need none of it

    inside = (path[:at] for at, sign in enumerate(path) if sign == "/")
    return next((one for one in inside if is_archives(one) and os.path.isfile(one)), None)


def _member(archive: str, path: str, limits: PhotoLimits) -> bytes:
    from pipeline.photos.archives import Archives

    try:
        raw, _ = Archives(os.path.abspath(archive)).read(path.removeprefix(f"{archive}/"), limits)
    except PhotoError as err:
        raise InputError("a query photo in an archive", f"{archive}: {err}", "correct the path") from err
    return raw
