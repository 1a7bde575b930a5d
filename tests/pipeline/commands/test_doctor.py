"""What `vitrine doctor` finds, on installations made of dist-info folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands import doctor
from pipeline.commands.doctor import Check
from tests.support.places import ROOT


def install(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
    """What pip leaves behind to say that a distribution is installed."""
    made = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    made.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {text}" for text in requires),
        *sorted({f"Provides-Extra: {extra}" for text in requires for extra in text.split("'")[1:2]}),
    ]
    (made / "METADATA").write_text("\n".join(lines) + "\n")


def test_this_machine_is_looked_at_whole() -> None:
    """Every check runs here, each names what it found, and a check that fails says what to do."""
    checks = doctor.diagnose()
    assert len({check.name for check in checks}) == len(checks)
    assert {"python", "faiss", "faiss search", "photo formats", "disk", "memory", "cores", "temporary files"} <= {
        check.name for check in checks
    }
    assert all(check.found for check in checks)
    assert all(check.ok == (check.fix == "") for check in checks)
    assert not any(check.name.startswith("device") for check in checks)


def test_the_device_is_tried_only_when_asked() -> None:
    """`cpu` is no device to try, and trying none does not import torch."""
    code = "import sys; from pipeline.commands.doctor import diagnose; diagnose(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_two_faiss_are_found(tmp_path: Path) -> None:
    """Two faiss distributions are an error that names both and says to uninstall all and install one extra."""
    install(tmp_path, "faiss-cpu", "1.15.1")
    install(tmp_path, "faiss_gpu_cuvs", "1.15.1")
    check = doctor.check_one_faiss([str(tmp_path)])
    assert not check.ok
    assert check.found == "faiss-cpu 1.15.1, faiss-gpu-cuvs 1.15.1"
    assert "pip uninstall faiss-cpu faiss-gpu-cuvs" in check.fix
    assert "'vitrine-index[cpu]'" in check.fix


def test_no_faiss_is_found(tmp_path: Path) -> None:
    """No faiss distribution is an error that names the extras."""
    check = doctor.check_one_faiss([str(tmp_path)])
    assert (check.ok, check.found) == (False, "none")
    assert all(extra in check.fix for extra in doctor.FAISS.values())


@pytest.mark.parametrize("name", doctor.FAISS)
def test_one_faiss_is_right(tmp_path: Path, name: str) -> None:
    """Any one of the three builds is fine, beside packages that only sound like it."""
    install(tmp_path, name, "1.15.1")
    install(tmp_path, "faissly", "3.0")
    assert doctor.check_one_faiss([str(tmp_path)]) == Check("faiss", True, f"{name} 1.15.1", "")


def test_an_emptied_faiss_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What uninstalling one of two faiss wheels leaves, a folder that imports but holds nothing, is an error."""
    (tmp_path / "faiss").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    (tmp_path / "faiss" / "__init__.py").write_text("")
    check = doctor.check_faiss_search()
    monkeypatch.delitem(sys.modules, "faiss")
    assert not check.ok
    assert check.found.startswith("AttributeError")


def test_packages_are_held_to_their_ranges(tmp_path: Path) -> None:
    """A package missing or outside the range that vitrine declares is named with the range. Those of extras are held to
    it only where they are there; which extras are whole is told.
    """
    base = ("numpy<2.5,>=2.4", "Py_YAML>=6", "click>=8")
    extras = ("torch>=2; extra == 'networks'", "torch>=2; extra == 'index'", "rich>=15; extra == 'index'")
    install(tmp_path, "vitrine-index", "0.1.0", (*base, *extras, "peft>=1; extra == 'lora'", "ruff>=1; extra == 'dev'"))
    for name, version in (("numpy", "2.5.5"), ("py-yaml", "6.0.3"), ("torch", "1.9"), ("rich", "15.0")):
        install(tmp_path, name, version)
    found = {check.name: check for check in doctor.check_packages([str(tmp_path)])}
    assert set(found) == {"numpy", "Py_YAML", "click", "torch", "rich", "extras"}
    assert (found["numpy"].ok, found["numpy"].found) == (False, "2.5.5")
    assert "<2.5,>=2.4" in found["numpy"].fix
    assert found["Py_YAML"].ok
    assert (found["click"].ok, found["click"].found) == (False, "not installed")
    assert (found["torch"].ok, found["rich"].ok) == (False, True)
    assert found["extras"].found == "index, networks"


def test_vitrine_itself_may_be_missing(tmp_path: Path) -> None:
    """A checkout that was never installed is told to install itself."""
    (check,) = doctor.check_packages([str(tmp_path)])
    assert (check.name, check.ok, check.found) == ("vitrine-index", False, "not installed")


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 10, 13), False), ((3, 11, 0), True), ((3, 13, 9), True), ((3, 14, 0), False)]
)
def test_python_versions(version: tuple[int, int, int], ok: bool) -> None:
    """Python 3.11 to 3.13, whatever the last digit."""
    assert doctor.check_python(version).ok is ok


def test_a_photo_format_that_is_missing_is_named() -> None:
    """A format that Pillow cannot write and read back is named; the ones that catalogs hold all work."""
    assert doctor.check_photo_formats().ok
    check = doctor.check_photo_formats(("PNG", "FLIF"))
    assert (check.ok, check.found) == (False, "without FLIF")


def test_disk_and_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a store that does not exist yet is its parent's; a scratch folder that is gone is an error."""
    assert str(tmp_path) in doctor.check_disk(str(tmp_path / "not" / "yet")).found
    monkeypatch.setattr(doctor.tempfile, "tempdir", str(tmp_path / "gone"))
    check = doctor.check_scratch()
    assert not check.ok
    assert "TMPDIR" in check.fix


def test_a_device_really_computes() -> None:
    """The CPU's product is right; a CUDA device that is not there is an error with torch's own words."""
    torch = pytest.importorskip("torch")
    assert doctor.check_device("cpu").ok
    absent = doctor.check_device(f"cuda:{torch.cuda.device_count()}")
    assert not absent.ok
    assert absent.found


def test_a_device_that_computes_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that is off by one somewhere is an error, though the device answered."""
    right = doctor._multiply_with_torch("cpu")
    wrong = right.copy()
    wrong[17, 200] += 1
    monkeypatch.setattr(doctor, "_multiply_with_torch", lambda device: wrong)
    assert not doctor.check_device("cuda").ok
