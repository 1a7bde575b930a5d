"""Items that nest, as JSON and XML have them, made Arrow columns: texts, lists and structs, whatever shapes they mix.

Scalars are the texts that the feed wrote, so that no number is rounded and `1` beside `"1"` is one column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

MOST_DEPTH = 100  # of lists and objects in one another
Item = Mapping[str, Any]  # str, None, lists and mappings of them


def read_json(text: str) -> Any:
    """A JSON value whose numbers and truths are texts as they are written; NaN, which no JSON has, is null.
    ValueError for what is no JSON, or nests without end.
    """
    try:
        return json.loads(text, **SCALARS)
    except RecursionError as err:
        raise ValueError("values nested deeper than 1,000 levels") from err


def is_too_deep(value: Any) -> bool:
    """Whether something nests deeper than MOST_DEPTH, as no item does that anybody could use."""
    level = [value]
    for _ in range(MOST_DEPTH):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for some in inner for one in some]
    return any(isinstance(one, dict | list) for one in level)


def scalar(value: Any) -> Any:
    """JSON's truths as texts."""
    return ("true" if value else "false") if isinstance(value, bool) else value


def holds_items(found: Mapping[str, Any]) -> bool:
    """Whether an object is a document and no item: it is named by nothing itself, and has a list of what is, or an
    object that does.
    """
    return not _NAMES & found.keys() and any(
        holds_items(one)
        if isinstance(one, dict)
        else isinstance(one, list) and any(isinstance(item, dict) and _NAMES & item.keys() for item in one)
        for one in found.values()
    )


_NAMES = {"id", "sku", "handle", "title", "name", "product_id", "item_id"}  # an item has one of them
SCALARS: dict[str, Any] = {"parse_int": str, "parse_float": str, "parse_constant": lambda _: None}


def batch_of(items: Sequence[Item]) -> pa.RecordBatch:
    """The items as columns, in the order in which keys come; null where an item lacks one."""
    names = list(dict.fromkeys(name for item in items for name in item))
    try:
        return pa.record_batch([array_of([item.get(name) for item in items]) for name in names], names)
    except UnicodeEncodeError:  # half a surrogate pair in a key
        return batch_of([_whole_keys(item) for item in items])


def array_of(values: Sequence[Any]) -> pa.Array:
    """(n,) strings, lists or structs. Where shapes differ, a value beside lists is a list of one; a struct beside texts
    is its JSON.
    """
    if any(isinstance(one, list) for one in values):
        lists = [one if isinstance(one, list) or one is None else [one] for one in values]
        lengths = [0 if one is None else len(one) for one in lists]
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        inner = array_of([item for one in lists if one is not None for item in one])
        return pa.ListArray.from_arrays(offsets, inner, mask=pa.array([one is None for one in lists], pa.bool_()))
    there = [one for one in values if one is not None]
    if there and all(isinstance(one, Mapping) for one in there):
        names = list(dict.fromkeys(name for one in there for name in one))
        if names:
            columns = [array_of([None if one is None else one.get(name) for one in values]) for name in names]
            mask = pa.array([one is None for one in values], pa.bool_())
            return pa.StructArray.from_arrays(columns, names, mask=mask)
    return pa.array([_text(one) for one in values], pa.string())


def whole(text: str) -> str:
    """Half a surrogate pair, which JSON can spell and UTF-8 cannot, as the character that stands for what is broken."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# --- inside ---


def _text(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False) if value else None
    found = scalar(value)
    return found if found is None else whole(str(found))


def _whole_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {whole(name): _whole_keys(one) for name, one in value.items()}
    return [_whole_keys(one) for one in value] if isinstance(value, list) else value
