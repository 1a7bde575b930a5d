"""Memory is kept while networks compute on a CPU, from before torch is imported, and given back before the build."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foundation import allocator
from tests.support.command import overrides, vitrine

BUILTIN = tuple(f"encoders.{side}={{type: dual, model: builtin}}" for side in ("text", "image"))

FAULTS = """
import json, resource, threading
from foundation.allocator import give_back, keep_memory, prepare_memory

def layers():
    for _ in range(20):  # activations of 40 MB, freed and taken again, in a worker's thread
        b"v" * (40 << 20)  # not of numpy, which asks for huge pages

def pages():
    thread = threading.Thread(target=layers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread.start(); thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

prepare_memory(networks=%s)
pages()
kept, before = pages(), held()
give_back()
print(json.dumps([kept, before - held()]))
"""


def _faults(networks: bool) -> list[int]:
    done = subprocess.run([sys.executable, "-c", FAULTS % networks], capture_output=True, text=True, check=True)
    found: list[int] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(allocator._glibc("mallopt") is None, reason="another C library than glibc: nothing is set")
def test_activations_are_taken_from_the_system_once() -> None:
    """Arrays of 40 MB that come and go 20 times fault in pages once, and all are given back when that is asked for; a
    process without networks takes them anew each time.
    """
    kept, returned = _faults(networks=True)
    assert returned > 30 << 20
    assert _faults(networks=False)[0] > 5 * max(kept, 20)


@pytest.mark.parametrize(
    ("encoders", "said"), [(BUILTIN, ["keep", "encode", "give back", "build"]), ((), ["encode", "build"])]
)
def test_a_run_keeps_memory_while_networks_encode(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoders: tuple[str, ...], said: list[str]
) -> None:
    """It is kept before anything is encoded and given back before an index is built; not at all without networks."""
    from pipeline import run as stages

    seen: list[str] = []

    def noted(options: dict[int, int]) -> None:
        names = {id(allocator._KEPT): "keep", id(allocator._USUAL): "give back"}
        seen.extend(names[id(options)] for _ in [0] if id(options) in names)

    def step(name: str, does: Any) -> Any:
        return lambda *args, **named: (seen.append(name), does(*args, **named))[1]

    monkeypatch.setattr(allocator, "_set", noted)
    monkeypatch.setattr(stages, "embed", step("encode", stages.embed))
    monkeypatch.setattr(stages, "build_indexes", step("build", stages.build_indexes))
    done = vitrine("run", "-c", "configs/weightless.yaml", *overrides(demo, tmp_path / "store", *encoders))
    assert done.exit_code == 0, done.stderr
    assert [one for i, one in enumerate(seen) if one not in seen[:i]] == said


def test_one_worker_feeds_networks_on_a_cpu(demo: Path, tmp_path: Path) -> None:
    """A plan says one unit at a time for them, and run.workers for encoders without weights; builds go side by side."""
    for encoders, workers in ((BUILTIN, 1), ((), 2)):
        words = ["plan", "-c", "configs/weightless.yaml", *overrides(demo, tmp_path / "store", *encoders), "--json"]
        at_once = json.loads(vitrine(*words).stdout)["at_once"]
        assert (at_once["embed_workers"], at_once["builds"]) == (workers, 2)
