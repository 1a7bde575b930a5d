"""Files of a store that are read, each after its digest was compared, once."""

from __future__ import annotations

from pathlib import Path

from lookup.store.fields import FileRef
from lookup.store.store import Store


class CheckedFiles:
    """The local paths of files whose digests were checked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._paths: dict[str, Path] = {}

    def path(self, file: FileRef) -> Path:
        """Where it lies; IntegrityError where it is not as it was written."""
        if file.path not in self._paths:
            self._paths[file.path] = self._store.verified(file)
        return self._paths[file.path]
