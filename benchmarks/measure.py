"""What benchmarks share: one measurement in a process of its own, several interleaved, and a page of figures."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"


def here(work: Callable[[], object]) -> dict[str, float]:
    """Run `work` in this process: CPU and wall seconds of the work, and the peak memory of the process in MB."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall, "peak_mb": _peak_mb()}


@contextmanager
def peak_of(field: str) -> Iterator[list[float]]:
    """The most bytes of `field` in /proc/self/status while the body runs, looked at 50 times a second; Linux."""
    most, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            most[0] = max(most[0], *(1024.0 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield most
    finally:
        ended.set()
        watching.join()


def apart(script: str, *arguments: str) -> dict[str, float]:
    """The last line that `python script arguments` prints, as JSON: a measurement in a process of its own."""
    done = subprocess.run([sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def interleaved(variants: Mapping[str, Callable[[], dict[str, float]]], repeats: int) -> dict[str, dict[str, float]]:
    """The median of each figure of each variant, measured A B C A B C, so that a slow minute hits all alike."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, measure in variants.items():
            runs[name].append(measure())
    return {name: {key: statistics.median(one[key] for one in all_) for key in all_[0]} for name, all_ in runs.items()}


def publish(
    name: str, title: str, command: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: str
) -> None:
    """Print a table of figures, and write it to docs/benchmarks/<name>.md with the date and the kind of machine."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {_processor()}; Python {platform.python_version()}"
    lines = [f"# {title}", "", f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine}.", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", notes.strip(), ""]
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / f"{name}.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def _peak_mb() -> float:
    """Peak resident memory of this process in MB, mapped files that it touched included.

    On Linux not by ru_maxrss: a process starts with that of the one that started it (measured: 526 MB for an empty
    child of a process of 526 MB).
    """
    status = Path("/proc/self/status")
    if status.exists():
        kib = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kib) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def _processor() -> str:
    try:
        listed = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "processor unknown"
    names = [line.split(":", 1)[1].strip() for line in listed.splitlines() if line.startswith("model name")]
    return names[0] if names else "processor unknown"
