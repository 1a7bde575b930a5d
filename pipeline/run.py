"""One run: plan, embed, build, gate, publish. Each step reads what the one before it left in the store.

What a snapshot needs is written under names made of what went in, and the publication, which sends readers to it, last:
a run that is killed anywhere is simply run again, and what stands and validates is not done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from encoders.names import category_key
from foundation.allocator import give_back, prepare_memory
from foundation.errors import InputError, VitrineError
from foundation.identity import identity_of
from lookup.store.backends.at_work import clear_scratch
from lookup.store.manifest import Manifest
from lookup.store.shards import Shards
from lookup.store.store import Store, scratch_of
from pipeline.build.duplicates import floods, with_duplicates
from pipeline.build.stage import build_indexes
from pipeline.catalog.shown_photos import ShownPhotos
from pipeline.config.encoding import encoding_identity, refuse_other_models
from pipeline.config.load import Config
from pipeline.config.published import adopted, limits_of, to_measure
from pipeline.config.sections import Embedding, RunSettings
from pipeline.embed.earlier.earlier_vectors import NO_OFFER, Offer, earlier_vectors, offer_vectors
from pipeline.embed.earlier.unchanged import standing_catalog
from pipeline.embed.shard_files import earlier_shards, note_key
from pipeline.embed.stage import embed
from pipeline.embed.stand_ins import measured, refuse_anew
from pipeline.embed.tally import Tally
from pipeline.engine.execution import Execution, new_run_id
from pipeline.engine.failures import interrupted, translate_failures
from pipeline.engine.progress import Progress
from pipeline.engine.runners import options_of, refuse_own_workers, runner_of
from pipeline.engine.watchdog import watchdog
from pipeline.evaluate.lexical_weight import with_weight
from pipeline.photos.session import fetching
from pipeline.plan.earlier_plan import keep_plan
from pipeline.plan.forecast import Forecast, bounded, unbounded
from pipeline.plan.unit_sizes import Before
from pipeline.plan.units import Plan, make_plan, refuse_another_catalog
from pipeline.preflight.check import preflight, refuse_store
from pipeline.preflight.parent import compared, parent_notices
from pipeline.publish import acceptance
from pipeline.publish.judge import Judge
from pipeline.publish.merge import Merged, Mine, Parent
from pipeline.publish.publishing import publish, publish_anew, refuse_ids_twice
from pipeline.publish.ranker_files import with_ranker
from pipeline.publish.snapshot import Origin, assemble, merge_partitions, merge_shards, refuse_mixing, with_types
from pipeline.report.notes import Surroundings, write_report
from pipeline.report.notices import Notice
from pipeline.report.run_log import RunLog
from pipeline.report.run_report import ENDED_WELL, RunReport
from pipeline.run_state import RunState, damaged_shards, report_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    config: Config
    category: str | None = None
    beam_arguments: Sequence[str] = ()
    command: str = "vitrine run"
    progress: Progress | None = None
    no_parent: bool = False  # publish on top of whatever is there, compared with nothing
    measure: bool = False  # anew what stands in for a missing modality, see stand_ins.py
    accept: Sequence[str] = ()  # gates, or gate:partition, that stop nothing: see acceptance.py


def run(request: Request) -> RunReport:
    """Do a whole run; GateError, with the report written, when a gate refuses. A failure publishes nothing."""
    if request.no_parent and request.category is not None:
        raise InputError(
            "a run of the whole catalog with --no-parent",
            f"--category {request.category}: the other categories would be gone",
            "leave out --category; or publish the snapshot to start from (docs/how-to/operations.md, Rollback)",
        )
    accepted = acceptance.parse(request.accept)
    settings = request.config.settings
    encoders = settings.embedding.encoders
    if settings.limits.memory is not None:
        refuse_own_workers(request.beam_arguments)
    if request.measure:
        refuse_anew(request.category)
    runner_of(options_of(request.beam_arguments, settings.limits.workers))  # refused, if so, before any work
    prepare_memory(encoders.networks_on_cpu)  # before torch is imported
    refuse_store(settings.store)
    store = Store.create(settings.store)
    asked = identity_of(request.config.model_dump(mode="json"))
    state = RunState(new_run_id(), datetime.now(UTC), request.command, request.category, asked, accepted)
    what = _words(request.category and category_key(request.category))
    with store.courtesy_lock(what), store.working(state.run) as sign:
        clear_scratch(store.backend)
        execution = unbounded(state.run, settings, request.beam_arguments, request.progress)
        with _courtesy(state), fetching(), _folder(store, state.run) as folder:
            log, give_up = folder / "log.txt", partial(_give_up, request, store, state, folder)
            try:
                with translate_failures(), watchdog(execution.stall_minutes, sign, log, give_up):
                    _steps(request, store, state, execution)
            except VitrineError as err:
                state.error = err
                raise
            except KeyboardInterrupt as err:
                state.error = interrupted()
                raise state.error from err
            finally:
                report = report_of(state)
                _leave(folder, report, store, request, state.manifest)
                _tidy(store, state.run)
    return report


@contextmanager
def _folder(store: Store, run: str) -> Iterator[Path]:
    """The run's folder, with its log."""
    with store.folder(f"runs/{run}") as folder, RunLog(folder / "log.txt", run):
        yield folder


