"""What a map does to values, on whole Arrow columns: (n,) strings or lists of strings in, the same out, null for none.

What is done value by value in Python is done once for each different value.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TEXTS = pa.list_(pa.string())
_MARKUP = re.compile(r"<[a-zA-Z/!?]")
_BLOCK_TAGS = (
    "address article aside blockquote br caption dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 "
    "header hr li main nav ol p pre section table tbody td tfoot th thead tr ul"
)
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_ESCAPED = re.compile(rf"</(?:{_BLOCK_TAGS.replace(' ', '|')}|b|i|em|strong|span|a|font|u)>|<br ?/?>", re.I)
_UNSEEN = frozenset(["script", "style", "template", "noscript"])
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")  # characters that no tree has
_MOST_TAGS = 2_000  # libxml2 nests no deeper, and leaves out what does
_AVAILABILITY = {  # https://support.google.com/merchants/answer/6324448
    **dict.fromkeys(["in stock", "instock", "available", "yes", "true", "limitedavailability"], "in_stock"),
    **dict.fromkeys(["available for order", "onlineonly", "instoreonly"], "in_stock"),
    **dict.fromkeys(["out of stock", "outofstock", "sold out", "soldout", "unavailable"], "out_of_stock"),
    **dict.fromkeys(["no", "false", "discontinued", "not available"], "out_of_stock"),
    **dict.fromkeys(["preorder", "pre order", "presale"], "preorder"),
    **dict.fromkeys(["backorder", "back order", "onbackorder"], "backorder"),
}
_BEST = ("in_stock", "backorder", "preorder", "out_of_stock")
_TRUE, _FALSE = frozenset(["yes", "true", "1", "y", "t"]), frozenset(["no", "false", "0", "n", "f"])


def as_text(values: pa.Array) -> pa.Array:
    """Values as the feed would write them: strings, or lists of strings; what nests deeper is JSON."""
    kind = values.type
    if kind in (pa.string(), TEXTS):
        return values
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = as_text(values.flatten())
        if pa.types.is_list(inner.type):  # lists in lists
            return _each(values, _json)
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        return pa.ListArray.from_arrays(_offsets(lengths), inner, mask=pc.is_null(values))
    if pa.types.is_struct(kind):
        return _each(values, _json)
    if pa.types.is_map(kind):
        return _each(values, lambda pairs: _json(dict(pairs)))
    if pa.types.is_floating(kind):
        shortest = np.dtype(f"f{kind.byte_width}").type  # 12.99 of 32 bits is no 12.9899997711182
        there = pc.if_else(pc.is_nan(values), None, values)
        return _each(there, lambda one: _digits(float(str(shortest(one)))))
    if pa.types.is_decimal(kind):
        return _each(values, lambda one: _unmistakable(f"{one.normalize():f}"))
    return values.cast(pa.string())


def at_path(values: pa.Array, path: Sequence[str]) -> pa.Array | None:
    """The values at `path` inside of structs and lists of them; of lists lists, with a number in the path the item of
    that place, from 0. None where the type has no such.
    """
    for depth, part in enumerate(path):
        if pa.types.is_struct(values.type):
            names = [field.name for field in values.type]
            near = [part] if part in names else [one for one in names if spelled_plainly(one) == spelled_plainly(part)]
            if not near:
                return None
            values = pc.struct_field(values, near[0])
        elif pa.types.is_list(values.type) and part.isdigit():
            values = _item_at(values, int(part))
        elif pa.types.is_list(values.type):
            inner = at_path(values.flatten(), path[depth:])
            return None if inner is None else relisted(values, inner)
        else:
            return None
    return values


def spelled_plainly(name: str) -> str:
    """A raw column's name without what spellings of it differ in: `Image Link` and `g:image_link` are one."""
    return name.strip().casefold().removeprefix("g:").replace(" ", "_").replace("-", "_")


def filled(values: pa.Array) -> pa.Array:
    """Trimmed, null for what is blank; of lists without their blank items, null for those that have none left."""
    if not pa.types.is_list(values.type):
        trimmed = pc.utf8_trim_whitespace(values)
        return pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    owners = pc.list_parent_indices(values)
    items = filled(values.flatten())
    kept = pc.is_valid(items)
    counts = np.bincount(owners.filter(kept).to_numpy(zero_copy_only=False), minlength=len(values))
    return pa.ListArray.from_arrays(_offsets(counts), items.filter(kept), mask=pa.array(counts == 0))


def in_language(values: pa.Array, tag: str, value: str, languages: Sequence[str], many: bool) -> pa.Array:
    """Of lists of {tag, value} the value of the first of `languages` that is there, else of the first item; with `many`
    all values of that language.
    """
    wanted = [one.casefold().replace("-", "_") for one in languages]

    def choose(items: Any) -> Any:
        told = [one for one in items if isinstance(one, Mapping) and one.get(value) is not None]
        for language in wanted:
            fits = [str(one[value]) for one in told if _speaks(one.get(tag), language)]
            if fits:
                return fits if many else fits[0]
        return (
            [str(one[value]) for one in told if one.get(tag) == told[0].get(tag)]
            if many and told
            else (str(told[0][value]) if told else None)
        )

    if pa.types.is_struct(values.type):
        values = pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)
    if not pa.types.is_list(values.type) or not pa.types.is_struct(values.type.value_type):
        return as_text(values)
    return pa.array(
        [None if one is None else choose(one) for one in values.to_pylist()], TEXTS if many else pa.string()
    )


