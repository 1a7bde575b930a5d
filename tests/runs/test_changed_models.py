"""A model whose files change while a run goes on: the run ends, and no vector stands under another model's identity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encoders import base
from encoders.models.pull import pull
from encoders.types import hf_text
from pipeline import run as stages
from tests.support.command import run_titles, told, write_titles
from tests.support.places import COMMIT
from tests.support.stores import publications
from tests.support.tiny_models import text_model

MOMENTS = {
    "after the plan": (stages, "embed"),
    "while it is loaded": (hf_text, "load_transformer"),
}


def flip(path: Path) -> None:
    """Another number among the weights; the size is what it was."""
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def before(patch: pytest.MonkeyPatch, where: Any, name: str, change: Callable[[], None]) -> None:
    """`change` happens once, right before the function is called."""
    real, done = getattr(where, name), list[str]()

    def changed(*given: Any, **more: Any) -> Any:
        if not done:
            done.append(name)
            change()
        return real(*given, **more)

    patch.setattr(where, name, changed)


@pytest.mark.parametrize("locked", [False, True], ids=["a folder", "a pulled model"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_weights_that_change_during_a_run(
    moment: str, locked: bool, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its identity and its loading, and between the comparison with the lock and its loading: no shard and no
    snapshot; the next run, with the weights as they now are, publishes.
    """
    path = text_model(hub / "org" / "tiny" / COMMIT, "bert")
    if locked:
        pull("org/tiny")
        path = tmp_path / "models" / "tiny"
    kept = (path / "model.safetensors").read_bytes()
    catalog = write_titles(tmp_path / "c.parquet", ["red dress", "blue lamp"])
    words = f"encoders.text={{type: hf_text, max_tokens: 16, model: {'tiny' if locked else path}}}"
    with monkeypatch.context() as patch:
        patch.setattr(base, "_loaded", {})  # of the whole process
        before(patch, *MOMENTS[moment], lambda: flip(path / "model.safetensors"))
        done = run_titles(catalog, tmp_path / "store", words)
    assert (done.exit_code, done.stdout) == (1 if moment == "while it is loaded" or not locked else 2, "")
    came = told(done.stderr)[1]
    assert ("changed meanwhile" in came) if done.exit_code == 1 else ("changed after it was pulled" in came)
    assert not publications(tmp_path / "store")
    assert list((tmp_path / "store").glob("shards/*")) == []
    if locked:
        (path / "model.safetensors").write_bytes(kept)
    again = run_titles(catalog, tmp_path / "store", words)
    assert again.exit_code == 0, again.stderr
