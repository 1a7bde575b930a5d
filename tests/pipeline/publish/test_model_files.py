"""`vitrine verify --all` reads the models too that snapshots were made with, as far as this host has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from encoders.base import encoder_spec
from encoders.models.folders import BUILTIN
from lookup.store.store import Store
from pipeline.config.published import encoder_entry
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.places import ROOT
from tests.support.stores import manifest_of


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store`, whose snapshot says that `model`, a copy of the built-in one, encoded its texts."""
    folder = tmp_path_factory.mktemp("night")
    shutil.copytree(ROOT / "encoders" / BUILTIN, folder / "model")
    assert run_titles(write_titles(folder / "c.parquet", ["red dress"]), folder / "store").exit_code == 0
    store, manifest = Store.open(str(folder / "store")), manifest_of(folder / "store")
    spec = encoder_spec({"type": "dual", "model": str(folder / "model")})
    store.publish(manifest.model_copy(update={"text": encoder_entry(spec)}), store.latest(), "a test")
    return folder


def test_a_model_is_read_whose_folder_is_here(night: Path) -> None:
    """With --all alone: one byte of its weights that is another is exit code 4, and told by file and digests."""
    model, store = night / "model", night / "store"
    done = vitrine("verify", store, "--all")
    assert (done.exit_code, f"model {model}, of 1: whole" in done.stdout) == (0, True)
    (told_of,) = json.loads(vitrine("verify", store, "--all", "--json").stdout)["models"]
    assert told_of == {"model": str(model), "snapshots": 1, "state": "whole", "detail": ""}
    weights = model / "model.safetensors"
    raw = weights.read_bytes()
    try:
        weights.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        assert vitrine("verify", store).exit_code == 0
        done = vitrine("verify", store, "--all")
    finally:
        weights.write_bytes(raw)
    expected, came, fix = told(done.stderr)
    assert (done.exit_code, "as 1 snapshot was made with them" in expected) == (4, True)
    assert str(weights) in came
    assert "restore the folder" in fix


def test_a_model_that_is_not_here_is_told(night: Path) -> None:
    """A host that only keeps the store has no models: the snapshots are whole all the same."""
    model = night / "model"
    model.rename(night / "elsewhere")
    try:
        done = vitrine("verify", night / "store", "--all")
    finally:
        (night / "elsewhere").rename(model)
    assert (done.exit_code, f"model {model}, of 1: not here" in done.stdout) == (0, True)
