"""Who is at work in a store, and what those left in scratch who died.

On a machine their locks tell, see scratch.py. Scratch that runs share through a bucket lies there as well, under
`tmp/<run>/`: of a run of another machine it is told only when something of it was written last.
"""

from __future__ import annotations

from lookup.store.backends.backend import Backend
from lookup.store.backends.scratch import TMP, known, scratch_folder, sweep

_OLD_SCRATCH = "parts"  # of earlier versions: of all runs
_NOW = "now"  # an object that is written for the sake of its time
_DEAD = 86_400  # seconds after which what another machine wrote last is taken for a dead run's


def at_work(backend: Backend) -> list[str]:
    """The runs, and others, that are at work, sorted: in a bucket those of this machine, and those that wrote something
    into their scratch within a day.
    """
    here = {name for name, held in known(backend.local(TMP)).items() if held}
    return sorted(here | _elsewhere(backend, young=True))


def clear_scratch(backend: Backend) -> None:
    """Drop what dead processes left in scratch, and nothing of those that are alive."""
    dead = sweep(backend.local(TMP))
    backend.remove(_OLD_SCRATCH)
    parts = (found.name.split("/") for found in backend.walk("runs"))
    for run in sorted({part[1] for part in parts if part[2:3] == ["scratch"]}):
        backend.remove(f"runs/{run}/scratch")  # of a killed run of an earlier version
    if not backend.in_place:
        for name in sorted({*dead, *_elsewhere(backend, young=False)}.intersection(backend.names(TMP))):
            backend.remove(f"{TMP}/{name}")


def clock(backend: Backend) -> float:
    """Now, in seconds since 1970, by the clock that says when files of the store are written."""
    with scratch_folder(backend.local(TMP)) as folder:
        (folder / _NOW).touch()
        if backend.in_place:
            return (folder / _NOW).stat().st_mtime
        backend.replace(folder / _NOW, f"{TMP}/{_NOW}")
    return next(found.written for found in backend.walk(TMP) if found.name == f"{TMP}/{_NOW}")


def _elsewhere(backend: Backend, young: bool) -> set[str]:
    """Whose scratch in a bucket, of those of whom this machine has no lock, has something that was written within a
    day, or has not. By the clock of the service, which has to be asked: this machine's may be wrong.
    """
    here = {_NOW, *known(backend.local(TMP))}
    if backend.in_place or not set(backend.names(TMP)) - here:
        return set()
    with scratch_folder(backend.local(TMP)) as folder:
        (folder / _NOW).touch()
        backend.replace(folder / _NOW, f"{TMP}/{_NOW}")
    written: dict[str, float] = {}
    for found in backend.walk(TMP):
        name = found.name.split("/")[1]
        written[name] = max(found.written, written.get(name, 0.0))
    now = written[_NOW]
    return {name for name, at in written.items() if (now - at < _DEAD) == young} - here
