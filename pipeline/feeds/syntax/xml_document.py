"""XML feeds: RSS 2.0, Atom, and any document with a list of elements, streamed an item at a time.

Nothing outside of the document is fetched, and one that declares entities is refused: feeds have no use for them, and
what expands to gigabytes is made of them.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from foundation.errors import InputError
from pipeline.feeds.nested import batch_of
from pipeline.feeds.syntax.base import FeedSyntax, Opened, RawRows, ReadOptions

_GOOGLE = "http://base.google.com/ns/1.0"
_ITEMS = {"rss": "item", "RDF": "item", "feed": "entry"}  # of RSS 2.0, RSS 1.0, Atom
_PLAIN = {None, "http://www.w3.org/2005/Atom", "http://purl.org/rss/1.0/", "http://my.netscape.com/rdf/simple/0.9/"}
_XHTML = "http://www.w3.org/1999/xhtml"
_ROWS = 2_048  # of a batch
_LINES = 65_535  # from which on libxml may not count
_FIX = "export the file again; nothing was written"
# UTF-16 begins with its mark; other encodings begin as ASCII does.
_BEGINS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml\b|!--|!DOCTYPE(?!\s+html\b)|(?!html\b|head\b|body\b)[\w:]+[\s>/])", re.I
)
_WIDE = (b"\xff\xfe<\0", b"\xfe\xff\0<")
_ENTITY = re.compile(rb"<!DOCTYPE[^>]*\[.*?<!ENTITY", re.I | re.S)


class Syntax(FeedSyntax):
    """Elements that repeat: `item` of RSS, `entry` of Atom, what a map's `items` names, else those that repeat first.

    An item's elements are its raw columns, `g:` before those of Google's namespace; one that comes several times is a
    list, one with elements inside is a struct, and `link@href` is an attribute.
    """

    rank = 10

    def __init__(self, file: Opened, options: ReadOptions) -> None:
        super().__init__(file, options)
        head = file.head
        if _ENTITY.search(head):
            raise _entities(file.name)
        self._tag, items = _look(file.name, head, options)
        self._columns = tuple(dict.fromkeys(name for item in items for name in item))

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Whether it begins as XML does, and is no page."""
        if head.startswith(_WIDE):
            return True
        return _BEGINS.match(head) is not None and re.search(rb"<html[\s>]", head[:4_096], re.I) is None

    @property
    def columns(self) -> tuple[str, ...]:
        """The elements of the items in the head."""
        return self._columns

    @property
    def found(self) -> Mapping[str, str]:
        """Which elements are the items."""
        return {"items": _local(self._tag)}

    def read(self) -> Iterator[RawRows]:
        """See FeedSyntax. What is not well-formed ends it, because nobody could say where the next item begins."""
        items, places = list[dict[str, Any]](), list[tuple[int, int | None]]()
        with self.file.open() as stream:
            for row, element in enumerate(self._elements(stream), 1):
                line: int | None = element.sourceline
                places.append((row, line if line is not None and line < _LINES else None))
                items.append(_item(element))
                if len(items) == _ROWS:
                    yield RawRows(batch_of(items), places.__getitem__)
                    items, places = [], []
        yield RawRows(batch_of(items), places.__getitem__)

    # --- inside ---

    def _elements(self, stream: BinaryIO) -> Iterator[Any]:
        from lxml import etree

        count = 0
        parsing = etree.iterparse(
            stream,
            events=("end",),
            tag=self._tag,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            collect_ids=False,
            remove_comments=True,
            remove_pis=True,
            encoding=self.options.encoding,
        )
        try:
            for _, element in parsing:
                if not count and _declares_entities(element):
                    raise _entities(self.file.name)
                count += 1
                yield element
                element.clear()
                above = element.getparent()
                while above is not None and element.getprevious() is not None:
                    del above[0]
        except etree.XMLSyntaxError as err:
            if all(one.domain == etree.ErrorDomains.NAMESPACE for one in parsing.error_log):
                return  # `g:id` where nobody says what `g:` is, as some shops write: all of it was read
            raise _malformed(f"{self.file.name}, item {count + 1:,}", parsing.error_log, err) from err


# --- inside ---


def _look(name: str, head: bytes, options: ReadOptions) -> tuple[str, list[dict[str, Any]]]:
    """(the tag of the items, those that are whole in the head)."""
    from lxml import etree

    try:
        parser = etree.XMLPullParser(
            events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, encoding=options.encoding
        )
    except LookupError as err:
        expected = "an encoding that libxml knows, such as utf-8, windows-1252 or gb18030"
        raise InputError(expected, f"--encoding {options.encoding}", "correct it") from err
    events = list[tuple[str, Any]]()
    try:
        parser.feed(head)
    except etree.XMLSyntaxError as err:
        if not (events := list(_events(parser))):
            raise _malformed(name, parser.error_log, err) from err
    events += _events(parser)
    tag = _items_tag(name, events, options.items)
    return tag, [_item(element) for event, element in events if event == "end" and element.tag == tag]


