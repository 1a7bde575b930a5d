"""The faulty rows of a dirty demo catalog: each is what its name says, and outcomes.parquet says what becomes of it."""

import io
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, UnidentifiedImageError

from foundation.reasons import Reason
from pipeline.demo.catalog import DemoOptions, row_groups, write_demo_catalog

DIRTY = DemoOptions(products=90, dirty=True, row_group_rows=16, file_rows=60)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_catalog(tmp_path_factory.mktemp("demo") / "dirty", DIRTY)


def table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted((folder / "catalog").iterdir()))


def raw_titles(rows: pa.Table) -> list[bytes]:
    return [raw for chunk in rows.column("title").chunks for raw in chunk.view(pa.binary()).to_pylist()]


def test_faulty_rows_come_on_top_of_the_clean_ones(dirty: Path) -> None:
    """Without the rows that outcomes.parquet names, a dirty catalog is the clean one, photos included."""
    faulty = set(pq.read_table(dirty / "outcomes.parquet").column("row").to_pylist())
    everything = table(dirty)
    kept = everything.take(pa.array([row for row in range(everything.num_rows) if row not in faulty]))
    clean = pa.concat_tables(row_groups(DemoOptions(products=DIRTY.products)))
    assert kept.to_pylist() == clean.to_pylist()
    assert len(faulty) == everything.num_rows - DIRTY.products > 40
    assert all((dirty / path).is_file() for path in kept.column("image_link").to_pylist())
    assert max(faulty) - min(faulty) > everything.num_rows / 2  # spread through the catalog


def test_outcomes_point_at_their_rows(dirty: Path) -> None:
    """file and row_in_file lead to the row with that id, and names, outcomes and reasons are known ones."""
    outcomes = pq.read_table(dirty / "outcomes.parquet").to_pylist()
    ids = table(dirty).column("id").to_pylist()
    for entry in outcomes:
        assert pq.read_table(dirty / entry["file"]).column("id")[entry["row_in_file"]].as_py() == entry["id"]
        assert ids[entry["row"]] == entry["id"]
        assert entry["outcome"] in ("embedded", "degraded", "rejected")
        assert (entry["reason"] is None) == (entry["outcome"] == "embedded")
        assert entry["reason"] is None or Reason(entry["reason"])
    assert len({entry["what"] for entry in outcomes}) == len(outcomes)


def named(folder: Path) -> dict[str, dict[str, object]]:
    """what -> its outcome and the row it points at; the title as bytes."""
    rows = table(folder)
    raw = raw_titles(rows)
    cells = rows.drop_columns(["title"]).to_pylist()
    outcomes = pq.read_table(folder / "outcomes.parquet").to_pylist()
    return {entry["what"]: {**cells[entry["row"]], "title": raw[entry["row"]], **entry} for entry in outcomes}


def opened(raw: bytes) -> Image.Image:
    return Image.open(io.BytesIO(raw))


GOOD_PHOTOS = {
    "png_named_jpg": lambda image: image.format == "PNG",
    "cmyk_jpeg": lambda image: (image.format, image.mode) == ("JPEG", "CMYK"),
    "grey_jpeg": lambda image: (image.format, image.mode) == ("JPEG", "L"),
    "exif_rotated_jpeg": lambda image: image.getexif()[0x0112] == 6,
    "sixteen_bit_png": lambda image: image.format == "PNG" and image.mode.startswith("I"),
    "palette_png": lambda image: (image.format, image.mode) == ("PNG", "P"),
    "transparent_png": lambda image: image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 255),
    "animated_gif": lambda image: (image.format, image.n_frames) == ("GIF", 2),
    "animated_webp": lambda image: (image.format, image.n_frames) == ("WEBP", 2),
    "avif": lambda image: image.format == "AVIF",
    "bmp": lambda image: image.format == "BMP",
    "tiff": lambda image: image.format == "TIFF",
}
BROKEN_BYTES = ("empty_file", "cut_jpeg", "html_named_jpg", "svg", "bomb_png")
PATH_FAULTS = ("missing_file", "path_above_root", "absolute_path", "link_out_of_root", "http_url")
REASONS = {
    "missing_file": "image_not_found",
    "bomb_png": "image_too_large",
    **dict.fromkeys(("path_above_root", "absolute_path", "link_out_of_root", "http_url"), "image_forbidden"),
}


def check_bytes(what: str, raw: bytes) -> None:
    """Assert that `raw` is what `what` says."""
    kind = what.removesuffix("_no_text")
    if kind in GOOD_PHOTOS:
        image = opened(raw)
        assert GOOD_PHOTOS[kind](image)
        image.load()
    elif kind == "empty_file":
        assert raw == b""
    elif kind == "cut_jpeg":
        with pytest.raises(OSError, match="truncated"):
            opened(raw).load()
    elif kind in ("html_named_jpg", "svg"):
        assert raw.lstrip().startswith(b"<")
        with pytest.raises(UnidentifiedImageError):
            opened(raw)
    elif kind == "bomb_png":
        assert len(raw) == 92
        with pytest.raises(Image.DecompressionBombError, match="10000000000 pixels"):
            opened(raw)
    else:
        opened(raw).load()


