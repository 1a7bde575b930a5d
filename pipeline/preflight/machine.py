"""What a run needs of the machine: a device, models, a folder for the store, temporary files, room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from encoders.base import EncoderSpec
from encoders.models.folders import located, open_model, refuse_damaged_settings
from foundation.errors import InputError
from foundation.machine import too_long
from pipeline.config.sections import EncodersConfig
from pipeline.plan.forecast import Forecast
from pipeline.preflight.address_space import refuse_few_addresses
from pipeline.preflight.findings import Finding, Purpose


def machine_findings(encoders: EncodersConfig, store: str, purpose: Purpose, model: str | None) -> Iterator[Finding]:
    """What is missing before the catalog is even looked at. `store` is the path of the store, `model` the one that
    `vitrine train` starts from.
    """
    yield from _models(encoders, purpose, model)
    yield from _device(encoders, purpose)
    yield from _temporary_files()
    if purpose == "run":
        yield from _addresses(encoders)
        yield from store_findings(store)


def disk_findings(store: str, found: Forecast) -> Iterator[Finding]:
    """Whether the disk of the store has room for the least that a run that finds nothing done would write."""
    if "://" in store.removeprefix("file://"):
        return
    path = Path(store.removeprefix("file://"))
    place = _nearest(path)
    free, least = shutil.disk_usage(place).free, found.disk[0]
    if free < least:
        expected = f"room for the {_gb(least)} of shards and indexes, at least, in store.path={store}"
        fresh = not any(path.glob("snapshots/*.json"))  # a store that has snapshots may need none of it anew
        fix = "free some, or put the store elsewhere: store.path=..."
        yield Finding("store.path", f"{_gb(free)} free in {place}", expected, fix, stops=fresh)


def store_findings(path: str) -> Iterator[Finding]:
    """Whether the store's folder can be written or made, without making anything."""
    if "://" in path.removeprefix("file://"):
        return
    local = Path(path.removeprefix("file://"))
    try:
        place = _nearest(local)
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise
        yield Finding("store.path", path, too_long(err).expected, "choose a shorter path: store.path=...")
        return
    came = None
    if not place.is_dir():
        came = f"{place} is a file"
    elif not os.access(place, os.W_OK | os.X_OK):
        came = f"{place} cannot be written by this user"
    elif os.statvfs(place).f_flag & os.ST_RDONLY:
        came = f"{place} is on a file system that is read-only"
    if came is not None:
        fix = "choose a path that can be written: store.path=..."
        yield Finding("store.path", came, f"a folder for the store at {path}", fix)


# --- inside ---


def _models(encoders: EncodersConfig, purpose: Purpose, model: str | None) -> Iterator[Finding]:
    if purpose == "train" and model is not None:
        try:
            refuse_damaged_settings(open_model(model).path)
        except InputError as err:
            yield Finding.of("--from", err)
        return
    for key, spec in _specs(encoders):
        try:
            _ = spec.identity, spec.dim
            for one in spec.members:
                for name in one.places:
                    refuse_damaged_settings(located(getattr(one, name)))
        except InputError as err:
            yield Finding.of(key, err)


def _device(encoders: EncodersConfig, purpose: Purpose) -> Iterator[Finding]:
    device = encoders.device
    if device == "cpu":
        return
    specs = _specs(encoders) if purpose != "train" else []
    bound = [spec.type for _, spec in specs if spec.cpu_only]
    if bound:
        came = f"encoders.device={device}"
        yield Finding("encoders.device", came, f"cpu, because {bound[0]} runs on the CPU", "set encoders.device=cpu")
        return
    from encoders.networks.device import device_of

    try:
        device_of(device)
    except InputError as err:
        yield Finding.of("encoders.device", err)


def _addresses(encoders: EncodersConfig) -> Iterator[Finding]:
    try:
        refuse_few_addresses(encoders.networks_on_cpu)
    except InputError as err:
        yield Finding.of("ulimit -v", err)


def _temporary_files() -> Iterator[Finding]:
    """Beam keeps files of its own there, and so does Arrow."""
    folder = ""
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile() as file:
            file.write(b"vitrine")
            file.flush()
    except OSError as err:
        came = f"{folder}: {err.strerror}" if folder else str(err)
        fix = "free or mend that disk, or point TMPDIR at a folder that can be written"
        yield Finding("TMPDIR", came, "a folder for temporary files that can be written", fix)


def _nearest(path: Path) -> Path:
    """`path`, or the nearest of its parents that is there."""
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())


def _specs(encoders: EncodersConfig) -> list[tuple[str, EncoderSpec]]:
    specs = (("encoders.text", encoders.text), ("encoders.image", encoders.image))
    return [(key, spec) for key, spec in specs if spec is not None]


def _gb(size: int) -> str:
    return f"{size / 10**9:.2f} GB"