@contextmanager
def _courtesy(state: RunState) -> Iterator[None]:
    """Notes of a run, log and report, are a courtesy once its snapshot stands: what goes wrong with them is told, and
    changes nothing.
    """
    try:
        yield
    except OSError as err:
        if state.status not in ENDED_WELL:
            raise
        _log.warning("the snapshot %s stands, but the run's notes are not complete: %s", state.snapshot, err)


def _give_up(request: Request, store: Store, state: RunState, folder: Path, err: VitrineError) -> None:
    """Leave the report of a run that hangs; the process ends after this, and the system frees its locks."""
    state.error = err
    _leave(folder, report_of(state), store, request, state.manifest)
    with suppress(OSError):
        store.hand_in(folder, f"runs/{state.run}")


def _leave(folder: Path, report: RunReport, store: Store, request: Request, manifest: Manifest | None) -> None:
    """Write the report. Where that fails, say so: how the run ended is decided."""
    try:
        products = None if manifest is None else ShownPhotos.of(manifest)
        around = Surroundings(store, request.config.run.metrics_path, manifest, products)
        write_report(folder, report, around)
    except OSError as err:
        _log.error("no report of this run: %s", err)
    except Exception as err:  # noqa: BLE001 - a fault of the page: the night has ended as it has
        _log.exception("no report of this run: %s", err)


def _steps(request: Request, store: Store, state: RunState, execution: Execution) -> None:
    """From plan to snapshot: each step takes what the ones before it give, and `state` hears what a report tells."""
    settings, step = request.config.settings, state.steps.step
    with step("plan") as counts:
        state.base = None if request.no_parent else store.latest()
        state.read_at = datetime.now(UTC)
        state.parent_id = state.base.snapshot if state.base else None
        state.parent = store.manifest(state.parent_id) if state.parent_id else None
        embedding = settings.embedding if request.measure else adopted(settings.embedding, state.parent)
        plan, forecast = _plan(request, embedding, store, state)
        embedding = plan.reading(embedding)
        counts.update(rows=plan.rows, units=len(plan.units), duplicates=plan.duplicates)
    execution, category = bounded(execution, forecast), plan.category
    with step("reuse") as counts:
        stands = standing_catalog(store, embedding, plan, state.parent_id, state.parent, state.run)
        offer = _offer(embedding, store, state, plan) if stands is None else NO_OFFER
        counts.update(shards=offer.shards, **_some(offer.counts))
    if to_measure(embedding):
        with step("measure") as counts:
            # of all categories: later runs keep it
            whole = plan if category is None else make_plan(plan.reading(settings.embedding), settings.gates)
            embedding, seen = measured(store, embedding, whole, plan.key, execution, offer.path)
            counts.update(seen)
    refuse_other_models(settings.embedding, plan.encoding)  # what the plan saw, without what was measured
    plan = state.plan = replace(plan, encoding=encoding_identity(embedding))
    settings = settings.embedded_by(embedding)
    with step("embed") as counts:
        embedded = stands or embed(store, embedding, plan, execution, offer.path)
        state.tally += embedded.tally
        _log_notices(damaged_shards(state.tally))
        state.units_reused, rows = embedded.reused, sum(shard.rows_in for shard in embedded.shards.entries)
        counts.update(units=len(plan.units), reused=embedded.reused, rows=rows, **_some(embedded.tally.counts))
        _tidy(store, state.run)
    give_back()  # also where nothing was left to encode
    manifest = _built(request, settings, store, state, embedded.shards, execution)
    with step("gate") as counts:
        judge = Judge(store, settings, plan, state.run, state.accepted, tuple(state.gates))
        state.manifest, state.gates, told = judge.made(manifest, Parent(state.base, state.parent))
        state.of_figures = told
        _log_notices(told)
        counts.update(acceptance.counts(state.gates))
        _refuse(store, state)
    with step("publish"):
        refuse_another_catalog(plan, embedding.catalog)
        refuse_other_models(embedding, plan.encoding)
        _publish(request, store, state, Mine(state.manifest, state.parent, state.scope, state.read), judge)