def first(values: pa.Array) -> pa.Array:
    """The first item of lists."""
    return pc.list_element(values, 0) if len(values) and pa.types.is_list(values.type) else _plain(values)


def without(values: pa.Array, others: pa.Array) -> pa.Array:
    """Lists without the items that are the string of `others` in their row."""
    given = others.take(pc.list_parent_indices(values))
    return _kept(values, pc.fill_null(pc.not_equal(values.flatten(), given), True))


def unique(values: pa.Array) -> pa.Array:
    """Lists with each value once, where it comes first."""
    if not pa.types.is_list(values.type):
        return values
    owners, items = pc.list_parent_indices(values), values.flatten()
    places = pa.table({"owner": owners, "item": items, "at": pa.array(range(len(items)), pa.int64())})
    firsts = places.group_by(["owner", "item"]).aggregate([("at", "min")]).column("at_min").to_numpy()
    kept = np.zeros(len(items), np.bool_)
    kept[firsts] = True
    return _kept(values, pa.array(kept))


def where(values: pa.Array, named: pa.Array, words: Sequence[str]) -> pa.Array:
    """The values of rows whose `named`, of lists the first, is one of `words`; case does not count."""
    wanted = pa.array([one.casefold() for one in words], pa.string())
    found = pc.is_in(lowered(first(filled(as_text(named)))), wanted)
    return pc.if_else(found, values, pa.scalar(None, values.type))


def joined(values: pa.Array, between: str) -> pa.Array:
    """The items of lists in one string."""
    return filled(pc.binary_join(values, between)) if pa.types.is_list(values.type) else values


def as_list(values: pa.Array) -> pa.Array:
    """Strings as lists of one."""
    if pa.types.is_list(values.type):
        return values
    there = pc.is_valid(values)
    counts = there.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return pa.ListArray.from_arrays(_offsets(counts), values.filter(there), mask=pc.invert(there))


def coalesced(columns: Sequence[pa.Array]) -> pa.Array:
    """The first value of each row that is there."""
    if len({one.type for one in columns}) > 1:  # a list beside a text
        columns = [as_list(one) for one in columns]
    return columns[0] if len(columns) == 1 else pc.coalesce(*columns)


def concatenated(columns: Sequence[pa.Array]) -> pa.Array:
    """The lists of several columns in one list each."""
    lists = [as_list(one) for one in columns]
    owners = np.concatenate([pc.list_parent_indices(one).to_numpy(zero_copy_only=False) for one in lists])
    items = pa.concat_arrays([one.flatten() for one in lists])
    counts = np.bincount(owners, minlength=len(lists[0]))
    ordered = items.take(pa.array(np.argsort(owners, kind="stable")))
    return pa.ListArray.from_arrays(_offsets(counts), ordered, mask=pa.array(counts == 0))


def without_html(values: pa.Array) -> pa.Array:
    """Texts without tags, entities as the characters that they stand for; what a browser shows in lines has spaces."""
    if pa.types.is_list(values.type):
        return filled(relisted(values, without_html(values.flatten())))
    odd = pc.fill_null(pc.match_substring_regex(values, "[<&]"), False)
    if not pc.any(odd).as_py():
        return values
    return filled(pc.replace_with_mask(values, odd, pa.array(map(_shown, values.filter(odd).to_pylist()), pa.string())))


def lowered(values: pa.Array) -> pa.Array:
    """In small letters."""
    if pa.types.is_list(values.type):
        return relisted(values, lowered(values.flatten()))
    return pc.utf8_lower(values)


def replaced(values: pa.Array, table: Mapping[str, str | None]) -> pa.Array:
    """What the table has another value for; case does not count."""
    if pa.types.is_list(values.type):
        return filled(relisted(values, replaced(values.flatten(), table)))
    known = {key.casefold(): value for key, value in table.items()}
    return by_value(values, lambda one: known.get(one.casefold(), one), pa.string())


def availability(values: pa.Array) -> pa.Array:
    """Google's in_stock, out_of_stock, preorder, backorder; null for what is none of them. Of lists, as of variants,
    the best; a whole number is how many there are.
    """

    def read(one: str) -> str | None:
        word = one.rpartition("/")[2] if "schema.org" in one else one
        if re.fullmatch(r"[-+]?\d{1,9}", word, re.ASCII):
            return "in_stock" if int(word) > 0 else "out_of_stock"
        return _AVAILABILITY.get(re.sub(r"[\s_\-]+", " ", word).strip().casefold())

    if not pa.types.is_list(values.type):
        return by_value(values, read, pa.string())
    each = relisted(values, availability(values.flatten())).to_pylist()
    return pa.array(
        [min((one for one in some or () if one), key=_BEST.index, default=None) for some in each], pa.string()
    )


