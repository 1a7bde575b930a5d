"""What becomes of photos that cannot be read: counted for each product, told with their cause, and gated."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders.photos import foreign
from encoders.photos.paths import spellings
from lookup.store.shard_record import OTHERS, DetailCount
from pipeline.catalog.columns import photos_of
from pipeline.embed.loss_details import detail_counts
from pipeline.report.run_report import losses
from tests.support.command import vitrine
from tests.support.stores import manifest_of

CONFIG = (
    "catalog.text=[title]", "catalog.attributes=[title]", "catalog.partition=null", "catalog.image=image_link",
    "catalog.more_images=additional_image_link", "encoders.text.dim=32", "gates.max_degraded_share=1",
    "gates.max_reject_share=1", "gates.min_recall=0",
)  # fmt: skip


def png(colour: str = "red") -> bytes:
    """The bytes of a small photo."""
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()


def ran(
    folder: Path, links: Sequence[Any], more: Sequence[Any], *overrides: str, **columns: Sequence[str]
) -> dict[str, Any]:
    """run.json of a run over products with these photos, ids p0, p1, ..."""
    table = {"id": [f"p{i}" for i in range(len(links))], "title": [f"red dress {i}" for i in range(len(links))]}
    links, more = (pa.array(list(column)) for column in (links, more))
    if pa.types.is_null(more.type):
        more = more.cast(pa.string())
    (folder / "catalog").mkdir(exist_ok=True)
    path = folder / "catalog" / "a.parquet"
    pq.write_table(pa.table({**table, "image_link": links, "additional_image_link": more, **columns}), path)
    where = (f"catalog.path={path}", f"catalog.image_root={folder}", f"store.path={folder / 'store'}")
    done = vitrine("run", "-c", "configs/weightless.yaml", *where, *CONFIG, *overrides, "--json")
    assert "Traceback" not in done.stderr
    notes = sorted((folder / "store" / "runs").glob("*/run.json"))
    report: dict[str, Any] = json.loads(notes[-1].read_text())
    assert report["exit_code"] == done.exit_code
    return report


def lost(folder: Path) -> dict[str, tuple[int, str | None, str | None]]:
    """id -> (photos_lost, degraded, detail) of the rows that were embedded."""
    found = {}
    for shard in manifest_of(folder / "store").shards.entries:
        if shard.file is not None:
            for row in pq.read_table(folder / "store" / shard.file.path).to_pylist():
                found[row["id"]] = (row["photos_lost"], row["degraded"], row["detail"])
    return found


def test_comma_lists_are_the_photos_between_the_commas(tmp_path: Path) -> None:
    """Google's text feeds list further photos in one string: each is read, %2C is a comma of a path, and the first
    photo's column is one path with whatever commas it has.
    """
    for name in ("red.png", "blue.png", "a,b.png", "c%2Cd.png"):
        (tmp_path / name).write_bytes(png(name.partition(".")[0] if name[0] not in "ac" else "lime"))
    links = ["red.png", None, "a,b.png", None, None]
    more = ["blue.png,red.png", " blue.png , red.png,,", None, "a%2Cb.png,c%2Cd.png", "blue.png,gone.png"]
    report = ran(tmp_path, links, more)
    assert (report["exit_code"], report["photos"], report["photos_lost"]) == (0, 10, 1)
    assert report["degraded"] == report["rejects"] == {}
    assert lost(tmp_path)["p4"] == (1, None, "no such file: gone.png")
    assert {row[0] for name, row in lost(tmp_path).items() if name != "p4"} == {0}


def test_a_photo_that_is_lost_is_counted_everywhere(tmp_path: Path) -> None:
    """One of two lost: in the row, the segment, run.json, the metrics, the report and what is printed."""
    (tmp_path / "red.png").write_bytes(png())
    (tmp_path / "page.png").write_bytes(b"<!DOCTYPE html><html>not here</html>")
    report = ran(tmp_path, ["red.png"] * 3, [["page.png"], ["gone.png", "page.png"], None])
    assert lost(tmp_path) == {
        "p0": (1, None, "HTML, not a photo: page.png"),
        "p1": (2, None, "no such file: gone.png"),
        "p2": (0, None, None),
    }
    assert (*manifest_of(tmp_path / "store").photos(), report["photos"], report["photos_lost"]) == (6, 3, 6, 3)
    assert [(loss["outcome"], loss["reason"], loss["detail"], loss["example"]) for loss in report["details"]] == [
        ("photos_lost", "image_not_found", "no such file", "p1: gone.png"),
        ("photos_lost", "image_undecodable", "HTML, not a photo", "p0: page.png"),
    ]
    folder = tmp_path / "store" / "runs" / report["run"]
    assert re.search(r"^vitrine_run_photos_lost\{.*\} 3.0$", (folder / "metrics.prom").read_text(), re.MULTILINE)
    assert "p1: gone.png" in (folder / "report.html").read_text()
    gate = next(one for one in report["gates"] if one["name"] == "photos_lost_share")
    assert (gate["value"], gate["bound"], gate["passed"]) == (0.5, 0.3, True)  # fewer than gates.least_rows


def test_many_lost_photos_refuse_the_night(tmp_path: Path) -> None:
    """Every product keeps its first photo and loses the others: nothing is degraded, and nothing is published."""
    (tmp_path / "red.png").write_bytes(png())
    report = ran(tmp_path, ["red.png"] * 20, ["gone.png"] * 20)
    assert (report["exit_code"], report["status"], report["rows_degraded"]) == (3, "refused", 0)
    failed = [gate for gate in report["gates"] if not gate["passed"]]
    assert [gate["name"] for gate in failed] == ["photos_lost_share"]
    assert "20 of 40 photos lost, most rows for image_not_found (no such file)" in failed[0]["advice"]
    assert ran(tmp_path, ["red.png"] * 20, ["gone.png"] * 20, "gates.max_photos_lost_share=0.5")["exit_code"] == 0


def test_details_add_up_to_the_counts_of_their_reasons(tmp_path: Path) -> None:
    """However many partitions a kind is spread over, all its rows are counted."""
    kinds = [f"kind {number:02}" for number in range(30) for _ in range(2)]
    more = ("catalog.partition=kind", "gates.max_photos_lost_share=1")
    report = ran(tmp_path, ["gone.png", None] * 30, [None] * 60, *more, kind=kinds)
    assert (report["exit_code"], report["degraded"]) == (0, {"image_not_found": 30})
    [kind] = report["details"]
    assert (kind["reason"], kind["detail"], kind["rows"]) == ("image_not_found", "no such file", 30)


def test_the_rarest_kinds_are_counted_as_others() -> None:
    """Of the 100 kinds of a unit 20 are named, the rest summed for each partition and reason; of 120 of a snapshot 50,
    the rest with what its units summed.
    """
    names = ("partition", "id", "reject", "degraded", "detail", "photos_lost", "image_fault")
    rows = [(f"p{n % 3}", f"i{n}", f"r{n % 2}", None, f"d{n % 100}: {n}", 0, None) for n in range(250)]
    bad = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names).cast(
        pa.schema([(name, pa.int32() if name == "photos_lost" else pa.string()) for name in names])
    )
    found = detail_counts(bad.slice(0, 0), bad)
    assert len({one.detail for one in found} - {OTHERS}) == 20
    for reason in ("r0", "r1"):
        for partition in ("p0", "p1", "p2"):
            counted = sum(one.rows for one in found if (one.partition, one.reason) == (partition, reason))
            assert counted == sum((row[0], row[2]) == (partition, reason) for row in rows)
    kinds = [
        DetailCount(partition="a", outcome="rejected", reason=f"r{n % 2}", detail=f"d{n}", rows=200 - n, example="p")
        for n in range(120)
    ]
    kinds.insert(30, kinds[0].model_copy(update={"detail": OTHERS, "rows": 170}))
    shown = losses(kinds)
    assert [one.detail for one in shown] == [*(f"d{n}" for n in range(50)), OTHERS, OTHERS]
    for reason in ("r0", "r1"):
        assert sum(k.rows for k in shown if k.reason == reason) == sum(k.rows for k in kinds if k.reason == reason)


CAUSES = {
    b"": "empty: 0 bytes",
    b"\n <HTML><body>404": "HTML, not a photo",
    b'{"error": 404}': "JSON, not a photo",
    b"<?xml version='1.0'?><svg></svg>": "SVG is not read",
    b"<?xml version='1.0'?><Error/>": "XML, not a photo",
    b"%PDF-1.7": "PDF, not a photo",
    b"version https://git-lfs.github.com/spec/v1": "a pointer of Git LFS, not the photo itself",
    b"\0\0\0\x18ftypheic": "HEIC is not read",
    b"not found": "text, not a photo: it begins 'not found'",
    bytes(5000): "zeros, not a photo: 5,000 bytes",
    png()[:60]: f"truncated PNG: 60 of at least {len(png())} bytes",
    b"RIFF\x00\x50\x00\x00WEBPVP8 ": "truncated WebP: 16 of 20,488 bytes",
    b"\xff\xd8\xff\xe0\x00\x10JFIF": "truncated JPEG: 10 bytes without its end",
}


def test_rejects_say_what_the_photo_was(tmp_path: Path) -> None:
    """Products without a text are rejects, each with what lay there in place of a photo, by path and as bytes."""
    for number, raw in enumerate(CAUSES):
        (tmp_path / f"{number}.jpg").write_bytes(raw)
    photos = [{"bytes": None, "path": f"{number}.jpg"} for number in range(len(CAUSES))]
    photos += [{"bytes": raw, "path": None} for raw in CAUSES if raw]
    report = ran(tmp_path, photos, [None] * len(photos), "gates.max_photos_lost_share=1")
    told = [row[2] for row in lost(tmp_path).values()]
    named = [f"{cause}{', ' if ': ' in cause else ': '}{number}.jpg" for number, cause in enumerate(CAUSES.values())]
    assert told[: len(CAUSES)] == named
    assert told[len(CAUSES) :] == [cause for raw, cause in CAUSES.items() if raw]
    assert report["degraded"] == {"image_undecodable": 2 * len(CAUSES) - 1}


def test_rejects_of_the_catalog_have_details(tmp_path: Path) -> None:
    """A row without an id, with a blank one, one that came before, bytes that are no text, and nothing to embed."""
    path = tmp_path / "catalog" / "a.parquet"
    path.parent.mkdir()
    titles = pa.array([b"a", b"b", b"c", b"d", b"\xff", None], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": [None, " ", "x", "x", "y", "z"], "title": titles}), path)
    where = (
        f"catalog.path={path}",
        f"store.path={tmp_path / 'store'}",
        "catalog.image=null",
        "encoders.image=null",
        "catalog.image_root=null",
    )
    config = [one for one in CONFIG if "image" not in one]
    done = vitrine("run", "-c", "configs/weightless.yaml", *where, *config, "fusion={type: single, modality: text}")
    assert done.exit_code == 0, done.stderr
    rejects = pq.read_table(next((tmp_path / "store" / "shards").glob("*.rejects.parquet"))).to_pylist()
    assert [(row["reason"], row["detail"]) for row in rejects] == [
        ("missing_id", "the id is null or blank"),
        ("missing_id", "the id is null or blank"),
        ("duplicate_id", "the id came before: x"),
        ("invalid_text", "bytes that are not UTF-8 in title"),
        ("no_modality", "neither text nor photo in the row"),
    ]


def test_paths_may_be_written_as_feeds_write_them(tmp_path: Path) -> None:
    """As they are, percent-encoded, with backslashes, as file URIs inside image_root: each is found, and written so
    first where such a file is there; https and what lies outside is refused with what to do.
    """
    (tmp_path / "red shoe").mkdir()
    (tmp_path / "red shoe" / "ä.png").write_bytes(png())
    (tmp_path / "100%25.png").write_bytes(png())
    inside = ["red shoe/ä.png", "red%20shoe/%C3%A4.png", "red shoe\\ä.png", "red%20shoe\\ä.png", "100%25.png",
              f"file://{tmp_path}/red%20shoe/ä.png", f"file://localhost{tmp_path}/red%20shoe/%c3%a4.png",
              f"file:{tmp_path}/red%20shoe/ä.png"]  # fmt: skip
    outside = [
        "file:///etc/passwd",
        "https://shop.example/1.png",
        "s3://bucket/1.png",
        "file://other/1.png",
        "%2e%2e/x",
    ]
    report = ran(tmp_path, inside + outside, [None] * len(inside + outside))
    told = list(lost(tmp_path).values())
    assert [row[0] for row in told] == [0] * len(inside) + [1] * len(outside)
    assert report["degraded"] == {"image_forbidden": 4, "image_not_found": 1}
    assert [row[2] for row in told[len(inside) :]] == [
        "outside of catalog.image_root: file:///etc/passwd",
        "a URL, and catalog.photo_hosts allows no host: https://shop.example/1.png",
        "a URL of another place (save the photo below catalog.image_root): s3://bucket/1.png",
        "a file of another machine: file://other/1.png",
        "no such file: %2e%2e/x",
    ]  # fmt: skip


def test_empty_bytes_are_no_photo(tmp_path: Path) -> None:
    """`{bytes: "", path: good}` is the photo at the path; without a path there is none, as where both are null."""
    (tmp_path / "red.png").write_bytes(png())
    links = [{"bytes": b"", "path": "red.png"}, {"bytes": b"", "path": None}, {"bytes": b"", "path": ""}, None]
    report = ran(tmp_path, links, [None] * 4)
    assert (report["exit_code"], report["photos"], report["degraded"]) == (0, 1, {})
    assert [row[0] for row in lost(tmp_path).values()] == [0, 0, 0, 0]


def test_an_encoder_that_fails_leaves_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an encoder says of a text or a photo that it cannot take is the row's detail."""
    from encoders.types.photo_descriptors import PhotoDescriptors

    def refuse(*_: object) -> Any:
        raise RuntimeError("no room for\n a photo")

    monkeypatch.setattr(PhotoDescriptors, "forward", refuse)
    (tmp_path / "red.png").write_bytes(png())
    report = ran(tmp_path, ["red.png"], [None])
    assert report["degraded"] == {"encoder_failed": 1}
    assert lost(tmp_path)["p0"] == (1, "encoder_failed", "RuntimeError: no room for a photo, red.png")


