"""YAML as a config may have it: the scalars of YAML 1.2, words as keys, and no more than a person writes by hand.

A config can come from anywhere, so what it costs is bounded before it is built: a thousand bytes of aliases stand for
more values than any memory holds, and brackets nest deeper than Python calls. Nothing here raises for what is written
badly; every mistake is a Problem with its line.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

MOST_BYTES = 2**18  # a config of the demo has 2 kB; PyYAML reads 100 kB to 300 kB a second
_MOST_DEPTH = 32  # the deepest key of ours has four parts
_MOST_VALUES = 20_000  # with aliases spelled out
_MOST_DIGITS = 40
_SMALLER = "give a number that is meant"
_STR = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config: where, what came, what was expected there, what to do."""

    key: str
    came: str
    expected: str
    fix: str

    def line(self) -> str:
        """All of it in one line, for a log."""
        return f"{self.key}: {self.came}; expected: {self.expected}; to do: {self.fix}"

    def parts(self) -> dict[str, str]:
        """All of it by name, as --json has it."""
        return {"key": self.key, "expected": self.expected, "came": self.came, "to_do": self.fix}


def shown(value: Any) -> str:
    """`value` as a message shows it: as YAML has it, cut when long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 120 else f"{text[:117]}..."


def parse(raw: bytes | str, where: str) -> tuple[Any, list[Problem]]:
    """The value of YAML text, and what is wrong with its writing."""
    try:
        problem = _unbounded(raw, where)
        if problem is not None:
            return None, [problem]
        loader = _Loader(raw)
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        came = err.problem or err.context or str(err)
        fix = "correct the writing there; indent with spaces, quote `: ` and `#`"
        return None, [Problem(_line(where, mark), came, "YAML", fix)]
    except yaml.YAMLError as err:
        return None, [Problem(where, " ".join(str(err).split()), "YAML in UTF-8", "save the file as plain UTF-8 text")]
    return value, [Problem(f"{where}, line {line}", *said) for line, *said in loader.complaints]


# --- inside ---


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2's core schema, and an ear for keys that are odd or come twice.

    YAML 1.1, which PyYAML reads by default, takes `no` for false, `2026-11-21` for a date and `1e-3` for a string.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute

    def __init__(self, raw: bytes | str) -> None:
        super().__init__(raw)
        self.complaints: list[tuple[int, str, str, str]] = []  # line, what came, what was expected, what to do

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag not in (_STR, _MERGE):
                came = key.value if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
                self.complaints.append((line, f"{came or 'nothing'} as a key", "a word", "quote it: keys are words"))
            elif key.value in seen:
                self.complaints.append((line, f"{key.value} a second time", f"{key.value} once", "keep one of the two"))
            seen.add(key.value if isinstance(key.value, str) else id(key))
        return super().construct_mapping(node, deep)

    def whole(self, node: yaml.ScalarNode) -> int:
        """A number of a length that some key may have: Python itself refuses to read one of 4,300 digits."""
        if len(node.value) > _MOST_DIGITS:
            came = f"{len(node.value):,} digits"
            self.complaints.append((node.start_mark.line + 1, came, f"at most {_MOST_DIGITS} digits", _SMALLER))
            return 0
        return int(node.value)

    def fraction(self, node: yaml.ScalarNode) -> float:
        """A number that a computer can hold: 1e999 would be infinite."""
        value = float(node.value)
        if not math.isfinite(value):
            came, expected = node.value[:_MOST_DIGITS], "a number below 1e308"
            self.complaints.append((node.start_mark.line + 1, came, expected, _SMALLER))
        return value


# https://yaml.org/spec/1.2.2/#103-core-schema, without octal and hexadecimal numbers
_CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", list("-+.0123456789")),
    "merge": (r"<<", ["<"]),
}
for _tag, (_pattern, _first) in _CORE_SCHEMA.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.fraction)


def _line(where: str, mark: Any) -> str:
    return f"{where}, line {mark.line + 1}" if mark else where


@dataclass
class _Open:
    """A list or mapping that is not yet closed: what it has so far, and how deep that goes."""

    anchor: str | None
    values: int = 1
    depth: int = 1


def _unbounded(raw: bytes | str, where: str) -> Problem | None:
    """What the text would cost without end, told from its events, before anything is built of them.

    An anchor's values count as often as it is named, so that neither aliases of aliases nor one that contains itself
    come further than this.
    """
    opened: list[_Open] = []
    known: dict[str, tuple[int, int]] = {}  # anchor -> (values, depth) of what it stands for
    total = 0
    for event in yaml.parse(raw, Loader=_Loader):
        values, depth = 0, 0
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _STR) and isinstance(event, yaml.NodeEvent):
            came, fix = f"the tag {tag}", "write the plain value; a text that looks like a number is quoted"
            return Problem(_line(where, event.start_mark), came, "values without tags", fix)
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == one.anchor for one in opened):
                came, fix = f"*{event.anchor} inside of &{event.anchor}", "write out what is meant there"
                return Problem(_line(where, event.start_mark), came, "a value that does not contain itself", fix)
            values, depth = known.get(event.anchor or "", (1, 0))
        elif isinstance(event, yaml.ScalarEvent):
            values = 1
            known |= {event.anchor: (1, 0)} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Open(event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = opened.pop()
            values, depth = closed.values, closed.depth
            known |= {closed.anchor: (values, depth)} if closed.anchor else {}
        total = max(total, sum(one.values for one in opened) + values)
        if opened:
            opened[-1].values += values
            opened[-1].depth = max(opened[-1].depth, depth + 1)
        if total > _MOST_VALUES:
            came = f"more than {_MOST_VALUES:,} values, aliases spelled out"
            return Problem(_line(where, event.start_mark), came, "a config as people write it", "leave some out")
        if len(opened) + depth > _MOST_DEPTH:
            came = f"lists and mappings more than {_MOST_DEPTH} deep"
            return Problem(_line(where, event.start_mark), came, "a config as people write it", "nest less")
    return None
