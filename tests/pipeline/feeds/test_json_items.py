"""The items of a JSON document are what Python's parser finds, wherever the reading is cut."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InputError
from pipeline.feeds import json_items
from pipeline.feeds.json_items import JsonItems
from pipeline.feeds.nested import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.lists(st.dictionaries(st.text(min_size=1), VALUES, max_size=4), max_size=6)


class _Slow(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(7)


def _read(text: str, path: str | None = None) -> list[Any]:
    return [item for _, item in JsonItems("feed.json", _Slow(text.encode()), "utf-8", path)]


@given(ITEMS, VALUES, VALUES, st.sampled_from([None, 1]), st.booleans())
def test_items_are_those_of_the_standard_parser(
    items: list[Any], before: Any, after: Any, indent: int | None, ascii_only: bool
) -> None:
    """Whatever stands beside the list, however it is indented, read seven bytes at a time."""
    document = {"first": {"of": before}, "products": items, "last": after}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    assert _read(text, "products") == read_json(text)["products"]
    assert _read(text + "\n" + text, "products") == 2 * read_json(text)["products"]
    assert _read(json.dumps(items)) == read_json(json.dumps(items))
    nested = json.dumps({"a": before, "data": {"b": after, "products": items}, "c": before}, indent=indent)
    assert _read(nested, "data.products") == read_json(nested)["data"]["products"]


@given(ITEMS.filter(bool), st.data())
def test_a_document_that_is_cut_is_refused(items: list[Any], data: st.DataObject) -> None:
    """At any place: nothing is taken for the end but the end."""
    text = json.dumps({"products": items})
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(InputError):
        _read(text[:cut])


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ('[{"id": 1},\n{"id" 2}]', "item 2, line 2: Expecting ':' delimiter"),
        ('[{"id": 1},]', "item 1, line 1: ']'"),
        ('{"products": 3}', "feed.json has none"),
        ('[{"id": 1} {"id": 2}]', "item 1, line 1: '{'"),
        ("[" * 5_000, "it nests without end"),
    ],
)
def test_what_is_no_json_is_said_with_its_place(text: str, came: str) -> None:
    """The item, the line, and what stands there."""
    with pytest.raises(InputError, match="expected") as caught:
        _read(text)
    assert came in str(caught.value)


def test_an_item_without_end_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that nobody closes is told after the most that an item may have, not after the whole file."""
    monkeypatch.setattr(json_items, "_MOST_ITEM", 10_000)
    monkeypatch.setattr(json_items, "_CHUNK", 1_000)
    stream = io.BytesIO(b'[{"id": "' + b"x" * 1_000_000)
    with pytest.raises(InputError, match="Unterminated string"):
        list(JsonItems("feed.json", stream, "utf-8", None))
    assert stream.tell() < 50_000
