"""How many tokens texts have, told without loading a model: by the tokenizer's own file alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.regular_files import SMALL_FILE, read_regular

_TOKENIZER, _SETTINGS = "tokenizer.json", "tokenizer_config.json"


def token_counts(folder: Path, texts: Sequence[str]) -> list[int]:
    """Of each text, special tokens included; none where the folder has no `tokenizer.json` that stands for itself, and
    ValueError where it cannot be read.
    """
    from tokenizers import Tokenizer

    if not (folder / _TOKENIZER).is_file():
        return []
    try:
        tokenizer: Any = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as err:  # the library raises no other class
        raise ValueError(f"{folder / _TOKENIZER}: {err}") from err
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(encoded.ids) for encoded in tokenizer.encode_batch(list(texts))]


def most_tokens(folder: Path, positions: int) -> int:
    """How many of them a model of so many positions reads: fewer where its tokenizer's settings say so."""
    try:
        limit = json.loads(read_regular(folder / _SETTINGS, SMALL_FILE)).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        limit = None
    return min(positions, int(limit)) if isinstance(limit, int | float) and limit > 0 else positions
