"""The indexes of a snapshot for people: a table for the terminal, and one offline page with recall-latency plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookup.page import put_page, render
from lookup.store.entries.index_record import CurvePoint, IndexRecord, describe_training
from lookup.store.manifest import Manifest

Table = tuple[list[str], list[list[str]]]

_WIDTH, _HEIGHT = 300, 160  # of a plot, in its own units


def index_table(manifest: Manifest) -> Table:
    """(columns, rows) of every partition: what was built, and what was measured of it."""
    columns = ["partition", "rows", "index", "nprobe", "refine", "recall", "p50 ms", "p99 ms", "bytes/vector"]
    rows = []
    for partition in manifest.partitions:
        index = partition.index
        times = [f"{ms:.2f}" if ms else "-" for ms in (index.p50_ms, index.p99_ms)]
        setting = [str(index.nprobe or "-"), str(index.refine_factor or "-")]
        rows.append(
            [partition.name, f"{partition.rows:,}", index.type, *setting, _recall(index), *times, *_proof(index)]
        )
    return [*columns, "imbalance", "MB"], rows


def considered_table(manifest: Manifest) -> Table:
    """(columns, rows) of every index that was weighed, by partition."""
    columns = ["partition", "index", "of rows", "nprobe", "refine", "recall", "cost us", "bytes/vector", "verdict"]
    rows = [
        [
            partition.name,
            f"{one.type}{_details(one.parameters)}",
            f"{one.rows:,}",
            str(one.nprobe or "-"),
            str(one.refine_factor or "-"),
            f"{one.recall:.3f}",
            f"{one.cost_us:,.0f}",
            f"{one.memory_bytes:.0f} / {one.disk_bytes:.0f}",
            one.verdict,
        ]
        for partition in manifest.partitions
        for one in partition.index.considered
    ]
    return columns, rows


def accepted_table(manifest: Manifest) -> Table:
    """(columns, rows) of every figure that the snapshot was published in spite of."""
    rows = [[one.place, f"{one.value:g}", f"{one.bound:g}", one.run] for one in manifest.accepted]
    return ["published in spite of", "figure", "bound", "accepted for run"], rows


def notes_table(manifest: Manifest) -> Table:
    """(columns, rows) of every index that is not what the settings ask for, and why."""
    noted = [[partition.name, partition.index.note] for partition in manifest.partitions if partition.index.note]
    return ["partition", "not as asked for"], noted


def training_table(manifest: Manifest) -> Table:
    """(columns, rows) of every index that learned something under `index.retrain: auto`: whose training, and why."""
    columns = ["partition", "training", "decided by"]
    rows = []
    for partition in manifest.partitions:
        training = partition.index.training
        if training is not None and describe_training(partition.index):
            whose = f"of {training.trained_by[:12]}" if training.reused else "its own"
            rows.append([partition.name, whose, training.reason])
    return columns, rows


def identity_table(manifest: Manifest) -> Table:
    """(columns, rows) of every part of the identities of encoders and fusion, what stands beside them, and which
    version of FAISS built how many indexes; no rows of manifests of before they were kept. Towers of one encoder share
    theirs.
    """
    entries: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {}
    for name, entry in (("text", manifest.text), ("image", manifest.image)):
        if entry is not None and entry.parts:
            shared = entries[entry.identity][0] + ", " if entry.identity in entries else ""
            entries[entry.identity] = (shared + name, entry.identity, entry.parts, entry.about)
    if manifest.fusion_parts:
        entries["fusion"] = ("fusion", manifest.fusion_identity or "", manifest.fusion_parts, {})
    rows = []
    for name, identity, parts, about in entries.values():
        rows += [[name, "identity", identity], *([name, part, value] for part, value in parts.items())]
        rows += [[name, f"beside it: {part}", value] for part, value in about.items()]
    built = Counter(partition.index.faiss for partition in manifest.partitions if partition.index.faiss)
    rows += [["indexes", "built by", f"faiss {version}: {count:,}"] for version, count in sorted(built.items())]
    return ["identity of", "part", "value"], rows


def categories_table(manifest: Manifest) -> Table:
    """(columns, rows) of how well the likely categories of queries are known; no rows where all are searched."""
    found = manifest.understanding and manifest.understanding.figures
    if not found:
        return [], []
    columns = ["likely categories", "asked", "right", "calibration error", "searched", "first 10 kept", "the same"]
    shares = [f"{share:.3f}" for share in (found.right, found.ece, found.searched, found.kept, found.same)]
    told = f"{found.fewest:,} at least, but for {found.unsearched:g}"
    return columns, [[told, f"{found.asked:,}", *shares]]


def ranker_table(manifest: Manifest) -> Table:
    """(columns, rows) of the re-ranker on the queries that were held out when it was learned; no rows without one."""
    if manifest.ranker is None:
        return [], []
    settings, held_out = manifest.ranker.settings, manifest.ranker.settings.held_out
    about = f"re-ranker ({settings.type}, {len(settings.features)} features, first {settings.top})"
    rows = [
        [name, f"{one.before:.3f}", f"{one.after:.3f}", f"{one.mean:+.3f}", f"{one.low:+.3f}..{one.high:+.3f}"]
        for name, one in held_out.figures.items()
    ]
    return [f"{about}, {held_out.queries:,} held-out queries", "without", "with", "gain", "95%"], rows


def missing_table(manifest: Manifest) -> Table:
    """(columns, rows) of how products that lack a modality fare among the first ten hits, beside how they fare by the
    one tower that they have; no rows where that was not measured.
    """
    rows = [
        [one.kind, f"{one.queries:,}", f"{one.lacking:,} of {one.rows:,}", f"{one.share:.3f}", f"{one.own:.3f}"]
        for one in manifest.missing or ()
    ]
    return ["queries by", "asked", "lack the other", "share of hits", "by the tower alone"], rows


def write_report(path: Path, snapshot: str, manifest: Manifest) -> None:
    """Write the page to `path`, in one step also where one stands; InputError where it cannot be written."""
    html = render(
        "pipeline/report/indexes.html",
        ["lookup/page.css", "pipeline/report/report.css", "pipeline/report/plots.css"],
        heading="Indexes",
        note=[f"snapshot {snapshot}: {manifest.rows:,} products in {len(manifest.partitions)} partitions"],
        plots=[_plotted(one.name, one.index) for one in manifest.partitions if not one.index.exact],
        accepted=accepted_table(manifest),
        notes=notes_table(manifest),
        indexes=index_table(manifest),
        trainings=training_table(manifest),
        considered=considered_table(manifest),
        missing=missing_table(manifest),
        ranker=ranker_table(manifest),
        identities=identity_table(manifest),
    )
    put_page(path, html, "indexes")


def _plotted(name: str, index: IndexRecord) -> dict[str, Any]:
    return plot_of(f"{name} ({index.type})", index.k, (index.nprobe, index.refine_factor), index.curve)


def plot_of(name: str, k: int, chosen: tuple[int, int], curve: Sequence[CurvePoint]) -> dict[str, Any]:
    """Recall from bottom to top, milliseconds from left to right, both from 0; the `chosen` nprobe and refine factor
    stand out.
    """
    slowest = max((point.ms for point in curve), default=0.0) or 1.0
    dots = [
        {
            "x": round(_WIDTH * point.ms / slowest, 1),
            "y": round(_HEIGHT * (1 - point.recall), 1),
            "chosen": (point.nprobe, point.refine_factor) == chosen,
            "said": f"{_setting(point)}: {point.recall:.3f} in {point.ms:.2f} ms",
        }
        for point in curve
    ]
    return {"name": name, "k": k, "dots": dots, "slowest": f"{slowest:.2g}"}


def _setting(point: CurvePoint) -> str:
    """How a search goes."""
    words = [f"nprobe {point.nprobe}"] if point.nprobe else []
    words += [f"refine {point.refine_factor}"] if point.refine_factor else []
    return ", ".join(words)


def _recall(index: IndexRecord) -> str:
    """Of the kind of queries that has the least, with its interval; then of each kind, where there are several.

    An exact index has 1 by construction.
    """
    if index.exact:
        return "exact"
    within = "" if index.proof is None else f" {index.proof.recall_low:.3f}-{index.proof.recall_high:.3f}"
    kinds = ", ".join(f"{one.kind} {one.recall:.3f}" for one in sorted(index.recalls, key=lambda one: one.kind))
    return f"@{index.k} {index.recall:.3f}{within}{kinds and f' ({kinds})'}"


def _proof(index: IndexRecord) -> list[str]:
    """Bytes a vector in memory / in all, imbalance, megabytes of all files."""
    size = f"{sum(file.bytes for file in index.files.values()) / 1e6:.1f}"
    if index.proof is None:
        return ["-", "-", size]
    uneven = "-" if index.proof.imbalance is None else f"{index.proof.imbalance:.2f}"
    return [f"{index.proof.memory_bytes:.0f} / {index.proof.disk_bytes:.0f}", uneven, size]


def _details(parameters: dict[str, Any]) -> str:
    """What tells candidates of one type apart: ` 4 bits, refine sq8`."""
    words = [f"{parameters['nbits']} bits"] if parameters.get("nbits") else []
    words += [f"refine {parameters['refine']}"] if parameters.get("refine", "none") != "none" else []
    return f" {', '.join(words)}" if words else ""
