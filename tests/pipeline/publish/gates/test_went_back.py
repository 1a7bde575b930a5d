"""What the gate on a rollback tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from pipeline.config.sections import GatesConfig
from pipeline.publish.gates.base import Comparison
from pipeline.publish.gates.went_back import Gate
from tests.support.manifests import manifest_of_readings, reading

NEW = manifest_of_readings(reading(0), {"a": reading(0)})


@pytest.mark.parametrize(
    ("held", "value"),
    [((NEW.made_from,), 1), ((NEW.built_from,), 1), ((NEW.made_from, NEW.built_from), 1), (("0" * 64,), 0)],
    ids=["rows", "index", "both", "others"],
)
def test_it_is_one_or_nothing(tmp_path: Path, held: tuple[str, ...], value: int) -> None:
    """Whether rows, the index of these rows, or both were gone back from at one time and another."""
    base = Publication(number=1, before=None, snapshot="a", reason="", held=held)
    comparison = Comparison(Store.at(str(tmp_path)), NEW, None, None, GatesConfig(), base=base)
    (found,) = Gate().check(comparison)
    assert (found.value, found.passed) == (value, value == 0)
