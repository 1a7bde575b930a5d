"""Photos by URL: fetched from the hosts that the config allows, told by their content, and kept in the cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from encoders.photos.limits import PhotoError, PhotoLimits
from pipeline.photos.net.settings import WebSettings
from pipeline.photos.session import fetcher_of
from pipeline.photos.source import too_large


@dataclass(frozen=True)
class Web:
    """The hosts that `settings` allow. A photo is told by the digest of its content: another ETag alone changes
    nothing, and another photo under the same URL is seen when the host is asked again.
    """

    settings: WebSettings

    def facts(self, path: str, anew: bool = False) -> str | None:
        """See Source; within a session a URL is asked for once."""
        try:
            return fetcher_of(self.settings).outcome(path).content
        except PhotoError:
            return None

    def read(self, path: str, limits: PhotoLimits) -> tuple[bytes, str]:
        """See Source."""
        raw, digest = fetcher_of(self.settings).content(path)
        if len(raw) > limits.max_bytes:
            raise too_large(len(raw), path, limits)
        return raw, digest

    def expect(self, paths: Iterable[str]) -> None:
        """Have the photos at these URLs fetched at once, because each of them will be asked for."""
        fetcher_of(self.settings).want(paths)
