"""Photos by URL as far as a run or `vitrine photos fetch` has put them into the cache: nothing is fetched."""

from __future__ import annotations

from dataclasses import dataclass

from encoders.photos.limits import PhotoError, PhotoLimits
from foundation.reasons import Reason
from pipeline.photos.net.cache import Entry, look_up
from pipeline.photos.net.settings import WebSettings

_ABSENT = "not in the cache of photos, where `vitrine photos fetch` puts it"


@dataclass(frozen=True)
class Cached:
    """The cache of the hosts that `settings` allow, see Web; it is left as it is."""

    settings: WebSettings

    def facts(self, path: str, anew: bool = False) -> str | None:
        """See Source."""
        try:
            entry, _ = self._known(path)
        except PhotoError:
            return None
        return None if entry is None else entry.digest

    def read(self, path: str, limits: PhotoLimits) -> tuple[bytes, str | None]:
        """See Source."""
        entry, raw = self._known(path)
        if entry is not None and raw is not None:
            return raw, entry.digest
        words = _ABSENT if entry is None or entry.digest is not None else f"not had when asked last, {entry.words}"
        raise PhotoError(Reason.IMAGE_UNAVAILABLE, f"{words}: {path[:200]}", may_pass=True)

    def _known(self, path: str) -> tuple[Entry | None, bytes | None]:
        from pipeline.photos.net.urls import allowed  # of an extra

        return look_up(self.settings.cache, str(allowed(path, self.settings.hosts)), self.settings.max_bytes)