def _built(
    request: Request, settings: RunSettings, store: Store, state: RunState, shards: Shards, execution: Execution
) -> Manifest:
    """The indexes of `shards`, and the manifest of both; of a category's beside what the parent has of others."""
    assert state.plan is not None
    plan, category = state.plan, state.plan.category
    kept = state.parent if category is not None else None  # all of it but the category
    with state.steps.step("build") as counts:
        built = build_indexes(store, settings.indexing, shards, state.parent, execution)
        entries, stood = with_duplicates(
            store, settings.indexing.duplicates, shards, built.partitions, state.parent, execution.progress
        )
        state.notices += (told := floods(settings.indexing.duplicates, entries))
        _log_notices(told)
        mine = [one.model_copy(update={"provenance": state.read}) for one in entries]
        partitions = merge_partitions(kept.partitions if kept else (), mine, category)
        state.indexes_reused = built.reused | ({entry.name for entry in partitions} - built.names)
        more = _some({"lexical": built.lexical, "duplicates_kept": stood})
        counts.update(partitions=len(partitions), reused=len(state.indexes_reused), **more)
        origin = Origin(request.config.model_dump(mode="json"), plan, state.read, state.parent_id, kept)
        made = assemble(settings.indexing, origin, merge_shards(kept, shards, category), partitions)
        device = settings.embedding.encoders.device
        made = with_ranker(store, made, settings.search.ranker)  # first: it is part of what the parent is compared by
        return with_weight(store, settings.indexing.lexical, made, state.parent, device)


def _plan(request: Request, embedding: Embedding, store: Store, state: RunState) -> tuple[Plan, Forecast | None]:
    """The plan that nothing was found against, and what it takes; as it stands in the run's folder."""
    settings = request.config.settings
    checked = preflight(settings, category=request.category, before=Before.of(state.parent))
    plan = state.plan = checked.plan
    state.warnings = checked.warnings
    state.accepted = acceptance.in_partitions(state.accepted, {*plan.partitions, *Before.of(state.parent).partitions})
    _refuse_types(settings.embedded_by(embedding), store, state, plan)
    store.put_bytes(plan.to_bytes(), f"runs/{state.run}/plan.json")
    keep_plan(store, state.run, checked.bare)
    note_key(store, state.run, plan.key)
    _log_notices(plan.notices)
    return plan, checked.forecast


def _offer(embedding: Embedding, store: Store, state: RunState, plan: Plan) -> Offer:
    """What earlier shards have, in a file of the store; what they have not is told, with its reason."""
    state.notices += parent_notices(embedding, plan, state.parent) if state.parent else []
    _log_notices(state.notices)
    shards = earlier_shards(store, state.parent, state.run)
    limits = limits_of(state.parent) if state.parent else None
    offer = offer_vectors(store, embedding, f"{scratch_of(state.run)}/vectors", shards, limits)
    state.tally += Tally(damaged=offer.damaged)
    return offer


def _log_notices(notices: Sequence[Notice]) -> None:
    for line in (line for one in notices for line in one.lines()):
        _log.warning("%s", line)


def _some(counts: dict[str, int]) -> dict[str, int]:
    """Those that are not 0."""
    return {name: count for name, count in counts.items() if count}


def _tidy(store: Store, run: str) -> None:
    """Drop scratch. What a file system does not let go of, because it is mapped, goes with the next run."""
    earlier_vectors.cache_clear()
    try:
        store.remove(scratch_of(run))
    except OSError as err:
        _log.info("scratch of this run is left for the next one to drop: %s", err)


def _refuse_types(settings: RunSettings, store: Store, state: RunState, plan: Plan) -> None:
    """Refuse what could not stand beside, or follow on, the parent: before anything is encoded."""
    if state.parent is None:
        return
    if plan.category is not None:
        state.parent = with_types(store, state.parent)  # which the new snapshot's are joined with
    found = compared(settings, plan, store, state.parent, plan.category)
    state.gates = acceptance.mark(found, state.accepted)
    _refuse(store, state)


def _refuse(store: Store, state: RunState) -> None:
    if any(one.stops for one in state.gates):
        state.status = "refused"
    acceptance.refuse(state.gates, f"{store.root}/runs/{state.run}/report.html")


def _publish(request: Request, store: Store, state: RunState, mine: Mine, judge: Judge) -> None:
    """Publish what was made, on top of what is published by then."""
    if request.no_parent:
        said = f"a run of the whole catalog, --no-parent{acceptance.in_spite(state.gates)}"
        ended = publish_anew(store, mine.manifest, said)
    else:

        def reason() -> str:
            return f"a run of {_words(request.category)}{acceptance.in_spite(state.gates)}"

        refuse = partial(refuse_mixing, judge.settings.indexing, judge.plan)
        began_with = Parent(state.base, state.parent)
        ended = publish(store, mine, began_with, reason, refuse, partial(_judge_again, store, state, judge))
    state.status, state.snapshot, state.parent_id = ended.status, ended.snapshot, ended.parent.snapshot
    state.served = ended.parent.manifest if ended.status == "superseded" else None
    state.notices += ended.notices()
    state.meanwhile = tuple(one.number for one in ended.meanwhile)


def _judge_again(store: Store, state: RunState, judge: Judge, parent: Parent, done: Merged) -> Manifest:
    """What was merged over `parent`, which others published meanwhile, with what the gates say of it now."""
    state.manifest, state.gates, state.of_figures = judge.merged(done, parent)
    _log_notices(state.of_figures)
    refuse_ids_twice(state.gates)
    _refuse(store, state)
    return state.manifest


def _words(category: str | None) -> str:
    """What a run is of."""
    return "the whole catalog" if category is None else f"category {category!r}"
