"""Embedding a unit: several photos, photos and rows that fail, and numbers that are what numpy says they are."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from encoders.base import Role
from encoders.fusion.concat import Spec as Concat
from foundation.arrays import Photo, Vectors
from pipeline.catalog.columns import PHOTO
from pipeline.embed.encode import encode_photos, encode_texts
from pipeline.embed.fuse import fuse, split
from tests.support.odd_towers import (
    DIM,
    LIMITS,
    PLANS,
    RED,
    TEAL,
    Colours,
    Lengths,
    encoded,
    png,
    text_vector,
    unit,
    vector_of,
)


def embedded(
    rows: list[tuple[str | None, list[bytes] | None]], reject: list[str | None] | None = None
) -> list[dict[str, Any]]:
    """What becomes of each row; tower vectors as arrays."""
    table = encoded(unit(rows, reject), Colours())
    found = fuse(table, Concat(type="concat").load(DIM, DIM), DIM, DIM).to_pylist()
    for row in found:
        for name in ("text_vector", "image_vector"):
            row[name] = None if row[name] is None else np.frombuffer(row[name], np.float16)
    return found


def test_photos_of_a_product_are_averaged() -> None:
    """The image vector is the unit mean of the photos' vectors, across micro-batches, rounded to float16 once."""
    rows = [("a", [RED, TEAL, RED, RED]), ("b", [TEAL]), ("c", None), (None, [RED, TEAL])]
    found = embedded(rows)
    for (_, photos), row in zip(rows, found, strict=True):
        if photos is None:
            assert row["image_vector"] is None
            continue
        decoded = [np.asarray(Image.open(io.BytesIO(raw)))[0, 0].astype(np.float32) for raw in photos]
        mean = np.mean([vector_of(colour) for colour in decoded], axis=0)
        np.testing.assert_allclose(row["image_vector"], mean / np.linalg.norm(mean), atol=1e-3)
    assert [row["photo"] for row in found] == ["p0", "p0", None, "p0"]
    assert {(row["reject"], row["degraded"]) for row in found} == {(None, None)}


def test_a_photo_of_many_products_is_encoded_once() -> None:
    """However often a photo stands in a unit, it is prepared once, and each of its rows gets its vector or reason."""
    grey = png(90, 90, 90)
    seen: list[int] = []

    class Counting(Colours):
        def prepare(self, photo: Photo) -> Vectors:
            seen.append(int(photo[0, 0, 0]))
            return super().prepare(photo)

    table = unit([("a", [RED, TEAL]), ("b", [TEAL]), ("c", [grey, RED]), ("d", [RED, grey]), ("e", [TEAL, TEAL])])
    found = encoded(table, Counting()).to_pylist()
    assert len(seen) == 3
    assert found[2]["image_vector"] == found[3]["image_vector"] != found[1]["image_vector"] == found[4]["image_vector"]
    assert [row["image_fault"] for row in found] == [None, None, "encoder_failed", "encoder_failed", None]


@pytest.mark.parametrize("what", PLANS)
def test_one_photo_that_fails(what: str) -> None:
    """Beside text it degrades its row, alone it rejects it, beside another photo it does neither; the rest is as it
    was.
    """
    raw, reason = PLANS[what]
    good: list[tuple[str | None, list[bytes] | None]] = [("abc", [RED]), ("bcd", [TEAL]), (None, [TEAL])]
    rows = [
        good[0],
        ("ab", [RED, raw]),
        ("ab", [raw]),
        good[1],
        (None, [raw]),
        (None, [raw, RED]),
        good[2],
        (None, [raw, raw]),
    ]
    found = embedded(rows)
    assert [row["degraded"] for row in found] == [None, None, reason, None, None, None, None, None]
    assert [row["reject"] for row in found] == [None, None, None, None, reason, None, None, reason]
    alone = embedded(good)
    assert [found[i]["embedding"] for i in (0, 3, 6)] == [row["embedding"] for row in alone]
    red = alone[0]["image_vector"]
    np.testing.assert_array_equal(found[1]["image_vector"], red)
    np.testing.assert_array_equal(found[5]["image_vector"], red)
    assert found[2]["image_vector"] is None
    assert found[2]["embedding"] == embedded([("ab", None)])[0]["embedding"]


@pytest.mark.parametrize(("text", "reason"), [("fail", "encoder_failed"), ("nan", "nonfinite_embedding")])
def test_one_text_that_fails(text: str, reason: str) -> None:
    """With a photo its row is degraded, without one rejected, and the others of its micro-batch are kept."""
    rows: list[tuple[str | None, list[bytes] | None]] = [(f"{'a' * n}b", None) for n in range(11)]
    rows[3], rows[7] = (text, None), (text, [RED])
    found = embedded(rows)
    assert [(row["reject"], row["degraded"]) for row in (found[3], found[7])] == [(reason, None), (None, reason)]
    for n, row in enumerate(found):
        if n not in (3, 7):
            assert (row["reject"], row["degraded"]) == (None, None)
            np.testing.assert_array_equal(row["text_vector"], text_vector(rows[n][0] or "").astype(np.float16))


def test_degraded_says_why_the_modality_is_missing() -> None:
    """A row that lost its text, and one photo of two, names the text's reason; lost photos are counted."""
    broken = PLANS["broken"][0]
    found = embedded([("nan", [RED, broken]), ("ab", [broken, RED]), ("ab", [broken]), ("ab", [RED])])
    assert [row["degraded"] for row in found] == ["nonfinite_embedding", None, "image_undecodable", None]
    assert [row["photos_lost"] for row in found] == [1, 1, 1, 0]
    assert [row["photo_count"] for row in found] == [2, 2, 1, 1]


