"""Which index a partition gets, of the few that `sizing.candidates` names: measured on its own rows.

Each candidate is built, tuned to `index.target_recall` on held-out queries, and priced by cost.py. Of those that reach
the target within `max_bytes_per_vector` (the FAISS file) and `max_disk_bytes_per_vector` (with refine vectors), the one
whose query costs least wins; of equal ones the smaller. Nothing here looks at a clock, so that the same rows always get
the same index; `max_query_ms` is a bound that a built index is held against, not a way to choose.

Partitions of more than `CHOOSE_ROWS` rows are judged by a random sample of so many, with as many lists as the rule
gives those, and bytes per vector reckoned for all rows. Fewer rows lie farther apart, so a sample flatters codes: who
fails there would fail on all rows, while who passes need not. The winner is therefore built of all rows and measured
again, and where it falls short, the next.
Nothing that meets the bounds: GateError, which says what was reached and which bound to move by how much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index_builders.base import BuilderSpec
from index_builders.kept import Kept
from index_builders.sizing import IndexSettings
from index_builders.trial import Rows, Trial, drawn, trial
from lookup.errors import GateError
from lookup.index import IDS_FILE
from lookup.manifest import Considered, CurvePoint

CHOOSE_ROWS = 131_072  # 0.5% of recall at 500 queries is noise; this many rows take a minute at 256 dimensions


def choose(rows: Rows, settings: IndexSettings, folder: Path) -> tuple[Trial, tuple[Considered, ...]]:
    """The cheapest index of `rows` within the bounds, and all that was weighed; GateError where there is none."""
    small = len(rows.kept) <= CHOOSE_ROWS
    judged = rows if small else _sampled(rows, settings, folder)
    trials = _trials(judged, settings, folder / "sample")
    if not small:
        specs = settings.candidates(len(rows.kept), rows.kept.dim)
        trials = [_of_all(one, spec, len(rows.kept)) for one, spec in zip(trials, specs, strict=True)]
    weighed = [_considered(one, _verdict(one, settings), len(judged.kept)) for one in trials]
    passing = sorted(
        (i for i, one in enumerate(trials) if not _shortfalls(one, settings)), key=lambda i: _price(trials[i])
    )
    if not passing:
        raise refusal(trials, settings)
    if small:
        weighed[passing[0]] = weighed[passing[0]].model_copy(update={"verdict": "chosen"})
        return trials[passing[0]], tuple(weighed)
    failed: list[Trial] = []
    for place in passing:
        into = folder / f"all-{place}"
        into.mkdir()
        made = trial(specs[place], rows, settings.target_recall, into)
        short = _shortfalls(made, settings)
        verdict = f"short on all rows: {short[0]}" if short else "chosen"
        weighed.append(_considered(made, verdict, len(rows.kept)))
        if not short:
            return made, tuple(weighed)
        failed.append(made)
    raise refusal(failed, settings)


def refusal(trials: Sequence[Trial], settings: IndexSettings) -> GateError:
    """What to say where no trial meets the bounds: what was reached, and for each bound how far it must move."""
    fixes = []
    within = [one for one in trials if not _over(one, settings)]
    if within:
        best = max(within, key=lambda one: (one.tuned.point.recall, -one.disk_bytes))
        recall = math.floor(1000 * best.tuned.point.recall) / 1000
        fixes.append(f"lower index.target_recall to {recall:g} ({described(best)})")
    reaching = [one for one in trials if one.tuned.point.recall >= settings.target_recall]
    if reaching:
        least = min(reaching, key=lambda one: (_excess(one, settings), one.memory_bytes, one.disk_bytes))
        fixes.append(f"raise {' and '.join(_over(least, settings))} ({described(least)})")
    reached = "; ".join(
        f"{described(one)}: recall {one.tuned.point.recall:.3f}, {one.memory_bytes:.1f} and {one.disk_bytes:.1f} bytes"
        for one in trials
    )
    return GateError(_asked(settings), reached, ", or ".join(fixes) or "drop a bound of the section index")


def refused(one: Trial, settings: IndexSettings) -> GateError | None:
    """Why an index that the config names cannot be kept: its bytes exceed a bound. Recall has a gate of its own."""
    return refusal([one], settings) if _over(one, settings) else None


def too_slow(p50_ms: float, curve: Sequence[CurvePoint], settings: IndexSettings) -> GateError:
    """What to say of an index whose median query takes longer than the bound, with the curve that was timed."""
    assert settings.max_query_ms is not None
    fast = [point for point in curve if point.ms <= settings.max_query_ms]
    fixes = [f"raise index.max_query_ms to {math.ceil(100 * p50_ms) / 100:g}"]
    if fast:
        recall = math.floor(1000 * fast[-1].recall) / 1000
        fixes.append(f"lower index.target_recall to {recall:g}, where a query took {fast[-1].ms:.2f} ms")
    came = f"{p50_ms:.2f} ms (this is a time: on a busy machine, try again)"
    return GateError(f"a median query of at most {settings.max_query_ms:g} ms", came, ", or ".join(fixes))


def described(one: Trial) -> str:
    """A spec in a few words: `ivf_rabitq, nbits 1, refine sq8`."""
    fields = one.spec.model_dump()
    words = [one.spec.type]
    words += [name.replace("_", " ") for name in ("opq", "fast_scan") if fields.get(name)]
    words += [f"{name} {fields[name]}" for name in ("m", "nbits") if fields.get(name)]
    kind = one.spec.refined[0]
    return ", ".join(words + ([f"refine {kind}"] if kind != "none" else []))


def _trials(rows: Rows, settings: IndexSettings, folder: Path) -> list[Trial]:
    """Every candidate, built and tuned. Those that differ in the refine stage alone share a FAISS file."""
    made: list[Trial] = []
    files: dict[str, Path] = {}
    for number, spec in enumerate(settings.candidates(len(rows.kept), rows.kept.dim)):
        into = folder / str(number)
        into.mkdir(parents=True)
        fields = spec.model_dump(exclude={"refine", "refine_factor"})
        made.append(trial(spec, rows, settings.target_recall, into, files.get(str(fields))))
        files[str(fields)] = made[-1].files["index"]
    return made


def _sampled(rows: Rows, settings: IndexSettings, folder: Path) -> Rows:
    """`CHOOSE_ROWS` random rows, with queries and training rows of their own; row p has the id `p`."""
    rng = np.random.default_rng((settings.seed, 2))
    at = np.sort(rng.choice(len(rows.kept), CHOOSE_ROWS, replace=False, shuffle=False))
    kept = Kept(np.ascontiguousarray(rows.kept.rows[at]), rows.kept.metric)
    ids = folder / f"sample-{IDS_FILE}"
    pq.write_table(pa.table({"id": [str(position) for position in range(len(kept))]}), ids, write_page_checksum=True)
    nt, nq = settings.train_rows(len(kept), kept.dim), settings.held_out(len(kept))
    return drawn(kept, nt, nq, settings.k, settings.seed, ids)


def _price(one: Trial) -> tuple[float, float, float]:
    return one.tuned.point.cost_us, one.memory_bytes, one.disk_bytes


def _over(one: Trial, settings: IndexSettings) -> list[str]:
    """The bounds on bytes that an index exceeds, each with the value that would let it pass."""
    bounds = {
        "max_bytes_per_vector": (one.memory_bytes, settings.max_bytes_per_vector),
        "max_disk_bytes_per_vector": (one.disk_bytes, settings.max_disk_bytes_per_vector),
    }
    return [f"index.{name} to {math.ceil(value)}" for name, (value, bound) in bounds.items() if bound and value > bound]


def _excess(one: Trial, settings: IndexSettings) -> float:
    """How far the bounds on bytes would have to move, as the logarithm of what they are multiplied by."""
    bounds = ((one.memory_bytes, settings.max_bytes_per_vector), (one.disk_bytes, settings.max_disk_bytes_per_vector))
    return sum(max(0.0, math.log(value / bound)) for value, bound in bounds if bound)


def _of_all(one: Trial, spec: BuilderSpec, rows: int) -> Trial:
    """A trial on a sample with the bytes per vector that `spec` will have with all `rows`: more of them share the
    centroids, the rotation, and the places that 32 codes at a time leave empty at the end of each list.
    """
    more = _shared(spec, one.index.dim) / rows - _shared(one.spec, one.index.dim) / one.index.rows
    return replace(one, memory_bytes=one.memory_bytes + more, disk_bytes=one.disk_bytes + more)


def _shared(spec: BuilderSpec, dim: int) -> float:
    """Bytes of an index that do not grow with its rows."""
    fields = spec.model_dump()
    lists = fields.get("nlist", 0)
    if spec.type == "ivf_rabitq":
        return float(lists * (4 * dim + 16 * (dim / 8 + 8)) + 4 * dim * dim)
    if fields.get("fast_scan"):
        return float(lists * (4 * dim + 16 * fields["m"] / 2) + 4 * dim * dim + 64 * dim)
    return float(lists * 4 * dim)


def _shortfalls(one: Trial, settings: IndexSettings) -> list[str]:
    short = [] if one.tuned.point.recall >= settings.target_recall else [f"recall {one.tuned.point.recall:.3f}"]
    return short + [f"would need {over}" for over in _over(one, settings)]


def _verdict(one: Trial, settings: IndexSettings) -> str:
    short = _shortfalls(one, settings)
    return ", ".join(short) if short else "meets the bounds, at a higher cost"


def _considered(one: Trial, verdict: str, rows: int) -> Considered:
    point = one.tuned.point
    return Considered(
        type=one.spec.type,
        parameters=one.spec.model_dump(mode="json", exclude={"type"}),
        rows=rows,
        nprobe=point.nprobe,
        refine_factor=point.refine_factor,
        recall=point.recall,
        cost_us=point.cost_us,
        memory_bytes=one.memory_bytes,
        disk_bytes=one.disk_bytes,
        verdict=verdict,
    )


def _asked(settings: IndexSettings) -> str:
    asked = f"an index with recall@{settings.k} of {settings.target_recall:g} or more"
    if settings.max_bytes_per_vector:
        asked += f", in at most {settings.max_bytes_per_vector:g} bytes a vector"
    if settings.max_disk_bytes_per_vector:
        asked += f", with refine vectors in at most {settings.max_disk_bytes_per_vector:g}"
    return asked
