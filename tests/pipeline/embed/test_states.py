"""Units for a fusion of states: walked in chunks, as if all of a unit were in memory at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from encoders.base import Encoded
from encoders.fusion.base import States, StatesFusion
from encoders.fusion.single import Single
from foundation.arrays import Mask, Vectors
from pipeline.embed.fuse import fuse
from pipeline.embed.states import StatesPath, chunks, embed_and_fuse
from tests.support.odd_towers import DIM, LIMITS, PLANS, RED, TEAL, Colours, Lengths, encoded, text_vector, unit


class Letters(Lengths):
    """Texts whose states are one number of each letter."""

    state_dim = 1

    def forward_states(self, texts: Any, role: Any) -> Encoded:
        return Encoded(self.forward(texts, role), [np.array([[ord(c)] for c in text], np.float32) for text in texts])


class Means(Colours):
    """Photos whose states are their vector."""

    state_dim = DIM

    def forward_states(self, prepared: Any) -> Encoded:
        vectors = self.forward(prepared)
        return Encoded(vectors, [vector[None] for vector in vectors])


class Sums(StatesFusion):
    """Items of both vectors, the sum of the text's states, and the number and the last of the photos' states."""

    dim = 3 * DIM + 2

    def __init__(self) -> None:
        self.most = 0

    def items(
        self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask, states: States | None = None
    ) -> Vectors:
        assert states is not None
        self.most = max(self.most, len(text))
        out = np.zeros((len(text), self.dim), np.float32)
        for i, (letters, photos) in enumerate(zip(*states, strict=True)):
            last = photos[-1] if len(photos) else np.zeros(DIM)
            assert (len(letters) > 0, len(photos) > 0) == (has_text[i], has_image[i])
            out[i] = np.concatenate([text[i], image[i], [letters.sum() / 1000, len(photos)], last])
        return out

    def queries(self, text: Any = None, image: Any = None, states: States | None = None) -> Vectors:
        raise NotImplementedError


ROWS: list[tuple[str | None, list[bytes] | None]] = [
    ("abc", [RED, TEAL]),
    ("b", None),
    (None, [TEAL]),
    ("fail", [RED]),
    ("nan", None),
    ("cab", [PLANS["broken"][0], TEAL, RED]),
    ("ab", [PLANS["refused"][0]]),
    (None, None),
    ("dd", [RED] * 5),
    ("a", [PLANS["nan"][0], RED]),
]
REJECT = [None] * 9 + ["missing_id"]


def fused_in_chunks(chunk: int) -> tuple[pa.Table, Sums]:
    fusion = Sums()
    with ThreadPoolExecutor(2) as pool:
        path = StatesPath(Letters(), Means(), fusion, "/nowhere", LIMITS, pool)
        return embed_and_fuse(unit(ROWS, REJECT), path, chunk), fusion


def test_a_unit_is_the_same_for_any_chunk() -> None:
    """Chunks of one row, of a few and of all rows give equal tables, and no more rows than that are fused at once."""
    whole, _ = fused_in_chunks(1000)
    for chunk in (1, 2, 3, 7):
        table, fusion = fused_in_chunks(chunk)
        assert table.equals(whole)
        assert 0 < fusion.most <= chunk


def test_states_reach_the_row_that_they_are_of() -> None:
    """Letters of its own text, the photos that could be read in their order; vectors, faults and rejects as ever."""
    found = fused_in_chunks(3)[0].to_pylist()
    table = encoded(unit(ROWS, REJECT), Colours())
    for row, plain in zip(found, table.to_pylist(), strict=True):
        for name in ("text_vector", "image_vector", "text_fault", "image_fault", "photo"):
            assert row[name] == plain[name]
    numbers = [np.array(row["embedding"]) for row in found]
    assert [round(one[2 * DIM] * 1000) for one in numbers] == [294, 98, 0, 0, 0, 294, 195, 0, 200, 0]
    assert [round(one[2 * DIM + 1]) for one in numbers] == [2, 0, 1, 1, 0, 2, 0, 0, 5, 0]
    teal_last, red_last = numbers[2][-DIM:], numbers[5][-DIM:]
    np.testing.assert_array_equal(numbers[0][-DIM:], teal_last)
    np.testing.assert_array_equal(numbers[3][-DIM:], red_last)
    np.testing.assert_allclose(numbers[0][:DIM], text_vector("abc"), atol=1e-3)
    reasons = [None, None, None, None, "nonfinite_embedding", None, None, "no_modality", None, "missing_id"]
    assert [row["reject"] for row in found] == reasons
    assert [row["degraded"] for row in found][3:7:3] == ["encoder_failed", "encoder_failed"]


def test_chunks_are_bounded_by_rows_and_by_photos() -> None:
    """No piece has more rows or photos than allowed, but for a row that alone has more; together they are the unit."""
    table = unit([("a", [RED] * count) for count in (1, 1, 3, 9, 0, 2, 2)] + [("b", None)] * 5)
    pieces = list(chunks(table, 4))
    assert pieces == [(0, 2), (2, 1), (3, 1), (4, 4), (8, 4)]


def test_a_fusion_of_states_without_states_is_an_error() -> None:
    """Where nobody kept the states, nothing is made up."""
    with pytest.raises(ValueError, match="states"):
        fuse(encoded(unit([("a", None)], image_dim=None)), Sums(), DIM, None)


def test_products_without_the_single_modality_are_rejects(tmp_path: Path) -> None:
    """With `single` by photo they lack everything, for the photo's reason; a broken text degrades nobody, and the other
    way round.
    """
    rows = [("ab", [RED]), ("ab", None), ("ab", [PLANS["broken"][0]]), ("nan", [RED]), (None, [RED])]
    table = encoded(unit(rows), Colours())
    by_photo = fuse(table, Single(DIM, "image"), DIM, DIM).to_pylist()
    assert [row["reject"] for row in by_photo] == [None, "no_modality", "image_undecodable", None, None]
    by_text = fuse(table, Single(DIM, "text"), DIM, DIM).to_pylist()
    assert [row["reject"] for row in by_text] == [None, None, None, "nonfinite_embedding", "no_modality"]
    assert {row["degraded"] for row in by_photo + by_text} == {None}
    np.testing.assert_array_equal(by_text[0]["embedding"], text_vector("ab").astype(np.float16))
