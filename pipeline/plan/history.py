"""What earlier runs of a store took: the only honest guess at how fast encoders are here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.errors import VitrineError
from lookup.store.store import Store
from pipeline.config.sections import EncodersConfig
from pipeline.report.earlier_runs import read_report
from pipeline.report.run_report import RunReport

Floats = npt.NDArray[np.float64]
_LOOKED_AT = 30  # runs, the newest first: nights on which nothing changed say nothing


def encode_seconds(path: str, encoders: EncodersConfig, rows: int) -> float | None:
    """About how long embedding `rows` takes, by the newest run of the store at `path` that encoded most of its units
    with these encoders.

    None where there is none.
    """
    try:
        store = Store.open(path)
        names = store.names("runs")
    except VitrineError:
        return None
    for name in sorted(names, reverse=True)[:_LOOKED_AT]:
        report = read_report(store, name)
        if report is None:
            continue
        took = next((step for step in report.steps if step.name == "embed"), None)
        encoded = report.units - report.units_reused
        # Manifests are large, so last: nights on which little changed are passed over without one.
        if took is not None and 2 * encoded > report.units and report.rows_in and _alike(store, report, encoders):
            return took.seconds * report.units / encoded * rows / report.rows_in
    return None


@dataclass(frozen=True)
class Rates:
    """Seconds of a row that is read, and of a text, and of a product's photos, that are encoded, as so many earlier
    runs tell them together. None: none of these encoded any.
    """

    row: float
    text: float | None
    photos: float | None
    runs: int

    def seconds(self, rows: int, texts: int, photos: int) -> float | None:
        """Of a run that reads and encodes so many; None where that is not known, as what reading alone takes is not
        before a run encoded little.
        """
        if (texts and self.text is None) or (photos and self.photos is None):
            return None
        return (self.row * rows + (self.text or 0.0) * texts + (self.photos or 0.0) * photos) or None


def measured_rates(path: str, encoders: EncodersConfig) -> Rates | None:
    """How fast the store at `path` was read and encoded with these encoders, by its last runs; None where there are
    none.
    """
    seen = list(_embedded(path, encoders))
    if not seen:
        return None
    counts, seconds = np.array([one[:3] for one in seen], np.float64), np.array([one[3] for one in seen])
    row, text, photos = _fitted(counts, seconds)
    return Rates(row, text if counts[:, 1].any() else None, photos if counts[:, 2].any() else None, len(seen))


# Which of rows, texts and photos cost anything: of what explains the runs equally well the first, for encoding is dear.
_EXPLAIN = ((1, 2), (0, 1, 2), (1,), (2,), (0,), (0, 1), (0, 2))


def _fitted(counts: Floats, seconds: Floats) -> tuple[float, float, float]:
    """The rates, none negative, that come nearest to (n,) seconds of runs of (n, 3) counts, relative to each."""
    best, least = (0.0, 0.0, 0.0), np.inf
    for chosen in _EXPLAIN:
        found = np.zeros(3)
        found[list(chosen)] = np.linalg.lstsq(counts[:, chosen] / seconds[:, None], np.ones(len(seconds)), rcond=None)[
            0
        ]
        error = float((((counts @ found) / seconds - 1) ** 2).sum())
        if (found >= 0).all() and error < least - 1e-6:
            best, least = (float(found[0]), float(found[1]), float(found[2])), error
    return best


def _embedded(path: str, encoders: EncodersConfig) -> Iterator[tuple[int, int, int, float]]:
    """(rows read, texts encoded, photos encoded, seconds) of the embedding of each of the last runs that ended well."""
    try:
        store = Store.open(path)
        names = store.names("runs")
    except VitrineError:
        return
    for name in sorted(names, reverse=True)[:_LOOKED_AT]:
        report = read_report(store, name)
        if report is None or not report.succeeded or not report.rows_in:
            continue
        took = sum(step.seconds for step in report.steps if step.name == "embed")
        if took and _alike(store, report, encoders):
            yield report.rows_in, report.texts_encoded, report.photos_encoded, took


def _alike(store: Store, report: RunReport, encoders: EncodersConfig) -> bool:
    """Whether a run published what these encoders made; not if that is gone: operations, Deleting."""
    try:
        manifest = None if report.snapshot is None else store.manifest(report.snapshot)
    except VitrineError:
        return False
    if manifest is None:
        return False
    specs = (encoders.text, encoders.image)
    made_by = [None if entry is None else entry.identity for entry in (manifest.text, manifest.image)]
    return made_by == [None if spec is None else spec.identity for spec in specs]
