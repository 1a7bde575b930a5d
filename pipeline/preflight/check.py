"""The one look at everything, shared by `plan`, `run`, `train` and `train fusion`, before anything is encoded.

To add a check, add a generator of findings to the file of its subject, and to `_CHECKS` if the file is new.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from encoders.fusion.base import fusion_spec
from foundation.errors import InputError
from pipeline.config.sections import CatalogConfig, RunSettings
from pipeline.config.yaml_files import Problem
from pipeline.files.catalog import find_catalog, part_of
from pipeline.files.discover import open_file
from pipeline.files.pinned import all_unchanged
from pipeline.plan.earlier_plan import planned
from pipeline.plan.forecast import Forecast, expected
from pipeline.plan.unit_sizes import NOTHING, Before
from pipeline.plan.units import Plan
from pipeline.preflight.findings import Finding, Purpose, Subject, refusal
from pipeline.preflight.golden import golden_findings
from pipeline.preflight.indexes import index_findings, query_findings
from pipeline.preflight.lexical import lexical_findings
from pipeline.preflight.machine import disk_findings, machine_findings, store_findings
from pipeline.preflight.names import name_findings
from pipeline.preflight.photos import photo_findings, photo_notices
from pipeline.preflight.ranker import ranker_findings
from pipeline.preflight.rows import row_findings
from pipeline.preflight.sample import sampled
from pipeline.preflight.texts import text_findings, text_notices

_log = logging.getLogger(__name__)
_CHECKS = (
    *(text_findings, photo_findings, row_findings, query_findings, golden_findings),
    *(ranker_findings, lexical_findings),
)


@dataclass(frozen=True)
class Checked:
    """The plan that nothing was found against, what looks like a mistake all the same, and, of a run, what it takes."""

    plan: Plan
    warnings: tuple[Problem, ...]
    forecast: Forecast | None
    bare: Plan  # the same, without what its rows tell

    @property
    def taken(self) -> Forecast:
        """What a run takes."""
        if self.forecast is None:
            raise TypeError("only a run's plan has a forecast")
        return self.forecast


def preflight(
    settings: RunSettings,
    purpose: Purpose = "run",
    category: str | None = None,
    model: str | None = None,
    before: Before = NOTHING,
) -> Checked:
    """Plan and look; InputError tells everything that makes it impossible. `model` is what `vitrine train` starts from,
    `before` of the snapshot that is published.

    VitrineError where the ids or categories are damaged; other damage is told by the unit that meets it.
    """
    found = list(machine_findings(settings.embedding.encoders, settings.store, purpose, model))
    if purpose != "run":  # a fusion decides nothing of what is read, and may be what is about to be trained
        settings = settings.embedded_by(replace(settings.embedding, fusion=fusion_spec({"type": "concat"})))
    plan = _planned(settings, category, before, found)
    category, settings = plan.category, settings.embedded_by(plan.reading(settings.embedding))
    with all_unchanged(plan.files):
        subject = Subject(settings, purpose, category, plan, sampled(plan, settings.embedding.catalog))
        found += [one for check in _CHECKS for one in check(subject)]
        forecast = _forecast(subject, found) if purpose == "run" else None
    _refuse(found)
    warnings = tuple(Problem(one.key, one.came, one.expected, one.fix) for one in found if not one.stops)
    for one in warnings:
        _log.warning("%s", one.line())
    notices = (*plan.notices, *text_notices(subject), *photo_notices(subject))
    return Checked(replace(plan, notices=notices), warnings, forecast, plan)


def refuse_store(path: str) -> None:
    """InputError for a store that cannot be written, before a run makes its folder there."""
    found = list(store_findings(path))
    if found:
        raise refusal(found)


# --- inside ---


def _refuse(found: Sequence[Finding]) -> None:
    stopping = list(dict.fromkeys(one for one in found if one.stops))
    if stopping:
        raise refusal(stopping)


def _planned(settings: RunSettings, category: str | None, before: Before, found: list[Finding]) -> Plan:
    """The plan. What it refuses is told beside what was found before, each thing once; what is wrong with the names of
    columns instead, since that is why they are not there.
    """
    embedding = settings.embedding
    try:
        plan = planned(embedding, settings.gates, category, before, settings.store)
    except InputError as err:
        found += _named(embedding.catalog, None)
        stopping = [one for one in found if one.stops]
        named = any(one.key.startswith("catalog.") for one in stopping)
        known = any((one.expected, one.came) == (err.expected, err.came) for one in stopping)
        if not stopping or (known and len(stopping) == 1):
            raise
        raise refusal(stopping if named or known else [*stopping, Finding.of("catalog", err)]) from err
    found += _named(embedding.catalog, plan)
    return plan


def _named(catalog: CatalogConfig, plan: Plan | None) -> Iterator[Finding]:
    """What the names of columns tell. Files that cannot be read are told by the plan."""
    try:
        found = plan or find_catalog(catalog)
        path, catalog = found.files[0].path, catalog.planned(found.parts)
        with open_file(path) as file:
            columns = [*part_of(catalog, path).columns(file.schema_arrow, catalog.columns.values())]
    except InputError:
        return
    yield from name_findings(catalog, columns)


def _forecast(subject: Subject, found: list[Finding]) -> Forecast | None:
    """What a run takes, and whether there is so much; nothing where the towers or the fusion were refused before."""
    if any(one.stops and one.key.startswith(("encoders", "fusion")) for one in found):
        return None
    try:
        found += index_findings(subject)
        forecast = expected(subject.settings.indexing, subject.settings.limits, subject.plan, subject.category)
    except InputError as err:
        found.append(Finding.of("run.memory", err))
        return None
    found += disk_findings(subject.settings.store, forecast)
    return forecast