def test_warnings_of_libraries_name_the_photo(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What Pillow warns of in a photo is a line of the log that names the photo, and nothing on the terminal; a warning
    of anything else is shown as before.
    """
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(
        out, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x1a\0\x05\0\0\0\x01\0\0\xff\xff"
    )
    (tmp_path / "odd.jpg").write_bytes(out.getvalue())
    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        warnings.simplefilter("always")
        report = ran(tmp_path, ["odd.jpg"], [None])
        with foreign.heard() as notes:
            warnings.warn("of a photo", stacklevel=1)
        with pytest.warns(UserWarning, match="of no photo"):
            warnings.warn("of no photo", stacklevel=1)
    assert report["degraded"] == {}
    told = [record.getMessage() for record in caplog.records if "its reader warns" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("photo odd.jpg: its reader warns: UserWarning: ")
    assert notes == ["UserWarning: of a photo"]
    assert "UserWarning" not in capfd.readouterr().err


@given(st.lists(st.text(st.characters(exclude_characters=",", exclude_categories=["C"]), max_size=5)))
@settings(max_examples=50, deadline=None)
def test_lists_lose_nothing_but_blanks(paths: list[str]) -> None:
    """Whatever stands between commas is a photo, in order, trimmed; what is blank is none."""
    row = photos_of(None, pa.array([",".join(paths)]), 1)[0].as_py()
    wanted = [path.strip() for path in paths if path.strip()]
    assert [photo["path"] for photo in row or []] == wanted


@given(st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_path_means_itself_first(path: str) -> None:
    """Whatever it looks like, what is no URL is looked for as it is written before it is decoded."""
    if "\0" not in path and "://" not in path and not path.lower().startswith("file:/"):
        assert spellings(path)[:1] == [path][: bool(path)]
