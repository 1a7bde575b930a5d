"""Every gate, found in this folder: on a plan before anything is encoded, on a snapshot before it is published."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pipeline.publish.gates as folder
from pipeline.publish.gates.base import Judged, PlanGate, Planned, SnapshotGate
from pipeline.report.run_report import GateResult


def check(judged: Judged) -> list[GateResult]:
    """Every result on a snapshot, by rank of the gates; publish only where all of them passed."""
    gates = sorted((gate for gate in gates_here() if isinstance(gate, SnapshotGate)), key=lambda gate: gate.rank)
    return [result for gate in gates for result in gate.check(judged)]


def check_plan(planned: Planned) -> list[GateResult]:
    """Every result on a plan, by rank of the gates; encode only where all of them passed."""
    gates = sorted((gate for gate in gates_here() if isinstance(gate, PlanGate)), key=lambda gate: gate.rank)
    return [result for gate in gates for result in gate.check(planned)]


def gates_here() -> Iterator[SnapshotGate | PlanGate]:
    """One of each gate that a file of this folder defines."""
    for module in pkgutil.iter_modules(folder.__path__):
        found = getattr(importlib.import_module(f"{folder.__name__}.{module.name}"), "Gate", None)
        if found is not None:
            yield found()
