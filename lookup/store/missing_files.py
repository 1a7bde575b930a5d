"""Whether the files that a manifest names are there, by their names and sizes alone."""

from __future__ import annotations

from lookup.store.backends.backend import Backend
from lookup.store.manifest import Manifest

_SHOWN = 5


def missing_files(backend: Backend, manifest: Manifest) -> list[str]:
    """What is wrong with files that `manifest` names, one line each."""
    files = {file.path: file.bytes for file in manifest.files()}
    there: dict[str, int | None]
    if backend.in_place:
        there = {path: backend.size(path) for path in files}
    else:  # a thousand objects a request; in a folder other nights' files would take longer than a look at each
        folders = ("shards", "indexes", "rankers", "understanding")
        there = {one.name: one.bytes for folder in folders for one in backend.walk(folder)}
    return [
        f"{path}: {'no such file' if there.get(path) is None else f'{there[path]} bytes of {wanted}'}"
        for path, wanted in files.items()
        if there.get(path) != wanted
    ]


def in_short(wrong: list[str]) -> str:
    """The first of these lines, and how many more there are."""
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return "; ".join(wrong[:_SHOWN]) + more
