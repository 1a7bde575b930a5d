"""What a look at config, catalog and machine finds: problems that stop a run, and what only looks like a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from foundation.errors import InputError
from pipeline.config.sections import CatalogConfig, EncodersConfig, RunSettings
from pipeline.config.yaml_files import Problem
from pipeline.plan.units import Plan
from pipeline.preflight.sample import Sample

Purpose = Literal["run", "train", "train fusion"]


@dataclass(frozen=True)
class Finding(Problem):
    """A problem; one that does not stop a run is a warning."""

    stops: bool = True

    @classmethod
    def of(cls, key: str, err: InputError) -> Finding:
        """What some other part of the program refuses, as a finding."""
        return cls(key, err.came, err.expected, err.fix)


@dataclass(frozen=True)
class Subject:
    """What is looked at once the catalog is planned."""

    settings: RunSettings
    purpose: Purpose
    category: str | None
    plan: Plan
    sample: Sample

    @property
    def catalog(self) -> CatalogConfig:
        """How the catalog is read."""
        return self.settings.embedding.catalog

    @property
    def encoders(self) -> EncodersConfig:
        """The towers."""
        return self.settings.embedding.encoders


def refusal(found: Sequence[Finding]) -> InputError:
    """The one error that tells all of `found`; a single one as it is."""
    if len(found) == 1:
        return InputError(found[0].expected, found[0].came, found[0].fix)
    listed = [f"\n  {f.key}\n    expected: {f.expected}\n    came: {f.came}\n    to do: {f.fix}" for f in found]
    return InputError(
        "a config, a catalog and a machine that fit one another",
        f"{len(found)} problems:{''.join(listed)}",
        "do what each of them says; nothing was encoded",
    )
