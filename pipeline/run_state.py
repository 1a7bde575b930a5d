"""What a run knows so far, and the report that is made of it: also when the run fails half-way."""

from __future__ import annotations

import os
import platform
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from foundation.errors import VitrineError
from lookup.store.manifest import Manifest, Provenance
from lookup.store.publications.publication import Publication
from pipeline.config.yaml_files import Problem
from pipeline.embed.tally import NOTHING_DONE, Tally
from pipeline.photos.session import counts_by_host
from pipeline.plan.units import Plan
from pipeline.publish.acceptance import Acceptance
from pipeline.report.notices import Notice, notice
from pipeline.report.photo_hosts import photo_hosts, stale_photos
from pipeline.report.run_report import (
    ENDED_WELL,
    Encoded,
    GateResult,
    Host,
    RunReport,
    Status,
    Steps,
    Warned,
    losses,
    partition_rows,
    unread_attributes,
)


@dataclass
class RunState:
    """What a run knows so far."""

    run: str
    started: datetime
    command: str = "vitrine run"
    category: str | None = None  # as it was asked for
    config: str | None = None  # the digest of the effective config
    accepted: tuple[Acceptance, ...] = ()
    base: Publication | None = None  # what was published when it started
    parent_id: str | None = None
    parent: Manifest | None = None
    plan: Plan | None = None
    read_at: datetime | None = None  # after what was published by then, and before any row
    warnings: tuple[Problem, ...] = ()
    units_reused: int = 0
    tally: Tally = NOTHING_DONE
    notices: list[Notice] = field(default_factory=list)
    of_figures: list[Notice] = field(default_factory=list)  # of the snapshot that the gates looked at last
    indexes_reused: set[str] = field(default_factory=set)
    manifest: Manifest | None = None
    gates: list[GateResult] = field(default_factory=list)
    snapshot: str | None = None
    served: Manifest | None = None  # by others, where all that the run read was read later
    meanwhile: tuple[int, ...] = ()  # publications by others that it was merged over
    status: Status = "failed"
    error: VitrineError | None = None
    steps: Steps = field(default_factory=Steps)

    @property
    def scope(self) -> frozenset[str] | None:
        """The partitions that the run is about; None: all."""
        category = self.plan.category if self.plan else None
        return None if category is None else frozenset([category])

    @property
    def read(self) -> Provenance:
        """What it read of the catalog, and when."""
        assert self.plan is not None
        assert self.read_at is not None
        return Provenance(run=self.run, catalog=self.plan.catalog, read_at=self.read_at)


def report_of(state: RunState) -> RunReport:
    """The report of a run as it is now, which is taken for its end."""
    manifest, plan, scope = state.manifest, state.plan, state.scope
    hosts = counts_by_host()
    served = state.served or manifest
    rejects = manifest.rejects(scope) if manifest else Counter[str]()
    degraded = manifest.degraded(scope) if manifest else Counter[str]()
    ended_well = state.status in ENDED_WELL
    return RunReport(
        run=state.run,
        started_at=state.started,
        ended_at=datetime.now(UTC),
        status=state.status,
        exit_code=state.error.exit_code if state.error else int(not ended_well),
        snapshot=state.snapshot,
        parent=state.parent_id,
        command=state.command,
        category=plan.category if plan else state.category,
        merged_over=state.meanwhile,
        vitrine=_version(),
        host=_host(),
        config=state.config,
        rows_in=plan.rows if plan else 0,
        rows_embedded=manifest.rows_in(scope) if manifest else 0,
        rows_rejected=rejects.total(),
        rows_degraded=degraded.total(),
        rows_in_snapshot=served.rows if served else 0,
        photos=manifest.photos(scope)[0] if manifest else 0,
        photos_lost=manifest.photos(scope)[1] if manifest else 0,
        units=len(plan.units) if plan else 0,
        units_reused=state.units_reused,
        **state.tally.counts,
        encoded=_why(state.tally),
        **_bytes(state),
        indexes_reused=len(state.indexes_reused),
        steps=tuple(state.steps.entries),
        gates=tuple(state.gates),
        rejects=dict(sorted(rejects.items())),
        degraded=dict(sorted(degraded.items())),
        details=losses(manifest.details(scope)) if manifest else (),
        warnings=tuple(Warned(**asdict(one)) for one in state.warnings),
        photo_hosts=photo_hosts(hosts),
        partitions=tuple(partition_rows(manifest, state.indexes_reused)) if manifest else (),
        notices=_notices(state, hosts),
        error=str(state.error or "a fault of the program: log.txt has the traceback") if not ended_well else None,
    )


def _notices(state: RunState, hosts: Mapping[str, Counter[str]]) -> tuple[Notice, ...]:
    manifest, plan = state.manifest, state.plan
    return (
        *(plan.notices if plan else ()),
        *state.notices,
        *state.of_figures,
        *damaged_shards(state.tally),
        *stale_photos(hosts),
        *(unread_attributes(manifest, state.scope) if manifest else ()),
    )


def damaged_shards(tally: Tally) -> list[Notice]:
    """Which earlier shards were damaged: what they had is encoded again."""
    told = f"earlier shards that are not as they were written, whose rows are encoded again ({len(tally.damaged)}):"
    return notice("shards_damaged", told, sorted(tally.damaged))


def _why(tally: Tally) -> tuple[Encoded, ...]:
    return tuple(Encoded(modality=modality, reason=why, products=n) for modality, why, n in tally.why)


def _bytes(state: RunState) -> dict[str, int]:
    """Of the files that the snapshot names and its parent does not, and of all that it names."""
    known = {file.path for file in state.parent.files()} if state.parent else set[str]()
    files = {file.path: file.bytes for file in state.manifest.files()} if state.manifest else {}
    added = sum(size for path, size in files.items() if path not in known)
    return {"bytes_added": added, "snapshot_bytes": sum(files.values())}


def _host() -> Host:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Host(name=socket.gethostname(), system=system, python=platform.python_version(), cores=cores)


def _version() -> str:
    try:
        return version("vitrine-index")
    except PackageNotFoundError:  # the source tree on the path, never installed
        return "unknown"
