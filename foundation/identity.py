"""The digest of settings: what names files by the content that went into them. It lives in the lowest package."""

from __future__ import annotations

import json
from typing import Any

from blake3 import blake3

VERSION = "version of the type"  # the part that a release of ours changes
_LONGEST = 200  # characters of a part that is told as it is
_SHOWN = 24  # characters of a part in a message: digests are told apart by fewer


def parts_of(fields: dict[str, Any], version: int, provenance: dict[str, str]) -> dict[str, str]:
    """What an identity is a digest of, part by part, each as text: to say which one differs, and for whoever looks.

    A part too long for a line, such as what a run measured, is told by its digest.
    """
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    short = {name: text if len(text) <= _LONGEST else identity_of({name: text}) for name, text in texts.items()}
    return {**short, VERSION: str(version), **provenance}


def differing(theirs: dict[str, str], mine: dict[str, str]) -> list[str]:
    """The parts that two identities do not have alike."""
    return [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]


def describe_parts(names: list[str], parts: dict[str, str]) -> str:
    """These parts and their values, in one line of a message; `none` for one that is not there."""
    return "; ".join(f"{name} {_short(parts.get(name))}" for name in names)


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    return value if len(value) <= _SHOWN else value[:16]


def identity_of(parts: dict[str, Any]) -> str:
    """64 hex digits of JSON-able `parts`, independent of key order."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return blake3(canonical.encode()).hexdigest()