def boolean(values: pa.Array) -> pa.Array:
    """Yes and no as feeds write them."""

    def read(one: str) -> bool | None:
        word = one.strip().casefold()
        return word in _TRUE if word in _TRUE | _FALSE else None

    return by_value(values, read, pa.bool_())


def number(values: pa.Array, decimal_mark: str | None, whole: bool) -> pa.Array:
    """float64, or int64 of whole numbers; null for what is no number, or can be read in two ways."""
    from lookup.filters.prices import parse_price

    def read(one: str) -> float | int | None:
        try:
            found = float(one) if re.fullmatch(r"[-+]?\d{1,15}(?:\.\d*)?(?:[eE][-+]?\d{1,2})?", one, re.ASCII) else None
        except ValueError:
            found = None
        if found is not None and "." in one and decimal_mark == ",":
            found = None  # a dot stands between thousands there
        if found is None:
            price = parse_price(one, "." if whole and decimal_mark is None and one.count(",") else decimal_mark)
            found = float(price.amount) if price is not None and price.currency is None else None
        if found is None or not whole:
            return found
        return int(found) if found.is_integer() and abs(found) < 2**53 else None

    return by_value(values, read, pa.int64() if whole else pa.float64())


def by_value(values: pa.Array, function: Callable[[Any], Any], kind: pa.DataType) -> pa.Array:
    """`function` of each value that is there, called once for each different one."""
    encoded = values.dictionary_encode()
    return pa.array([function(one) for one in encoded.dictionary.to_pylist()], kind).take(encoded.indices)


def relisted(lists: pa.Array, items: pa.Array) -> pa.Array:
    """Lists as long as `lists`, of other items."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    if pa.types.is_list(items.type):  # of each item several: one list of all of them
        inner = pc.fill_null(pc.list_value_length(items), 0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(inner)])
        at = np.concatenate([[0], np.cumsum(lengths)])
        return pa.ListArray.from_arrays(pa.array(ends[at].astype(np.int32)), items.flatten(), mask=pc.is_null(lists))
    return pa.ListArray.from_arrays(_offsets(lengths), items, mask=pc.is_null(lists))


# --- inside ---


def _kept(lists: pa.Array, mask: pa.Array) -> pa.Array:
    """Lists of the items that `mask`, (items,) bool, has; null for those that have none left."""
    owners = pc.list_parent_indices(lists).filter(mask).to_numpy(zero_copy_only=False)
    counts = np.bincount(owners, minlength=len(lists))
    return pa.ListArray.from_arrays(_offsets(counts), lists.flatten().filter(mask), mask=pa.array(counts == 0))


def _item_at(lists: pa.Array, place: int) -> pa.Array:
    """The item of a place of each list, null where it has fewer."""
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    starts = np.searchsorted(owners, np.arange(len(lists))) + place
    ends = np.searchsorted(owners, np.arange(len(lists)), side="right")
    return lists.flatten().take(pa.array(starts, pa.int64(), mask=starts >= ends))


def _offsets(lengths: Any) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _plain(values: pa.Array) -> pa.Array:
    return pa.array([], pa.string()) if pa.types.is_list(values.type) else values


def _each(values: pa.Array, function: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if one is None else function(one) for one in values.to_pylist()], pa.string())


def _digits(number: float) -> str:
    """A number as people write it; whole ones, as ids are, with all of their digits."""
    whole = number.is_integer() and abs(number) < 2**53
    return str(int(number)) if whole else _unmistakable(format(number, ".15g"))


def _unmistakable(number: str) -> str:
    """A number that is none of thousands: 1.299 could be one, and 1.2990 could not."""
    return f"{number}0" if re.fullmatch(r"-?[1-9]\d{0,2}\.\d{3}", number) else number


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _speaks(tag: Any, language: str) -> bool:
    """Whether a tag is of a language: `en` is of en_US, en_US of itself alone."""
    found = str(tag or "").casefold().replace("-", "_")
    return found == language or found.startswith(f"{language}_")


def _shown(text: str) -> str | None:
    """What a browser shows of some HTML, in one line."""
    if not _MARKUP.search(text) or text.count("<") > _MOST_TAGS:
        told = html.unescape(text).strip()
        if not _ESCAPED.search(told):
            return told or None
        text = told  # an exporter escaped its markup once more
    from lxml import etree

    text = _NO_XML.sub(" ", text.replace("<![CDATA[", "").replace("]]>", ""))
    root = etree.fromstring(text.encode(), _parser())
    if root is None:  # nothing but comments
        return None
    for node in root.iter():  # told which tags it is to find, it would take twice as long
        if node.tag in _BLOCKS:
            node.text, node.tail = _after_space(node.text), _after_space(node.tail)
        elif node.tag in _UNSEEN:
            for inner in list(node):
                node.remove(inner)
            node.text = None
    return " ".join("".join(map(str, root.itertext())).split()) or None


@cache
def _parser() -> Any:
    from lxml import etree

    return etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)


def _after_space(text: str | None) -> str:
    return f" {_NO_XML.sub(' ', text or '')}"  # `&#1;` is one character by now