def test_files_are_in_the_state_that_their_outcome_says(dirty: Path) -> None:
    """Each faulty row's photo is there, absent, forbidden or broken as its name says."""
    rows = named(dirty)
    for what, row in rows.items():
        link, kind = row["image_link"], what.removesuffix("_no_text")
        if kind == "missing_file":
            assert not (dirty / link).exists()
        elif kind == "path_above_root":
            assert not (dirty / link).resolve().is_relative_to(dirty)
        elif kind == "absolute_path":
            assert Path(link).is_absolute()
        elif kind == "link_out_of_root":
            assert (dirty / link).is_symlink()
            assert not (dirty / link).resolve().is_relative_to(dirty)
        elif kind == "http_url":
            assert link.startswith("http://")
        elif link is not None:
            check_bytes(what, (dirty / link).read_bytes())
    assert set(GOOD_PHOTOS) | set(BROKEN_BYTES) | set(PATH_FAULTS) <= rows.keys()


def test_broken_photos_come_with_text_and_without(dirty: Path) -> None:
    """A broken photo degrades a row with text and rejects one without, for the same reason."""
    rows = named(dirty)
    for what in (*BROKEN_BYTES, *PATH_FAULTS):
        reason = REASONS.get(what, "image_undecodable")
        with_text, without = rows[what], rows[f"{what}_no_text"]
        assert (with_text["outcome"], with_text["reason"]) == ("degraded", reason)
        assert (without["outcome"], without["reason"]) == ("rejected", reason)
        assert with_text["title"]
        texts = ("title", "title_zh", "description", "description_zh", "brand")
        assert all(without[name] is None for name in texts)


def test_ids_and_texts_are_faulty_as_named(dirty: Path) -> None:
    """Each fault of id, text and category is in its row, with its outcome."""
    rows = named(dirty)
    verdict = {what: (row["outcome"], row["reason"]) for what, row in rows.items()}
    assert (rows["null_id"]["id"], verdict["null_id"]) == (None, ("rejected", "missing_id"))
    assert (rows["empty_id"]["id"], verdict["empty_id"]) == ("", ("rejected", "missing_id"))
    assert verdict["no_text_no_photo"] == verdict["control_characters_no_photo"] == ("rejected", "no_modality")
    assert not any(char.isalnum() for char in rows["control_characters_no_photo"]["title"].decode())
    assert verdict["title_not_utf8"] == ("rejected", "invalid_text")
    with pytest.raises(UnicodeDecodeError):
        rows["title_not_utf8"]["title"].decode()
    mended = rows["mojibake_title"]["title"].decode().encode("latin-1").decode()
    assert mended.endswith("“Café” édition")
    assert "<b>" in (marked := rows["html_in_title"]["title"].decode())
    assert "&amp;" in marked
    assert len(rows["one_megabyte_title"]["title"]) == 2**20
    assert rows["null_category"]["product_type"] is None
    assert rows["photo_without_text"]["title"] is None
    assert rows["text_without_photo"]["image_link"] is None
    harmless = ("mojibake_title", "html_in_title", "one_megabyte_title", "emoji_and_right_to_left", "null_category")
    assert {verdict[what] for what in (*harmless, "photo_without_text", "text_without_photo")} == {("embedded", None)}


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_follow_their_originals(tmp_path: Path, seed: int) -> None:
    """An id that comes twice was first that of a clean row, so that keeping the first keeps the good one."""
    options = DemoOptions(products=1 + 30 * seed, seed=seed, dirty=True, photos="none")
    folder = write_demo_catalog(tmp_path / "demo", options)
    ids, rows = table(folder).column("id").to_pylist(), named(folder)
    faulty = {row["row"] for row in rows.values()}
    for what in ("duplicate_of_nearest", "duplicate_of_first"):
        original = ids.index(rows[what]["id"])
        assert original < rows[what]["row"]
        assert original not in faulty
    assert rows["duplicate_of_first"]["id"] == ids[0]
    assert sum(count - 1 for id_, count in Counter(ids).items() if id_) == 2


def test_photos_as_bytes_hold_the_same_faults(dirty: Path, tmp_path: Path) -> None:
    """With photos="bytes" the column holds what the files would, path faults apart, and no photo files are written."""
    options = DemoOptions(products=40, dirty=True, photos="bytes", row_group_rows=16)
    folder = write_demo_catalog(tmp_path / "bytes", options)
    rows = named(folder)
    assert not (folder / "photos").exists()
    assert set(rows) == {what for what in named(dirty) if what.removesuffix("_no_text") not in PATH_FAULTS}
    for what, row in rows.items():
        if row["image"] is not None:
            check_bytes(what, row["image"]["bytes"])
    first = pq.read_table(folder / "catalog/part-00000.parquet").column("image")[0].as_py()
    assert first["bytes"] == (dirty / "photos/00000" / first["path"]).read_bytes()


def test_without_photos_only_ids_and_texts_are_faulty(tmp_path: Path) -> None:
    """With photos="none" there is no photo column and no outcome that a photo would decide."""
    folder = write_demo_catalog(tmp_path / "none", DemoOptions(products=40, dirty=True, photos="none"))
    rows = named(folder)
    assert {"image", "image_link"}.isdisjoint(pq.read_schema(folder / "catalog/part-00000.parquet").names)
    assert "null_id" in rows
    assert "photo_without_text" not in rows
    assert not [row for row in rows.values() if row["reason"] and row["reason"].startswith("image_")]