def test_of_several_reasons_the_first_photos_counts() -> None:
    """Photos that fail differently leave the reason of the first one, in whichever micro-batch the others are."""
    raws = [PLANS[what][0] for what in ("refused", "broken", "nan", "unprepared", "broken")]
    assert [row["reject"] for row in embedded([(None, raws), (None, raws[::-1])])] == [
        "encoder_failed",
        "image_undecodable",
    ]


def test_rejected_rows_are_not_encoded() -> None:
    """A row that was refused before stays refused for its reason, whatever its text and photos are."""
    rows: list[tuple[str | None, list[bytes] | None]] = [("fail", [b"broken"]), ("a", [RED])]
    found = embedded(rows, ["missing_id", None])
    assert [(row["reject"], row["degraded"]) for row in found] == [("missing_id", None), (None, None)]
    assert found[0]["text_vector"] is found[0]["image_vector"] is None


@pytest.mark.parametrize("rows", [[("a", None)] * 3, [(None, [RED])] * 3, [(None, None)]])
def test_units_without_texts_or_without_photos(rows: list[Any]) -> None:
    """A unit in which nobody has a text, a photo, or either, is embedded by what there is."""
    reasons = {row["reject"] for row in embedded(rows)}
    assert reasons == ({"no_modality"} if rows == [(None, None)] else {None})
    assert {row["reject"] for row in embedded(rows, ["missing_id"] * len(rows))} == {"missing_id"}


def test_embeddings_are_float16_numbers() -> None:
    """An embedding is exactly the float16 rounding of what the fusion makes of the stored tower vectors."""
    rows: list[tuple[str | None, list[bytes] | None]] = [("abcd", [RED]), ("aab", None), (None, [TEAL, RED])]
    for row in embedded(rows):
        zero = np.zeros(DIM, np.float16)
        text, image = (row[name] if row[name] is not None else zero for name in ("text_vector", "image_vector"))
        both = np.concatenate([text, image]).astype(np.float32) * np.float32(0.5**0.5)
        assert row["embedding"] == both.astype(np.float16).astype(np.float32).tolist()


def test_a_fusion_that_overflows_is_a_reject() -> None:
    """What is not finite after fusion is refused, though both towers were fine."""

    class Broken(type(Concat(type="concat").load(DIM, None))):  # type: ignore[misc]
        def items(self, text: Vectors, *_: Any) -> Vectors:
            return np.where(text[:, :1] > 0.6, np.float32(np.inf), text)

    table = encoded(unit([("aaa", None), ("abcd", None)], image_dim=None))
    found = fuse(table, Broken(DIM, None, 0.5), DIM, None).to_pylist()
    assert [row["reject"] for row in found] == ["nonfinite_embedding", None]


def test_split_keeps_every_row_once() -> None:
    """Good rows by partition and then by row, rejects in catalog order."""
    table = unit([("a", None)] * 6, [None, None, "missing_id", None, "duplicate_id", None])
    good, bad = split(table)
    assert good.column("row").to_pylist() == [0, 1, 3, 5]
    assert good.column("partition").to_pylist() == ["a", "b", "b", "b"]
    assert bad.column("row").to_pylist() == [2, 4]


def test_a_photo_under_the_root_is_found(tmp_path: Path) -> None:
    """Paths and bytes of one picture give one vector."""
    (tmp_path / "p0").write_bytes(RED)
    table = unit([(None, [RED]), (None, [RED])])
    mixed = pa.array([[{"bytes": None, "path": "p0"}], [{"bytes": RED, "path": None}]], pa.list_(PHOTO))
    found = encoded(table.set_column(4, "photos", mixed), Colours(), str(tmp_path)).to_pylist()
    assert found[0]["image_vector"] == found[1]["image_vector"] is not None
    assert [row["photo"] for row in found] == ["p0", None]


def test_a_vector_that_stands_is_not_made_again() -> None:
    """Where somebody filled vectors in, the encoders see the other rows alone, and what stands comes out unchanged."""
    rows: list[tuple[str | None, list[bytes] | None]] = [
        ("abc", [RED, TEAL]),
        ("b", [RED]),
        ("fail", None),
        (None, None),
    ]
    table, made = unit(rows), encoded(unit(rows), Colours())
    old = {name: [b"\1\2" * DIM, None, b"\3\4" * DIM, None] for name in ("text_vector", "image_vector")}
    for name, values in old.items():
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array(values, pa.binary(2 * DIM)))
    seen: list[str] = []

    class Listening(Lengths):
        def forward(self, texts: Sequence[str], role: Role) -> Vectors:
            seen.extend(texts)
            return super().forward(texts, role)

    with ThreadPoolExecutor(2) as pool:
        texts = encode_texts(table, Listening()).table
        found = encode_photos(texts, Colours(), "/nowhere", LIMITS, pool).table
    assert seen == ["b"]
    for name, values in old.items():
        assert found.column(name).to_pylist() == [values[0], made.column(name)[1].as_py(), values[2], None]
    assert found.column("text_fault").null_count == 4  # the text that fails was not tried
    assert found.column("photo_count").to_pylist() == [2, 1, 0, 0]
