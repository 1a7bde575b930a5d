"""The file of synonyms that texts vary by: that of `lexical.synonyms`, see lookup/lexical/synonyms.py."""

from __future__ import annotations

from foundation.errors import InputError
from foundation.machine import machine_fault
from foundation.regular_files import SMALL_FILE, read_regular
from lookup.lexical.synonyms import parse_rules

Rules = list[tuple[str, tuple[str, ...]]]


def read_rules(path: str | None) -> Rules:
    """(a phrase, what else is found by who asks for it), line by line; none without a file. InputError where it cannot
    be read.
    """
    if path is None:
        return []
    try:
        rules = parse_rules(read_regular(path, SMALL_FILE).decode("utf-8-sig"))
    except (OSError, ValueError) as err:  # UnicodeDecodeError is a ValueError
        fix = "write a group a line, as in `sofa, couch, settee`, or one way `laptop => notebook`"
        raise machine_fault(err) or InputError(
            "train.synonyms, a file of words in UTF-8", f"{path}: {err}", fix
        ) from err
    return [(rule.phrase, rule.others) for rule in rules]