def _events(parser: Any) -> Iterator[tuple[str, Any]]:
    from lxml import etree

    with suppress(etree.XMLSyntaxError):
        yield from parser.read_events()


def _items_tag(name: str, events: list[tuple[str, Any]], wanted: str | None) -> str:
    started = [element for event, element in events if event == "start"]
    root = _local(started[0].tag) if started else ""
    local = wanted.split(".")[-1] if wanted else _ITEMS.get(root)
    if local is None:
        local = _repeated(started)
    found = next((one.tag for one in started if local is not None and _local(one.tag) == local), None)
    if found is None:
        came = f"{name}, a document of <{root}>" + (f" without any <{local}> at its beginning" if local else "")
        fix = "see that the feed has items; say `items:` in a map, if they are called otherwise"
        raise InputError("XML with a list of items", came, fix)
    return str(found)


def _repeated(started: list[Any]) -> str | None:
    """The outermost elements that come again in one, have elements inside or, where none has any, attributes."""
    depths = {started[0]: 0} if started else {}
    for one in started[1:]:
        depths[one] = depths.get(one.getparent(), 0) + 1
    told = [one for one in started[1:] if len(one)] or [one for one in started[1:] if one.attrib]
    counts = Counter((depths[one], str(one.tag)) for one in told)
    several = [key for key, count in counts.items() if count > 1] or list(counts)
    return _local(min(several)[1]) if several else None


def _item(element: Any) -> dict[str, Any]:
    """An item's columns; attributes of its own count where no element has their name."""
    found = _inner(element)
    for attribute, value in element.attrib.items():
        found.setdefault(_local(attribute), value)
    return found


def _inner(element: Any) -> dict[str, Any]:
    found = dict[str, Any]()
    for one in element:
        if not isinstance(one.tag, str):
            continue
        name = _name(one)
        _add(found, name, _value(one))
        for attribute, value in one.attrib.items():
            _add(found, f"{name}@{_local(attribute)}", value)
    return found


def _add(found: dict[str, Any], name: str, value: Any) -> None:
    if name not in found or found[name] is None:
        found[name] = value
    elif value is not None:
        before = found[name]
        found[name] = [*before, value] if isinstance(before, list) else [before, value]


def _value(element: Any) -> Any:
    inner = [one for one in element if isinstance(one.tag, str)]
    if not inner:
        return "".join(_texts(element)) or None
    if any(one.tag.startswith(f"{{{_XHTML}}}") for one in inner) or _has_text(element):
        return " ".join(" ".join(_texts(element)).split())
    return _inner(element)


def _texts(element: Any) -> Iterator[str]:
    """The texts of an element and of those inside. `&nbsp;`, of a DTD that nobody fetches, is what it is in HTML."""
    text = element.text or ""
    for one in element:
        if isinstance(one.tag, str):
            yield text
            yield from _texts(one)
            text = one.tail or ""
        else:
            text += html.unescape(one.text or "") + (one.tail or "")
    yield text


def _has_text(element: Any) -> bool:
    """Whether text stands beside the elements inside, as in `warm <b>and</b> soft`."""
    return any(text and not text.isspace() for text in (element.text, *(one.tail for one in element)))


def _name(element: Any) -> str:
    space = element.tag[1:].partition("}")[0] if element.tag.startswith("{") else None
    if space == _GOOGLE:
        return f"g:{_local(element.tag)}"
    return _local(element.tag) if space in _PLAIN or not element.prefix else f"{element.prefix}:{_local(element.tag)}"


def _local(tag: str) -> str:
    return str(tag).rpartition("}")[2]


def _declares_entities(element: Any) -> bool:
    declared = element.getroottree().docinfo.internalDTD
    return declared is not None and any(True for _ in declared.iterentities())


def _malformed(place: str, log: Any, err: Any) -> InputError:
    """What libxml found first: what it says last is often that nothing is left."""
    fatal = [one for one in log if one.level_name == "FATAL"]
    line, said = (fatal[0].line, fatal[0].message) if fatal else (err.lineno or 0, err.msg)
    fix = f"name its --encoding, or {_FIX}" if "encoding" in said.lower() else _FIX
    return InputError("well-formed XML", f"{place}, line {line:,}: {said}", fix)


def _entities(name: str) -> InputError:
    return InputError("a feed without declarations of entities", f"{name} declares some in its DOCTYPE", _FIX)
