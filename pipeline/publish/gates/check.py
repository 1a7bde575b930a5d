"""Every gate, found in this folder: on a plan before anything is encoded, on a snapshot before it is published."""

from __future__ import annotations

import importlib
import pkgutil

import pipeline.publish.gates as folder
from pipeline.publish.gates.base import Comparison, PlanGate, Planned, SnapshotGate
from pipeline.report.run_report import GateResult


def check(comparison: Comparison) -> list[GateResult]:
    """Every result on a snapshot, by rank of the gates; publish only where all of them passed."""
    return [result for gate in snapshot_gates() for result in gate.check(comparison)]


def check_plan(planned: Planned) -> list[GateResult]:
    """Every result on a plan, by rank of the gates; encode only where all of them passed."""
    return [result for gate in plan_gates() for result in gate.check(planned)]


def snapshot_gates() -> list[SnapshotGate]:
    """Every gate on snapshots, by rank."""
    return [gate for gate in _gates() if isinstance(gate, SnapshotGate)]


def plan_gates() -> list[PlanGate]:
    """Every gate on plans, by rank."""
    return [gate for gate in _gates() if isinstance(gate, PlanGate)]


def result_names() -> dict[str, bool]:
    """The name of every result that there may be -> whether it may be accepted."""
    return {name: gate.acceptable for gate in _gates() for name in gate.results or (gate.name,)}


def _gates() -> list[SnapshotGate | PlanGate]:
    names = (module.name for module in pkgutil.iter_modules(folder.__path__))
    modules = (importlib.import_module(f"{folder.__name__}.{name}") for name in names)
    return sorted((module.Gate() for module in modules if hasattr(module, "Gate")), key=lambda gate: gate.rank)
