"""What is wrong with this machine or installation, found before a night is lost to it."""

from __future__ import annotations

import importlib.metadata
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import VitrineError
from foundation.extras import DISTRIBUTION, FAISS, install

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from packaging.requirements import Requirement

PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")

_PYTHONS = ((3, 11), (3, 14))
_MIN_DISK = 5 * 10**9  # bytes; shards and indexes of 1M products of 512 dimensions take about 4 GB
_MIN_RAM = 2 * 10**9  # bytes; a run of 1M products is built to stay under 1.5 GB


@dataclass(frozen=True)
class Check:
    """One thing looked at: `found` says what is there, `fix` what to do where it is not `ok` (else empty)."""

    name: str
    ok: bool
    found: str
    fix: str


class DeviceError(VitrineError):
    """The device does not compute, or computes wrongly."""


def diagnose(device: str = "cpu", folder: str = ".", path: Sequence[str] | None = None) -> list[Check]:
    """Every check, in the order in which to mend them.

    `device` is imported and tried only when it is not `cpu`; `folder` is where the store is or will be; `path` is where
    installed distributions are looked for (by default `sys.path`).
    """
    where = list(sys.path if path is None else path)
    checks = [check_python(sys.version_info[:3]), *check_packages(where), check_one_faiss(where), check_faiss_search()]
    checks += [check_photo_formats(), check_disk(folder), check_memory(), check_cores(), check_scratch()]
    return checks if device == "cpu" else [*checks, check_device(device)]


# --- Python and packages ---


def check_python(version: tuple[int, int, int]) -> Check:
    """Whether this Python is one that the locks were made for."""
    ok = _PYTHONS[0] <= version[:2] < _PYTHONS[1]
    return _check(
        "python", ok, ".".join(map(str, version)), "use Python 3.11, 3.12 or 3.13: make setup PYTHON=python3.12"
    )


def check_packages(path: Sequence[str]) -> list[Check]:
    """One check for each package that vitrine requires, and for each of an extra that is here: in the range of
    pyproject.toml. The last says which extras are whole.
    """
    own = next(iter(importlib.metadata.distributions(name=DISTRIBUTION, path=list(path))), None)
    if own is None:
        fix = "install it: make setup, or in a clone pip install '.[index,cpu]'"
        return [_check(DISTRIBUTION, False, "not installed", fix)]
    installed = {_plain(found.name): found.version for found in importlib.metadata.distributions(path=list(path))}
    base, extras = _requirements(own)
    here = [one for those in extras.values() for one in those if _plain(one.name) in installed]
    wanted = {f"{one.name}{one.specifier}": one for one in (*base, *here)}
    checks = [_check_package(wanted[key], installed) for key in sorted(wanted)]
    whole = [extra for extra, those in extras.items() if those and all(_plain(one.name) in installed for one in those)]
    return [*checks, _check("extras", True, ", ".join(whole) or "none", "")]


def check_one_faiss(path: Sequence[str]) -> Check:
    """Whether exactly one faiss distribution is installed: several write the same files, and the last one wins."""
    distributions = importlib.metadata.distributions(path=list(path))
    found = sorted({f"{_plain(d.name)} {d.version}" for d in distributions if _plain(d.name).startswith("faiss-")})
    if not found:
        return _check("faiss", False, "none", f"install one extra: {install('cpu')} (or gpu, gpu-cu12)")
    names = [text.split()[0] for text in found]
    extras = [FAISS[name] for name in names if name in FAISS] or list(FAISS.values())
    fix = f"pip uninstall {' '.join(names)}, then install one extra again: {install(extras[0])}"
    return _check("faiss", len(found) == 1, ", ".join(found), f"they overwrite one another's files: {fix}")


def check_faiss_search() -> Check:
    """Whether faiss loads and finds each of eight vectors at its own place."""
    import numpy as np

    fix = f"uninstall every faiss-* distribution, then install one extra: {install('cpu')}"
    xb = np.eye(8, dtype=np.float32)
    try:
        import faiss

        index = faiss.IndexFlatIP(8)
        index.add(xb)
        _, labels = index.search(xb, 1)
    except (ImportError, AttributeError) as err:  # what is left of one of two faiss wheels imports, but holds nothing
        return _check("faiss search", False, f"{type(err).__name__}: {err}", fix)
    return _check("faiss search", labels[:, 0].tolist() == list(range(8)), f"faiss {faiss.__version__}", fix)


