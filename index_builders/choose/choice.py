"""Which index a partition gets, of the few that `settings.candidates` names: measured on its own rows.

Each candidate that may come within the bounds on bytes is built, tuned to `index.target_recall` on held-out queries,
and priced by measure/cost.py. Of those that reach the target within `max_bytes_per_vector` (the FAISS file) and
`max_disk_bytes_per_vector` (with refine vectors), the one whose query costs least wins; of equal ones the smaller.
Nothing here looks at a clock, so that the same rows always get the same index; `max_query_ms` is a bound that a built
index is held against, not a way to choose.

Partitions of more than `CHOOSE_ROWS` rows are judged by a random sample of so many, with as many lists as the rule
gives those, and bytes per vector reckoned for all rows. Fewer rows lie farther apart, so a sample flatters codes: who
fails there would fail on all rows, while who passes need not. The winner is therefore built of all rows and measured
again, and where it falls short, the next.
Nothing that meets the bounds: GateError, which says what was reached and which bound to move by how much.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict

from foundation.errors import GateError
from index_builders.base import BuilderSpec, StoredSpec
from index_builders.fill.threads import in_order
from index_builders.measure.queries import TowerQueries
from index_builders.measure.trial import Rows, Trial, drawn_by, trial
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index.partition_index import IDS_FILE
from lookup.store.entries.index_record import Considered, CurvePoint
from lookup.store.fields import Record

CHOOSE_ROWS = 65_536  # 0.5% of recall at 500 queries is noise; so many rows take seconds at 256 dimensions
KNOWN_TO = 1.05  # times a bound: bytes are known to 2% before an index is built


class Weighed(Record):
    """What is known of a built index once its files and rows are let go; `rows` is how many it was built of."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # figures that could not be measured are NaN

    spec: StoredSpec
    rows: int
    nprobe: int
    refine_factor: int
    recall: float
    cost_us: float
    memory_bytes: float
    disk_bytes: float


class Choice(Record):
    """A choice under way: the candidates' figures on a sample, who is built of all rows in which order, and the figures
    of those that were.
    """

    sample: tuple[Weighed, ...]
    order: tuple[int, ...]
    tried: tuple[Weighed, ...] = ()

    def next(self, settings: IndexSettings, vectors: VectorsFile) -> BuilderSpec:
        """The candidate to build of all rows."""
        return settings.candidates(len(vectors), vectors.dim)[self.order[len(self.tried)]]

    def after(self, made: Trial, settings: IndexSettings) -> Choice:
        """The choice when `made` is built; GateError where it was the last and falls short like those before it."""
        more = self.model_copy(update={"tried": (*self.tried, _figures(made))})
        if not more.found(settings) and len(more.tried) == len(more.order):
            raise refusal(more.tried, settings)
        return more

    def found(self, settings: IndexSettings) -> bool:
        """Whether the last one that was built meets the bounds on all rows."""
        return not _shortfalls(self.tried[-1], settings)

    def considered(self, settings: IndexSettings) -> tuple[Considered, ...]:
        """All that was weighed, with verdicts."""
        shorts = [(one, _shortfalls(one, settings)) for one in self.tried]
        return (
            *(_considered(one, _verdict(one, settings)) for one in self.sample),
            *(_considered(one, f"short on all rows: {short[0]}" if short else "chosen") for one, short in shorts),
        )


def choose(
    vectors: VectorsFile, ids: Path, settings: IndexSettings, folder: Path, alone: TowerQueries | None = None
) -> tuple[Trial, tuple[Considered, ...]]:
    """The cheapest index of `vectors` within the bounds, and all that was weighed; GateError where there is none.

    With `alone`, rows are also asked for by one tower alone. Of a sample nothing but figures is held while all rows are
    built, and of those that fall short not even files.
    """
    if len(vectors) <= CHOOSE_ROWS:
        rows = drawn_by(settings, vectors, ids, alone)
        trials = _weighed(
            rows, settings.candidates(len(vectors), vectors.dim), len(vectors), settings, folder / "candidates"
        )
        figures = {place: _figures(one) for place, one in trials.items()}
        best = _passing(figures, settings)[0]
        return trials[best], tuple(
            _considered(one, "chosen" if place == best else _verdict(one, settings)) for place, one in figures.items()
        )
    choice = of_sample(vectors, settings, folder, alone)
    rows = drawn_by(settings, vectors, ids, alone)
    while True:
        into = folder / f"all-{len(choice.tried)}"
        into.mkdir()
        made = trial(choice.next(settings, vectors), rows, settings.target_recall, into)
        choice = choice.after(made, settings)
        if choice.found(settings):
            return made, choice.considered(settings)
        shutil.rmtree(into)


