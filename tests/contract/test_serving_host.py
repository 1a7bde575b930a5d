"""A host that only searches has the base and faiss, nothing of Beam or torch, and it says what it lacks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from foundation.extras import _EXTRAS, DISTRIBUTION
from tests.support.command import told, vitrine

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MOST_BYTES = 400_000_000  # of site-packages, bytecode of every module included, as pip writes it
OFFLINE = "error sending request|dns error|Failed to fetch|Failed to download|Could not connect|Connection refused"
# A process in which what only extras bring is not there, and that runs the command of its arguments.
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({sorted({*_EXTRAS} - {'faiss'})})); "
SERVE = WITHOUT + "from pipeline.commands.cli import main; main()"
PEAK = r"""
import lookup, re, sys
hits = lookup.open(sys.argv[1]).search(text=sys.argv[2], k=3)
print([hit.id for hit in hits], re.search("VmHWM:\s*([0-9]+) kB", open("/proc/self/status").read())[1])
"""


def without_extras(*words: object) -> subprocess.CompletedProcess[str]:
    """`vitrine WORDS` in a process of its own, on a host without the packages of extras."""
    argv = [sys.executable, "-c", SERVE, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)


def test_every_module_that_serves_loads_without_extras() -> None:
    """Nothing in `lookup` and below it imports at its top what an extra brings, nor click."""
    load = "import importlib, pkgutil; import foundation, encoders, lookup; sys.modules['click'] = None; names = ["
    load += (
        "m.name for p in (foundation, encoders, lookup) for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.')]; "
    )
    code = WITHOUT + load + "[importlib.import_module(name) for name in names]; print(len(names))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 80


@pytest.mark.parametrize(
    "words",
    [
        ("search", "--text", "red dress", "-k", "3"),
        ("inspect",),
        ("verify",),
        ("explain", "V-00000042", "--text", "red dress"),
    ],
)
def test_commands_that_only_read_need_no_extra(words: tuple[str, ...], published: Path) -> None:
    """They print what they print where everything is installed."""
    here = vitrine(words[0], published, *words[1:], "--json")
    there = without_extras(words[0], published, *words[1:], "--json")
    assert there.returncode == 0, there.stderr
    ours, theirs = (re.sub(r'"(load_)?ms": [0-9.]+', "", out) for out in (here.stdout, there.stdout))
    assert theirs == ours


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("run", "-c", "configs/demo.yaml"), "index"),
        (("plan", "-c", "configs/demo.yaml"), "index"),
        (("train", "-c", "configs/demo.yaml", "--from", "encoders/builtin", "--out", "new"), "index"),
    ],
)
def test_a_command_says_which_extra_it_lacks(words: tuple[str, ...], extra: str, demo: Path) -> None:
    """In three parts, with exit code 2 and the command that installs it."""
    done = without_extras(*words, f"catalog.path={demo / 'catalog'}", f"catalog.image_root={demo}")
    assert done.returncode == 2, done.stderr
    expected, came, fix = told(done.stderr)
    assert expected.startswith(f"the extra `{extra}` of {DISTRIBUTION}, for ")
    assert (came, fix) == ("not installed", f"pip install '{DISTRIBUTION}[{extra}]'")


def test_texts_need_no_network_and_photos_do() -> None:
    """Of the built-in model, the text tower answers without torch; its image tower says which extra brings that."""
    towers = "from encoders.base import *; spec = encoder_spec({'type': 'dual', 'model': 'builtin'}); "
    code = "print(load_query_text(spec, 'cpu').encode(['red dress'], 'query').shape); load_image(spec, 'cpu')"
    argv = [sys.executable, "-c", WITHOUT + towers + code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "(1, 128)\n"
    assert done.stderr.endswith(f"to do: pip install '{DISTRIBUTION}[networks]'\n")


def test_a_host_without_faiss_says_so() -> None:
    """`lookup.open` names the extras that bring it."""
    code = "import sys; sys.modules['faiss'] = None; import lookup; lookup.open('store')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.endswith(f"to do: pip install '{DISTRIBUTION}[cpu]' (or gpu, gpu-cu12)\n")


def test_every_package_of_an_extra_is_known_by_its_module() -> None:
    """What pyproject.toml puts into an extra that users install, and nothing else, has a message of its own."""
    extras = PROJECT["optional-dependencies"]
    brought = {
        Requirement(text).name.replace("-", "_"): name
        for name in ("cpu", "networks", "feeds", "fetch", "delta", "iceberg", "index", "open-clip", "lora", "rank")
        for text in extras[name]
        if not text.startswith(DISTRIBUTION)
    }
    modules = {"faiss_cpu": "faiss", "open_clip_torch": "open_clip"}
    within = {"httpcore2": "fetch"}  # what httpx2 stands on, and comes with it
    assert {modules.get(name, name): extra for name, extra in brought.items()} | within == _EXTRAS
    assert {Requirement(text).name for text in extras["train"]} <= {"vitrine-index", *(n for n in brought)}


# --- the real thing ---


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment of its own with requirements/serve.lock and the wheel of this tree; its folder."""
    folder = tmp_path_factory.mktemp("host")
    uv = shutil.which("uv", path=f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}")
    if uv is None:
        pytest.skip("needs uv on PATH or in .venv/bin, as `make setup` has it")
    python = folder / "venv" / "bin" / "python"

    def run(*words: object) -> None:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode and re.search(OFFLINE, done.stderr):
            pytest.skip(f"needs the package registry: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    run(uv, "venv", "--python", sys.executable, folder / "venv")
    lock = ROOT / "requirements" / "serve.lock"
    run(uv, "pip", "sync", "--python", python, "--require-hashes", "--compile-bytecode", lock)
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (wheel,) = folder.glob("*.whl")
    run(uv, "pip", "install", "--python", python, "--no-deps", "--compile-bytecode", wheel)
    run(uv, "pip", "check", "--python", python)  # what the wheel asks for is in the lock
    yield folder
    shutil.rmtree(folder)


@pytest.mark.nightly
def test_an_empty_host_installs_little_and_searches(host: Path, published: Path) -> None:
    """The base and faiss, from the wheel: the same hits as here, under 400 MB on disk; prints size and peak memory."""
    python = host / "venv" / "bin" / "python"
    argv = [python, "-c", PEAK, published, "red dress"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=host)
    assert done.returncode == 0, done.stderr
    ids, _, peak = done.stdout.strip().rpartition(" ")
    here = json.loads(vitrine("search", published, "--text", "red dress", "-k", "3", "--json").stdout)
    assert ids == str([hit["id"] for hit in here["hits"]])
    (packages,) = (host / "venv" / "lib").glob("python3*/site-packages")
    size = sum(path.lstat().st_size for path in packages.rglob("*"))
    sys.stdout.write(f"site-packages {size / 1e6:.0f} MB; a search by text, {int(peak) * 1024 / 1e6:.0f} MB resident\n")
    assert not {"torch", "transformers", "apache_beam", "timm"} & {path.name for path in packages.iterdir()}
    assert size < MOST_BYTES


@pytest.mark.nightly
def test_an_empty_host_has_the_command(host: Path, published: Path) -> None:
    """`vitrine search` prints a table, `vitrine doctor` finds nothing wrong, `vitrine run` says what is not there."""
    command = host / "venv" / "bin" / "vitrine"

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        argv = [command, *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT / "configs")

    assert "Clothing" in run("search", published, "--text", "red dress").stdout
    doctor = run("doctor")
    assert (doctor.returncode, re.search(r"ok  extras +(.*?) *$", doctor.stdout, re.MULTILINE)[1]) == (0, "cpu")
    refused = run("run", "-c", "demo.yaml")
    assert (refused.returncode, told(refused.stderr)[2]) == (2, f"pip install '{DISTRIBUTION}[index]'")
