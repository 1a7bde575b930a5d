"""Nested items as Arrow columns: nothing that an item says is lost or rounded."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds.nested import array_of, batch_of, read_json

PLAIN = st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"]))
ALIKE = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.lists(PLAIN, max_size=3) | st.none(), max_size=3), max_size=5
)
ANY = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)


@given(ALIKE)
def test_items_of_one_shape_come_back_equal(items: list[dict[str, Any]]) -> None:
    """But for a key that an item lacks, which is null."""
    back = batch_of(items).to_pylist() if any(items) else [{} for _ in items]
    names = {name for item in items for name in item}
    assert back == [{name: item.get(name) for name in names} for item in items] or not names


@given(st.lists(ANY, max_size=6))
def test_any_mixture_of_shapes_is_a_column(values: list[Any]) -> None:
    """A text that stands anywhere inside of a value stands in the column."""
    found = array_of(values)
    assert len(found) == len(values)
    shown = repr(found.to_pylist())
    for text in _texts(values):
        assert repr(text)[1:-1] in shown or repr(repr(text))[2:-2] in shown or _json(text) in shown


def test_numbers_are_the_digits_that_were_written() -> None:
    """12.50 stays 12.50, and an id of 20 digits stays whole; NaN is null; a number beside a text is a text."""
    items = [
        read_json('{"price": 12.50, "id": 12345678901234567890, "n": NaN, "x": 1}'),
        read_json('{"x": "1", "y": true}'),
    ]
    assert batch_of(items).to_pylist() == [
        {"price": "12.50", "id": "12345678901234567890", "n": None, "x": "1", "y": None},
        {"price": None, "id": None, "n": None, "x": "1", "y": "true"},
    ]


def test_a_value_beside_lists_is_a_list_of_one() -> None:
    """As XML has it, where one child is a value and two are a list."""
    assert array_of(["a", ["b", "c"], None, []]).to_pylist() == [["a"], ["b", "c"], None, []]
    assert array_of([{"k": "v"}, "text"]).to_pylist() == ['{"k": "v"}', "text"]
    assert array_of([]).type == pa.string()


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]


def _json(text: str) -> str:
    import json

    return repr(json.dumps(text, ensure_ascii=False))[2:-2]