def of_sample(vectors: VectorsFile, settings: IndexSettings, folder: Path, alone: TowerQueries | None) -> Choice:
    """What a sample of `vectors` says of the candidates; GateError where none of them meets the bounds there."""
    figures = _of_sample(vectors, settings.candidates(len(vectors), vectors.dim), settings, folder, alone)
    return Choice(sample=tuple(figures.values()), order=tuple(_passing(figures, settings, sampled=True)))


def refusal(figures: Sequence[Weighed], settings: IndexSettings, sampled: bool = False) -> GateError:
    """What to say where nothing meets the bounds: what was reached, and for each bound how far it must move."""
    fixes = []
    within = [one for one in figures if not _over(one, settings)]
    if within:
        best = max(within, key=lambda one: (one.recall, -one.disk_bytes))
        recall = math.floor(1000 * best.recall) / 1000
        fixes.append(f"lower index.target_recall to {recall:g} ({best.spec.described})")
    reaching = [one for one in figures if one.recall >= settings.target_recall]
    if reaching:
        least = min(reaching, key=lambda one: (_excess(one, settings), one.memory_bytes, one.disk_bytes))
        fixes.append(f"raise {' and '.join(_over(least, settings))} ({least.spec.described})")
    reached = "; ".join(f"{one.spec.described}: recall {one.recall:.3f}, {_bytes(one)}" for one in figures)
    if sampled:
        reached += f" (recall measured on a sample of {figures[0].rows:,} rows; all rows will give less)"
    return GateError(_explain_bounds(settings), reached, ", or ".join(fixes) or "drop a bound of the section index")


def refused(one: Trial, settings: IndexSettings) -> GateError | None:
    """Why an index that the config names cannot be kept: its bytes exceed a bound. Recall has a gate of its own."""
    figure = _figures(one)
    over = _over(figure, settings)
    if not over:
        return None
    asked = f"an index {_explain_byte_bounds(settings)}"
    return GateError(asked, f"{one.spec.described}: {_bytes(figure)}", f"raise {' and '.join(over)}")


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


def _weighed(
    rows: Rows, specs: Sequence[BuilderSpec], whole: int, settings: IndexSettings, folder: Path
) -> dict[int, Trial]:
    """The candidates by their place, in order; `specs` are those of all `whole` rows, of which `rows` may be a sample.

    What would exceed a bound on bytes anyway is built only where nothing else meets the bounds: its recall says how far
    a bound must move.
    """
    dim = rows.vectors.dim
    fitting = [place for place, spec in enumerate(specs) if settings.fits(spec, whole, dim, KNOWN_TO)]
    trials = _trials(rows, whole, fitting, settings, folder)
    known = {place: _of_all(_figures(one), specs[place], whole, dim) for place, one in trials.items()}
    if all(_shortfalls(one, settings) for one in known.values()):
        trials |= _trials(rows, whole, sorted(set(range(len(specs))) - set(fitting)), settings, folder)
    return dict(sorted(trials.items()))


def _trials(rows: Rows, whole: int, places: Sequence[int], settings: IndexSettings, folder: Path) -> dict[int, Trial]:
    """The candidates of these places, built and tuned, on as many threads as there are for this build.

    Those that differ in the refine stage alone share a FAISS file.
    """
    specs = settings.candidates(len(rows.vectors), rows.vectors.dim, whole)
    alike: dict[str, list[int]] = {}
    for place in places:
        alike.setdefault(str(specs[place].model_dump(exclude={"refine", "refine_factor"})), []).append(place)

    def tried(alike: list[int]) -> dict[int, Trial]:
        made = dict[int, Trial]()
        for place in alike:
            into = folder / str(place)
            into.mkdir(parents=True)
            built = made[alike[0]].files["index"] if made else None
            made[place] = trial(specs[place], rows, settings.target_recall, into, built)
        return made

    return {place: one for made in in_order(tried, alike.values()) for place, one in made.items()}


def _of_sample(
    vectors: VectorsFile,
    specs: Sequence[BuilderSpec],
    settings: IndexSettings,
    folder: Path,
    alone: TowerQueries | None,
) -> dict[int, Weighed]:
    """The figures of the candidates on a sample, with the bytes that `specs` will have; the sample's files are gone."""
    into = folder / "sample"
    into.mkdir()
    trials = _weighed(_sampled(vectors, settings, into, alone), specs, len(vectors), settings, into)
    figures = {place: _of_all(_figures(one), specs[place], len(vectors), vectors.dim) for place, one in trials.items()}
    shutil.rmtree(into)
    return figures


