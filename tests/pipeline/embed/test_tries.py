"""Failures that may pass are tried again each night; what stays as it was is not encoded again."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from PIL import Image

from encoders.photos import decoder_process
from encoders.types.hashed_text import HashedText
from encoders.types.photo_descriptors import PhotoDescriptors
from foundation import regular_files as regular
from pipeline.embed import transforms
from tests.support.command import vitrine, write_titles
from tests.support.stores import digests, manifest_of

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

    def run(
        identity: str = "version",
        store: str = "store",
        root: str = str(tmp_path / "photos"),
        more: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        more += ("catalog.version_column=version",) if identity == "version" else ()
        done = vitrine(
            "run",
            "-c",
            "configs/weightless.yaml",
            f"catalog.path={catalog}",
            f"catalog.image_root={root}",
            f"catalog.image_identity={identity}",
            f"store.path={tmp_path / store}",
            "catalog.text=[title]",
            "catalog.partition=null",
            "catalog.attributes=[title]",
            "shards.unit_rows=10",
            "gates.max_degraded_share=1",
            "index.photo_queries=false",  # they are encoded too
            *more,
        )
        assert done.exit_code == 0, done.stderr
        report: dict[str, Any] = json.loads(
            (sorted((tmp_path / store / "runs").iterdir())[-1] / "run.json").read_text()
        )
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
    assert (healed["status"], healed["degraded"], healed["units_reused"], sum(encoded)) == ("published", {}, 1, 1)
    after = digests(tmp_path / "store")
    assert {name: after[name] for name in before} == before  # what the snapshot before names is as it was
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


@pytest.mark.parametrize("several", [False, True], ids=["the only photo", "the second of two"])
@pytest.mark.parametrize(
    ("died", "reason"),
    [
        ((signal.SIGPROF,), "image_too_slow"),
        ((0, 260.0), "image_too_slow"),
        ((signal.SIGSEGV,), "image_undecodable"),
        (None, "encoder_failed"),
    ],
    ids=["CPU", "wall", "crash", "encoder"],
)
def test_a_photo_that_may_be_had_another_time_is_tried_each_night(
    night: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    died: tuple[Any, ...] | None,
    reason: str,
    several: bool,
) -> None:
    """What a busy machine, a crash or an encoder cost a product heals when it does not come again: no file changed."""
    photos, more = tmp_path / "photos", ()
    if several:
        catalog = pq.read_table(tmp_path / "c.parquet")
        catalog = catalog.append_column("more", [[["gone.png", "late.png"] if n == 3 else [] for n in range(ROWS)]])
        pq.write_table(catalog, tmp_path / "c.parquet", row_group_size=10)
        more = ("catalog.more_images=more",)
    Image.new("RGB", (44, 40), "red").save(photos / ("late.png" if several else "3.png"), "TIFF")

    def dies(self: object, raw: bytes, limits: object) -> None:
        raise decoder_process._DiedError(*died)

    prepare = PhotoDescriptors.prepare

    def fails(self: PhotoDescriptors, photo: Any) -> Any:
        if photo.shape[:2] == (40, 44):
            raise RuntimeError("no room")
        return prepare(self, photo)

    with monkeypatch.context() as patch:
        if died:
            patch.setattr(decoder_process._Child, "ask", dies)
        else:
            patch.setattr(PhotoDescriptors, "prepare", fails)
        for status in ("published", "unchanged"):
            report = night(more=more)
            assert (report["status"], report["photos_lost"]) == (status, 2 if several else 1)
            assert report["degraded"] == ({} if several else {reason: 1})
    assert (night(more=more)["photos_lost"], night(more=more)["status"]) == (several, "unchanged")


def vectors(store: Path) -> dict[str, Any]:
    """id -> embedding of what is published."""
    files = [shard.file for shard in manifest_of(store).shards.entries]
    rows = [row for file in files if file is not None for row in pq.read_table(store / file.path).to_pylist()]
    return {row["id"]: row["embedding"] for row in rows}


def replace(path: Path) -> None:
    """Another photo, renamed into its place."""
    paint(path.with_name("next.png"), 17)
    path.with_name("next.png").rename(path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def touch(path: Path) -> None:
    os.utime(path, ns=(7, 7))


def remove(path: Path) -> None:
    path.unlink()


def lock_away(path: Path) -> None:
    """What the system says of a link that leads to itself."""
    path.unlink()
    path.symlink_to(path)


def arrive(path: Path) -> None:
    paint(path, 3)


CHANGES = (replace, truncate, touch, remove, lock_away, arrive)  # of the photos 0 to 5


@contextmanager
def changed_after_stamping(change: Callable[[], None]) -> Iterator[None]:
    """Something happens once, between the moment that the first unit is named by what its photos are, and their
    reading.
    """
    real, done = transforms.standing, list[str]()

    def standing(store: Any, earlier: Any, inputs: str, unit: Any, *rest: Any) -> Any:
        found = real(store, earlier, inputs, unit, *rest)
        if not done and unit.column("photos").to_pylist()[0][0]["path"] == "0.png":
            done.append(inputs)
            change()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms, "standing", standing)
        yield
    assert done


@pytest.mark.parametrize("identity", ["stat", "bytes"])
def test_photos_that_change_after_their_stamps(night: Any, tmp_path: Path, encoded: list[int], identity: str) -> None:
    """A photo that is replaced, truncated, touched, removed or added between its stamp and its reading costs its
    product the photo for one night. Also where it is then exactly as it was, the next night heals it: no vector stands
    under the identity of other pixels, so what is published is what a fresh store publishes.
    """
    paths = [tmp_path / "photos" / f"{n}.png" for n in range(len(CHANGES))]
    late = paths[-1].read_bytes()
    paths[-1].unlink()
    before = {path: (path.read_bytes(), path.stat()) for path in paths[:-1]}

    def change() -> None:
        for path, one in zip(paths, CHANGES, strict=True):
            one(path)

    with changed_after_stamping(change):
        first = night(identity)
    same = int(identity == "bytes")  # of the one that was touched, the bytes are what they were
    assert first["degraded"] == {"image_changed": len(CHANGES) - same}
    assert first["details"][0]["detail"] == "the file was replaced, written to or removed during the run"
    for path in paths:
        path.unlink(missing_ok=True)
    for path, (raw, facts) in before.items():
        path.write_bytes(raw)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    second = night(identity)
    assert (second["degraded"], second["units_reused"]) == ({"image_not_found": 1}, 1)
    encoded.clear()
    assert (night(identity)["status"], encoded) == ("unchanged", [])
    paths[-1].write_bytes(late)
    replace(paths[0])
    assert night(identity)["degraded"] == {}
    night(identity, "fresh")
    assert vectors(tmp_path / "store") == vectors(tmp_path / "fresh")
    assert vitrine("verify", tmp_path / "store", "--all").exit_code == 0


@pytest.mark.parametrize("identity", ["stat", "bytes", "version"])
def test_a_photo_that_is_written_to_while_it_is_read(
    night: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    """Whatever tells photos apart, one that was half read before a write and half after it is none, and is read again
    the next night, though it looks as it did.
    """
    path = tmp_path / "photos" / "3.png"
    facts, real = path.stat(), regular.open_regular

    class Torn(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            half = super().read(40)
            os.utime(path)
            return half + super().read(size)

    def opened(name: Any, follow_links: bool = True) -> Any:
        return Torn(name) if str(name) == str(path) else real(name, follow_links)

    with monkeypatch.context() as patch:
        patch.setattr(regular, "open_regular", opened)
        assert night(identity)["degraded"] == {"image_changed": 1}
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert night(identity)["degraded"] == {}


def test_a_photo_in_a_bucket_that_changes_after_its_stamp(
    night: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the bucket knows of an object is compared alike."""
    fs = fsspec.filesystem("memory")
    for file in (tmp_path / "photos").iterdir():
        fs.put_file(str(file), f"/photos/{file.name}")

    def put() -> None:
        paint(tmp_path / "photos" / "3.png", 17)
        fs.put_file(str(tmp_path / "photos" / "3.png"), "/photos/3.png")

    with changed_after_stamping(put):
        assert night("stat", root="memory://photos")["degraded"] == {"image_changed": 1}
    assert night("stat", root="memory://photos")["degraded"] == {}
    fs.rm("/photos", recursive=True)
    night("bytes", "fresh")
    assert vectors(tmp_path / "store") == vectors(tmp_path / "fresh")
