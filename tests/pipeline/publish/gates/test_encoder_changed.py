"""Another model under the name that the config has for it: stopped before anything is encoded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoders.types.hashed_text import HashedText, Spec
from tests.support.command import run_titles, told, write_titles
from tests.support.stores import last_log


def test_other_weights_under_the_same_name_are_refused_before_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The night names the file that differs and encodes nothing; accepted, everything is encoded again. A config that
    names another model passes.
    """
    catalog = write_titles(tmp_path / "c.parquet", ["red dress", "blue lamp"])
    monkeypatch.setattr(Spec, "provenance", lambda spec: {"model.safetensors": "a" * 64})
    assert run_titles(catalog, tmp_path / "store").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Spec, "provenance", lambda spec: {"model.safetensors": "b" * 64})
        patch.setattr(HashedText, "forward", None)  # whoever encodes fails
        done = run_titles(catalog, tmp_path / "store")
        assert done.exit_code == 3
        expected, came, _ = told(done.stderr)
        assert expected == "encoder_changed <= 0"
        assert f"text: model.safetensors {'b' * 16} instead of model.safetensors {'a' * 16}" in came
        assert "--accept encoder_changed" in came
    with monkeypatch.context() as patch:
        patch.setattr(Spec, "provenance", lambda spec: {"model.safetensors": "b" * 64})
        done = run_titles(catalog, tmp_path / "store", "--accept", "encoder_changed")
        assert done.exit_code == 0, done.stderr
        assert json.loads(last_log(tmp_path / "store", "run.json"))["texts_encoded"] == 2
    assert run_titles(catalog, tmp_path / "store", "encoders.text.dim=16").exit_code == 0


def test_another_release_is_told_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the version of the type differs, as after an upgrade, products are encoded again, and the gate says
    why.
    """
    catalog = write_titles(tmp_path / "c.parquet", ["red dress", "blue lamp"])
    assert run_titles(catalog, tmp_path / "store").exit_code == 0
    monkeypatch.setattr(Spec, "version", Spec.version + 1)
    assert run_titles(catalog, tmp_path / "store").exit_code == 0
    gates = json.loads(last_log(tmp_path / "store", "run.json"))["gates"]
    (gate,) = (gate for gate in gates if gate["name"] == "encoder_changed")
    assert gate["passed"]
    assert "text: version of the type" in gate["advice"]