def check_photo_formats(formats: Sequence[str] = PHOTO_FORMATS) -> Check:
    """Whether Pillow writes and reads back every format that a catalog may hold."""
    missing = [name for name in formats if not _decodes(name)]
    found = f"without {', '.join(missing)}" if missing else ", ".join(formats)
    fix = "install Pillow's wheel, not a build of your own: pip install --force-reinstall --only-binary :all: pillow"
    return _check("photo formats", not missing, found, fix)


# --- the machine ---


def check_disk(folder: str) -> Check:
    """Whether the disk of `folder`, or of its nearest parent that exists, has room for an index."""
    place = next(parent for parent in (Path(folder).absolute(), *Path(folder).absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    return _check(
        "disk",
        free >= _MIN_DISK,
        f"{_gb(free)} free in {place}",
        "free some, or put the store elsewhere: store.path=...",
    )


def check_memory() -> Check:
    """Whether the memory that this process may use fits a run."""
    limit = _memory()
    return _check("memory", limit >= _MIN_RAM, _gb(limit), f"give it {_gb(_MIN_RAM)}, or set run.workers=1")


def check_cores() -> Check:
    """How many cores this process may use; always ok."""
    return _check("cores", True, str(_usable_cores()), "")


def check_scratch() -> Check:
    """Whether temporary files can be written."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"vitrine")
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        return _check("temporary files", False, str(err), "point TMPDIR at a folder that can be written")
    return _check("temporary files", True, tempfile.gettempdir(), "")


def check_device(device: str) -> Check:
    """Whether torch's `device` multiplies two matrices as numpy does."""
    import numpy as np

    fix = "check the driver with nvidia-smi and that torch was built for its CUDA, or set encoders.device=cpu"
    a, b = _factors()
    try:
        product = _multiply_with_torch(device)
    except DeviceError as err:
        return _check(f"device {device}", False, err.came, err.fix)
    error = float(np.abs(product - a @ b).max())
    # 256 products of numbers in [-1, 1): TF32's 10 bits of mantissa keep the sum within 256 * 2**-10.
    return _check(f"device {device}", error < 0.25, f"a 256 x 256 product differs from numpy's by {error:.1e}", fix)


# --- inside ---


def _check(name: str, ok: bool, found: str, fix: str) -> Check:
    return Check(name, ok, found, "" if ok else fix)


def _requirements(own: importlib.metadata.Distribution) -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """What the base of `own` requires on this machine, and what each extra but `dev` requires beside it."""
    from packaging.requirements import Requirement

    def of(extra: str) -> list[Requirement]:
        return [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": extra})]

    parsed = [Requirement(text) for text in own.requires or ()]
    base = of("")
    names = set(own.metadata.get_all("Provides-Extra") or ()) - {"dev"}
    return base, {name: [one for one in of(name) if one not in base] for name in sorted(names)}


def _check_package(requirement: Requirement, installed: dict[str, str]) -> Check:
    """The check of one requirement, such as `numpy<2.5,>=2.4`."""
    version = installed.get(_plain(requirement.name))
    wanted = requirement.specifier
    ok = version is not None and wanted.contains(version, prereleases=True)
    fix = f"needs {wanted}: make setup, or pip install '{requirement.name}{wanted}'"
    return _check(requirement.name, ok, version or "not installed", fix)


def _plain(name: str) -> str:
    """A distribution's name as PyPA normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _decodes(name: str) -> bool:
    from PIL import Image

    file = io.BytesIO()
    try:
        Image.new("RGB", (8, 8), "red").save(file, name)
        with Image.open(file, formats=[name]) as photo:
            photo.load()
    except (KeyError, OSError):  # KeyError: no such format; OSError: built without its codec
        return False
    return True


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    """Bytes: the machine's, or the limit of the control group that this process is in, whichever is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    texts = [limit.read_text().strip() for limit in limits if limit.is_file()]
    return min([physical, *(int(text) for text in texts if text.isdigit())])


def _factors() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Two (256, 256) float32 matrices, uniform in [-1, 1)."""
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 256, 256)).astype(np.float32)
    return a, b


def _multiply_with_torch(device: str) -> npt.NDArray[np.float32]:
    import torch

    a, b = _factors()
    try:
        product = torch.from_numpy(a).to(device) @ torch.from_numpy(b).to(device)
        result: npt.NDArray[np.float32] = product.cpu().numpy()
    except (RuntimeError, AssertionError) as err:  # torch raises AssertionError where it was built without CUDA
        raise DeviceError(
            f"torch to compute on {device}",
            str(err).splitlines()[0],
            "check the driver with nvidia-smi, or set encoders.device=cpu",
        ) from err
    return result


def _gb(size: int) -> str:
    return f"{size / 10**9:.1f} GB"
