"""How many tokens texts have, told without loading a model: by the tokenizer's own file alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from foundation.regular_files import SMALL_FILE, read_regular

_TOKENIZER, _SETTINGS = "tokenizer.json", "tokenizer_config.json"


def token_counts(folder: Path, texts: Sequence[str]) -> list[int]:
    """Of each text, special tokens included; none where the folder has no `tokenizer.json` that stands for itself, and
    ValueError where it cannot be read.
    """
    if not (folder / _TOKENIZER).is_file():
        return []
    return [len(encoded.ids) for encoded in _tokenizer(folder).encode_batch(list(texts))]


def most_tokens(folder: Path, positions: int) -> int:
    """How many of them a model of so many positions reads: fewer where its tokenizer's settings say so."""
    try:
        limit = json.loads(read_regular(folder / _SETTINGS, SMALL_FILE)).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        limit = None
    return min(positions, int(limit)) if isinstance(limit, int | float) and limit > 0 else positions


@lru_cache(maxsize=2)
def _tokenizer(folder: Path) -> Any:
    """The tokenizer of a model that is in use: a query is counted by it in a fraction of the time that it takes to
    load.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer: Any = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as err:  # the library raises no other class
        raise ValueError(f"{folder / _TOKENIZER}: {err}") from err
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
