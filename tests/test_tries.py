"""Failures that may pass are tried again each night; what stays as it was is not encoded again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from encoders.hashed_text import HashedText
from encoders.photo_descriptors import PhotoDescriptors
from tests.conftest import digests, manifest_of, vitrine, write_titles

ROWS = 20


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`night()` runs on 20 products, each with a photo of its own and a version; it gives run.json."""
    (tmp_path / "photos").mkdir()
    for n in range(ROWS):
        paint(tmp_path / "photos" / f"{n}.png", n)
    catalog = write_titles(
        tmp_path / "c.parquet",
        [f"red dress {n}" for n in range(ROWS)],
        10,
        image_link=[f"{n}.png" for n in range(ROWS)],
        version=["1"] * ROWS,
    )

    def run(identity: str = "version") -> dict[str, Any]:
        more = ("catalog.version_column=version",) if identity == "version" else ()
        done = vitrine(
            "run",
            "-c",
            "configs/weightless.yaml",
            f"catalog.path={catalog}",
            f"catalog.image_root={tmp_path / 'photos'}",
            f"catalog.image_identity={identity}",
            f"store.path={tmp_path / 'store'}",
            "catalog.text=[title]",
            "catalog.partition=null",
            "catalog.attributes=[title]",
            "shards.unit_rows=10",
            *more,
        )
        assert done.exit_code == 0, done.stderr
        report: dict[str, Any] = json.loads((sorted((tmp_path / "store/runs").iterdir())[-1] / "run.json").read_text())
        return report

    return run


def paint(path: Path, n: int) -> None:
    Image.new("RGB", (40, 40), (12 * n, 200 - 9 * n, 77)).save(path)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photos each micro-batch of this process had."""
    seen: list[int] = []
    forward = PhotoDescriptors.forward

    def counted(self: PhotoDescriptors, prepared: Any) -> Any:
        seen.append(len(prepared))
        return forward(self, prepared)

    monkeypatch.setattr(PhotoDescriptors, "forward", counted)
    return seen


@pytest.mark.parametrize("identity", ["version", "stat", "bytes"])
def test_a_late_photo_is_read_when_it_comes(night: Any, tmp_path: Path, encoded: list[int], identity: str) -> None:
    """A photo that is a day late heals its product; until then, and after that, nothing is encoded again."""
    late = tmp_path / "photos" / "3.png"
    late.unlink()
    assert night(identity)["degraded"] == {"image_not_found": 1}
    before = digests(tmp_path / "store")
    encoded.clear()
    assert (night(identity)["status"], encoded) == ("unchanged", [])
    paint(late, 3)
    healed = night(identity)
    assert (healed["status"], healed["degraded"], healed["units_reused"], sum(encoded)) == ("published", {}, 1, 10)
    after = digests(tmp_path / "store")
    assert {name: after[name] for name in before if name != "CURRENT"} == {
        name: digest for name, digest in before.items() if name != "CURRENT"
    }  # what the snapshot before names is as it was
    encoded.clear()
    assert (night(identity)["status"], encoded) == ("unchanged", [])
    assert vitrine("verify", tmp_path / "store", "--all").exit_code == 0


def test_a_photo_that_was_half_written_is_read_again(night: Any, tmp_path: Path, encoded: list[int]) -> None:
    """Under `version` too a photo that could not be decoded is read again once its file is another."""
    path = tmp_path / "photos" / "3.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    assert night()["degraded"] == {"image_undecodable": 1}
    encoded.clear()
    assert (night()["status"], encoded) == ("unchanged", [])
    path.write_bytes(whole)
    os.utime(path, ns=(1, 1))
    assert night()["degraded"] == {}


def test_an_encoder_that_failed_is_tried_each_night(
    night: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text at which the encoder fails is tried again each night: unchanged while it fails, healed when it does not;
    a failure that comes back later is no other shard's business.
    """
    forward = HashedText.forward

    def failing(self: HashedText, chunk: Any, role: Any) -> Any:
        if any("dress 3" in text for text in chunk):
            raise RuntimeError("no room")
        return forward(self, chunk, role)

    with monkeypatch.context() as patch:
        patch.setattr(HashedText, "forward", failing)
        assert night()["degraded"] == {"encoder_failed": 1}
        for _ in range(2):
            again = night()
            assert (again["status"], again["degraded"]) == ("unchanged", {"encoder_failed": 1})
    healed = night()
    assert (healed["status"], healed["degraded"]) == ("published", {})
    assert manifest_of(tmp_path / "store").rows == ROWS
    assert night()["status"] == "unchanged"
    assert vitrine("verify", tmp_path / "store", "--all").exit_code == 0