def _sampled(vectors: VectorsFile, settings: IndexSettings, folder: Path, alone: TowerQueries | None) -> Rows:
    """`CHOOSE_ROWS` random rows, with queries and training rows of their own; row p has the id `p`."""
    rng = np.random.default_rng((settings.seed, 2))
    at = np.sort(rng.choice(len(vectors), CHOOSE_ROWS, replace=False, shuffle=False))
    few = VectorsFile(np.ascontiguousarray(vectors.rows[at]), vectors.metric, vectors.compute)
    ids = folder / IDS_FILE
    pq.write_table(pa.table({"id": [str(position) for position in range(len(few))]}), ids, write_page_checksum=True)
    return drawn_by(settings, few, ids, None if alone is None else alone.among(at))


def _figures(one: Trial) -> Weighed:
    point = one.tuned.point
    return Weighed(
        spec=one.spec,
        rows=one.promised.rows,
        nprobe=point.nprobe,
        refine_factor=point.refine_factor,
        recall=point.recall,
        cost_us=point.cost_us,
        memory_bytes=one.memory_bytes,
        disk_bytes=one.disk_bytes,
    )


def _passing(figures: Mapping[int, Weighed], settings: IndexSettings, sampled: bool = False) -> list[int]:
    """The places of those that meet the bounds, the cheapest first; GateError where there is none."""
    passing = [place for place, one in figures.items() if not _shortfalls(one, settings)]
    if not passing:
        raise refusal(list(figures.values()), settings, sampled)
    return sorted(passing, key=lambda place: _price(figures[place]))


def _price(one: Weighed) -> tuple[float, float, float]:
    return one.cost_us, one.memory_bytes, one.disk_bytes


def _over(one: Weighed, settings: IndexSettings) -> list[str]:
    """The bounds on bytes that an index exceeds, each with the value that would let it pass."""
    bounds = {
        "max_bytes_per_vector": (one.memory_bytes, settings.max_bytes_per_vector),
        "max_disk_bytes_per_vector": (one.disk_bytes, settings.max_disk_bytes_per_vector),
    }
    return [f"index.{name} to {math.ceil(value)}" for name, (value, bound) in bounds.items() if bound and value > bound]


def _excess(one: Weighed, settings: IndexSettings) -> float:
    """How far the bounds on bytes would have to move, as the logarithm of what they are multiplied by."""
    bounds = ((one.memory_bytes, settings.max_bytes_per_vector), (one.disk_bytes, settings.max_disk_bytes_per_vector))
    return sum(max(0.0, math.log(value / bound)) for value, bound in bounds if bound)


def _of_all(one: Weighed, spec: BuilderSpec, rows: int, dim: int) -> Weighed:
    """Figures of a sample with the bytes per vector that `spec` will have with all `rows`: more of them share the
    centroids, the rotation, and the places that 32 codes at a time leave empty at the end of each list.
    """
    more = spec.shared_bytes(dim) / rows - one.spec.shared_bytes(dim) / one.rows
    return one.model_copy(update={"memory_bytes": one.memory_bytes + more, "disk_bytes": one.disk_bytes + more})


def _shortfalls(one: Weighed, settings: IndexSettings) -> list[str]:
    short = [] if one.recall >= settings.target_recall else [f"recall {one.recall:.3f}"]
    return short + [f"would need {over}" for over in _over(one, settings)]


def _verdict(one: Weighed, settings: IndexSettings) -> str:
    short = _shortfalls(one, settings)
    return ", ".join(short) if short else "meets the bounds, at a higher cost"


def _considered(one: Weighed, verdict: str) -> Considered:
    return Considered(
        type=one.spec.type,
        parameters=one.spec.model_dump(mode="json", exclude={"type"}),
        rows=one.rows,
        nprobe=one.nprobe,
        refine_factor=one.refine_factor,
        recall=one.recall,
        cost_us=one.cost_us,
        memory_bytes=one.memory_bytes,
        disk_bytes=one.disk_bytes,
        verdict=verdict,
    )


def _bytes(one: Weighed) -> str:
    return f"{one.memory_bytes:.1f} and {one.disk_bytes:.1f} bytes"


def _explain_bounds(settings: IndexSettings) -> str:
    bounds = _explain_byte_bounds(settings)
    return f"an index with recall@{settings.k} of {settings.target_recall:g} or more" + (bounds and f", {bounds}")


def _explain_byte_bounds(settings: IndexSettings) -> str:
    """The bounds on bytes in words; empty where there is none."""
    asked = []
    if settings.max_bytes_per_vector:
        asked.append(f"in at most {settings.max_bytes_per_vector:g} bytes a vector")
    if settings.max_disk_bytes_per_vector:
        asked.append(f"with refine vectors in at most {settings.max_disk_bytes_per_vector:g}")
    return ", ".join(asked)
