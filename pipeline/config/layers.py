"""Where config values come from: a YAML file, the environment, the command line; merged, with the origin of each leaf.

Nothing here knows which keys exist: `pipeline.config` validates what comes out. Keys are written dotted: `run.workers`.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from foundation.errors import InputError
from foundation.regular_files import OversizedFileError, read_regular
from pipeline.config.yaml_files import MOST_BYTES, Problem, parse, shown

ENV_PREFIX = "VITRINE_"
COMMAND_LINE = "command line"
DEFAULT = "default"

# Values that are themselves, as a separator `|` or a decimal mark `,`: to YAML they would be blocks, aliases, nothing.
_MARKS = re.compile(r" *[|>:%@`&*!,?/\\;^=<+._-]+ *")
_MOST_PARTS = 16  # of a dotted key; the longest of ours has four

Tree = dict[str, Any]


def refuse(problems: Sequence[Problem]) -> InputError:
    """The one error that lists every problem."""
    listed = [f"\n  {p.key}\n    expected: {p.expected}\n    came: {p.came}\n    to do: {p.fix}" for p in problems]
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return InputError(
        "a config in which every key and value fits",
        f"{count}:{''.join(listed)}",
        "correct them where they were set; `vitrine config show` prints every key, its value and its origin",
    )


# --- the layers ---


def read_yaml(path: str) -> tuple[Tree, list[Problem]]:
    """The mapping in the YAML file at `path`, and what is wrong with its writing."""
    try:
        raw = read_regular(path, MOST_BYTES)
    except ValueError as err:  # a NUL in the path
        return {}, [
            Problem(shown(path), str(err), "the path of a YAML file", "give the path of a config file: -c FILE")
        ]
    except OSError as err:
        return {}, [_unread(Path(path), err)]
    value, problems = parse(raw, path)
    if value is None:
        return {}, problems
    if not isinstance(value, dict):
        return {}, [
            Problem(path, shown(value), "a mapping of sections at the top", "write `section:` and its keys under it")
        ]
    # `run:` with every key commented out is null in YAML; it says nothing, so it changes nothing.
    return {str(key): section for key, section in value.items() if section is not None}, problems


def read_environment(env: Mapping[str, str]) -> tuple[list[tuple[str, Tree]], list[Problem]]:
    """Each `VITRINE_SECTION__KEY` as (its origin, a tree of one leaf), in the order of the names.

    Names without `__` are no keys of the config: `VITRINE_CACHE` says where a remote store's files are copied to.
    """
    names = sorted(name for name in env if name.startswith(ENV_PREFIX) and "__" in name)
    assignments = [(f"environment {name}", name[len(ENV_PREFIX) :].lower().split("__"), env[name]) for name in names]
    return _assigned(assignments)


def read_overrides(overrides: Sequence[str]) -> tuple[list[tuple[str, Tree]], list[Problem]]:
    """Each `section.key=value` as (its origin, a tree of one leaf), in the order given."""
    shaped = [text for text in overrides if _OVERRIDE.fullmatch(text)]
    pairs = [text.split("=", 1) for text in shaped]
    layers, problems = _assigned([(COMMAND_LINE, key.split("."), value) for key, value in pairs])
    wrong = [text for text in overrides if text not in shaped]
    expected, fix = "section.key=value", "for example run.workers=2; quote values that hold spaces"
    return layers, [Problem(text, shown(text), expected, fix) for text in wrong] + problems


def merge(
    tree: Tree, layer: Tree, origin: str, origins: dict[str, str], specs: frozenset[str], prefix: str = ""
) -> None:
    """Lay `layer` over `tree` in place, noting `origin` for each leaf that it sets.

    Mappings are merged key by key. A mapping at one of the dotted `specs` that names another `type` replaces the old
    one whole: the fields of one encoder mean nothing to another.
    """
    for key, value in layer.items():
        dotted, old = f"{prefix}{key}", tree.get(key)
        replaces = dotted in specs and isinstance(value, dict) and value.get("type", _type(old)) != _type(old)
        if isinstance(value, dict) and value and isinstance(old, dict) and not replaces:
            merge(old, value, origin, origins, specs, f"{dotted}.")
            continue
        for gone in [known for known in origins if under(known, dotted)]:
            del origins[gone]
        tree[key] = _copied(value)
        origins.update((leaf, origin) for leaf, _ in leaves({key: value}, prefix))


# --- trees and keys ---


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in `tree` that is not itself a filled mapping."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def under(key: str, parent: str) -> bool:
    """Whether dotted `key` is `parent` or lies in it."""
    return key == parent or key.startswith(f"{parent}.")


def origin_of(key: str, origins: Mapping[str, str]) -> str:
    """Where dotted `key`, a leaf or a mapping of leaves, was set; of several origins the strongest."""
    found = [origin for known, origin in origins.items() if under(known, key) or under(key, known)]
    return max(found, key=_strength, default=DEFAULT)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The name in `known` that `word` was probably meant to be."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


# --- inside ---

_OVERRIDE = re.compile(r"[^\s.=]+(\.[^\s.=]+)*=.*", re.DOTALL)


def _assigned(assignments: Sequence[tuple[str, list[str], str]]) -> tuple[list[tuple[str, Tree]], list[Problem]]:
    layers: list[tuple[str, Tree]] = []
    problems: list[Problem] = []
    for origin, parts, text in assignments:
        if len(parts) > _MOST_PARTS:
            came = f"{len(parts):,} parts: {shown('.'.join(parts[:_MOST_PARTS]))} and so on"
            problems.append(Problem(origin, came, f"a key of at most {_MOST_PARTS} parts", "correct the key"))
            continue
        marks = _MARKS.fullmatch(text) is not None
        value, wrong = (text, []) if marks else parse(text, f"{'.'.join(parts)} ({origin})")
        problems.extend(wrong)
        if not wrong:
            tree: Tree = {parts[-1]: value}
            for part in reversed(parts[:-1]):
                tree = {part: tree}
            layers.append((origin, tree))
    return layers, problems


def _unread(path: Path, err: OSError) -> Problem:
    fix = "give the path of a config file: -c FILE"
    if isinstance(err, OversizedFileError):
        fix = "name the config: this file holds something else"
    elif err.errno == errno.ENOENT:
        near = nearest(path.name, sorted(file.name for file in path.parent.glob("*.y*ml")))
        fix = f"did you mean {path.with_name(near)}?" if near else fix
    return Problem(str(path), err.strerror or str(err), "a YAML file that can be read", fix)


def _type(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _strength(origin: str) -> int:
    if origin == COMMAND_LINE:
        return 3
    if origin.startswith("environment "):
        return 2
    return 0 if origin == DEFAULT else 1
