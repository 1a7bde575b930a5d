"""Photos that change under their paths while, or after, something was learned from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from encoders.training.untrained import write_untrained
from pipeline.train import fusion as fusion_training
from tests.support.command import overrides, told, vitrine
from tests.support.trainings import CONFIG, QUICK, QUICK_FUSION, TINY, WEIGHTLESS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def copied(demo: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A copy of the demo catalog that may change, and two of its photos."""
    folder = tmp_path / "demo"
    shutil.copytree(demo, folder)
    links = pq.read_table(folder / "catalog").column("image_link")
    return folder, folder / links[0].as_py(), folder / links[1].as_py()


def test_a_training_is_of_the_very_photos(copied: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """`vitrine train` knows a finished training by its photos' bytes: one that was replaced under its path makes it
    another, the same bytes written again do not.
    """
    catalog, photo, other = copied
    fresh, out = tmp_path / "fresh", tmp_path / "model"
    write_untrained(fresh, TINY, [], scale=10, bias=-10)
    settings = overrides(catalog, tmp_path / "store", *QUICK, "train.epochs=1")
    words = ("train", "-c", "configs/weightless.yaml", "--from", fresh, "--out", out, "--json", *settings)
    made = vitrine(*words)
    assert made.exit_code == 0, made.stderr
    raw = photo.read_bytes()
    shutil.copyfile(other, photo)
    changed = vitrine(*words)
    assert changed.exit_code == 2
    assert told(changed.stderr)[1] == "another training's result"
    photo.write_bytes(raw)
    assert json.loads(vitrine(*words).stdout) == json.loads(made.stdout)


@pytest.mark.parametrize("identity", ["stat", "bytes"])
@pytest.mark.parametrize("gone", [False, True], ids=["replaced", "removed"])
def test_photos_that_change_between_the_passes_end_the_training(
    gone: bool, identity: str, copied: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`vitrine train fusion` fingerprints photos, then reads them: one that is another by then ends it with exit 1, in
    three parts, and nothing is left as its result.
    """
    catalog, photo, other = copied
    lessons = fusion_training._lessons

    def meanwhile(*words: Any) -> Any:
        if gone:
            photo.unlink()
        else:
            shutil.copyfile(other, photo)
        return lessons(*words)

    monkeypatch.setattr(fusion_training, "_lessons", meanwhile)
    settings = ("fusion.type=transformer", *WEIGHTLESS, *QUICK_FUSION, f"catalog.image_identity={identity}")
    out = tmp_path / "out"
    words = ("train", "fusion", "-c", CONFIG, "--out", out, *overrides(catalog, tmp_path / "s", *settings))
    done = vitrine(*words)
    assert done.exit_code == 1, done.stderr
    expected, came, _ = told(done.stderr)
    assert "photos that stay as they were" in expected
    assert photo.name in came
    assert not out.exists()
